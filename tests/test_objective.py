"""The objective against a reference written straight from the equations with loops and math.log."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from pipeline.objective import Policies, Rule, advantage, exact, importance_weight, objective, sampled, token_logprobs

CLIP = 1.7
READINGS = ("none", "truncate", "mask", "rollout", "aspo")
SIGNALS = ("listopd", "no_base", "forward_kl")
RULE = Rule(1.3, CLIP, "truncate")
VARIANTS = [Rule(lam, CLIP, reading) for lam in (1.0, 1.3, 2.0) for reading in READINGS] + [
    Rule(1.3, CLIP, "truncate", signal) for signal in SIGNALS[1:]
]


def weight_and_advantage(rule, student, teacher, base, sampler):
    """ρ and A of one token, from its probabilities."""
    if rule.signal == "forward_kl":
        return teacher / student, 1.0
    if rule.signal == "no_base":
        a = rule.lam * math.log(teacher) - math.log(student)
    else:
        a = rule.lam * math.log(teacher / base) - math.log(student / base)
    ratio = teacher / student
    rho = {
        "none": 1.0,
        "truncate": min(rule.clip, ratio),
        "mask": ratio if ratio <= rule.clip else 0.0,
        "rollout": min(rule.clip, student / sampler),
        "aspo": min(rule.clip, 1 / ratio if a > 0 else ratio),
    }[rule.reading]
    return rho, a


def reference(tokens, rule):
    """L = -Σ ρ·A·log π_S / n over the marked tokens, one at a time."""
    *policies, mask = (x.tolist() for x in tokens)
    total, n = 0.0, 0
    for row, marks in enumerate(mask):
        for t, marked in enumerate(marks):
            if marked:
                probabilities = [math.exp(x[row][t]) for x in policies]
                rho, a = weight_and_advantage(rule, *probabilities)
                total -= rho * a * policies[0][row][t]
                n += 1
    return total / n


@pytest.fixture
def tokens():
    """Log-probabilities of drawn tokens under student, teacher, base and sampler, and the mask; all [3, 5]."""
    torch.manual_seed(0)
    four = [-3 * torch.rand(3, 5, dtype=torch.float64) - 0.01 for _ in range(4)]
    return *four, torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.bool)


def loss(tokens, rule=RULE):
    return objective(sampled(*tokens[:4]), tokens[4], rule).loss


@pytest.mark.parametrize("rule", VARIANTS, ids=str)
def test_loss_is_the_equation(tokens, rule):
    assert loss(tokens, rule).item() == pytest.approx(reference(tokens, rule), rel=1e-12)


def test_no_two_variants_are_the_same_loss(tokens):
    values = [loss(tokens, rule).item() for rule in VARIANTS if rule.lam == 1.3]
    for one, other in itertools.combinations(values, 2):
        assert abs(one - other) > 1e-3


def test_the_clip_acts_above_only(tokens):
    policies = sampled(*tokens[:4])
    ratio = (policies.teacher - policies.student).exp()
    beyond = ratio > CLIP
    for reading, at_the_clip in (("truncate", CLIP), ("mask", 0.0)):
        rho, where = importance_weight(policies, advantage(policies, RULE), replace(RULE, reading=reading))
        assert beyond.any() and torch.equal(where, beyond) and torch.equal(rho[~beyond], ratio[~beyond])
        assert (rho[beyond] == at_the_clip).all() and rho[~beyond].min() < 0.5


def test_the_share_of_clipped_and_masked_tokens(tokens):
    student, teacher, _, _, mask = tokens
    beyond = (((teacher - student).exp() > CLIP) & mask).sum().double() / mask.sum()
    results = {reading: objective(sampled(*tokens[:4]), mask, replace(RULE, reading=reading)) for reading in READINGS}
    for reading in ("none", "truncate", "mask"):
        assert results[reading].clipped == beyond
    assert results["mask"].masked == beyond and results["truncate"].masked == 0
    assert (
        results["none"].effective == pytest.approx(1) and 0 < results["mask"].effective < results["truncate"].effective < 1
    )


def test_the_rollout_ratio_is_trainer_against_sampler(tokens):
    student, teacher, base, _, mask = tokens
    rule = replace(RULE, reading="rollout")
    equal = objective(sampled(student, teacher, base, student), mask, rule)
    assert (
        equal.loss
        == objective(sampled(student, teacher, base), mask, rule).loss
        == loss(tokens, replace(RULE, reading="none"))
    )
    assert equal.clipped == 0
    drifted = objective(sampled(student, teacher, base, student - math.log(2 * CLIP)), mask, rule)
    assert drifted.clipped == 1 and drifted.loss.item() == pytest.approx(CLIP * equal.loss.item())


def test_aspo_flips_the_weight_of_positive_advantages_only(tokens):
    policies = sampled(*tokens[:4])
    a = advantage(policies, RULE)
    rho, _ = importance_weight(policies, a, replace(RULE, reading="aspo", clip=1e9))
    ratio = (policies.teacher - policies.student).exp()
    assert (a > 0).any() and (a <= 0).any()
    torch.testing.assert_close(rho[a > 0] * ratio[a > 0], torch.ones_like(rho[a > 0]))
    assert torch.equal(rho[a <= 0], ratio[a <= 0])


def test_lambda_one_does_not_depend_on_the_base(tokens):
    student, teacher, base, _, mask = tokens
    rule = replace(RULE, lam=1.0)
    other = objective(sampled(student, teacher, base * 7 - 1), mask, rule)
    without = objective(sampled(student, teacher, None), mask, rule)
    no_base = objective(sampled(student, teacher, None), mask, replace(rule, signal="no_base"))
    assert loss(tokens, rule) == other.loss == without.loss == no_base.loss


def test_teacher_equal_to_base_makes_lambda_irrelevant(tokens):
    student, teacher, _, sampler, mask = tokens
    same = (student, teacher, teacher, sampler, mask)
    assert loss(same, replace(RULE, lam=1.0)) == loss(same, replace(RULE, lam=5.0))


@pytest.mark.parametrize("reading", READINGS)
def test_all_equal_gives_exactly_zero(tokens, reading):
    student, *_, mask = tokens
    result = objective(sampled(student, student, student), mask, replace(RULE, reading=reading))
    assert result.loss == 0.0 and (result.advantage_BT[mask] == 0.0).all() and result.clipped == 0.0


@pytest.mark.parametrize("rule", VARIANTS, ids=str)
def test_gradient_flows_through_the_student_log_probability_alone(tokens, rule):
    leaves = [x.clone().requires_grad_() for x in tokens[:4]]
    mask = tokens[4]
    objective(sampled(*leaves), mask, rule).loss.backward()
    policies = sampled(*tokens[:4])
    a = advantage(policies, rule)
    weighted = (importance_weight(policies, a, rule)[0] * a).squeeze(-1)
    torch.testing.assert_close(leaves[0].grad, -(weighted * mask) / mask.sum())
    assert all(leaf.grad is None for leaf in leaves[1:])


@pytest.mark.parametrize("signal", ["listopd", "no_base"])
@pytest.mark.parametrize("reading", READINGS)
def test_gradient_without_a_base_flows_through_the_student_alone(tokens, reading, signal):
    """−ρ·A/n of each token, at λ = 1, where both signals need no base."""
    student, teacher, _, sampler, mask = tokens
    rule = Rule(1.0, CLIP, reading, signal)
    leaves = [x.clone().requires_grad_() for x in (student, teacher)]
    objective(sampled(*leaves, None, sampler), mask, rule).loss.backward()
    expected = torch.zeros_like(student)
    for row, t in mask.nonzero().tolist():
        s, q, u = (x[row, t].exp().item() for x in (student, teacher, sampler))
        rho, a = weight_and_advantage(replace(rule, signal="listopd"), s, q, 0.5, u)
        expected[row, t] = -rho * a / mask.sum()
    torch.testing.assert_close(leaves[0].grad, expected)
    assert leaves[1].grad is None


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 1e30])
def test_padding_enters_nothing(tokens, junk, reading):
    rule = replace(RULE, reading=reading)
    clean = loss(tokens, rule)
    *dirty, mask = (x.clone() for x in tokens)
    for x in dirty:
        x[~mask] = junk
    dirty[0].requires_grad_()
    result = objective(sampled(*dirty), mask, rule)
    result.loss.backward()
    assert result.loss == clean
    assert (
        torch.isfinite(dirty[0].grad).all() and torch.isfinite(result.advantage_BT).all() and result.effective <= 1 + 1e-12
    )


@pytest.mark.parametrize("rule", VARIANTS, ids=str)
@pytest.mark.parametrize("candidates", [1, 4])
def test_padded_rows_have_the_figures_of_their_tokens_alone(rule, candidates):
    """Rows of 5, 3 and 1 tokens against one row of the same 9 tokens, with ordinary numbers in the padding."""
    torch.manual_seed(3)
    mask = torch.arange(5) < torch.tensor([[5], [3], [1]])
    four = [(2 * torch.randn(3, 5, 4, dtype=torch.float64)).log_softmax(-1) for _ in range(4)]

    def figures(tensors, marks):
        if candidates == 4:
            return objective(exact(*tensors[:3]), marks, rule)
        return objective(sampled(*(x[..., 0] for x in tensors)), marks, rule)

    padded = figures(four, mask)
    alone = figures([x[mask][None] for x in four], torch.ones(1, 9, dtype=torch.bool))
    for name in ("loss", "clipped", "masked", "effective"):
        torch.testing.assert_close(getattr(padded, name), getattr(alone, name), msg=name)
    torch.testing.assert_close(padded.advantage_BT[mask], alone.advantage_BT[0])
    assert (padded.advantage_BT[~mask] == 0).all()


def test_a_sequence_mean_weighs_each_completion_the_same(tokens):
    *policies, mask = tokens
    rows = [objective(sampled(*(x[row : row + 1] for x in policies)), mask[row : row + 1], RULE).loss for row in range(3)]
    result = objective(sampled(*policies), mask, replace(RULE, mean="sequence")).loss
    assert result.item() == pytest.approx(sum(rows).item() / 3) and abs(result - loss(tokens)) > 1e-3
    mask = mask.clone()
    mask[1] = False
    result = objective(sampled(*policies), mask, replace(RULE, mean="sequence")).loss
    assert result.item() == pytest.approx((rows[0] + rows[2]).item() / 2)


def test_extrapolation_without_a_base_is_an_error(tokens):
    with pytest.raises(ValueError, match="needs the base"):
        objective(sampled(tokens[0], tokens[1], None), tokens[4], RULE)


@pytest.mark.parametrize(("field", "wrong"), [("reading", "clamp"), ("signal", "reverse_kl")])
def test_unknown_names_are_errors(tokens, field, wrong):
    with pytest.raises(ValueError, match=f"{field}: found '{wrong}'; expected"):
        loss(tokens, replace(RULE, **{field: wrong}))


@pytest.fixture
def toy():
    """Logits of the student [4] and log-probabilities of teacher and base over a vocabulary of four tokens."""
    logits = torch.tensor([1.0, 0.3, -0.5, -1.2], dtype=torch.float64)
    teacher, base = (torch.tensor(x, dtype=torch.float64).log() for x in ([0.15, 0.25, 0.2, 0.4], [0.1, 0.4, 0.3, 0.2]))
    ratio = (teacher - logits.log_softmax(0)).exp()
    assert (ratio > 2 * CLIP).any() and ((ratio > 1) & (ratio < CLIP)).any() and (ratio < 0.5).any()
    return logits, teacher, base


def sampled_gradient(toy, actions, rule):
    logits, teacher, base = toy
    z = logits.clone().requires_grad_()
    drawn = [x[actions][:, None] for x in (z.log_softmax(0), teacher, base)]
    objective(sampled(*drawn), torch.ones(len(actions), 1, dtype=torch.bool), rule).loss.backward()
    return z.grad


def exact_gradient(toy, rule):
    logits, teacher, base = toy
    z = logits.clone().requires_grad_()
    every = [x[None, None, :] for x in (z.log_softmax(0), teacher, base)]
    result = objective(exact(*every), torch.ones(1, 1, dtype=torch.bool), rule)
    result.loss.backward()
    return z.grad, result


@pytest.mark.parametrize("rule", VARIANTS, ids=str)
def test_exact_gradient_is_the_enumerated_one_and_the_mean_of_the_sampled_one(toy, rule):
    """Σ_a π_S(a)·ρ(a)·A(a)·∇log π_S(a): by enumeration exactly, by 400,000 draws to their noise."""
    pi = toy[0].softmax(0)
    enumerated = sum(pi[a] * sampled_gradient(toy, torch.tensor([a]), rule) for a in range(4))
    torch.testing.assert_close(exact_gradient(toy, rule)[0], enumerated)
    drawn = torch.multinomial(pi, 400_000, replacement=True)
    torch.testing.assert_close(sampled_gradient(toy, drawn, rule), enumerated, atol=0.01, rtol=0.0)
    assert enumerated.norm() > 0.05


def test_exact_figures_are_expectations_over_the_student(toy):
    logits, teacher, base = toy
    pi, ratio = logits.softmax(0), (teacher - logits.log_softmax(0)).exp()
    result = exact_gradient(toy, replace(RULE, reading="mask"))[1]
    assert 0 < result.clipped < 1
    torch.testing.assert_close(result.clipped, pi[ratio > CLIP].sum())
    torch.testing.assert_close(result.masked, result.clipped)
    torch.testing.assert_close(
        result.advantage_BT[0, 0], (pi * advantage(exact(logits.log_softmax(0), teacher, base), RULE)).sum()
    )


def test_exact_signals_are_the_gradients_of_their_divergences(toy):
    """`forward_kl` is KL(T‖S); `listopd` at λ = 1 without weights is KL(S‖T)."""
    logits, teacher, _ = toy
    z = logits.clone().requires_grad_()
    (teacher.exp() * (teacher - z.log_softmax(0))).sum().backward()
    torch.testing.assert_close(exact_gradient(toy, replace(RULE, signal="forward_kl"))[0], z.grad)
    z = logits.clone().requires_grad_()
    (z.softmax(0) * (z.log_softmax(0) - teacher)).sum().backward()
    torch.testing.assert_close(exact_gradient(toy, Rule(1.0, CLIP, "none"))[0], z.grad)


@pytest.mark.parametrize("rule", VARIANTS, ids=str)
def test_a_student_that_all_but_excludes_a_token_gives_finite_gradients(rule):
    student = torch.tensor([[[0.0, -200.0, -95.0]]]).log_softmax(-1).requires_grad_()
    teacher = torch.tensor([[[-95.0, 0.0, -200.0]]]).log_softmax(-1)
    base = torch.tensor([[[-1.0, -1.0, -1.0]]]).log_softmax(-1)
    result = objective(exact(student, teacher, base), torch.ones(1, 1, dtype=torch.bool), rule)
    result.loss.backward()
    assert torch.isfinite(result.loss) and torch.isfinite(student.grad).all()


def test_log_probabilities_are_float32_and_skip_the_padded_vocabulary():
    torch.manual_seed(2)
    logits = torch.randn(2, 3, 7, dtype=torch.bfloat16)
    chosen = torch.randint(5, (2, 3))
    logp = token_logprobs(logits, chosen, vocabulary=5)
    assert logp.dtype == torch.float32
    every = torch.stack([token_logprobs(logits, torch.full((2, 3), v), 5) for v in range(5)])
    torch.testing.assert_close(every.exp().sum(0), torch.ones(2, 3))
    torch.testing.assert_close(logp, logits[..., :5].float().log_softmax(-1).gather(-1, chosen[..., None])[..., 0])


def test_the_measure_says_how_much_each_candidate_counts(tokens):
    policies = sampled(*tokens[:4])
    doubled = Policies(policies.student, policies.teacher, policies.base, 2 * policies.measure, policies.sampler)
    assert objective(doubled, tokens[4], RULE).loss == 2 * loss(tokens)
