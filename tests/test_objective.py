"""The objective against a reference written straight from the equations with loops and math.log."""

import math

import pytest
import torch

from pipeline.objective import advantage, importance_weight, listopd_objective, token_logprobs

CLIP = 1.7


def reference(student, teacher, base, mask, lam, clip, reading):
    """L = -Σ ρ·A·log π_S / n over the marked tokens, from probabilities, one token at a time."""
    total, n = 0.0, 0
    for row in range(len(mask)):
        for t in range(len(mask[row])):
            if not mask[row][t]:
                continue
            s, te, b = (math.exp(x[row][t]) for x in (student, teacher, base))
            a = lam * math.log(te / b) - math.log(s / b)
            rho = {"truncate": min(clip, te / s), "none": 1.0}[reading]
            total += -rho * a * math.log(s)
            n += 1
    return total / n


@pytest.fixture
def tokens():
    torch.manual_seed(0)
    student, teacher, base = (-3 * torch.rand(3, 5, dtype=torch.float64) - 0.01 for _ in range(3))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.bool)
    return student, teacher, base, mask


def loss(tokens, lam=1.3, reading="truncate", clip=CLIP):
    student, teacher, base, mask = tokens
    return listopd_objective(student, teacher, base, mask, lam=lam, clip=clip, reading=reading).loss


@pytest.mark.parametrize("reading", ["truncate", "none"])
@pytest.mark.parametrize("lam", [1.0, 1.15, 2.0])
def test_loss_is_the_equation(tokens, lam, reading):
    expected = reference(*(x.tolist() for x in tokens), lam, CLIP, reading)
    assert loss(tokens, lam, reading).item() == pytest.approx(expected, rel=1e-12)


def test_the_clip_acts_above_only(tokens):
    student, teacher, _, _ = tokens
    rho = importance_weight(student, teacher, CLIP, "truncate")
    ratio = (teacher - student).exp()
    assert rho.max() == CLIP and (ratio > CLIP).any()
    assert torch.equal(rho[ratio < CLIP], ratio[ratio < CLIP]) and rho.min() < 0.5


def test_lambda_one_does_not_depend_on_the_base(tokens):
    student, teacher, base, mask = tokens
    other = listopd_objective(student, teacher, base * 7 - 1, mask, lam=1.0, clip=CLIP, reading="truncate")
    without = listopd_objective(student, teacher, None, mask, lam=1.0, clip=CLIP, reading="truncate")
    assert loss(tokens, 1.0) == other.loss == without.loss


def test_teacher_equal_to_base_makes_lambda_irrelevant(tokens):
    student, teacher, _, mask = tokens
    assert loss((student, teacher, teacher, mask), 1.0) == loss((student, teacher, teacher, mask), 5.0)


def test_all_equal_gives_exactly_zero(tokens):
    student, _, _, mask = tokens
    result = listopd_objective(student, student, student, mask, lam=1.7, clip=CLIP, reading="truncate")
    assert result.loss == 0.0 and result.advantage == 0.0 and result.clipped == 0.0


@pytest.mark.parametrize("reading", ["truncate", "none"])
def test_gradient_flows_through_the_student_log_probability_alone(tokens, reading):
    student, teacher, base, mask = tokens
    leaves = [x.clone().requires_grad_() for x in (student, teacher, base)]
    result = listopd_objective(*leaves, mask, lam=1.3, clip=CLIP, reading=reading)
    result.loss.backward()
    weighted = importance_weight(student, teacher, CLIP, reading) * advantage(student, teacher, base, 1.3)
    torch.testing.assert_close(leaves[0].grad, -(weighted * mask) / mask.sum())
    assert leaves[1].grad is None and leaves[2].grad is None


@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 1e30])
def test_padding_enters_nothing(tokens, junk):
    student, teacher, base, mask = (x.clone() for x in tokens)
    clean = loss(tokens)
    for x in (student, teacher, base):
        x[~mask] = junk
    student.requires_grad_()
    dirty = listopd_objective(student, teacher, base, mask, lam=1.3, clip=CLIP, reading="truncate")
    dirty.loss.backward()
    assert dirty.loss == clean
    assert torch.isfinite(student.grad).all() and torch.isfinite(dirty.advantage) and torch.isfinite(dirty.effective)


def test_extrapolation_without_a_base_is_an_error(tokens):
    student, teacher, _, mask = tokens
    with pytest.raises(ValueError, match="needs the base"):
        listopd_objective(student, teacher, None, mask, lam=1.15, clip=CLIP, reading="truncate")


def test_unknown_reading_is_an_error(tokens):
    student, teacher, _, _ = tokens
    with pytest.raises(ValueError, match="reading"):
        importance_weight(student, teacher, CLIP, "clamp")


@pytest.mark.parametrize("reading", ["truncate", "none"])
@pytest.mark.parametrize("lam", [1.0, 1.4])
def test_sampled_gradient_has_the_enumerated_expectation(reading, lam):
    """Averaged over the student's own samples, the gradient is Σ_a π_S(a)·ρ(a)·A(a)·∇log π_S(a)."""
    torch.manual_seed(1)
    logits = torch.randn(4, dtype=torch.float64)
    teacher, base = (torch.randn(4, dtype=torch.float64).log_softmax(0) for _ in range(2))

    def gradient(actions):
        z = logits.clone().requires_grad_()
        student = z.log_softmax(0)[actions][:, None]
        listopd_objective(
            student, teacher[actions][:, None], base[actions][:, None], torch.ones_like(student, dtype=torch.bool),
            lam=lam, clip=CLIP, reading=reading,
        ).loss.backward()  # fmt: skip
        return z.grad

    pi = logits.softmax(0)
    enumerated = sum(pi[a] * gradient(torch.tensor([a])) for a in range(4))
    sampled = gradient(torch.multinomial(pi, 400_000, replacement=True))
    torch.testing.assert_close(sampled, enumerated, atol=0.01, rtol=0.0)
    assert enumerated.norm() > 0.05


def test_log_probabilities_are_float32_and_skip_the_padded_vocabulary():
    torch.manual_seed(2)
    logits = torch.randn(2, 3, 7, dtype=torch.bfloat16)
    chosen = torch.randint(5, (2, 3))
    logp = token_logprobs(logits, chosen, vocabulary=5)
    assert logp.dtype == torch.float32
    every = torch.stack([token_logprobs(logits, torch.full((2, 3), v), 5) for v in range(5)])
    torch.testing.assert_close(every.exp().sum(0), torch.ones(2, 3))
    torch.testing.assert_close(logp, logits[..., :5].float().log_softmax(-1).gather(-1, chosen[..., None])[..., 0])
