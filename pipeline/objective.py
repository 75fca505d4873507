"""The ListOPD objective as pure tensor functions (paper.md §1, quoted). No model, no I/O, no settings.

Advantage of a sampled token a in state s, with student S, teacher T, base B:

    A = λ·log(π_T/π_B) − log(π_S/π_B)  =  log π_T − log π_S + (λ−1)·(log π_T − log π_B)

Loss, token mean, with A and ρ constants:  L = −Σ_t ρ_t · A_t · log π_S(a_t|s_t)

The reading of the clip says what ρ is:
    truncate   ρ = min(c, π_T/π_S), the loss as it is quoted
    none       ρ = 1

Shape suffixes: B rows, T completion tokens, V vocabulary. Log-probabilities are natural, float32.
"""

from dataclasses import dataclass
from typing import Literal

import torch

Reading = Literal["truncate", "none"]


@dataclass(frozen=True)
class Objective:
    """``loss`` is a scalar with a gradient through log π_S only; the rest is detached and for the log.

    ``clipped`` is the share of tokens with π_T/π_S > c; ``effective`` is (Σρ)²/(n·Σρ²), the share of tokens that count.
    """

    loss: torch.Tensor
    advantage: torch.Tensor
    clipped: torch.Tensor
    effective: torch.Tensor


def token_logprobs(logits_BTV: torch.Tensor, tokens_BT: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """log π of each token [B, T] in float32; entries beyond ``vocabulary`` (padding of the matrix) get no mass."""
    logits_BTV = logits_BTV.float()
    if logits_BTV.shape[-1] > vocabulary:
        logits_BTV = logits_BTV[..., :vocabulary]
    return logits_BTV.log_softmax(dim=-1).gather(-1, tokens_BT.unsqueeze(-1)).squeeze(-1)


def advantage(student_BT: torch.Tensor, teacher_BT: torch.Tensor, base_BT: torch.Tensor | None, lam: float) -> torch.Tensor:
    """A per token, detached. Without a base only λ = 1 is defined: anything else raises ValueError."""
    plain = teacher_BT - student_BT
    if base_BT is None:
        if lam != 1.0:
            raise ValueError(f"lambda = {lam} needs the base's log-probabilities; without a base only lambda = 1 is defined")
        return plain.detach()
    return (plain + (lam - 1.0) * (teacher_BT - base_BT)).detach()


def importance_weight(student_BT: torch.Tensor, teacher_BT: torch.Tensor, clip: float, reading: Reading) -> torch.Tensor:
    """ρ per token under ``reading``, detached."""
    if reading == "none":
        return torch.ones_like(student_BT)
    if reading == "truncate":
        return (teacher_BT - student_BT).detach().exp().clamp(max=clip)
    raise ValueError(f"reading: found {reading!r}; expected 'truncate' or 'none'")


def listopd_objective(
    student_BT: torch.Tensor,
    teacher_BT: torch.Tensor,
    base_BT: torch.Tensor | None,
    mask_BT: torch.Tensor,
    *,
    lam: float,
    clip: float,
    reading: Reading,
) -> Objective:
    """The loss over the tokens that ``mask_BT`` marks; masked-out entries may hold anything, NaN included."""
    student_BT, teacher_BT = (x.masked_fill(~mask_BT, 0.0) for x in (student_BT, teacher_BT))
    base_BT = None if base_BT is None else base_BT.masked_fill(~mask_BT, 0.0)
    tokens = mask_BT.sum()
    advantage_BT = advantage(student_BT, teacher_BT, base_BT, lam)
    weight_BT = importance_weight(student_BT, teacher_BT, clip, reading).masked_fill(~mask_BT, 0.0)
    loss = -(weight_BT * advantage_BT * student_BT).sum() / tokens
    beyond_BT = (teacher_BT - student_BT).detach().exp() > clip
    return Objective(
        loss=loss,
        advantage=advantage_BT.sum() / tokens,
        clipped=(beyond_BT & mask_BT).sum() / tokens,
        effective=weight_BT.sum().square() / (tokens * weight_BT.square().sum()),
    )
