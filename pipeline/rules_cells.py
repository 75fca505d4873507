"""Rules of tier C about one group of the profile's own cells. What the tolerance means stands in each docstring."""

import math
from statistics import fmean
from typing import Literal

from scipy.stats import binomtest

from pipeline.evidence import Row, begun, cells_of, estimated, predicted, reading_crossing, row_of
from pipeline.verdicts import (
    CANNOT_COMPARE,
    INCONCLUSIVE,
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    Case,
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

Figure = Literal["parse", "parse_greedy", "lift", "useful", "quality"]
Kind = Literal["shorter", "repetition"]


def exceeds(case: Case, *, group: str, lam: float, figure: Figure, min_seeds: int) -> Judgement:
    """At a λ below the predicted λ*, the whole interval of a figure lies above the tolerance (0: a direction)."""
    found = estimated(row_of(case, group, lam)[figure], min_seeds)
    star, bound, what = predicted(case, cells_of(case, group, lam)), case.tolerance, f"{figure} at λ = {lam:g}"
    if lam >= star[0]:
        raise Unjudged(CANNOT_COMPARE, f"λ = {lam:g} is not below this profile's λ* ({span(star)})", found.ours())
    if found.low <= bound <= found.high:
        return Judgement(INCONCLUSIVE, found.ours(), f"{what}: {bound:g} lies in the interval; {would_do(found, bound)}")
    return either(found.low > bound, found.ours(), f"{what}: the interval lies on one side of {bound:g}")


def warm_start_near(case: Case, *, target: float, min_seeds: int) -> Judgement:
    """Equivalence: the interval of the warm starts' strict parse lies within the target ± the tolerance."""
    found = estimated(case.aggregate["sft"]["student"]["parse"], min_seeds)
    return equivalent(found, target, case.tolerance, "strict parse of the warm starts")


def ordering(case: Case, *, group: str, lam: float, over: float, figure: Figure, min_seeds: int) -> Judgement:
    """A figure is larger at ``lam`` than at ``over``: their intervals lie apart by more than the tolerance."""
    a, b = (estimated(row_of(case, group, at)[figure], min_seeds) for at in (lam, over))
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
    cells = cells_of(case, group)
    star = predicted(case, cells) if prediction == "lambda_star" else reading_crossing(case, cells)
    return begins_at(case, cells, group, figure, star, f"predicted {span(star)}", widest, min_seeds)


def begins_at(
    case: Case, cells: Row, group: str, figure: str, star: tuple[float, float], beside: str, widest: float, min_seeds: int
) -> Judgement:
    """The comparison of `begins_at_prediction`, beside any interval ``star`` of λ, which ``beside`` says in words."""
    found, grid = cells[figure], [row["lambda"] for row in cells["lambdas"]]
    on_parse = figure.startswith("onset")
    ours = Ours(begun(found), found["median"], found["low"], found["high"], found["n_seeds"])
    enough(found["n_seeds"], min_seeds, ours)
    if on_parse and (least := min(row["parse"] for row in cells["plateau"])) < LEAST_PLATEAU:
        raise Unjudged(INCONCLUSIVE, f"a seed's plateau is {least:.2f}, under {LEAST_PLATEAU}: nothing to collapse from")
    low = found["beyond"] if found["low"] is None else max((x for x in grid if x < found["low"]), default=-math.inf)
    high = math.inf if found["high"] is None else min(x for x in grid if x >= found["high"] - 1e-9)
    reason = f"{figure} in {group}: {ours.text}; on the grid {span((low, high))}; {beside}"
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
    cells, bound = cells_of(case, group), case.published.value
    edge = predicted(case, cells)[1] + case.tolerance
    above = {row["lambda"]: estimated(row["parse"], min_seeds) for row in cells["lambdas"] if row["lambda"] > edge}
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
    cells, k = cells_of(case, group), case.aggregate["k"]
    onset = cells["onset"]["median"] if min(r["parse"] for r in cells["plateau"]) >= LEAST_PLATEAU else None
    rows = [r for r in cells["lambdas"] if r["lambda"] >= (predicted(case, cells)[1] if onset is None else onset)]
    names = {"shorter": f"listed {k - 1}, distinct {k - 1}", "repetition": f"listed {k}, distinct {k - 1}"}
    failures = sum(n for row in rows for label, n in row["outcomes"].items() if label != "ok")
    counts = {kind: sum(row["outcomes"].get(label, 0) for row in rows) for kind, label in names.items()}
    shorter, repetitions = counted(counts["shorter"], "shorter list"), counted(counts["repetition"], "repetition")
    text = f"{shorter}, {repetitions}, of {counted(failures, 'failure')}"
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
    cells = cells_of(case, group)
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
