"""What supervised and on-policy training share: the optimizer, one guarded step, and the final samples."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from transformers import Qwen3ForCausalLM

from pipeline.config import Config
from pipeline.rollout import completions
from pipeline.tokens import Codec


class NotFinite(Exception):
    """A loss or gradient that is not a number: the run stops there and is recorded as invalid."""


def adamw(model: torch.nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)


def update(
    accelerator: Accelerator,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: torch.Tensor,
    gradient_clip: float,
) -> float:
    """One optimizer step; the norm of the gradient before clipping. Raises NotFinite naming the tensor."""
    if not math.isfinite(loss.item()):
        raise NotFinite("loss")
    accelerator.backward(loss)
    norm = float(accelerator.clip_grad_norm_(model.parameters(), gradient_clip))
    if not math.isfinite(norm):
        raise NotFinite("gradient")
    optimizer.step()
    optimizer.zero_grad()
    return norm


def sample_rows(
    config: Config,
    model: Qwen3ForCausalLM,
    codec: Codec,
    step: int,
    prompts: Mapping[str, Sequence[str]],
    generator: torch.Generator,
    final: bool,
) -> list[dict[str, Any]]:
    """Samples of the validation prompts, and at the end of the held-out prompts, sampled and greedy."""
    wanted = [("validation", config.opd.temperature)]
    if final:
        wanted += [("heldout", config.opd.temperature), ("heldout", 0.0)]
    return [
        {
            "step": step,
            "split": split,
            **completions(model, codec, prompts[split], config.opd.max_tokens, temperature, generator),
        }
        for split, temperature in wanted
    ]
