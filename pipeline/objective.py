"""The ListOPD objective as pure tensor functions (paper.md §1, quoted). No model, no I/O, no settings.

Advantage of token a in state s, with student S, teacher T, base B:

    A = λ·log(π_T/π_B) − log(π_S/π_B)  =  log π_T − log π_S + (λ−1)·(log π_T − log π_B)

Loss, with A and ρ constants:  L = −mean_t ρ_t · A_t · log π_S(a_t|s_t)

The `Reading` of the clip says what ρ is, with r = π_T/π_S:
    none       ρ = 1
    truncate   ρ = min(c, r): the loss as it is quoted
    mask       ρ = r, and 0 where r > c: such a token gives no gradient
    rollout    ρ = min(c, π_S/π_sampler): r is not clipped but trainer against sampler; equal policies give ρ = 1
    aspo       ρ = min(c, r) where A ≤ 0 and min(c, 1/r) where A > 0. Published (arXiv 2510.06062): the ratio of
               positive-advantage tokens is flipped, and a ratio past the dual clip keeps its gradient at the clip's value.
               Our port: r stands for their π_θ/π_old, and the clip is the same c on both sides; their constants are not
               used. That the paper's ASPO row is this port is `unknown`.

The `Signal` says what is ascended:
    listopd     A as above; λ ≠ 1 without a base is an error
    no_base     A = λ·log π_T − log π_S: the same with B's terms left out (claim nobase; the paper's form is `unknown`)
    forward_kl  A = 1 with ρ = r, unclipped: the gradient of KL(T‖S) in the states that the student visited

The `Estimator` says which tokens a: `sampled`, the one that was drawn, or `exact`, all of the vocabulary weighted by the
probability of drawing them. Both go through `objective`, which takes candidates with a measure; `sampled` is the case of
one candidate of measure 1.

Shape suffixes: B rows, T completion tokens, V vocabulary, A candidates (1 or V). Log-probabilities are natural, float32.
"""

from dataclasses import dataclass

import torch

from pipeline.terms import Mean, Reading, Signal

_LARGEST = 80.0  # log of the greatest unclipped ratio: a measure that underflows to 0 times it is 0, not NaN


@dataclass(frozen=True)
class Rule:
    """What is computed, apart from the tensors. ``mean``: over all tokens, or over each completion's and then over rows."""

    lam: float
    clip: float
    reading: Reading
    signal: Signal = "listopd"
    mean: Mean = "token"


@dataclass(frozen=True)
class Policies:
    """Log-probabilities [B, T, A] of the candidates under each policy, and the ``measure`` they are drawn by.

    ``sampler`` is the policy that drew the tokens as it was when it drew them; None says that it is the student.
    """

    student: torch.Tensor
    teacher: torch.Tensor
    base: torch.Tensor | None
    measure: torch.Tensor
    sampler: torch.Tensor | None = None


@dataclass(frozen=True)
class Objective:
    """``loss`` is a scalar with a gradient through log π_S only; the rest is detached and for the log.

    ``advantage_BT`` is A in expectation over candidates; ``clipped`` the share of tokens whose ratio exceeds c,
    ``masked`` the share that enters with weight 0, ``effective`` (Σρ)²/(n·Σρ²), the share of tokens that count.
    """

    loss: torch.Tensor
    advantage_BT: torch.Tensor
    clipped: torch.Tensor
    masked: torch.Tensor
    effective: torch.Tensor


def vocabulary_logprobs(logits_BTV: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """log π of every token [B, T, V] in float32; entries beyond ``vocabulary`` (padding of the matrix) are left out."""
    return logits_BTV[..., :vocabulary].float().log_softmax(dim=-1)


def token_logprobs(logits_BTV: torch.Tensor, tokens_BT: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """log π of each token [B, T] in float32; entries beyond ``vocabulary`` get no mass."""
    return vocabulary_logprobs(logits_BTV, vocabulary).gather(-1, tokens_BT.unsqueeze(-1)).squeeze(-1)


def sampled(
    student_BT: torch.Tensor,
    teacher_BT: torch.Tensor,
    base_BT: torch.Tensor | None,
    sampler_BT: torch.Tensor | None = None,
) -> Policies:
    """The drawn tokens as candidates of measure 1, from their log-probabilities [B, T]."""
    student = student_BT.unsqueeze(-1)
    others = [None if x_BT is None else x_BT.unsqueeze(-1) for x_BT in (base_BT, sampler_BT)]
    return Policies(student, teacher_BT.unsqueeze(-1), others[0], torch.ones_like(student), others[1])


def exact(student_BTV: torch.Tensor, teacher_BTV: torch.Tensor, base_BTV: torch.Tensor | None) -> Policies:
    """The whole vocabulary as candidates, drawn by the student itself (so `rollout` has ρ = 1)."""
    return Policies(student_BTV, teacher_BTV, base_BTV, student_BTV.detach().exp())


def advantage(policies: Policies, rule: Rule) -> torch.Tensor:
    """A of each candidate [B, T, A], detached. `listopd` at λ ≠ 1 without a base raises ValueError."""
    student, teacher, base, lam = policies.student, policies.teacher, policies.base, rule.lam
    if rule.signal == "forward_kl":
        return torch.ones_like(student)
    if rule.signal == "no_base":
        return (lam * teacher - student).detach()
    if rule.signal != "listopd":
        raise ValueError(f"signal: found {rule.signal!r}; expected 'listopd', 'no_base' or 'forward_kl'")
    if base is None:
        if lam != 1.0:
            raise ValueError(f"lambda = {lam} needs the base's log-probabilities; without a base only lambda = 1 is defined")
        return (teacher - student).detach()
    return (teacher - student + (lam - 1.0) * (teacher - base)).detach()


def importance_weight(policies: Policies, advantage: torch.Tensor, rule: Rule) -> tuple[torch.Tensor, torch.Tensor]:
    """ρ of each candidate [B, T, A], detached, and where its ratio exceeds c (for `none`: where it would)."""
    log_ratio = (policies.teacher - policies.student).detach()
    ratio = log_ratio.exp()
    beyond = ratio > rule.clip
    if rule.signal == "forward_kl":
        return log_ratio.clamp(max=_LARGEST).exp(), torch.zeros_like(beyond)
    if rule.reading == "none":
        return torch.ones_like(ratio), beyond
    if rule.reading == "truncate":
        return ratio.clamp(max=rule.clip), beyond
    if rule.reading == "mask":
        return ratio.masked_fill(beyond, 0.0), beyond
    if rule.reading == "rollout":
        sampler = policies.student if policies.sampler is None else policies.sampler
        drift = (policies.student - sampler).detach().exp()
        return drift.clamp(max=rule.clip), drift > rule.clip
    if rule.reading == "aspo":
        flipped = torch.where(advantage > 0, ratio.reciprocal(), ratio)
        return flipped.clamp(max=rule.clip), flipped > rule.clip
    raise ValueError(f"reading: found {rule.reading!r}; expected 'none', 'truncate', 'mask', 'rollout' or 'aspo'")


def objective(policies: Policies, mask_BT: torch.Tensor, rule: Rule) -> Objective:
    """The loss over the tokens that ``mask_BT`` marks; masked-out entries may hold anything, NaN included."""
    outside = ~mask_BT.unsqueeze(-1)
    student, teacher, base, measure, sampler = (
        None if x is None else x.masked_fill(outside, 0.0)
        for x in (policies.student, policies.teacher, policies.base, policies.measure, policies.sampler)
    )
    assert student is not None and teacher is not None and measure is not None
    within = Policies(student, teacher, base, measure, sampler)
    advantage_BTA = advantage(within, rule)
    weight_BTA, beyond_BTA = importance_weight(within, advantage_BTA, rule)
    gain_BT = (measure * weight_BTA * advantage_BTA * student).sum(dim=-1)
    tokens = mask_BT.sum()
    if rule.mean == "token":
        loss = -gain_BT.sum() / tokens
    else:
        lengths_B = mask_BT.sum(dim=1)
        loss = -(gain_BT.sum(dim=1) / lengths_B.clamp(min=1)).sum() / (lengths_B > 0).sum()
    weighted = measure * weight_BTA
    return Objective(
        loss=loss,
        advantage_BT=(measure * advantage_BTA).sum(dim=-1),
        clipped=(measure * beyond_BTA).sum() / tokens,
        masked=(measure * (weight_BTA == 0)).sum() / tokens,
        effective=weighted.sum().square() / (tokens * (weighted * weight_BTA).sum()).clamp(min=1e-30),
    )
