"""Rules of tiers A and B: the closed form, and published numbers beside each other. They look at no result of ours."""

import math
from dataclasses import replace
from typing import Literal

from scipy.optimize import brentq
from scipy.stats import t as student_t

from pipeline import theory
from pipeline.verdicts import (
    CANNOT_COMPARE,
    INCONCLUSIVE,
    INVALID,
    NOT_REPRODUCED,
    REPRODUCED,
    Case,
    Interval,
    Judgement,
    Ours,
    Unjudged,
    allowed,
    either,
    equivalent,
    near,
)
from pipeline.words import counted

Quantity = Literal["lambda_star", "clip_ratio", "crossing", "endless", "fixed_point_shift"]


# Tier A: the closed form


def premises(case: Case, *, points: list[list[float]]) -> Judgement:
    """λ*(p,b,c) equals the root of p_λ = q_c, found numerically at each [p, b, c], within the tolerance."""

    def deviation(p: float, b: float, clip: float) -> float:
        start, gap = math.log(b / (1 - b)), math.log(p / (1 - p)) - math.log(b / (1 - b))
        q_c = 1 - (1 - p) / clip
        root = brentq(lambda lam: start + lam * gap - math.log(q_c / (1 - q_c)), 1.0, 1e6, xtol=1e-14)
        return abs(theory.lambda_star(p, b, clip) - root)

    worst = max(deviation(*point) for point in points)
    ours = Ours(f"largest deviation {worst:.0e} at {counted(len(points), 'setting')}", worst, n=len(points))
    return either(worst <= case.tolerance, ours, "the closed form beside the root of p_λ = q_c found numerically")


def implied_p(case: Case, *, marker: float, clip: float, base: float) -> Judgement:
    """The p at which λ* is the marker ± the tolerance, its rounding. Never a confirmation: the measured p is unknown."""
    around = (marker, marker + case.tolerance, marker - case.tolerance)
    p, low, high = (theory.p_for_lambda_star(lam, base, clip) for lam in around)
    text = f"p = {p:.5f} ({low:.5f} to {high:.5f})" if case.tolerance else f"p = {p:.5f}"
    reason = f"λ* = {marker:g} at c = {clip:g}, b = {base:g} implies {text}; the p that was measured is not published"
    return Judgement(CANNOT_COMPARE, Ours(text, p, low, high), reason)


def closed_form(
    case: Case, *, quantity: Quantity, p: float, base: float, clip: float, reading: str = "none", other: float = 5.0
) -> Judgement:
    """A quantity of theory.py equals the published value within the tolerance.

    `clip_ratio`: λ*−1 at ``clip`` over that at the clip ``other``. `crossing`: the λ at which the reading's stable fixed
    point reaches q_c, also looked for among the fixed points just below and above. `endless`: the λ above which, under
    `mask`, a q past q_c rises without end. `fixed_point_shift`: from p_λ to the reading's stable point at λ = ``other``.
    """
    at = (p, base, clip)
    if quantity == "lambda_star":
        value = theory.lambda_star(*at)
    elif quantity == "clip_ratio":
        value = (theory.lambda_star(*at) - 1) / (theory.lambda_star(p, base, other) - 1)
    elif quantity == "crossing":
        value, q_c = theory.lambda_star_reading(*at, reading), theory.clip_threshold_logit(p, clip)
        under, over = (theory.stable_fixed_point_logit(*at, value + d, reading) for d in (-1e-6, 1e-6))
        if under is None or under > q_c or (over is not None and over < q_c):
            raise Unjudged(INVALID, f"the fixed points under `{reading}` contradict the formula's {value:.4f}")
    elif quantity == "endless":
        value = theory.mask_escape(*at)[1]
    else:
        point = theory.stable_fixed_point_logit(*at, other, reading)
        if point is None:
            raise Unjudged(NOT_REPRODUCED, f"no stable fixed point under `{reading}` at λ = {other:g}")
        value = point - theory.fixed_point_logit(p, base, other)
    return near(case, value, f"p = {p:g}, b = {base:g}, c = {clip:g}, reading `{reading}`")


# Tiers A and B: published numbers beside each other


def within(case: Case, *, inner: list[float], low: float, high: float) -> Judgement:
    """A number, or both ends of an interval (``inner``), lies in [low, high]; the tolerance is its rounding."""
    least, most = min(inner), max(inner)
    ours = Ours(" to ".join(f"{x:g}" for x in inner), None if least < most else least, least, most)
    inside = low <= least - case.tolerance and most + case.tolerance <= high
    outside = most + case.tolerance < low or least - case.tolerance > high
    verdict = REPRODUCED if inside else NOT_REPRODUCED if outside else INCONCLUSIVE
    return Judgement(verdict, ours, f"{ours.text}, ± {case.tolerance:g} for rounding, beside [{low:g}, {high:g}]")


def arithmetic(case: Case, *, times: list[float], over: list[float]) -> Judgement:
    """The product of ``times`` over that of ``over`` equals the published value within the tolerance."""
    text = " × ".join(f"{x:g}" for x in times) + "".join(f" / {x:g}" for x in over)
    return near(case, math.prod(times) / math.prod(over), text)


def whole_batches(case: Case, *, groups: int, batch: int, epochs: int) -> Judgement:
    """⌊groups / batch⌋ × epochs equals the published number of steps within the tolerance."""
    return near(case, groups // batch * epochs, f"⌊{groups} / {batch}⌋ × {epochs}")


def agree(case: Case, *, first: list[float], second: list[float]) -> Judgement:
    """Two published forms of one figure, each a number or [numerator, denominator], differ by at most the tolerance."""
    a, b = (pair[0] / math.prod(pair[1:]) for pair in (first, second))
    ours = Ours(f"{a:.4g} and {b:.4g}", abs(a - b))
    return either(abs(a - b) <= case.tolerance + 1e-12, ours, f"they differ by {abs(a - b):.2g}, {allowed(case)}")


def ratio_of_rounded(case: Case, *, top: float, bottom: float, half_unit: float, power: int) -> Judgement:
    """(top / bottom)^power, over all that their rounding by ``half_unit`` allows, meets the published value ± tolerance."""
    assert case.published.value is not None
    ends = ((top - half_unit) / (bottom + half_unit), (top + half_unit) / (bottom - half_unit))
    value, low, high = ((x) ** power for x in (top / bottom, *ends))
    meets = low <= case.published.value + case.tolerance and case.published.value - case.tolerance <= high
    ours = Ours(f"{value:.3g} ({low:.3g} to {high:.3g})", value, low, high)
    return either(meets, ours, f"({top:g} / {bottom:g})^{power} beside {case.published.value:g}, {allowed(case)}")


def means_equivalent(case: Case, *, first: float, second: float, second_sd: float, second_seeds: int) -> Judgement:
    """Equivalence of two published means: the 95% t interval of their difference lies within ± the tolerance.

    Only the second's spread enters, as the first's number of seeds is unknown, so the interval is too short if anything.
    """
    half = float(student_t.ppf(0.975, second_seeds - 1)) * second_sd / math.sqrt(second_seeds)
    found = Interval(first - second, first - second - half, first - second + half, second_seeds, second_seeds)
    judged = equivalent(found, 0.0, case.tolerance, "difference of the published means")
    left = case.tolerance - abs(found.value)
    counts = (n for n in range(2, 10_000) if student_t.ppf(0.975, n - 1) * second_sd / math.sqrt(n) < left)
    if judged.verdict != INCONCLUSIVE or (would_do := next(counts, None)) is None:
        return judged
    return replace(
        judged,
        reason=f"{judged.ours.text} crosses ± {case.tolerance:g}; {counted(would_do, 'seed')} of that spread would do",
    )
