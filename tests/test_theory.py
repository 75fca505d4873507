"""theory.py against the paper's table (shared notes, section 1), the recipe's predictions, independent arithmetic."""

import json
import math
from decimal import Decimal, getcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from pipeline import theory
from pipeline.theory import READINGS, DomainError, LogOdds

P, B, C = 0.99934, 0.5, 5.0
REPLICA = (0.968907, 0.334687)
CONTINUOUS = ("none", "truncate", "rollout")

clips = st.floats(math.log(1.05), math.log(50.0)).map(math.exp)
bases = st.floats(-6.0, 6.0)
gaps = st.floats(0.1, 25.0)
fast = settings(max_examples=60, deadline=None, derandomize=True)


def digits(number: float, places: int) -> str:
    return f"{number:.{places}f}"


def clip_logit(p: float, clip: float) -> float:
    return theory.clip_threshold_logit(p, clip)


# The paper's numbers


def test_marker_and_intervals_to_the_printed_digits() -> None:
    assert digits(theory.lambda_star(P), 3) == "1.220"
    printed = {1.22: "0.99934", 1.215: "0.99944", 1.225: "0.99922", 1.204: "0.99963", 1.228: "0.99914"}
    assert {x: digits(theory.p_for_lambda_star(x), 5) for x in printed} == printed


def test_clip_of_one_and_a_half() -> None:
    assert digits(theory.lambda_star(P, clip=1.5), 3) == "1.055"
    assert digits((theory.lambda_star(P, clip=1.5) - 1) / (theory.lambda_star(P) - 1), 3) == "0.252"


@pytest.mark.parametrize("reading", ["none", "rollout"])
def test_unweighted_crosses_exactly_at_lambda_star_and_stays_stable(reading: str) -> None:
    crossing = theory.lambda_star_reading(P, B, C, reading)
    assert crossing == theory.lambda_star(P, B, C)
    for lam in (1.0, 1.1, crossing - 1e-9, crossing + 1e-9, 1.5, 3.0):
        ((s, stable),) = theory.fixed_points(P, B, C, lam, reading)
        assert stable
        assert s == pytest.approx(theory.fixed_point_logit(P, B, lam), abs=1e-11)
        assert (s > clip_logit(P, C)) == (lam > crossing)


def test_truncate_is_stable_at_every_lambda_and_crosses_at_1_238() -> None:
    crossing = theory.lambda_star_reading(P, B, C, "truncate")
    assert digits(crossing, 3) == "1.238"
    for lam in (1.01, 1.1, 1.22, crossing - 1e-6, crossing + 1e-6, 1.5, 3.0):
        ((s, stable),) = theory.fixed_points(P, B, C, lam, "truncate")
        assert stable
        assert (s > clip_logit(P, C)) == (lam > crossing)
        assert 0.0 < theory.fixed_point_logit(P, B, lam) - s < 0.6 * (lam - 1.0)


def test_mask_is_bistable_from_just_above_one_and_a_cliff_at_1_238() -> None:
    crossing = theory.lambda_star_reading(P, B, C, "mask")
    assert crossing == theory.lambda_star_reading(P, B, C, "truncate")
    for lam in (1.001, 1.1, 1.22, crossing - 1e-6):
        (low, low_stable), (high, high_stable) = theory.fixed_points(P, B, C, lam, "mask")
        assert (low_stable, high_stable) == (True, False)
        assert low < high == clip_logit(P, C)
        assert low == pytest.approx(theory.stable_fixed_point_logit(P, B, C, lam, "truncate"), abs=1e-9)
    for lam in (crossing + 1e-6, 1.3, 2.0):
        assert theory.fixed_points(P, B, C, lam, "mask") == []


@pytest.mark.parametrize("lam", [1.001, 1.1, 1.22, 1.5])
def test_mask_beyond_q_c_drifts_up_without_end(lam: float) -> None:
    edge = clip_logit(P, C)
    assert (theory.force(edge + np.geomspace(1e-6, 300, 50), P, B, C, lam, reading="mask") > 0.0).all()
    ends = [theory.flow_end(edge + 1e-3, P, B, C, lam, reading="mask", duration=d, natural=True) for d in (1e4, 1e6)]
    assert edge + 0.05 < ends[0] < ends[1] - 1.0
    back = theory.flow_end(edge + 1e-3, P, B, C, lam, reading="truncate", duration=1e4, natural=True)
    assert back == pytest.approx(theory.stable_fixed_point_logit(P, B, C, lam, "truncate"), abs=1e-6)


def test_mask_upper_marks_lie_just_above_one() -> None:
    """The table says `any lambda > 1`; exactly, q past q_c turns up from 1.00076 and is unstoppable from 1.00095."""
    turns_up, endless = theory.mask_escape(P, B, C)
    assert (digits(turns_up, 5), digits(endless, 5)) == ("1.00076", "1.00095")
    assert [stable for _, stable in theory.fixed_points(P, B, C, 1.0007, "mask")] == [True]
    assert [stable for _, stable in theory.fixed_points(P, B, C, 1.0009, "mask")] == [True, False, True]
    assert [stable for _, stable in theory.fixed_points(P, B, C, 1.001, "mask")] == [True, False]


def test_modal_token_below_p_over_c_is_masked_at_the_start() -> None:
    p, b = REPLICA
    start = theory.log_odds(b)
    modal_pull, tail_pull = 1.2 * p / b * math.log(p / b), 1.2 * (1 - p) / (1 - b) * math.log((1 - p) / (1 - b))
    assert 2.45 * b < p < 5.0 * b
    assert theory.force(start, p, b, 2.45, 1.2, reading="mask") == pytest.approx(-tail_pull, rel=1e-12)
    assert theory.force(start, p, b, 5.0, 1.2, reading="mask") == pytest.approx(modal_pull - tail_pull, rel=1e-12)


# The recipe's predictions


@pytest.mark.parametrize(
    ("reading", "predicted"),
    [  # the recipe prints 4.27 and 5.92 under `none`, 0.01 above its own closed form (4.264, 5.915)
        ("none", ["3.44", "4.26", "5.09", "5.91", "7.57"]),
        ("truncate", ["3.44", "4.16", "4.79", "5.42", "6.73"]),
        ("mask", ["3.44", "4.16", "4.79", "none", "none"]),
    ],
)
def test_recipe_predictions_at_clip_five(reading: str, predicted: list[str]) -> None:
    for lam, expected in zip((1.0, 1.2, 1.4, 1.6, 2.0), predicted, strict=True):
        s = theory.stable_fixed_point_logit(*REPLICA, 5.0, lam, reading)
        assert ("none" if s is None else digits(s, 2)) == expected


def test_recipe_marks() -> None:
    assert digits(theory.log_odds(REPLICA[0]), 2) == "3.44"
    assert digits(theory.lambda_star(*REPLICA, 5.0), 3) == "1.396"
    assert digits(clip_logit(REPLICA[0], 5.0), 2) == "5.07"
    assert digits(theory.lambda_star_reading(*REPLICA, 5.0, "mask"), 3) == "1.494"
    assert digits(theory.lambda_star(*REPLICA, 2.45), 2) == "1.22"
    assert digits(clip_logit(REPLICA[0], 2.45), 2) == "4.35"
    assert digits(theory.lambda_star_reading(*REPLICA, 2.45, "mask"), 2) == "1.26"


def test_recipe_predictions_under_mask_at_clip_2_45() -> None:
    found = [theory.stable_fixed_point_logit(*REPLICA, 2.45, lam, "mask") for lam in (1.05, 1.1, 1.15, 1.2)]
    assert [digits(s, 2) for s in found if s is not None] == ["3.64", "3.82", "4.00", "4.16"]
    assert theory.stable_fixed_point_logit(*REPLICA, 2.45, 1.26, "mask") is None


# Definitions, against arithmetic written independently


def naive_flow(q: float, p: float, b: float, clip: float, lam: float, *, reading: str) -> float:
    total = 0.0
    for student, teacher, base, score in ((q, p, b, 1.0 - q), (1 - q, 1 - p, 1 - b, -q)):
        ratio = teacher / student
        rho = {"none": 1.0, "rollout": 1.0, "truncate": min(clip, ratio), "mask": 0.0 if ratio > clip else ratio}[reading]
        total += student * rho * (lam * math.log(teacher / base) - math.log(student / base)) * score
    return total


@fast
@given(
    q=st.floats(0.02, 0.98), p=st.floats(0.02, 0.98), b=st.floats(0.02, 0.98), clip=clips,
    lam=st.floats(0.0, 3.0), reading=st.sampled_from(READINGS),
)  # fmt: skip
def test_flow_is_the_enumerated_expectation(*, q, p, b, clip, lam, reading) -> None:
    flow = float(theory.flow(theory.log_odds(q), p, b, clip, lam, reading=reading))
    assert flow == pytest.approx(naive_flow(q, p, b, clip, lam, reading=reading), rel=1e-9, abs=1e-12)


def test_flow_keeps_shape_and_reaches_the_extremes() -> None:
    grid = np.linspace(-700, 700, 24).reshape(2, 3, 4)
    for reading in READINGS:
        assert theory.flow(grid, 1 - 1e-12, 0.5, 5.0, 1.2, reading=reading).shape == grid.shape
        assert np.isfinite(theory.force(grid, LogOdds(40.0), 0.5, 5.0, 1.2, reading=reading)).all()


def decimal_logit(x: Decimal) -> Decimal:
    return x.ln() - (1 - x).ln()


@pytest.mark.parametrize("tail", ["1e-3", "1e-8", "1e-12", "1e-20"])
def test_forty_digit_arithmetic_agrees_near_one(tail: str) -> None:
    getcontext().prec = 40
    p, b, c = 1 - Decimal(tail), Decimal("0.3"), Decimal("2.5")
    q_clip = 1 - (1 - p) / c
    gap = decimal_logit(p) - decimal_logit(b)
    exact = float((decimal_logit(q_clip) - decimal_logit(b)) / gap)
    tilted_1, tilted_0 = (p / q_clip) * (p / b).ln(), c * ((1 - p) / (1 - b)).ln()
    pushed_1, pushed_0 = (p / q_clip) * (q_clip / b).ln(), c * ((1 - q_clip) / (1 - b)).ln()
    crossing = float((pushed_1 - pushed_0) / (tilted_1 - tilted_0))
    given_odds = LogOdds(float(decimal_logit(p)))
    assert theory.lambda_star(given_odds, 0.3, 2.5) == pytest.approx(exact, rel=1e-14)
    assert theory.lambda_star_reading(given_odds, 0.3, 2.5, "mask") == pytest.approx(crossing, rel=1e-14)
    assert theory.clip_threshold_logit(given_odds, 2.5) == pytest.approx(float(decimal_logit(q_clip)), rel=1e-14)
    if Decimal(tail) >= Decimal("1e-12"):
        assert theory.lambda_star(float(p), 0.3, 2.5) == pytest.approx(exact, rel=1e-5)
        assert 1 - theory.clip_threshold(float(p), 2.5) == pytest.approx(float(1 - q_clip), rel=1e-3)


def test_clip_threshold_is_where_the_tail_ratio_reaches_the_clip() -> None:
    assert (1 - 0.97) / (1 - theory.clip_threshold(0.97, 5.0)) == pytest.approx(5.0)
    assert theory.clip_threshold(0.97, 5.0) == pytest.approx(1 - 0.03 / 5)


def test_lambda_one_does_not_depend_on_the_base_and_equal_models_not_on_lambda() -> None:
    for reading in READINGS:
        ends = {round(theory.stable_fixed_point_logit(0.97, b, C, 1.0, reading) or 0.0, 10) for b in (0.1, 0.5, 0.9)}
        assert ends == {round(theory.log_odds(0.97), 10)}
        ends = {round(theory.stable_fixed_point_logit(0.9, 0.9, C, lam, reading) or 0.0, 10) for lam in (0.5, 1.0, 2.0)}
        assert ends == {round(theory.log_odds(0.9), 10)}
        assert float(theory.force(theory.log_odds(0.9), 0.9, 0.9, C, 1.7, reading=reading)) == pytest.approx(0, abs=1e-14)


# Properties over random settings


@fast
@given(base=bases, gap=gaps, clip=clips)
def test_closed_form_root_and_inverse_agree(base, gap, clip) -> None:
    p, b = LogOdds(base + gap), LogOdds(base)
    star = theory.lambda_star(p, b, clip)
    root = brentq(lambda lam: theory.fixed_point_logit(p, b, lam) - clip_logit(p, clip), 0.5, star + 5.0, xtol=1e-13)
    assert star == pytest.approx(root, rel=1e-10)
    assert theory.p_logit_for_lambda_star(star, b, clip) == pytest.approx(base + gap, rel=1e-6, abs=1e-6)


@fast
@given(base=bases, gap=gaps, clip=clips, other=clips)
def test_zero_parameter_prediction(base, gap, clip, other) -> None:
    p, b = LogOdds(base + gap), LogOdds(base)
    prob = 1 / (1 + math.exp(-base - gap))
    ratio = (theory.lambda_star(p, b, clip) - 1) / (theory.lambda_star(p, b, other) - 1)
    assert ratio == pytest.approx(math.log1p((clip - 1) / prob) / math.log1p((other - 1) / prob), rel=1e-8)


@fast
@given(base=bases, gap=gaps, clip=clips)
def test_order_of_the_marks(base, gap, clip) -> None:
    p, b = LogOdds(base + gap), LogOdds(base)
    far = math.log1p(math.exp(base + gap)) - math.log1p(math.exp(base))
    turns_up, endless = theory.mask_escape(p, b, clip)
    star, crossing = theory.lambda_star(p, b, clip), theory.lambda_star_reading(p, b, clip, "truncate")
    assert 1.0 < turns_up < star < crossing < 1 + math.log(clip) / far
    assert turns_up < endless


@fast
@given(base=bases, gap=gaps, clip=clips, reading=st.sampled_from(READINGS), below=st.booleans())
def test_stable_point_sits_on_the_right_side_of_its_crossing(base, gap, clip, reading, below) -> None:
    p, b = LogOdds(base + gap), LogOdds(base)
    crossing = theory.lambda_star_reading(p, b, clip, reading)
    s = theory.stable_fixed_point_logit(p, b, clip, crossing + (-1e-4 if below else 1e-4) * (crossing - 1), reading)
    if reading == "mask" and not below:
        assert s is None or s > clip_logit(p, clip) + 1e-9
        assert s is None or theory.mask_escape(p, b, clip)[1] > crossing
    else:
        assert s is not None
        assert (s < clip_logit(p, clip)) == below


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    base=st.floats(-3, 3), gap=st.floats(0.3, 12), clip=clips, lam=st.floats(1.0, 2.0),
    reading=st.sampled_from(CONTINUOUS), start=st.floats(-3, 3),
)  # fmt: skip
def test_integration_ends_at_the_only_stable_point(*, base, gap, clip, lam, reading, start) -> None:
    p, b = LogOdds(base + gap), LogOdds(base)
    ((root, stable),) = theory.fixed_points(p, b, clip, lam, reading)
    assert stable
    end = theory.flow_end(base + start, p, b, clip, lam, reading=reading, duration=1e12, natural=True)
    assert end == pytest.approx(root, abs=1e-5)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(base=st.floats(-2, 2), gap=st.floats(1, 10), clip=clips, share=st.floats(0.05, 0.95))
def test_mask_flow_from_the_base_stays_below_and_leaves_above_its_vanishing(base, gap, clip, share) -> None:
    p, b = LogOdds(base + gap), LogOdds(base)
    vanishing = theory.lambda_star_reading(p, b, clip, "mask")
    lam = 1 + share * (vanishing - 1)
    end = theory.flow_end(base, p, b, clip, lam, reading="mask", duration=1e12, natural=True)
    assert end == pytest.approx(theory.stable_fixed_point_logit(p, b, clip, lam, "mask"), abs=1e-5)
    assert end < clip_logit(p, clip)
    gone = theory.flow_end(base, p, b, clip, vanishing + 0.1, reading="mask", duration=1e9, natural=True)
    assert gone > clip_logit(p, clip)


@fast
@given(base=bases, gap=gaps, clip=clips, lam=st.floats(0.0, 4.0), reading=st.sampled_from(READINGS))
def test_stability_is_the_sign_of_the_force_on_both_sides(base, gap, clip, lam, reading) -> None:
    p, b = LogOdds(base + gap), LogOdds(base)
    for s, stable in theory.fixed_points(p, b, clip, lam, reading):
        below, above = theory.force([s - 1e-6, s + 1e-6], p, b, clip, lam, reading=reading)
        assert (below > 0 > above) if stable else (below < 0 < above)


def test_plain_clock_follows_the_same_path_more_slowly() -> None:
    plain = theory.flow_end(0.0, *REPLICA, 5.0, 1.2, reading="truncate", duration=1e5)
    assert plain == pytest.approx(theory.stable_fixed_point_logit(*REPLICA, 5.0, 1.2, "truncate"), abs=1e-6)
    early = [theory.flow_end(0.0, *REPLICA, 5.0, 1.2, reading="none", duration=1.0, natural=n) for n in (False, True)]
    assert 0.0 < early[0] < early[1] < plain + 1.0
    moved = theory.flow_end(1.5, *REPLICA, 5.0, 1.2, reading="mask", duration=1e-3) - 1.5
    assert moved == pytest.approx(1e-3 * float(theory.flow(1.5, *REPLICA, 5.0, 1.2, reading="mask")), rel=1e-2)


@pytest.mark.parametrize("natural", [True, False])
def test_integrating_across_an_edge_in_two_legs_equals_one(natural: bool) -> None:
    edge = clip_logit(REPLICA[0], 2.45)
    legs = theory.flow_end(edge - 0.5, *REPLICA, 2.45, 1.5, reading="mask", duration=12.0, natural=natural)
    legs = theory.flow_end(legs, *REPLICA, 2.45, 1.5, reading="mask", duration=300.0, natural=natural)
    whole = theory.flow_end(edge - 0.5, *REPLICA, 2.45, 1.5, reading="mask", duration=312.0, natural=natural)
    assert whole > edge
    assert whole == pytest.approx(legs, abs=1e-6)


def test_a_jump_of_the_force_can_hold_the_flow() -> None:
    """Under `mask` with lambda < 1, p/c can attract from both sides: the integration must stop there, not chatter."""
    ((root, stable),) = theory.fixed_points(0.9, 0.3, 1.4, 0.5, "mask")
    assert stable
    assert root == pytest.approx(theory.log_odds(0.9 / 1.4))
    for start in (-3.0, 4.0):
        end = theory.flow_end(start, 0.9, 0.3, 1.4, 0.5, reading="mask", duration=1e3, natural=True)
        assert end == pytest.approx(root, abs=1e-6)


# Derivatives and intervals


@fast
@given(p=st.floats(0.6, 0.999), b=st.floats(0.05, 0.55), clip=clips)
def test_gradient_matches_finite_differences(p, b, clip) -> None:
    at = (p, b, clip)
    slopes = theory.lambda_star_gradient(*at)
    for which, (slope, h) in enumerate(zip(slopes, (1e-5 * (1 - p), 1e-6, 1e-6), strict=True)):
        up, down = list(at), list(at)
        up[which], down[which] = up[which] + h, down[which] - h
        assert slope == pytest.approx((theory.lambda_star(*up) - theory.lambda_star(*down)) / (2 * h), rel=1e-3)
    assert slopes[0] < 0 < min(slopes[1:])


@fast
@given(base=bases, width_b=st.floats(0, 2), gap=gaps, width_p=st.floats(0, 3), clip=clips, u=st.floats(0, 1))
def test_interval_holds_every_point_of_the_box(*, base, width_b, gap, width_p, clip, u) -> None:
    p_range = (LogOdds(base + width_b + gap), LogOdds(base + width_b + gap + width_p))
    b_range = (LogOdds(base), LogOdds(base + width_b))
    low, high = theory.lambda_star_interval(p_range, b_range, clip)
    for v in (0.0, u, 1.0):
        p, b = LogOdds(p_range[0] + v * width_p), LogOdds(base + u * width_b)
        assert low - 1e-9 * low <= theory.lambda_star(p, b, clip) <= high + 1e-9 * high
    assert theory.lambda_star(p_range[1], b_range[0], clip) == low
    assert theory.lambda_star(p_range[0], b_range[1], clip) == high


# K-ary


def random_log_probs(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=shape)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def test_categorical_fixed_point_definition_and_limits() -> None:
    teacher, base = random_log_probs(0, (3, 7)), random_log_probs(1, (3, 7))
    unnormalised = np.exp(teacher) ** 1.3 * np.exp(base) ** -0.3
    expected = unnormalised / unnormalised.sum(-1, keepdims=True)
    np.testing.assert_allclose(np.exp(theory.categorical_fixed_point(teacher, base, 1.3)), expected, rtol=1e-12)
    np.testing.assert_allclose(theory.categorical_fixed_point(teacher + 4.0, base, 1.0), teacher, rtol=1e-12)
    np.testing.assert_allclose(theory.categorical_fixed_point(base, base, 1.7), base, rtol=1e-12)


@fast
@given(base=st.floats(-3, 3), gap=st.floats(0.1, 20), lam=st.floats(0.1, 3.0), seed=st.integers(0, 99))
def test_categorical_reduces_to_bernoulli_when_off_modal_ratios_agree(base, gap, lam, seed) -> None:
    tail = random_log_probs(seed, (5,))
    t, b = (np.append(tail - np.logaddexp(0, s), -np.logaddexp(0, -s)) for s in (base + gap, base))
    log_pi = theory.categorical_fixed_point(t, b, lam)
    s = log_pi[-1] - np.log(np.exp(log_pi[:-1] - log_pi[:-1].max()).sum()) - log_pi[:-1].max()
    expected = theory.fixed_point_logit(LogOdds(base + gap), LogOdds(base), lam)
    assert s == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_categorical_masked_tokens() -> None:
    teacher, base = np.array([0.0, -1.0, -np.inf]), np.array([-1.0, 0.0, -np.inf])
    fixed = theory.categorical_fixed_point(teacher, base, 1.5)
    assert fixed[2] == -np.inf
    assert np.exp(fixed).sum() == pytest.approx(1.0)
    with pytest.raises(DomainError, match="without base mass"):
        theory.categorical_fixed_point([0.0, -1.0], [0.0, -np.inf], 1.5)
    np.testing.assert_allclose(
        theory.categorical_fixed_point([0.0, 0.0], [0.0, -np.inf], 1.0), np.log([0.5, 0.5]), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("teacher", "base", "lam", "words"),
    [
        ([0.0], [0.0], 1.1, "K >= 2"),
        ([0.0, 1.0], [0.0, 1.0, 2.0], 1.1, "share a shape"),
        ([0.0, math.nan], [0.0, 1.0], 1.1, "NaN"),
        ([0.0, 1.0], [0.0, 1.0], -0.1, "lambda"),
        ([-math.inf, -math.inf], [0.0, 0.0], 1.1, "without mass"),
    ],
)
def test_categorical_domain(teacher, base, lam, words) -> None:
    with pytest.raises(DomainError, match=words):
        theory.categorical_fixed_point(teacher, base, lam)


# Domain errors and the summary


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: theory.lambda_star(0.4, 0.5, 5.0), r"p \(teacher\) must exceed b \(base\)"),
        (lambda: theory.lambda_star(0.5, 0.5, 5.0), "must exceed b"),
        (lambda: theory.lambda_star(0.9, 0.5, 1.0), r"clip \(c\) must be above 1 and at most 1e\+09, found 1.0"),
        (lambda: theory.lambda_star(0.9, 0.5, math.inf), "clip"),
        (lambda: theory.lambda_star(1.0, 0.5, 5.0), "p must lie strictly between 0 and 1, found 1.0"),
        (lambda: theory.lambda_star(0.9, 0.0, 5.0), "b must lie strictly between 0 and 1, found 0.0"),
        (lambda: theory.lambda_star(math.nan, 0.5, 5.0), "p must lie"),
        (lambda: theory.lambda_star(LogOdds(math.inf), 0.5, 5.0), "p: log-odds must lie within"),
        (lambda: theory.lambda_star(LogOdds(math.nan), 0.5, 5.0), "p: log-odds must lie within"),
        (lambda: theory.fixed_point_logit(0.9, 0.5, -1.0), "lambda must be at least 0 and at most 1e\\+09"),
        (lambda: theory.fixed_points(0.9, 0.5, 5.0, math.nan, "mask"), "lambda"),
        (
            lambda: theory.fixed_points(0.9, 0.5, 5.0, 1.2, "clamp"),
            "reading must be one of none, truncate, mask, rollout",
        ),
        (lambda: theory.lambda_star_reading(0.9, 0.5, 5.0, "MASK"), "reading must be one of"),
        (lambda: theory.p_for_lambda_star(1.0), r"lambda\* must be finite and above 1"),
        (lambda: theory.p_for_lambda_star(math.nan), r"lambda\* must be"),
        (lambda: theory.p_for_lambda_star(1.2, clip=0.5), "clip"),
        (lambda: theory.lambda_star_interval((0.99, 0.9)), "p: interval ends are reversed"),
        (lambda: theory.lambda_star_interval((0.6, 0.9), (0.5, 0.7)), "must exceed b"),
        (lambda: theory.flow_end(math.inf, 0.9, 0.5, 5.0, 1.2, reading="none", duration=1.0), "no path"),
        (lambda: theory.flow_end(0.0, 0.9, 0.5, 5.0, 1.2, reading="none", duration=-1.0), "no path"),
        (lambda: theory.summary(0.3, 0.5, 5.0, "none"), "must exceed b"),
    ],
)
def test_domain_errors_say_what_is_wrong(call, words: str) -> None:
    with pytest.raises(DomainError, match=words):
        call()


@pytest.mark.parametrize("reading", READINGS)
def test_summary_is_plain_json_and_agrees_with_the_functions(reading: str) -> None:
    facts = theory.summary(P, B, C, reading, lam=1.3)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["lambda_star"] == theory.lambda_star(P, B, C)
    assert facts["logit_gap"] == pytest.approx(math.log(P / (1 - P)))
    assert facts["q_clip"] == pytest.approx(1 - (1 - P) / C, rel=1e-15)
    assert facts["q_clip_logit"] == clip_logit(P, C)
    assert facts["crossing"] == theory.lambda_star_reading(P, B, C, reading)
    assert facts["vanishing"] == (facts["crossing"] if reading == "mask" else None)
    assert (facts["turns_up"] is None) == (facts["endless"] is None) == (reading != "mask")
    assert facts["stable_fixed_point_logit"] == theory.stable_fixed_point_logit(P, B, C, 1.3, reading)
    assert facts["p_lambda"] == pytest.approx(theory.fixed_point(P, B, 1.3))
    assert "p_lambda" not in theory.summary(P, B, C, reading)
    assert {"p", "b", "clip", "reading"} <= theory.summary(LogOdds(60.0), B, C, reading).keys()
