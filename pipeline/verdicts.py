"""The words of a judgement: verdicts, figures with their n, and the comparisons that every rule is made of. No I/O."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.imported import Run

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
CANNOT_COMPARE, NOT_RUN, INVALID = "cannot compare", "not run", "invalid"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE, CANNOT_COMPARE, NOT_RUN, INVALID)


@dataclass(frozen=True)
class Published:
    """The figure as given: its text, and as numbers where it has them."""

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Ours:
    """The figure that a rule found, and the number of seeds and of prompts or outputs that it rests on."""

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n_seeds: int | None = None
    n: int | None = None


@dataclass(frozen=True)
class Judgement:
    verdict: str
    ours: Ours
    reason: str


@dataclass(frozen=True)
class Case:
    """What every rule sees: the profile's aggregate, the claim's published figure and the check's tolerance.

    ``imported``: evaluations of runs made elsewhere, which only rules of tier D look at.
    """

    aggregate: dict[str, Any]
    published: Published
    tolerance: float
    imported: tuple[Run, ...] = ()


class Interval(NamedTuple):
    value: float
    low: float
    high: float
    n_seeds: int
    n: int

    def ours(self) -> Ours:
        return Ours(f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})", *self)


class Unjudged(Exception):
    """A precondition fails: a verdict without a comparison."""

    def __init__(self, verdict: str, reason: str, ours: Ours | None = None) -> None:
        super().__init__(reason)
        self.judgement = Judgement(verdict, ours or Ours("none"), reason)


def either(holds: bool, ours: Ours, reason: str) -> Judgement:
    return Judgement(REPRODUCED if holds else NOT_REPRODUCED, ours, reason)


def near(case: Case, value: float, reason: str) -> Judgement:
    """The value equals the published one within the tolerance."""
    assert case.published.value is not None, "the rule compares with a published number"
    holds = abs(value - case.published.value) <= case.tolerance + 1e-12
    return either(
        holds, Ours(f"{value:.4g}", value), f"{reason}: {value:.4g} beside {case.published.value:g}, {allowed(case)}"
    )


def equivalent(found: Interval, target: float, margin: float, what: str) -> Judgement:
    """Equivalence: the whole interval within ``target`` ± ``margin``, wholly outside it, or neither."""
    reason = f"{what}: {found.ours().text} beside {target:g} ± {margin:g}"
    if found.high < target - margin or found.low > target + margin:
        return Judgement(NOT_REPRODUCED, found.ours(), reason)
    if target - margin < found.low and found.high < target + margin:
        return Judgement(REPRODUCED, found.ours(), reason)
    edge = min((target - margin, target + margin), key=lambda end: abs(found.value - end))
    return Judgement(INCONCLUSIVE, found.ours(), f"{reason}: the interval crosses the margin; {would_do(found, edge)}")


def would_do(found: Interval, bound: float) -> str:
    """How many seeds would bring the interval to one side of ``bound``, if its width falls with the root of their number."""
    distance, reach = abs(found.value - bound), max(found.high - found.value, found.value - found.low)
    if found.n_seeds * reach**2 > 1e4 * distance**2:
        return "no number of seeds worth running would tell"
    return f"about {math.ceil(found.n_seeds * (reach / distance) ** 2 + 1e-9)} seeds would do, here: {found.n_seeds}"


def enough(n_seeds: int, least: int, ours: Ours) -> None:
    """Raises `Unjudged` (inconclusive, with the figure that there is) under ``least`` seeds."""
    if n_seeds < least:
        raise Unjudged(INCONCLUSIVE, f"too few seeds: {n_seeds} here, {least} would do", ours)


def allowed(case: Case) -> str:
    return f"{case.tolerance:.2g} allowed"


def span(ends: tuple[float, float]) -> str:
    """An interval in words; either end may be infinite."""
    low, high = ends
    if math.isinf(low) and math.isinf(high):
        return "anywhere"
    if math.isinf(low):
        return f"at or below {high:.3f}"
    return f"above {low:.3f}" if math.isinf(high) else f"{low:.3f} to {high:.3f}"
