"""From imported rows to the figures that rules judge, in the shape in which `aggregate` writes those of a profile. No I/O.

Only counts and means per seed are known, so the hierarchical bootstrap over seeds and prompts cannot be had; seeds are
the unit all the same (`over_seeds`). Where a claim leaves open how the clip acted and how outputs were decoded, because
no source says, the first of `OPEN` that is there is judged. Onset, plateau and flatness are the replica's own functions.
"""

import math
from collections.abc import Callable
from statistics import fmean, stdev
from typing import Any, Literal

import numpy as np
from scipy.stats import t as student_t

from pipeline import onsets
from pipeline.evidence import Row
from pipeline.imported import ON_POLICY, Run, value_of
from pipeline.statistics import flatness, wilson
from pipeline.streams import generator
from pipeline.verdicts import CANNOT_COMPARE, NOT_RUN, Case, Interval, Ours, Unjudged, enough
from pipeline.words import counted

Column = Literal["teacher", "student", "data_set", "k", "method", "lambda", "clip", "reading", "decoding", "step"]
Runs = dict[Column, str | int | float]  # which rows: the column and its value
Figure = Literal["parse", "useful", "quality"]

CONFIDENCE, RESAMPLES = 0.95, 2000
OPEN = {"reading": ("truncate", "mask", "rollout"), "decoding": ("sampled", "greedy")}
NDCG = "ndcg_at_1"
EMPTY = "no metrics at full scale are imported; it takes rows with "


def chosen(case: Case, *wanted: Runs) -> list[list[Run]]:
    """The imported rows of each selection. `not run`, with the column at which nothing is left, where one has none.

    What a selection leaves open is settled the same way in all of them, else they `cannot compare`.
    """
    groups = [_matching(case, runs) for runs in wanted]
    for column in OPEN:
        values = [{value_of(run, column) for run in rows} for rows, runs in zip(groups, wanted, strict=True)]
        open_ones = [found for found, runs in zip(values, wanted, strict=True) if column not in runs and found != {None}]
        if len(set(map(frozenset, open_ones))) > 1:
            shown = " and ".join(sorted({str(value) for found in open_ones for value in found}))
            raise Unjudged(CANNOT_COMPARE, f"the rows to compare differ in {column}: {shown}")
    return groups


def _matching(case: Case, wanted: Runs) -> list[Run]:
    rows = list(case.imported)
    if not rows:
        raise Unjudged(NOT_RUN, EMPTY + said(wanted))
    for column, value in wanted.items():
        found = [run for run in rows if value_of(run, column) == value]
        if not found:
            there = sorted({str(value_of(run, column)) for run in rows})
            more = ", …" if len(there) > 8 else ""
            text = f"no imported row has {column} {value} (found {', '.join(there[:8])}{more})"
            raise Unjudged(NOT_RUN, f"{text}; it takes rows with {said(wanted)}")
        rows = found
    for name, choices in OPEN.items():
        if name not in wanted and (name != "reading" or rows[0].method in ON_POLICY):
            first = next((choice for choice in choices if any(value_of(run, name) == choice for run in rows)), None)
            if first is None:
                raise Unjudged(
                    NOT_RUN, f"no imported row has {name} {' or '.join(choices)}; it takes rows with {said(wanted)}"
                )
            rows = [run for run in rows if value_of(run, name) == first]
    return rows


def said(wanted: Runs) -> str:
    return ", ".join(f"{column} {value}" for column, value in wanted.items())


def labelled(case: Case, *wanted: Runs) -> list[list[Run]]:
    """The chosen rows whose NDCG@1 is given, all by one labeller; else `not run` or `cannot compare`."""
    groups = chosen(case, *wanted)
    scored = [[run for run in rows if run.ndcg_at_1 is not None or not run.parsed] for rows in groups]
    for rows, runs in zip(scored, wanted, strict=True):
        if not rows:
            raise Unjudged(NOT_RUN, f"{NDCG} is empty in the imported rows with {said(runs)}")
    names = sorted({run.labeller for rows in scored for run in rows if run.labeller is not None})
    if guessed := [name for name in names if "heuristic" in name.lower()]:
        raise Unjudged(CANNOT_COMPARE, f"scores by {printable(guessed[0])}: not labels of helpfulness, as the paper's are")
    if len(names) > 1:
        raise Unjudged(CANNOT_COMPARE, f"scores by different labellers: {', '.join(map(printable, names[:4]))}")
    return scored


def value_by_seed(rows: list[Run], figure: Figure) -> dict[int, float]:
    """The figure of each seed; NaN for a quality without parsed outputs. Two rows of one seed `cannot compare`."""
    found: dict[int, float] = {}
    for run in sorted(rows, key=lambda run: run.seed):
        if run.seed in found:
            raise Unjudged(CANNOT_COMPARE, f"seed {run.seed} has rows of different runs that the claim does not tell apart")
        parse, quality = run.parsed / run.n, math.nan if run.ndcg_at_1 is None else run.ndcg_at_1
        found[run.seed] = {"parse": parse, "useful": parse * quality if run.parsed else 0.0, "quality": quality}[figure]
    return found


def over_seeds(rows: list[Run], figure: Figure) -> Row:
    """Mean over seeds with a 95 % interval: value, low, high, n_seeds, n (outputs that count).

    From two seeds on a t interval over the seeds, cut to [0, 1]; for parse never narrower than Wilson's interval of the
    pooled counts, as few seeds may agree by chance. One seed: Wilson's for parse, and [0, 1] for a mean whose spread over
    prompts is not given.
    """
    values = [value for value in value_by_seed(rows, figure).values() if not math.isnan(value)]
    n = sum(run.parsed if figure == "quality" else run.n for run in rows)
    if not values:
        return {"value": None, "low": None, "high": None, "n_seeds": 0, "n": 0}
    mean, half = fmean(values), math.inf
    if len(values) > 1:
        half = float(student_t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    low, high = max(mean - half, 0.0), min(mean + half, 1.0)
    if figure == "parse":
        ends = wilson(sum(run.parsed for run in rows), n, CONFIDENCE)
        low, high = (min(low, ends[0]), max(high, ends[1])) if len(values) > 1 else ends
    return {"value": mean, "low": low, "high": high, "n_seeds": len(values), "n": n}


def difference(first: list[float], second: list[float]) -> Interval:
    """Difference of two means over seeds with Welch's 95 % t interval; at least two seeds each."""
    parts = [stdev(values) ** 2 / len(values) for values in (first, second)]
    freedom = sum(part**2 / (len(v) - 1) for part, v in zip(parts, (first, second), strict=True))
    half = math.sqrt(sum(parts)) * float(student_t.ppf((1 + CONFIDENCE) / 2, sum(parts) ** 2 / freedom)) if freedom else 0.0
    gap, n = fmean(first) - fmean(second), min(len(first), len(second))
    return Interval(gap, gap - half, gap + half, n, len(first) + len(second))


def sweep(rows: list[Run], min_seeds: int, star: tuple[float, float], scored: bool = False) -> Row:
    """The rows of one group of runs over λ, as `aggregate` writes a group of cells. ``star``: the λ* to hold it against.

    The grid is every λ with ``min_seeds`` seeds or more; an onset is read from the seeds that have all of it.
    """
    at: dict[float, list[Run]] = {}
    for run in rows:
        at.setdefault(run.lam or math.nan, []).append(run)
    most = max(len(found) for found in at.values())
    enough(most, min_seeds, Ours(f"at most {counted(most, 'seed')} at any of {len(at)} λ", n_seeds=most))
    grid = sorted(lam for lam, found in at.items() if len(found) >= min_seeds)
    if len(grid) < 2 or grid[0] > onsets.PLATEAU_UP_TO:
        shown = ", ".join(f"{lam:g}" for lam in grid)
        lack = f"a λ sweep is missing: with {counted(min_seeds, 'seed')} or more there is λ = {shown}"
        raise Unjudged(NOT_RUN, f"{lack}; it takes two or more, from {onsets.PLATEAU_UP_TO} or below")
    parse = {lam: value_by_seed(at[lam], "parse") for lam in grid}
    whole = [seed for seed in parse[grid[0]] if all(seed in parse[lam] for lam in grid)]
    along = {seed: [parse[lam][seed] for lam in grid] for seed in whole}
    begins = {seed: onsets.onset(grid, values) for seed, values in along.items()}
    rng = generator(0, "imported onsets")
    return {
        "invalid": [],
        "not_of_this_calibration": [],
        "lambda_star": {"value": fmean(star), "low": star[0], "high": star[1]},
        "lambdas": [_at_lambda(lam, at[lam], scored) for lam in grid],
        "plateau": [{"seed": seed, "parse": onsets.plateau(grid, values)} for seed, values in along.items()],
        "onset": onsets.over_seeds(begins, grid[-2], CONFIDENCE, RESAMPLES, rng),
        "flatness": {NDCG: _flatness([value_by_seed(at[lam], "quality") for lam in grid])} if scored else {},
    }


def _at_lambda(lam: float, rows: list[Run], scored: bool) -> Row:
    k = rows[0].k or 0
    failed = sum(run.n - run.parsed for run in rows)
    shorter, repeated = sum(run.shorter or 0 for run in rows), sum(run.repetition or 0 for run in rows)
    outcomes = {
        "ok": sum(run.parsed for run in rows),
        f"listed {k - 1}, distinct {k - 1}": shorter,
        f"listed {k}, distinct {k - 1}": repeated,
        "other": failed - shorter - repeated,
    }
    quality = over_seeds(rows, "quality") if scored else None
    scores = {} if quality is None or quality["value"] is None else {NDCG: quality["value"]}
    return {"lambda": lam, "parse": over_seeds(rows, "parse"), "outcomes": outcomes, "quality": quality, "scores": scores}


def _flatness(quality: list[dict[int, float]]) -> Row | None:
    """Permutation test on the seeds that have a quality at every λ; None with fewer than two."""
    seeds = [seed for seed in quality[0] if all(not math.isnan(found.get(seed, math.nan)) for found in quality)]
    if len(seeds) < 2:
        return None
    table = np.array([[found[seed] for found in quality] for seed in seeds])
    return flatness(table, RESAMPLES, generator(0, "imported flatness"))


def as_case(case: Case, k: int, **groups: Row) -> Case:
    """The case with the groups in the place of the profile's cells, so that the rules of tier C judge them."""
    aggregate: dict[str, Any] = {
        "k": k,
        "cells": groups,
        "calibration": {"precondition": {"holds": True, "modal_threshold": 0.0}},
    }
    return Case(aggregate, case.published, case.tolerance)


def rows_behind(case: Case, arguments: Any) -> list[Run]:
    """The rows that the selections among a rule's arguments choose, each once; nothing where one has none."""
    if isinstance(arguments, dict) and "method" in arguments:
        try:
            return chosen(case, arguments)[0]
        except Unjudged:
            return []
    inner = arguments.values() if isinstance(arguments, dict) else arguments if isinstance(arguments, list) else ()
    return list(dict.fromkeys(run for one in inner for run in rows_behind(case, one)))


def provenance(rows: list[Run], most: int = 3) -> str:
    """Who made the rows, where and how they were read off, in one line; what cannot be printed is spelled out."""
    told = list(dict.fromkeys(printable(run.provenance) for run in rows))
    facts: list[tuple[str, Callable[[Run], Any]]] = [
        ("reading", lambda run: run.reading),
        ("decoding", lambda run: run.decoding),
        ("labels", lambda run: run.labeller),
    ]
    known = [(name, sorted({printable(str(get(run))) for run in rows if get(run) is not None})) for name, get in facts]
    more = f"; and {len(told) - most} more" if len(told) > most else ""
    return "; ".join([*told[:most]]) + more + "".join(f"; {name}: {', '.join(found)}" for name, found in known if found)


def printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
