"""What the rules of tier C read: figures of a group of cells, or the verdict that stands in the way of reading them."""

import math
from typing import Any

from pipeline import theory
from pipeline.verdicts import CANNOT_COMPARE, INCONCLUSIVE, INVALID, NOT_RUN, Case, Interval, Unjudged, enough
from pipeline.words import counted

Row = dict[str, Any]


def cells_of(case: Case, group: str, lam: float | None = None) -> Row:
    """A group of cells, or what it holds at one λ; `not run` where there is none, `invalid` where a cell is broken."""
    cells = case.aggregate["cells"].get(group)
    if cells is None:
        raise Unjudged(NOT_RUN, f"this profile has no cells `{group}`")
    broken = [f"{c['seed']}/{c['lambda']} {c['status']}" for c in cells["invalid"] if lam in (None, c["lambda"])]
    foreign = [name for name in cells["not_of_this_calibration"] if lam is None or name.startswith(f"{lam}-")]
    if broken or foreign:
        raise Unjudged(INVALID, "; ".join([*broken, *(f"{name} saw another calibration" for name in foreign)]))
    return dict(cells)


def row_of(case: Case, group: str, lam: float) -> Row:
    rows = cells_of(case, group, lam)["lambdas"]
    found = next((row for row in rows if abs(row["lambda"] - lam) < 1e-9), None)
    if found is None:
        raise Unjudged(NOT_RUN, f"λ = {lam:g} is not in the grid {', '.join(str(row['lambda']) for row in rows)}")
    return dict(found)


def estimated(found: Row | None, min_seeds: int) -> Interval:
    """A figure with its interval; `inconclusive` without a value or with too few seeds, `invalid` where not a number."""
    if found is None or found["value"] is None:
        raise Unjudged(INCONCLUSIVE, "no value: no output that counts")
    interval = Interval(*(found[key] for key in ("value", "low", "high", "n_seeds", "n")))
    if not all(map(math.isfinite, interval)):
        raise Unjudged(INVALID, f"not a number: {interval}")
    enough(interval.n_seeds, min_seeds, interval.ours())
    return interval


def predicted(case: Case, cells: Row) -> tuple[float, float]:
    """The interval of λ* at the group's clip, from what `calibrate` wrote; `cannot compare` where its preconditions fail."""
    star, precondition = cells["lambda_star"], case.aggregate["calibration"]["precondition"]
    if not precondition["holds"]:
        raise Unjudged(CANNOT_COMPARE, f"no structural position with p ≥ {precondition['modal_threshold']:g}")
    if star["value"] is None:
        raise Unjudged(CANNOT_COMPARE, "the closed form says nothing here: the teacher's p does not exceed b")
    return star["low"], star["high"]


def reading_crossing(case: Case, cells: Row) -> tuple[float, float]:
    """Least and greatest λ, over the seeds' b, at which the reading's own fixed point reaches q_c."""
    predicted(case, cells)
    calibration = case.aggregate["calibration"]
    p = theory.LogOdds(calibration["p"]["log_odds"])
    bases = [theory.LogOdds(row["b"]["log_odds"]) for row in calibration["per_seed"]]
    at = [theory.lambda_star_reading(p, b, cells["clip"], cells["reading"]) for b in bases if b < p]
    if not at:
        raise Unjudged(CANNOT_COMPARE, "the teacher's p does not exceed b for any seed")
    return min(at), max(at)


def begun(found: Row) -> str:
    """Where something begins, in words; seeds in which it does not are counted."""
    if found["median"] is None:
        return f"none up to λ = {found['beyond']:g} in {found['censored']} of {counted(found['n_seeds'], 'seed')}"
    ends = [f"> {found['beyond']:g}" if x is None else f"{x:.3f}" for x in (found["low"], found["high"])]
    return f"{found['median']:.3f} ({ends[0]} to {ends[1]})"
