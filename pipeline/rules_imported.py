"""Rules of tier D: claims about the paper's own models, judged on rows made elsewhere. No I/O.

Without the rows a claim is `not run`, with what is missing. Figures are those of `full_scale`; onsets, failures, flatness
and contrasts go through the rules of tier C. A claim of several parts is reproduced when all of them are, not reproduced
when one is refuted, whatever is missing of the others. Claims about NDCG or USEFUL need labels: a heuristic's scores, or
those of two labellers, `cannot compare`.
"""

import math
from collections.abc import Callable
from functools import partial
from statistics import stdev
from typing import Literal

from scipy.stats import f as fisher_f

from pipeline import theory
from pipeline.evidence import estimated
from pipeline.full_scale import (
    EMPTY,
    NDCG,
    Figure,
    Runs,
    as_case,
    chosen,
    difference,
    labelled,
    over_seeds,
    said,
    sweep,
    value_by_seed,
)
from pipeline.imported import Run
from pipeline.rules_cells import Kind, begins_at, failure_share, flat, low_above_prediction
from pipeline.rules_groups import contrast, steps_earlier
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
    either,
    enough,
    equivalent,
    span,
)
from pipeline.words import counted

DECIDES = (NOT_REPRODUCED, INVALID, CANNOT_COMPARE, NOT_RUN, INCONCLUSIVE, REPRODUCED)


def all_of(*parts: Callable[[], Judgement]) -> Judgement:
    """One judgement of several: the verdict that stands first in `DECIDES`, and every part's figure and reason."""
    found = []
    for part in parts:
        try:
            found.append(part())
        except Unjudged as early:
            found.append(early.judgement)
    if len(found) == 1:
        return found[0]
    verdict = min((one.verdict for one in found), key=DECIDES.index)
    seeds = [one.ours.n_seeds for one in found if one.ours.n_seeds is not None]
    text = "; ".join(one.ours.text for one in found if one.ours.text != "none") or "none"
    reasons = [one.reason if one.verdict == verdict else f"{one.verdict}: {one.reason}" for one in found]
    reason = "; ".join([reasons[0], *(reason.replace(EMPTY, "and rows with ") for reason in reasons[1:])])
    return Judgement(verdict, Ours(text, n_seeds=min(seeds, default=None)), reason)


def _scored(case: Case, figure: Figure, *wanted: Runs) -> list[list[Run]]:
    return chosen(case, *wanted) if figure == "parse" else labelled(case, *wanted)


def _alike(case: Case, *wanted: Runs) -> None:
    """Raises `Unjudged` (cannot compare) when what the claim leaves open differs between rows that are there."""
    try:
        chosen(case, *wanted)
    except Unjudged as early:
        if early.judgement.verdict == CANNOT_COMPARE:
            raise


def _interval(case: Case, figure: Figure, wanted: Runs, min_seeds: int) -> Interval:
    return estimated(over_seeds(_scored(case, figure, wanted)[0], figure), min_seeds)


def _exceeds(case: Case, figure: Figure, more: Runs, less: Runs, min_seeds: int) -> Judgement:
    """The 95 % intervals of two groups of runs lie apart, that of ``more`` above."""
    groups = _scored(case, figure, more, less)
    high, low = (estimated(over_seeds(rows, figure), min_seeds) for rows in groups)
    ours = Ours(f"{high.ours().text} and {low.ours().text}", high.value - low.value, n_seeds=high.n_seeds, n=high.n)
    what = f"{figure} of ({said(more)}) over that of ({said(less)})"
    if max(high.low - low.high, low.low - high.high) <= 0:
        raise Unjudged(INCONCLUSIVE, f"{what}: the intervals overlap", ours)
    return either(high.value > low.value, ours, f"{what}: the intervals lie apart")


def imported_levels(
    case: Case,
    *,
    runs: list[Runs],
    values: list[float],
    figure: Figure,
    min_seeds: int,
    prompts: int | None = None,
    exceeded_by: Runs | None = None,
) -> Judgement:
    """Equivalence of each group's mean over seeds with its published value, within ± the tolerance.

    ``prompts``: the published rate was itself read off so many outputs; the margin is widened by 1.96 of its binomial
    standard errors. ``exceeded_by``: runs whose figure must also lie above the first group's.
    """

    def level(wanted: Runs, value: float) -> Judgement:
        margin = case.tolerance + (1.96 * math.sqrt(value * (1 - value) / prompts) if prompts else 0.0)
        return equivalent(_interval(case, figure, wanted, min_seeds), value, round(margin, 4), f"{figure} ({said(wanted)})")

    _alike(case, *runs)
    parts = [partial(level, wanted, value) for wanted, value in zip(runs, values, strict=True)]
    if exceeded_by is not None:
        parts.append(partial(_exceeds, case, figure, exceeded_by, runs[0], min_seeds))
    return all_of(*parts)


def imported_onset(case: Case, *, runs: Runs, low: float, high: float, widest: float, min_seeds: int) -> Judgement:
    """The onset of collapse meets the published [low, high]; the rest as in `begins_at_prediction`."""
    cells = sweep(chosen(case, runs)[0], min_seeds, (low, high))
    beside = f"published {span((low, high))}"
    return begins_at(case, cells, said(runs), "onset", (low, high), beside, widest, min_seeds)


def _lambda_star(case: Case, wanted: Runs, clip: float) -> tuple[tuple[float, float], int]:
    """Least and greatest base-neutral λ*(p, 1/2, c) over the p of the rows, and their number."""
    given = [run.p for run in chosen(case, wanted)[0] if run.p is not None]
    if not given:
        raise Unjudged(NOT_RUN, f"the column p is empty in the imported rows with {said(wanted)}")
    if min(given) <= 0.5:
        raise Unjudged(CANNOT_COMPARE, f"the closed form says nothing at b = 1/2: p = {min(given):g}")
    return (theory.lambda_star(max(given), 0.5, clip), theory.lambda_star(min(given), 0.5, clip)), len(given)


def imported_marker(case: Case, *, runs: Runs, clip: float, widest: float, min_seeds: int) -> Judgement:
    """λ*(p, 1/2, c) of the teacher's measured p is the published marker ± the tolerance, and the collapse begins there."""
    assert case.published.value is not None
    marker = case.published.value

    def closed_form() -> Judgement:
        (low, high), n = _lambda_star(case, runs, clip)
        ours = Ours(f"λ* = {span((low, high))}" if low < high else f"λ* = {low:.3f}", None, low, high, None, n)
        reason = f"λ* from the measured p at b = 1/2, c = {clip:g}: {ours.text} beside {marker:g} ± {case.tolerance:g}"
        if high < marker - case.tolerance or low > marker + case.tolerance:
            return Judgement(NOT_REPRODUCED, ours, reason)
        inside = marker - case.tolerance <= low and high <= marker + case.tolerance
        return Judgement(REPRODUCED if inside else INCONCLUSIVE, ours, reason)

    return all_of(
        closed_form, lambda: imported_onset(case, runs=runs, low=marker, high=marker, widest=widest, min_seeds=min_seeds)
    )


def imported_small_clip(case: Case, *, runs: Runs, clip: float, widest: float, min_seeds: int) -> Judgement:
    """The onset at another clip meets λ*(p, 1/2, c) of the teacher's measured p ± the tolerance, at most ``widest`` wide."""
    (low, high), _ = _lambda_star(case, runs, clip)
    cells = sweep(chosen(case, runs)[0], min_seeds, (low, high))
    beside = f"predicted from p {span((low, high))}"
    return begins_at(case, cells, said(runs), "onset", (low, high), beside, widest, min_seeds)


def imported_low_above(case: Case, *, runs: Runs, marker: float, min_seeds: int) -> Judgement:
    """`low_above_prediction` with the published marker in the place of the profile's λ*."""
    cells = sweep(chosen(case, runs)[0], min_seeds, (marker, marker))
    return low_above_prediction(as_case(case, 0, full_scale=cells), group="full_scale", min_seeds=min_seeds)


def imported_failures(
    case: Case, *, runs: Runs, marker: float, kinds: list[Kind], min_seeds: int, min_failures: int
) -> Judgement:
    """`failure_share` at and above the onset; every row there must tell shorter lists and repetitions apart."""
    rows = chosen(case, runs)[0]
    cells = sweep(rows, min_seeds, (marker, marker))
    whole = cells["onset"]["n_seeds"]
    enough(whole, min_seeds, Ours(f"{counted(whole, 'seed')} with every λ of the grid", n_seeds=whole))
    start, k = cells["onset"]["median"] or marker, rows[0].k or 0
    above = [run for run in rows if (run.lam or 0) >= start and run.parsed < run.n]
    if unknown := [run for run in above if run.shorter is None or run.repetition is None]:
        raise Unjudged(NOT_RUN, f"shorter or repetition is empty in {counted(len(unknown), 'row')} above λ = {start:.3f}")
    found = as_case(case, k, full_scale=cells)
    return failure_share(found, group="full_scale", kinds=kinds, min_seeds=min_seeds, min_failures=min_failures)


def imported_equal(case: Case, *, first: Runs, second: Runs, figure: Figure, min_seeds: int) -> Judgement:
    """Equivalence: Welch's interval of the difference of two means over seeds lies within ± the tolerance."""
    groups = _scored(case, figure, first, second)
    values = [list(value_by_seed(rows, figure).values()) for rows in groups]
    least = min(map(len, values))
    enough(least, max(min_seeds, 2), Ours(" and ".join(counted(len(one), "seed") for one in values), n_seeds=least))
    return equivalent(difference(*values), 0.0, case.tolerance, f"{figure}, difference of the means")


def imported_flat(case: Case, *, runs: Runs, min_seeds: int) -> Judgement:
    """`flat` for NDCG@1 on parsed outputs."""
    cells = sweep(labelled(case, runs)[0], min_seeds, (math.nan, math.nan), scored=True)
    if bare := [row["lambda"] for row in cells["lambdas"] if not row["scores"]]:
        raise Unjudged(INCONCLUSIVE, f"nothing parses at λ = {', '.join(f'{lam:g}' for lam in bare)}: no {NDCG} there")
    return flat(as_case(case, 0, full_scale=cells), group="full_scale", score=NDCG, min_seeds=min_seeds)


def imported_variance(case: Case, *, top: Runs, bottom: Runs, figure: Figure, min_seeds: int) -> Judgement:
    """The 95 % F interval of a ratio of variances over seeds lies within the published one / and × the tolerance.

    Read as the words say, a ratio of variances; the ratio of standard deviations is shown beside it.
    """
    assert case.published.value is not None
    values = [list(value_by_seed(rows, figure).values()) for rows in _scored(case, figure, top, bottom)]
    least = min(map(len, values))
    enough(least, max(min_seeds, 2), Ours(" and ".join(counted(len(one), "seed") for one in values), n_seeds=least))
    spread = [stdev(one) for one in values]
    if not all(spread):
        raise Unjudged(INCONCLUSIVE, "no spread over the seeds of one of them: no ratio")
    ratio, freedom = (spread[0] / spread[1]) ** 2, [len(one) - 1 for one in values]
    low, high = (ratio / float(fisher_f.ppf(q, *freedom)) for q in (0.975, 0.025))
    factor = case.tolerance
    ends = (case.published.value / factor, case.published.value * factor)
    ours = Ours(f"{ratio:.3g} ({low:.3g} to {high:.3g})", ratio, low, high, least)
    reason = f"ratio of variances {ours.text}, of standard deviations {math.sqrt(ratio):.3g}, beside {span(ends)}"
    if high < ends[0] or low > ends[1]:
        return Judgement(NOT_REPRODUCED, ours, reason)
    if ends[0] < low and high < ends[1]:
        return Judgement(REPRODUCED, ours, reason)
    would = next(n for n in range(3, 10_000) if fisher_f.ppf(0.975, n - 1, n - 1) < factor)
    return Judgement(INCONCLUSIVE, ours, f"{reason}; {would} seeds each would do if the ratio were the published one")


def imported_steps_earlier(case: Case, *, runs: Runs, against: Runs, steps: int, min_seeds: int) -> Judgement:
    """`steps_earlier` of two sweeps."""
    first, second = (sweep(rows, min_seeds, (math.nan, math.nan)) for rows in chosen(case, runs, against))
    found = as_case(case, 0, variant=first, as_quoted=second)
    return steps_earlier(found, group="variant", against="as_quoted", steps=steps, min_seeds=min_seeds)


def imported_contrast(case: Case, *, runs: Runs, against: Runs, min_seeds: int) -> Judgement:
    """`contrast` of two sweeps."""
    first, second = (sweep(rows, min_seeds, (math.nan, math.nan)) for rows in chosen(case, runs, against))
    return contrast(
        as_case(case, 0, variant=first, as_quoted=second), group="variant", against="as_quoted", min_seeds=min_seeds
    )


def imported_scope(
    case: Case,
    *,
    lifted: list[dict[Literal["after", "before"], Runs]],
    saturated: list[Runs],
    below_tau: list[Runs],
    tau: float,
    min_seeds: int,
) -> Judgement:
    """Parse of ``lifted`` is higher after than before, that of ``saturated`` 1 ± the tolerance; p is below ``tau``."""

    def precondition(wanted: Runs) -> Judgement:
        given = [float(run.p) for run in chosen(case, wanted)[0] if run.p is not None]
        if not given:
            raise Unjudged(NOT_RUN, f"the column p is empty in the imported rows with {said(wanted)}")
        ours = Ours(f"p = {span((min(given), max(given)))}", n=len(given))
        if min(given) < tau <= max(given):
            raise Unjudged(INCONCLUSIVE, f"{said(wanted)}: p lies on both sides of τ = {tau:g}", ours)
        return either(max(given) < tau, ours, f"{said(wanted)}: {ours.text} beside τ = {tau:g}")

    def whole(wanted: Runs) -> Judgement:
        return equivalent(_interval(case, "parse", wanted, min_seeds), 1.0, case.tolerance, f"parse ({said(wanted)})")

    return all_of(
        *(partial(_exceeds, case, "parse", pair["after"], pair["before"], min_seeds) for pair in lifted),
        *(partial(whole, wanted) for wanted in saturated),
        *(partial(precondition, wanted) for wanted in below_tau),
    )


def imported_unknown(case: Case, *, runs: Runs, what: str) -> Judgement:
    """A figure whose settings no source gives: rows may be there, and still nothing says that they are the same runs."""
    chosen(case, runs)
    raise Unjudged(CANNOT_COMPARE, f"unknown: {what}")
