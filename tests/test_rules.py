"""Each rule: a case for each verdict it can give, its boundaries, what is missing, and what is not a number."""

import copy
import math
from typing import Any

import pytest

from pipeline.rules import RULES, judge
from pipeline.verdicts import (
    CANNOT_COMPARE,
    INCONCLUSIVE,
    INVALID,
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    VERDICTS,
    Case,
    Judgement,
    Published,
)

GRID = [1.0, 1.1, 1.15, 1.2, 1.25, 1.3, 1.5, 2.0]
Row = dict[str, Any]


def estimate(value: float | None, half: float = 0.01, n_seeds: int = 5) -> Row:
    ends = {} if value is None else {"low": value - half, "high": value + half}
    return {"value": value, "low": None, "high": None, "n_seeds": n_seeds, "n": 1000} | ends


def begins(value: float | None = None, low: float | None = None, high: float | None = None, n_seeds: int = 5) -> Row:
    ends = {"median": value, "low": low if low is not None else value, "high": high if high is not None else value}
    return ends | {"beyond": GRID[-2], "n_seeds": n_seeds, "censored": n_seeds if value is None else 0, "per_seed": []}


def group(star: Row, reading: str = "truncate") -> Row:
    rows = [
        {
            "lambda": lam,
            "parse": estimate(0.95),
            "lift": estimate(0.6),
            "useful": estimate(0.9),
            "quality": estimate(0.9),
            "scores": {"ndcg_at_1": 0.9},
            "outcomes": {"ok": 950, "listed 7, distinct 7": 30, "listed 8, distinct 7": 15, "malformed": 5},
            "q_logit_by_seed": [4.0, 5.0],
        }
        for lam in GRID
    ]
    return {
        "reading": reading,
        "clip": 5.0,
        "lambda_star": star,
        "steps": 42,
        "fixed_point_logit": [{"lambda": lam, "by_seed": [8.0, 7.0]} for lam in GRID],
        "invalid": [],
        "not_of_this_calibration": [],
        "lambdas": rows,
        "plateau": [{"seed": seed, "parse": 0.95} for seed in range(5)],
        **{name: begins() for name in ("onset", "onset_of_least")},
        **{name: begins() | {"beyond": GRID[-1]} for name in ("crossing", "jump")},
        "flatness": {"ndcg_at_1": {"range": 0.01, "p_value": 0.6, "permutations": 9, "n_seeds": 5, "n_lambdas": 8}},
    }


@pytest.fixture
def aggregate() -> Row:
    star = {"value": 1.18, "low": 1.175, "high": 1.185, "n_seeds": 5, "n": 512}
    calibration = {
        "precondition": {"modal_threshold": 0.9, "holds": True},
        "lambda_star": star,
        "p": {"log_odds": 8.0},
        "per_seed": [{"seed": seed, "b": {"log_odds": -0.7 + 0.01 * seed}} for seed in range(5)],
    }
    sft = {"student": {"parse": estimate(0.335)}, "teacher": {"parse": estimate(0.999)}}
    return {"k": 8, "calibration": calibration, "sft": sft, "cells": {"main": group(star), "no_clip": group(star, "none")}}


def ask(rule: str, aggregate: Row, value: float | None = None, tolerance: float = 0.0, **arguments: Any) -> Judgement:
    found = judge(rule, Case(aggregate, Published("as published", value), tolerance), **arguments)
    assert found.verdict in VERDICTS
    assert found.reason
    assert found.ours.text
    return found


def row(aggregate: Row, lam: float, cells: str = "main") -> Row:
    return next(r for r in aggregate["cells"][cells]["lambdas"] if r["lambda"] == lam)


# What stands in the way


def test_nothing_is_judged_without_cells_or_facts(aggregate: Row) -> None:
    missing = ask("needs", aggregate, cells="aspo", what="the grid with ASPO")
    assert (missing.verdict, "the grid with ASPO" in missing.reason) == (NOT_RUN, True)
    assert "no rule judges them" in ask("needs", aggregate, cells="main", what="x").reason
    assert ask("unknown_fact", aggregate, what="the grid").verdict == CANNOT_COMPARE


def test_an_unknown_rule_is_a_key_error(aggregate: Row) -> None:
    with pytest.raises(KeyError):
        judge("guess", Case(aggregate, Published("x"), 0.0))


# Tiers A and B


def test_premises() -> None:
    points = [[0.99934, 0.5, 5.0], [0.6, 0.5, 2.0]]
    assert ask("premises", {}, tolerance=1e-9, points=points).verdict == REPRODUCED
    assert ask("premises", {}, tolerance=-1.0, points=points).verdict == NOT_REPRODUCED


def test_implied_p_is_never_a_confirmation() -> None:
    found = ask("implied_p", {}, tolerance=0.005, marker=1.22, clip=5.0, base=0.5)
    assert found.verdict == CANNOT_COMPARE
    assert [round(x or 0, 5) for x in (found.ours.value, found.ours.low, found.ours.high)] == [0.99934, 0.99922, 0.99944]


@pytest.mark.parametrize(
    ("quantity", "published", "reading", "clip", "other"),
    [
        ("lambda_star", 1.055, "none", 1.5, 5.0),
        ("clip_ratio", 0.252, "none", 1.5, 5.0),
        ("crossing", 1.220, "none", 5.0, 5.0),
        ("crossing", 1.238, "truncate", 5.0, 5.0),
        ("crossing", 1.238, "mask", 5.0, 5.0),
        ("endless", 1.001, "mask", 5.0, 5.0),
        ("fixed_point_shift", 0.0, "none", 5.0, 1.15),
    ],
)
def test_closed_form(quantity: str, published: float, reading: str, clip: float, other: float) -> None:
    settings = {"quantity": quantity, "p": 0.99934, "base": 0.5, "clip": clip, "reading": reading, "other": other}
    assert ask("closed_form", {}, published, 0.0005, **settings).verdict == REPRODUCED
    assert ask("closed_form", {}, published + 0.01, 0.0005, **settings).verdict == NOT_REPRODUCED


def test_the_quoted_loss_ends_below_p_lambda_and_mask_may_end_nowhere() -> None:
    settings = {"quantity": "fixed_point_shift", "p": 0.99934, "base": 0.5, "clip": 5.0}
    found = ask("closed_form", {}, 0.0, 0.037, reading="truncate", other=1.15, **settings)
    assert (found.verdict, round(found.ours.value or 0, 3)) == (NOT_REPRODUCED, -0.067)
    assert "no stable" in ask("closed_form", {}, 0.0, 0.037, reading="mask", other=1.3, **settings).reason


@pytest.mark.parametrize(
    ("inner", "verdict"),
    [
        ([1.22], REPRODUCED),
        ([1.209, 1.223], REPRODUCED),
        ([1.2235], INCONCLUSIVE),
        ([1.3], NOT_REPRODUCED),
        ([1.1], NOT_REPRODUCED),
        ([1.1, 1.3], INCONCLUSIVE),
    ],
)
def test_within(inner: list[float], verdict: str) -> None:
    assert ask("within", {}, tolerance=0.005, inner=inner, low=1.204, high=1.228).verdict == verdict


def test_arithmetic_and_batches() -> None:
    assert ask("whole_batches", {}, 42, groups=1795, batch=128, epochs=3).verdict == REPRODUCED
    assert ask("whole_batches", {}, 43, groups=1795, batch=128, epochs=3).verdict == NOT_REPRODUCED
    cost = ask("arithmetic", {}, 10, 5.0, times=[12, 60], over=[37, 8])
    assert (cost.verdict, round(cost.ours.value or 0, 2)) == (NOT_REPRODUCED, 2.43)
    assert ask("arithmetic", {}, 10, 5.0, times=[12, 60], over=[37, 2]).verdict == REPRODUCED


def test_agree_compares_numbers_and_quotients() -> None:
    assert ask("agree", {}, tolerance=0.001, first=[0.948], second=[0.949]).verdict == REPRODUCED
    assert ask("agree", {}, tolerance=0.001, first=[0.921], second=[0.948]).verdict == NOT_REPRODUCED
    found = ask("agree", {}, tolerance=0.034, first=[0.23, 0.264], second=[0.23, 0.335])
    assert (found.verdict, found.ours.text) == (NOT_REPRODUCED, "0.8712 and 0.6866")


def test_ratio_of_rounded() -> None:
    pm = {"top": 0.082, "bottom": 0.016, "half_unit": 0.0005}
    for power, value in ((1, "5.12"), (2, "26.3")):
        found = ask("ratio_of_rounded", {}, 6.0, 0.5, power=power, **pm)
        assert (found.verdict, found.ours.text.split()[0]) == (NOT_REPRODUCED, value)
    assert ask("ratio_of_rounded", {}, 5.2, 0.0, power=1, **pm).verdict == REPRODUCED


def test_means_equivalent_says_how_many_seeds_would_do() -> None:
    means = {"first": 0.857, "second": 0.833, "second_seeds": 3}
    found = ask("means_equivalent", {}, tolerance=0.05, second_sd=0.082, **means)
    assert found.verdict == INCONCLUSIVE
    assert "41 seeds" in found.reason
    assert ask("means_equivalent", {}, tolerance=0.05, second_sd=0.002, **means).verdict == REPRODUCED
    assert ask("means_equivalent", {}, tolerance=0.01, second_sd=0.002, **means).verdict == NOT_REPRODUCED
    assert ask("means_equivalent", {}, tolerance=0.01, second_sd=0.082, **means).verdict == INCONCLUSIVE


# Tier C

LIFT = {"group": "main", "lam": 1.15, "figure": "lift", "min_seeds": 5}


@pytest.mark.parametrize(
    ("value", "half", "verdict"),
    [
        (0.6, 0.1, REPRODUCED),
        (-0.6, 0.1, NOT_REPRODUCED),
        (0.05, 0.1, INCONCLUSIVE),
        (0.1, 0.1, INCONCLUSIVE),
        (None, 0.0, INCONCLUSIVE),
        (math.nan, 0.1, INVALID),
    ],
)
def test_exceeds(aggregate: Row, value: float | None, half: float, verdict: str) -> None:
    row(aggregate, 1.15)["lift"] = estimate(value, half)
    assert ask("exceeds", aggregate, **LIFT).verdict == verdict


def test_exceeds_says_how_many_seeds_would_do(aggregate: Row) -> None:
    row(aggregate, 1.15)["parse"] = estimate(0.92, 0.04)
    assert "about 21 seeds" in ask("exceeds", aggregate, tolerance=0.9, **LIFT | {"figure": "parse"}).reason
    row(aggregate, 1.15)["parse"] = estimate(0.9, 0.04)
    assert "no number of seeds" in ask("exceeds", aggregate, tolerance=0.9, **LIFT | {"figure": "parse"}).reason


def test_exceeds_only_below_lambda_star(aggregate: Row) -> None:
    assert ask("exceeds", aggregate, **LIFT | {"lam": 1.2}).verdict == CANNOT_COMPARE
    aggregate["calibration"]["lambda_star"] |= {"value": None, "low": None, "high": None}
    assert ask("exceeds", aggregate, **LIFT).verdict == CANNOT_COMPARE
    aggregate["calibration"]["precondition"]["holds"] = False
    assert "p ≥ 0.9" in ask("exceeds", aggregate, **LIFT).reason


def test_too_few_seeds_missing_lambda_and_missing_cells(aggregate: Row) -> None:
    row(aggregate, 1.15)["lift"] = estimate(0.6, n_seeds=2)
    few = ask("exceeds", aggregate, **LIFT)
    assert (few.verdict, few.ours.value) == (INCONCLUSIVE, 0.6)
    assert "2 here, 5 would do" in few.reason
    assert ask("exceeds", aggregate, **LIFT | {"lam": 1.16}).verdict == NOT_RUN
    assert ask("exceeds", aggregate, **LIFT | {"group": "aspo"}).verdict == NOT_RUN
    row(aggregate, 1.15)["lift"] = None
    assert ask("exceeds", aggregate, **LIFT).verdict == INCONCLUSIVE


def test_a_broken_cell_spoils_what_uses_it_and_nothing_else(aggregate: Row) -> None:
    aggregate["cells"]["main"]["invalid"] = [{"lambda": 1.15, "seed": 3, "status": "not finite"}]
    found = ask("exceeds", aggregate, **LIFT)
    assert (found.verdict, "3/1.15 not finite" in found.reason) == (INVALID, True)
    assert ask("exceeds", aggregate, **LIFT | {"lam": 1.1}).verdict == REPRODUCED
    assert ask("flat", aggregate, tolerance=0.03, group="main", score="ndcg_at_1", min_seeds=5).verdict == INVALID
    aggregate["cells"]["main"] |= {"invalid": [], "not_of_this_calibration": ["1.15-0"]}
    assert "another calibration" in ask("exceeds", aggregate, **LIFT).reason


@pytest.mark.parametrize(
    ("value", "half", "verdict"),
    [(0.335, 0.02, REPRODUCED), (0.335, 0.06, INCONCLUSIVE), (0.5, 0.02, NOT_REPRODUCED), (0.1, 0.02, NOT_REPRODUCED)],
)
def test_warm_start_near(aggregate: Row, value: float, half: float, verdict: str) -> None:
    aggregate["sft"]["student"]["parse"] = estimate(value, half)
    assert ask("warm_start_near", aggregate, tolerance=0.05, target=0.335, min_seeds=5).verdict == verdict


@pytest.mark.parametrize(("first", "verdict"), [(0.95, REPRODUCED), (0.85, NOT_REPRODUCED), (0.91, INCONCLUSIVE)])
def test_ordering(aggregate: Row, first: float, verdict: str) -> None:
    row(aggregate, 1.15)["useful"] = estimate(first)
    arguments = {"group": "main", "lam": 1.15, "over": 1.0, "figure": "useful", "min_seeds": 5}
    assert ask("ordering", aggregate, **arguments).verdict == verdict
    row(aggregate, 1.0)["useful"] = estimate(0.9, n_seeds=3)
    assert ask("ordering", aggregate, **arguments).verdict == INCONCLUSIVE


ONSET = {"group": "main", "figure": "onset", "prediction": "lambda_star", "widest": 0.1, "min_seeds": 5}


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (begins(1.18, 1.16, 1.19), REPRODUCED),
        (begins(1.18, 1.12, 1.19), REPRODUCED),
        (begins(1.18, 1.05, 1.19), INCONCLUSIVE),
        (begins(1.27, 1.26, 1.28), NOT_REPRODUCED),
        (begins(1.05, 1.02, 1.08), NOT_REPRODUCED),
        (begins(1.0), NOT_REPRODUCED),
        (begins(), NOT_REPRODUCED),
        (begins(None, 1.16), INCONCLUSIVE),
        (begins(None, 1.4), NOT_REPRODUCED),
        (begins(1.18, n_seeds=4), INCONCLUSIVE),
        (begins(n_seeds=0), INCONCLUSIVE),
    ],
)
def test_begins_at_prediction(aggregate: Row, found: Row, verdict: str) -> None:
    aggregate["cells"]["main"]["onset"] = found
    assert ask("begins_at_prediction", aggregate, **ONSET).verdict == verdict


def test_a_grid_that_ends_before_the_prediction_tells_nothing(aggregate: Row) -> None:
    aggregate["calibration"]["lambda_star"] |= {"value": 1.8, "low": 1.7, "high": 1.9}
    assert ask("begins_at_prediction", aggregate, **ONSET).verdict == INCONCLUSIVE, "an onset has to hold at 1.5 and 2.0"
    assert ask("begins_at_prediction", aggregate, **ONSET | {"figure": "crossing"}).verdict == NOT_REPRODUCED


def test_a_crossing_says_how_far_q_was_from_its_fixed_point(aggregate: Row) -> None:
    reason = ask("begins_at_prediction", aggregate, **ONSET | {"figure": "crossing"}).reason
    assert "none up to λ = 2 in 5 of 5 seeds" in reason
    assert "q ends -3.0 log-odds from the flow's fixed point after 42 steps" in reason
    reason = ask("begins_at_prediction", aggregate, **ONSET).reason
    assert "none up to λ = 1.5 in 5 of 5 seeds" in reason and "fixed point" not in reason


def test_without_a_plateau_nothing_can_collapse(aggregate: Row) -> None:
    aggregate["cells"]["main"]["plateau"][2]["parse"] = 0.3
    assert "nothing to collapse from" in ask("begins_at_prediction", aggregate, **ONSET).reason
    assert ask("begins_at_prediction", aggregate, **ONSET | {"figure": "jump"}).verdict == NOT_REPRODUCED


def test_a_reading_has_its_own_prediction(aggregate: Row) -> None:
    aggregate["cells"]["main"]["crossing"] = begins(1.25)
    aggregate["cells"]["no_clip"]["crossing"] = begins(1.2)
    reading = ONSET | {"figure": "crossing", "prediction": "reading"}
    later, exact = (ask("begins_at_prediction", aggregate, **reading | {"group": name}) for name in ("main", "no_clip"))
    assert (later.verdict, exact.verdict) == (REPRODUCED, REPRODUCED)
    assert later.reason != exact.reason
    for seed in aggregate["calibration"]["per_seed"]:
        seed["b"]["log_odds"] = 9.0
    assert ask("begins_at_prediction", aggregate, **reading).verdict == CANNOT_COMPARE


@pytest.mark.parametrize(
    ("parses", "verdict"),
    [
        ([0.02, 0.02, 0.02, 0.02], REPRODUCED),
        ([0.02, 0.02, 0.02, 0.5], NOT_REPRODUCED),
        ([0.02, 0.02, 0.02, 0.1], INCONCLUSIVE),
        ([0.02, 0.02, 0.02, 0.11], NOT_REPRODUCED),
    ],
)
def test_low_above_prediction(aggregate: Row, parses: list[float], verdict: str) -> None:
    for lam, parse in zip(GRID[-4:], parses, strict=True):
        row(aggregate, lam)["parse"] = estimate(parse)
    assert ask("low_above_prediction", aggregate, 0.1, 0.06, group="main", min_seeds=5).verdict == verdict


def test_low_above_prediction_needs_a_grid_that_goes_there(aggregate: Row) -> None:
    assert ask("low_above_prediction", aggregate, 0.1, 1.0, group="main", min_seeds=5).verdict == NOT_RUN


FAILURE = {"group": "main", "kinds": ["shorter"], "min_seeds": 5, "min_failures": 100}


@pytest.mark.parametrize(
    ("outcomes", "kinds", "verdict"),
    [
        ({"ok": 10, "listed 7, distinct 7": 900, "malformed": 90}, ["shorter"], REPRODUCED),
        ({"ok": 10, "listed 8, distinct 7": 900, "malformed": 90}, ["shorter"], NOT_REPRODUCED),
        ({"ok": 10, "listed 8, distinct 7": 900, "malformed": 90}, ["shorter", "repetition"], REPRODUCED),
        ({"ok": 10, "listed 7, distinct 7": 550, "malformed": 450}, ["shorter"], INCONCLUSIVE),
        ({"ok": 10, "listed 7, distinct 7": 5}, ["shorter"], INCONCLUSIVE),
    ],
)
def test_failure_share(aggregate: Row, outcomes: dict[str, int], kinds: list[str], verdict: str) -> None:
    aggregate["cells"]["main"]["onset"] = begins(1.4)
    for lam in (1.5, 2.0):
        row(aggregate, lam)["outcomes"] = outcomes
    assert ask("failure_share", aggregate, tolerance=0.1, **FAILURE | {"kinds": kinds}).verdict == verdict


def test_without_a_collapse_there_is_no_failure_above_it(aggregate: Row) -> None:
    found = ask("failure_share", aggregate, tolerance=0.1, **FAILURE)
    assert found.verdict == INCONCLUSIVE
    assert "no collapse" in found.reason
    assert found.ours.text == "150 shorter lists, 75 repetitions, of 250 failures"
    aggregate["cells"]["main"]["onset"] = begins(1.4, n_seeds=3)
    assert "3 here" in ask("failure_share", aggregate, tolerance=0.1, **FAILURE).reason


@pytest.mark.parametrize(
    ("spread", "p_value", "lowest", "verdict"),
    [
        (0.01, 0.6, 0.9, REPRODUCED),
        (0.03, 0.001, 0.9, REPRODUCED),
        (0.1, 0.001, 0.9, NOT_REPRODUCED),
        (0.1, 0.2, 0.9, INCONCLUSIVE),
        (0.001, 0.6, 0.995, INCONCLUSIVE),
    ],
)
def test_flat(aggregate: Row, spread: float, p_value: float, lowest: float, verdict: str) -> None:
    aggregate["cells"]["main"]["flatness"]["ndcg_at_1"] |= {"range": spread, "p_value": p_value}
    for found in aggregate["cells"]["main"]["lambdas"]:
        found["scores"]["ndcg_at_1"] = lowest
    judged = ask("flat", aggregate, tolerance=0.03, group="main", score="ndcg_at_1", min_seeds=5)
    assert (judged.verdict, judged.ours.n_seeds, judged.ours.n) == (verdict, 5, 8000)


@pytest.mark.parametrize("flatness", [{}, {"ndcg_at_1": None}])
def test_flat_without_scores(aggregate: Row, flatness: Row) -> None:
    aggregate["cells"]["main"]["flatness"] = flatness
    found = ask("flat", aggregate, tolerance=0.03, group="main", score="ndcg_at_1", min_seeds=5)
    assert found.verdict == INCONCLUSIVE


def test_one_seed_is_no_plural(aggregate: Row) -> None:
    aggregate["cells"]["main"]["onset"] = begins(n_seeds=1)
    aggregate["cells"]["no_clip"]["onset"] = begins(1.3, n_seeds=1)
    assert "in 1 of 1 seed;" in ask("begins_at_prediction", aggregate, **ONSET | {"min_seeds": 1}).reason
    found = ask("contrast", aggregate, group="no_clip", against="main", min_seeds=1)
    assert found.ours.text == "no_clip: a collapse in 1 of 1 seed"
    assert found.reason == "main: in 0 of 1"


@pytest.mark.parametrize(
    ("free", "clipped", "verdict"),
    [
        (begins(), begins(1.3), REPRODUCED),
        (begins(), begins(), INCONCLUSIVE),
        (begins(), begins(1.9), INCONCLUSIVE),
        (begins(1.4), begins(1.3), NOT_REPRODUCED),
        (begins() | {"censored": 4}, begins(1.3), INCONCLUSIVE),
        (begins(n_seeds=1), begins(1.3), INCONCLUSIVE),
    ],
)
def test_contrast(aggregate: Row, free: Row, clipped: Row, verdict: str) -> None:
    aggregate["cells"]["no_clip"]["onset"] = free
    aggregate["cells"]["main"]["onset"] = clipped
    assert ask("contrast", aggregate, group="no_clip", against="main", min_seeds=5).verdict == verdict


@pytest.mark.parametrize(
    ("short", "long", "verdict"),
    [
        (estimate(0.95, 0.01), estimate(0.7, 0.05), REPRODUCED),
        (estimate(0.7, 0.05), estimate(0.95, 0.01), NOT_REPRODUCED),
        (estimate(0.95, 0.1), estimate(0.9, 0.05), INCONCLUSIVE),
        (estimate(0.95, 0.01), estimate(0.7, 0.05, n_seeds=2), INCONCLUSIVE),
        (estimate(0.95, 0.01), None, INCONCLUSIVE),
        (estimate(math.nan), estimate(0.7), INVALID),
    ],
)
def test_falls(aggregate: Row, short: Row, long: Row | None, verdict: str) -> None:
    row(aggregate, 1.15)["parse"], row(aggregate, 1.15, "no_clip")["parse"] = short, long
    assert ask("falls", aggregate, group="no_clip", against="main", lam=1.15, min_seeds=5).verdict == verdict


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict", "said"),
    [
        (begins(1.2), begins(1.25), REPRODUCED, "1 grid point earlier"),
        (begins(1.18), begins(1.22), REPRODUCED, "1 grid point earlier"),
        (begins(1.15), begins(1.25), NOT_REPRODUCED, "2 grid points earlier"),
        (begins(1.25), begins(1.2), NOT_REPRODUCED, "-1 grid points earlier"),
        (begins(1.2), begins(1.2), NOT_REPRODUCED, "0 grid points earlier"),
        (begins(), begins(1.2), INCONCLUSIVE, "no onset to compare with"),
        (begins(1.2), begins(), INCONCLUSIVE, "no onset to compare with"),
        (begins(1.2, n_seeds=2), begins(1.25), INCONCLUSIVE, "too few seeds: 2"),
    ],
)
def test_steps_earlier(aggregate: Row, ours: Row, theirs: Row, verdict: str, said: str) -> None:
    aggregate["cells"]["no_clip"]["onset"], aggregate["cells"]["main"]["onset"] = ours, theirs
    found = ask("steps_earlier", aggregate, group="no_clip", against="main", steps=1, min_seeds=5)
    assert (found.verdict, said in found.reason) == (verdict, True)


@pytest.mark.parametrize(
    ("small", "large", "verdict"),
    [
        (begins(1.05), begins(1.2), REPRODUCED),
        (begins(1.15), begins(1.2), NOT_REPRODUCED),
        (begins(), begins(1.2), INCONCLUSIVE),
        (begins(1.05), begins(), INCONCLUSIVE),
        (begins(1.0), begins(1.0), INCONCLUSIVE),
        (begins(1.05, n_seeds=1), begins(1.2), INCONCLUSIVE),
    ],
)
def test_onset_ratio(aggregate: Row, small: Row, large: Row, verdict: str) -> None:
    """At c = 1.5 against 5 and p near 1 the ratio is log 1.5 / log 5 = 0.252."""
    aggregate["cells"]["no_clip"] |= {"onset": small, "clip": 1.5}
    aggregate["cells"]["main"]["onset"] = large
    found = ask("onset_ratio", aggregate, tolerance=0.1, group="no_clip", against="main", min_seeds=5)
    assert (found.verdict, "0.252" in found.reason) == (verdict, found.ours.n_seeds == 5)


def test_rules_on_two_groups_are_not_run_without_one(aggregate: Row) -> None:
    pair = {"group": "budget", "against": "main", "min_seeds": 5}
    for rule, more in (("contrast", {}), ("falls", {"lam": 1.15}), ("steps_earlier", {"steps": 1}), ("onset_ratio", {})):
        assert ask(rule, aggregate, **pair, **more).verdict == NOT_RUN


def test_the_prediction_is_the_one_at_the_clip_of_the_group(aggregate: Row) -> None:
    star = {"value": 1.045, "low": 1.04, "high": 1.05, "n_seeds": 5, "n": 512}
    aggregate["cells"]["no_clip"] |= {"clip": 1.5, "lambda_star": star, "onset": begins(1.3)}
    found = ask("begins_at_prediction", aggregate, **ONSET | {"group": "no_clip"})
    assert (found.verdict, "predicted 1.040 to 1.050" in found.reason) == (NOT_REPRODUCED, True)


def test_rules_change_nothing_that_they_are_given(aggregate: Row) -> None:
    before = copy.deepcopy(aggregate)
    ask("begins_at_prediction", aggregate, **ONSET)
    ask("failure_share", aggregate, tolerance=0.1, **FAILURE)
    assert aggregate == before


def test_every_rule_says_what_it_does() -> None:
    assert all(rule.__doc__ for rule in RULES.values())
