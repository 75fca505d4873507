"""Rules: from the figures of one profile, or from published numbers alone, to a verdict with its reason. No I/O.

A rule gets a `Case` and the arguments that ``bundle/claims.yaml`` gives it; `judge` is the one entry. What the tolerance
means stands in each rule's docstring. An interval that straddles a bound is `inconclusive`, so a result too wide to tell
is never a success, and a figure from a broken or foreign cell is `invalid` whatever its value.
Left out on purpose: anything that turns a figure of one scale into a verdict about another.
"""

import math
from collections.abc import Callable
from statistics import fmean
from typing import Any, Literal

from scipy.stats import binomtest

from pipeline import theory
from pipeline.rules_published import (
    agree,
    arithmetic,
    closed_form,
    implied_p,
    means_equivalent,
    premises,
    ratio_of_rounded,
    whole_batches,
    within,
)
from pipeline.verdicts import (
    CANNOT_COMPARE,
    INCONCLUSIVE,
    INVALID,
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    Case,
    Interval,
    Judgement,
    Ours,
    Unjudged,
    allowed,
    either,
    enough,
    equivalent,
    span,
    would_do,
)
from pipeline.words import counted

LEAST_PLATEAU = 0.5  # below it there is nothing to collapse from

Row = dict[str, Any]
Figure = Literal["parse", "parse_greedy", "lift", "useful", "quality"]
Kind = Literal["shorter", "repetition"]


def judge(rule: str, case: Case, **arguments: Any) -> Judgement:
    """Apply the rule of that name. Raises KeyError for an unknown name."""
    try:
        return RULES[rule](case, **arguments)
    except Unjudged as early:
        return early.judgement


# What stands in the way of a judgement


def imported(case: Case, *, what: str) -> Judgement:
    """A figure at full scale (tier D): judged only on metrics made at that scale, and none are here."""
    raise Unjudged(NOT_RUN, f"no metrics at full scale are here; it takes {what}")


def needs(case: Case, *, cells: str, what: str) -> Judgement:
    """A claim about a group of cells that the profile does not hold."""
    there = cells in case.aggregate["cells"]
    raise Unjudged(NOT_RUN, f"cells `{cells}` " + ("ran, but no rule judges them" if there else f"are missing: {what}"))


def unknown_fact(case: Case, *, what: str) -> Judgement:
    """A claim that rests on a fact which no source gives."""
    raise Unjudged(CANNOT_COMPARE, f"unknown: {what}")


# Tier C: what the profile's own cells show


def exceeds(case: Case, *, group: str, lam: float, figure: Figure, min_seeds: int) -> Judgement:
    """At a λ below the predicted λ*, the whole interval of a figure lies above the tolerance (0: a direction)."""
    found = _estimate(_row(case, group, lam)[figure], min_seeds)
    star, bound, what = _predicted(case), case.tolerance, f"{figure} at λ = {lam:g}"
    if lam >= star[0]:
        raise Unjudged(CANNOT_COMPARE, f"λ = {lam:g} is not below this profile's λ* ({span(star)})", found.ours())
    if found.low <= bound <= found.high:
        return Judgement(INCONCLUSIVE, found.ours(), f"{what}: {bound:g} lies in the interval; {would_do(found, bound)}")
    return either(found.low > bound, found.ours(), f"{what}: the interval lies on one side of {bound:g}")


def warm_start_near(case: Case, *, target: float, min_seeds: int) -> Judgement:
    """Equivalence: the interval of the warm starts' strict parse lies within the target ± the tolerance."""
    found = _estimate(case.aggregate["sft"]["student"]["parse"], min_seeds)
    return equivalent(found, target, case.tolerance, "strict parse of the warm starts")


def ordering(case: Case, *, group: str, lam: float, over: float, figure: Figure, min_seeds: int) -> Judgement:
    """A figure is larger at ``lam`` than at ``over``: their intervals lie apart by more than the tolerance."""
    a, b = (_estimate(_row(case, group, at)[figure], min_seeds) for at in (lam, over))
    ours = Ours(f"{a.ours().text} and {b.ours().text}", a.value - b.value, n_seeds=a.n_seeds, n=a.n)
    what = f"{figure} at λ = {lam:g} and at λ = {over:g}"
    if max(a.low - b.high, b.low - a.high) <= case.tolerance:
        return Judgement(INCONCLUSIVE, ours, f"{what}: the intervals overlap")
    return either(a.value > b.value, ours, f"{what}: the intervals lie apart")


def begins_at_prediction(
    case: Case,
    *,
    group: str,
    figure: Literal["onset", "onset_of_least", "crossing", "jump"],
    prediction: Literal["lambda_star", "reading"],
    widest: float,
    min_seeds: int,
) -> Judgement:
    """Where along λ something begins, beside the prediction made before the cells ran, ± the tolerance.

    The interval over seeds is widened to the grid points around it, since nothing is known between them. Apart from
    the prediction: `not reproduced`, also where nothing begins up to the last λ that can show it and that lies beyond the
    prediction. Overlapping but wider than ``widest``, or with a grid that ends too early: `inconclusive`.
    """
    cells = _cells(case, group)
    found, grid = cells[figure], [row["lambda"] for row in cells["lambdas"]]
    star = _predicted(case) if prediction == "lambda_star" else _reading_crossing(case, cells)
    on_parse = figure.startswith("onset")
    ours = Ours(_begun(found), found["median"], found["low"], found["high"], found["n_seeds"])
    enough(found["n_seeds"], min_seeds, ours)
    if on_parse and (least := min(row["parse"] for row in cells["plateau"])) < LEAST_PLATEAU:
        raise Unjudged(INCONCLUSIVE, f"a seed's plateau is {least:.2f}, under {LEAST_PLATEAU}: nothing to collapse from")
    low = found["beyond"] if found["low"] is None else max((x for x in grid if x < found["low"]), default=-math.inf)
    high = math.inf if found["high"] is None else min(x for x in grid if x >= found["high"] - 1e-9)
    reason = f"{figure} in {group}: {ours.text}; on the grid {span((low, high))}; predicted {span(star)}"
    reason += "" if on_parse else _distance_from_fixed_point(cells, star[0])
    if low > star[1] + case.tolerance or high < star[0] - case.tolerance:
        return Judgement(NOT_REPRODUCED, ours, reason)
    return Judgement(REPRODUCED if high - low <= widest + 1e-9 else INCONCLUSIVE, ours, f"{reason}; widest {widest:g}")


def _distance_from_fixed_point(cells: Row, star: float) -> str:
    """How far q was from where the flow would take it: a budget that ends early hides a crossing of the fixed point."""
    for row, fixed in zip(cells["lambdas"], cells["fixed_point_logit"], strict=True):
        known = [value for value in fixed["by_seed"] if value is not None]
        if row["lambda"] >= star and known and row["q_logit_by_seed"]:
            gap = fmean(row["q_logit_by_seed"]) - fmean(known)
            budget = counted(cells["steps"], "step")
            return f"; at λ = {row['lambda']:g} q ends {gap:+.1f} log-odds from the flow's fixed point after {budget}"
    return ""


def low_above_prediction(case: Case, *, group: str, min_seeds: int) -> Judgement:
    """Parse is under the published bound at every λ that lies above the predicted λ* by more than the tolerance."""
    assert case.published.value is not None
    cells, bound, edge = _cells(case, group), case.published.value, _predicted(case)[1] + case.tolerance
    above = {row["lambda"]: _estimate(row["parse"], min_seeds) for row in cells["lambdas"] if row["lambda"] > edge}
    if not above:
        raise Unjudged(NOT_RUN, f"no λ above {edge:.3f} in the grid")
    lam, worst = max(above.items(), key=lambda item: item[1].value)
    reason = f"largest of {len(above)} λ above {edge:.3f}, at λ = {lam:g}, beside {bound:g}"
    if all(found.high < bound for found in above.values()):
        return Judgement(REPRODUCED, worst.ours(), reason)
    refuted = any(found.low >= bound for found in above.values())
    return Judgement(NOT_REPRODUCED if refuted else INCONCLUSIVE, worst.ours(), reason)


def failure_share(case: Case, *, group: str, kinds: list[Kind], min_seeds: int, min_failures: int) -> Judgement:
    """Among failures at and above the onset of collapse, those with one id missing are the majority.

    ``kinds``: a shorter list, a repetition in a full-length one, or both, added because the claim does not tell them
    apart. Wilson's interval, widened by the tolerance as outcomes are pooled over seeds, lies on one side of one half.
    Without an onset there is no composition above it: `inconclusive`, and what fails above λ* is only shown.
    """
    cells, k = _cells(case, group), case.aggregate["k"]
    onset = cells["onset"]["median"] if min(r["parse"] for r in cells["plateau"]) >= LEAST_PLATEAU else None
    rows = [r for r in cells["lambdas"] if r["lambda"] >= (_predicted(case)[1] if onset is None else onset)]
    names = {"shorter": f"listed {k - 1}, distinct {k - 1}", "repetition": f"listed {k}, distinct {k - 1}"}
    failures = sum(n for row in rows for label, n in row["outcomes"].items() if label != "ok")
    counts = {kind: sum(row["outcomes"].get(label, 0) for row in rows) for kind, label in names.items()}
    parts = (counted(counts["shorter"], "shorter list"), counted(counts["repetition"], "repetition"))
    text = f"{', '.join(parts)}, of {counted(failures, 'failure')}"
    shown = Ours(text, n_seeds=cells["onset"]["n_seeds"], n=failures)
    if onset is None:
        raise Unjudged(INCONCLUSIVE, f"no collapse in the grid, so nothing fails above its onset; above λ*: {text}", shown)
    enough(cells["onset"]["n_seeds"], min_seeds, shown)
    if failures < min_failures:
        raise Unjudged(INCONCLUSIVE, f"{text}; the rule asks for {min_failures}", shown)
    found = binomtest(sum(counts[kind] for kind in kinds), failures).proportion_ci(method="wilson")
    low, high = float(found.low) - case.tolerance, float(found.high) + case.tolerance
    share = sum(counts[kind] for kind in kinds) / failures
    ours = Ours(f"{share:.3f} ({text})", share, low, high, cells["onset"]["n_seeds"], failures)
    verdict = REPRODUCED if low > 0.5 else NOT_REPRODUCED if high < 0.5 else INCONCLUSIVE
    return Judgement(verdict, ours, f"{' and '.join(kinds)}, at λ ≥ {onset:.3f}, beside one half")


def flat(case: Case, *, group: str, score: str, min_seeds: int) -> Judgement:
    """A score on parsed outputs varies over λ by at most the tolerance (range of the λ means; permutation p stated).

    More than that is `not reproduced` at p < 0.05. A score that is within the tolerance of 1 at every λ had no room to
    rise and shows little: `inconclusive`.
    """
    cells = _cells(case, group)
    test = cells["flatness"].get(score)
    if test is None:
        raise Unjudged(INCONCLUSIVE, f"no {score} at every λ for two seeds or more")
    lowest, n = min(r["scores"][score] for r in cells["lambdas"]), sum(r["quality"]["n"] for r in cells["lambdas"])
    text = f"range {test['range']:.4f}, p = {test['p_value']:.2g}, lowest {lowest:.3f}"
    ours = Ours(text, test["range"], None, None, test["n_seeds"], n)
    enough(test["n_seeds"], min_seeds, ours)
    if lowest >= 1 - case.tolerance:
        return Judgement(INCONCLUSIVE, ours, f"{score} is at its ceiling at every λ: a harder task would tell ({text})")
    if test["range"] <= case.tolerance:
        return Judgement(REPRODUCED, ours, f"{score} over {test['n_lambdas']} λ: {text}, {allowed(case)}")
    return Judgement(NOT_REPRODUCED if test["p_value"] < 0.05 else INCONCLUSIVE, ours, f"{score}: {text}, {allowed(case)}")


def only_with_clip(case: Case, *, group: str, against: str, min_seeds: int) -> Judgement:
    """Cells with ρ = 1 do not collapse in any seed where those with the clip do. Without a collapse there: no contrast."""
    free, clipped = (_cells(case, name)["onset"] for name in (group, against))
    collapsed = free["n_seeds"] - free["censored"]
    text = f"without the clip a collapse in {collapsed} of {counted(free['n_seeds'], 'seed')}"
    ours = Ours(text, collapsed, n_seeds=free["n_seeds"])
    enough(min(free["n_seeds"], clipped["n_seeds"]), min_seeds, ours)
    with_clip = f"with it in {clipped['n_seeds'] - clipped['censored']} of {clipped['n_seeds']}"
    if collapsed:
        return Judgement(NOT_REPRODUCED if free["median"] is not None else INCONCLUSIVE, ours, with_clip)
    contrast = clipped["median"] is not None and clipped["median"] <= free["beyond"]
    return Judgement(REPRODUCED if contrast else INCONCLUSIVE, ours, with_clip + ("" if contrast else ": no contrast"))


# What the rules of tier C read


def _cells(case: Case, group: str, lam: float | None = None) -> Row:
    """A group of cells, or what it holds at one λ; `not run` where there is none, `invalid` where a cell is broken."""
    cells = case.aggregate["cells"].get(group)
    if cells is None:
        raise Unjudged(NOT_RUN, f"this profile has no cells `{group}`")
    broken = [f"{c['seed']}/{c['lambda']} {c['status']}" for c in cells["invalid"] if lam in (None, c["lambda"])]
    foreign = [name for name in cells["not_of_this_calibration"] if lam is None or name.startswith(f"{lam}-")]
    if broken or foreign:
        raise Unjudged(INVALID, "; ".join([*broken, *(f"{name} saw another calibration" for name in foreign)]))
    return dict(cells)


def _row(case: Case, group: str, lam: float) -> Row:
    rows = _cells(case, group, lam)["lambdas"]
    found = next((row for row in rows if abs(row["lambda"] - lam) < 1e-9), None)
    if found is None:
        raise Unjudged(NOT_RUN, f"λ = {lam:g} is not in the grid {', '.join(str(row['lambda']) for row in rows)}")
    return dict(found)


def _estimate(found: Row | None, min_seeds: int) -> Interval:
    """A figure with its interval; `inconclusive` without a value or with too few seeds, `invalid` where not a number."""
    if found is None or found["value"] is None:
        raise Unjudged(INCONCLUSIVE, "no value: no output that counts")
    interval = Interval(*(found[key] for key in ("value", "low", "high", "n_seeds", "n")))
    if not all(map(math.isfinite, interval)):
        raise Unjudged(INVALID, f"not a number: {interval}")
    enough(interval.n_seeds, min_seeds, interval.ours())
    return interval


def _predicted(case: Case) -> tuple[float, float]:
    """The interval of λ* that `calibrate` wrote; `cannot compare` where the theory's preconditions fail."""
    star, precondition = case.aggregate["calibration"]["lambda_star"], case.aggregate["calibration"]["precondition"]
    if not precondition["holds"]:
        raise Unjudged(CANNOT_COMPARE, f"no structural position with p ≥ {precondition['modal_threshold']:g}")
    if star["value"] is None:
        raise Unjudged(CANNOT_COMPARE, "the closed form says nothing here: the teacher's p does not exceed b")
    return star["low"], star["high"]


def _reading_crossing(case: Case, cells: Row) -> tuple[float, float]:
    """Least and greatest λ, over the seeds' b, at which the reading's own fixed point reaches q_c."""
    _predicted(case)
    calibration = case.aggregate["calibration"]
    p = theory.LogOdds(calibration["p"]["log_odds"])
    bases = [theory.LogOdds(row["b"]["log_odds"]) for row in calibration["per_seed"]]
    at = [theory.lambda_star_reading(p, b, cells["clip"], cells["reading"]) for b in bases if b < p]
    if not at:
        raise Unjudged(CANNOT_COMPARE, "the teacher's p does not exceed b for any seed")
    return min(at), max(at)


def _begun(found: Row) -> str:
    """Where something begins, in words; seeds in which it does not are counted."""
    if found["median"] is None:
        return f"none up to λ = {found['beyond']:g} in {found['censored']} of {counted(found['n_seeds'], 'seed')}"
    ends = [f"> {found['beyond']:g}" if x is None else f"{x:.3f}" for x in (found["low"], found["high"])]
    return f"{found['median']:.3f} ({ends[0]} to {ends[1]})"


RULES: dict[str, Callable[..., Judgement]] = {
    rule.__name__: rule
    for rule in (
        *(imported, needs, unknown_fact),
        *(premises, implied_p, closed_form, within, arithmetic, whole_batches, agree, ratio_of_rounded, means_equivalent),
        *(exceeds, warm_start_near, ordering, begins_at_prediction, low_above_prediction, failure_share, flat),
        only_with_clip,
    )
}
