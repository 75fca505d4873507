"""Batched sampling with a key-value cache, until the end token or a limit."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, Qwen3ForCausalLM

from pipeline.tokens import Batch, Codec


@torch.no_grad()
def sample(
    model: Qwen3ForCausalLM,
    codec: Codec,
    prompt_BP: torch.Tensor,
    prompt_mask_BP: torch.Tensor,
    limit: int,
    temperature: float,
    generator: torch.Generator | None,
) -> Batch:
    """One completion of at most ``limit`` tokens per prompt row; temperature 0 is greedy and needs no generator.

    A completion that reaches the limit has no end token in it: the contract calls it unterminated.
    """
    padded = not bool(prompt_mask_BP.all())
    cache = DynamicCache(config=model.config)
    attention = prompt_mask_BP.long()
    positions = (attention.cumsum(dim=1) - 1).clamp(min=0)
    tokens, columns, masks, drawn = prompt_BP, [], [], []
    alive = torch.ones(len(prompt_BP), dtype=torch.bool, device=prompt_BP.device)
    for _ in range(limit):
        logits = model(
            input_ids=tokens,
            attention_mask=attention if padded else None,
            position_ids=positions if padded else None,
            past_key_values=cache,
            logits_to_keep=1,
            use_cache=True,
        ).logits[:, -1, : codec.vocabulary]
        logits = logits.float()
        chosen = _choose(logits, temperature, generator)
        chosen = torch.where(alive, chosen, codec.pad_id)
        drawn.append(_logprob(logits, chosen, temperature))
        columns.append(chosen)
        masks.append(alive)
        alive = alive & (chosen != codec.eos_id)
        if not bool(alive.any()):
            break
        tokens = chosen[:, None]
        attention = torch.cat([attention, torch.ones_like(tokens)], dim=1)
        positions = positions[:, -1:] + 1
    completion_BT, mask_BT, sampler_BT = (torch.stack(parts, dim=1) for parts in (columns, masks, drawn))
    return Batch(prompt_BP, prompt_mask_BP, completion_BT, mask_BT, sampler_BT)


def _logprob(logits_BV: torch.Tensor, chosen_B: torch.Tensor, temperature: float) -> torch.Tensor:
    """log of the probability with which each token was drawn: 0 when greedy."""
    if temperature == 0:
        return torch.zeros(len(chosen_B), device=logits_BV.device)
    scaled_BV = logits_BV / temperature
    return scaled_BV.gather(-1, chosen_B[:, None]).squeeze(-1) - scaled_BV.logsumexp(dim=-1)


def _choose(logits_BV: torch.Tensor, temperature: float, generator: torch.Generator | None) -> torch.Tensor:
    """One token per row. Sampling adds Gumbel noise, which never divides by a vanishing sum."""
    if temperature == 0:
        return logits_BV.argmax(dim=-1)
    assert generator is not None
    uniform = torch.rand(logits_BV.shape, generator=generator, device=logits_BV.device)
    noise = -torch.log(-torch.log(uniform.clamp(min=1e-20)))
    return (logits_BV / temperature + noise).argmax(dim=-1)


def completions(
    model: Qwen3ForCausalLM,
    codec: Codec,
    prompts: Sequence[str],
    limit: int,
    temperature: float,
    generator: torch.Generator | None,
    batch: int = 512,
) -> dict[str, Any]:
    """Sample rows for the record: the texts up to the end token, and the indices of those that have none."""
    texts: list[tuple[str, bool]] = []
    for start in range(0, len(prompts), batch):
        prompt_BP, mask_BP = (x.to(model.device) for x in codec.prompts(prompts[start : start + batch]))
        texts += codec.texts(sample(model, codec, prompt_BP, mask_BP, limit, temperature, generator))
    return {
        "decoding": "greedy" if temperature == 0 else "sampled",
        "completions": [text for text, _ in texts],
        "unterminated": [i for i, (_, ended) in enumerate(texts) if not ended],
    }
