"""Probabilities of the target's own tokens at each position, and the student's q at the binding position."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import Qwen3ForCausalLM

from pipeline.config import Config
from pipeline.groups import read_groups
from pipeline.layout import Layout
from pipeline.models import completion_logits
from pipeline.tasks import load_task
from pipeline.theory import LogOdds, clip_threshold_logit
from pipeline.tokens import Batch, Codec


def target_batch(config: Config, codec: Codec) -> Batch:
    """Correct completions of the first ``config.calibrate.prompts`` held-out prompts."""
    task = load_task(config.task.module)
    groups = read_groups(Layout(config.profile).groups("heldout"))[: config.calibrate.prompts]
    rng = np.random.default_rng(0)
    return codec.batch([task.prompt(g) for g in groups], [task.complete(g, "none", rng) for g in groups])


@torch.no_grad()
def target_logits(model: Qwen3ForCausalLM, batch: Batch, vocabulary: int, rows: int = 256) -> np.ndarray:
    """Log-odds [N, T], float64, of each target token given the target before it; NaN where a row has ended.

    log(π/(1−π)) is taken as logit minus the log-sum-exp of the others, which stays exact where π is next to 1.
    """
    parts = []
    for start in range(0, len(batch.prompt_BP), rows):
        part = batch.rows(slice(start, start + rows)).to(model.device)
        logits_BTV = completion_logits(model, part)[..., :vocabulary].double()
        token_BT1 = part.completion_BT.unsqueeze(-1)
        chosen_BT = logits_BTV.gather(-1, token_BT1).squeeze(-1)
        others_BT = logits_BTV.scatter(-1, token_BT1, -torch.inf).logsumexp(dim=-1)
        parts.append((chosen_BT - others_BT).masked_fill(~part.completion_mask_BT, torch.nan))
    return torch.cat(parts).cpu().numpy()


def structural_positions(batch: Batch) -> list[int]:
    """Positions whose target token is the same in every row: the format's own tokens."""
    same_T = (batch.completion_BT == batch.completion_BT[:1]).all(dim=0) & batch.completion_mask_BT.all(dim=0)
    return [int(position) for position in same_T.nonzero().flatten()]


@dataclass(frozen=True)
class Probe:
    """The student's q (mass on the modal class) at one position, over the calibration's own prompts.

    ``threshold_N`` is the log-odds of q_c = 1 − (1−p)/c for each prompt's own p.
    """

    batch: Batch
    vocabulary: int
    position: int
    threshold_N: np.ndarray

    @classmethod
    def at(cls, config: Config, codec: Codec, teacher: Qwen3ForCausalLM, position: int, clip: float) -> "Probe":
        batch = target_batch(config, codec)
        upto = slice(0, position + 1)
        cut = Batch(batch.prompt_BP, batch.prompt_mask_BP, batch.completion_BT[:, upto], batch.completion_mask_BT[:, upto])
        p_N = target_logits(teacher, cut, codec.vocabulary)[:, position]
        return cls(cut, codec.vocabulary, position, np.array([clip_threshold_logit(LogOdds(p), clip) for p in p_N]))

    def measure(self, model: Qwen3ForCausalLM) -> dict[str, float]:
        """Mean log-odds of q over prompts, and the share of prompts with q > q_c."""
        q_N = target_logits(model, self.batch, self.vocabulary)[:, self.position]
        return {"q_logit": float(q_N.mean()), "q_above": float((q_N > self.threshold_N).mean())}


def token_names(codec: Codec, ids: Sequence[int]) -> list[str]:
    return [codec.tokenizer.decode([index]) for index in ids]
