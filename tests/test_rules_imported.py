"""The claims of tier D as shipped, on INVENTED rows (`invented.py`): each verdict of each rule, and what is missing."""

import math
from typing import Any

import pytest
from invented import FINE, SMALL, Row, collapse, row, runs_of, scored, seeds, sft

from pipeline import check
from pipeline.full_scale import over_seeds, printable, provenance, rows_behind, sweep
from pipeline.rules import judge
from pipeline.statistics import wilson
from pipeline.verdicts import (
    CANNOT_COMPARE,
    INCONCLUSIVE,
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    Case,
    Judgement,
    Published,
    Unjudged,
)

CLAIMS = {claim.id: claim for claim in check.load_claims(check.CLAIMS).claims}
CHECKS = {name: one for name, claim in CLAIMS.items() for one in claim.checks if one.tier == "D"}
MAIN = collapse(1.22, FINE)


def ask(claim: str, rows: list[Row]) -> Judgement:
    one = CHECKS[claim]
    return judge(
        one.rule, Case({}, CLAIMS[claim].published, one.tolerance.value or 0.0, runs_of(rows)), **one.arguments
    )  # fmt: skip


@pytest.mark.parametrize("claim", CHECKS)
def test_without_rows_nothing_is_run_and_what_is_missing_is_said(claim: str) -> None:
    found = ask(claim, [])
    assert (found.verdict, "no metrics at full scale are imported; it takes rows with" in found.reason) == (NOT_RUN, True)
    other = ask(claim, [row(student="Another-7B"), sft(student="Another-7B")])
    assert (other.verdict, "no imported row has" in other.reason) == (NOT_RUN, True)


@pytest.mark.parametrize("claim", CHECKS)
def test_a_table_of_everything_leaves_nothing_unjudged(claim: str) -> None:
    rows = everything()
    assert ask(claim, rows).verdict == (CANNOT_COMPARE if claim == "parse_shift_bench" else REPRODUCED), ask(claim, rows)


def everything() -> list[Row]:
    """Rows on which every claim holds that can: 40 seeds where the ratio of variances asks for them."""
    gemini = "Gemini 2.5 Pro"
    flat = [r | {"ndcg_at_1": 0.9, "labeller": gemini} for r in MAIN if r["lambda"] not in (1.0, 1.15)]
    at_one = scored(seeds(row, 0.91, **{"lambda": 1.0}), 0.819)
    useful = [row(s, 0.948, ndcg_at_1=0.918 + 0.0045 * (s % 5 - 2), labeller=gemini) for s in range(40)]
    eight = [sft(s, 0.92, student="Qwen3-8B", ndcg_at_1=0.918 + 0.01136 * (s % 5 - 2), labeller=gemini) for s in range(40)]
    after_sft = scored(seeds(sft, 0.335), 0.23)
    ablations = [
        *scored(seeds(sft, 0.4, method="continued_sft", step=42), 0.273),
        *scored(seeds(sft, 0.05, method="forward_kl", teacher="Qwen3-4B", step=42), 0.027),
        *scored(seeds(sft, 0.8, decoding="constrained"), 0.679),
        *scored(seeds(sft, 0.35, method="seed_selection"), 0.23),
        *scored(seeds(sft, 0.8, student="Qwen3-4B"), 0.661),
    ]
    elsewhere = [
        *(r for name in ("Baby_Products", "Software") for r in seeds(row, 0.9, data_set=name, step=9)),
        *(r for name in ("Baby_Products", "Software") for r in seeds(sft, 0.4, data_set=name)),
        *seeds(sft, 0.985, data_set="BFCL", k=None),
        *seeds(sft, 0.5, data_set="GSM8K", k=None, teacher="Qwen3-4B", p=0.7),
    ]
    sweeps = [
        *collapse(1.055, SMALL, clip=1.5),
        *collapse(1.21, FINE, reading="aspo", clip=5.0),
        *collapse(9.0, FINE, method="no_base"),
    ]
    longer = seeds(row, 0.675, step=70)
    return [*flat, *at_one, *useful, *eight, *after_sft, *ablations, *elsewhere, *sweeps, *longer]


# What is chosen


def test_the_column_at_which_nothing_is_left_is_named() -> None:
    found = ask("onset", collapse(1.22, FINE, step=40))
    assert found.verdict == NOT_RUN
    assert found.reason.startswith("no imported row has step 42 (found 40); it takes rows with teacher Qwen3-4B")


def test_the_loss_as_quoted_and_sampled_outputs_come_first() -> None:
    other = [r | {"parsed": 1} for r in MAIN]
    for change in ({"reading": "mask"}, {"decoding": "greedy"}, {"reading": "none"}, {"reading": "aspo"}):
        assert ask("onset", MAIN + [r | change for r in other]).verdict == REPRODUCED
    assert ask("onset", [r | {"reading": "mask"} for r in MAIN]).verdict == REPRODUCED
    for reading in ("none", "aspo"):
        found = ask("onset", [r | {"reading": reading} for r in MAIN])
        assert (found.verdict, "truncate or mask or rollout" in found.reason) == (NOT_RUN, True)
    constrained = ask("onset", [r | {"decoding": "constrained"} for r in MAIN])
    assert (constrained.verdict, "sampled or greedy" in constrained.reason) == (NOT_RUN, True)


def test_groups_that_were_decoded_or_clipped_otherwise_cannot_be_compared() -> None:
    eight = scored(seeds(sft, 0.92, student="Qwen3-8B"), 0.85)
    ours = scored(seeds(row, 0.94), 0.85)
    assert ask("parity", ours + eight).verdict == REPRODUCED
    found = ask("parity", ours + [r | {"decoding": "greedy"} for r in eight])
    assert (found.verdict, "differ in decoding: greedy and sampled" in found.reason) == (CANNOT_COMPARE, True)
    assert ask("parse_shift", seeds(row, 0.948) + seeds(sft, 0.335, decoding="greedy")).verdict == CANNOT_COMPARE
    free = collapse(9.0, FINE, method="no_base")
    assert ask("nobase", MAIN + free).verdict == REPRODUCED
    assert ask("nobase", MAIN + [r | {"reading": "mask"} for r in free]).verdict == CANNOT_COMPARE


def test_two_runs_of_one_seed_that_the_claim_does_not_tell_apart() -> None:
    rows = [*seeds(sft, 0.335), *seeds(sft, 0.335, teacher="Qwen3-4B"), *seeds(row, 0.948)]
    found = ask("parse_shift", rows)
    assert (found.verdict, "seed 0 has rows of different runs" in found.reason) == (CANNOT_COMPARE, True)


# Labels


@pytest.mark.parametrize("labeller", ["heuristic: words and votes", "a HEURISTIC of ours"])
@pytest.mark.parametrize(
    "claim", ["useful_listopd", "parity", "variance", "ndcg_flat", "ablation_lambda_one", "useful_8b_sft"]
)
def test_scores_of_a_heuristic_cannot_be_compared(claim: str, labeller: str) -> None:
    rows = [r | {"labeller": labeller} if "ndcg_at_1" in r else r for r in everything()]
    assert ask(claim, rows).verdict == CANNOT_COMPARE
    assert ask("parse_shift", rows).verdict == REPRODUCED


def test_labels_by_two_cannot_be_compared_and_no_labels_are_not_run() -> None:
    rows = scored(seeds(row, 0.948), 0.87)
    mixed = [*rows[:3], *(r | {"labeller": "somebody else"} for r in rows[3:])]
    assert "different labellers" in ask("ablation_listopd", mixed).reason
    assert ask("ablation_listopd", mixed).verdict == CANNOT_COMPARE
    bare = ask("ablation_listopd", seeds(row, 0.948))
    assert (bare.verdict, "ndcg_at_1 is empty in the imported rows with teacher" in bare.reason) == (NOT_RUN, True)
    partly = ask("ablation_listopd", rows[:2] + seeds(row, 0.948)[2:])
    assert (partly.verdict, "2 here, 5 would do" in partly.reason) == (INCONCLUSIVE, True)


# Levels


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (0.335, 0.948, REPRODUCED),
        (0.335, 0.7, NOT_REPRODUCED),
        (0.6, 0.948, NOT_REPRODUCED),
        (0.335, 0.975, INCONCLUSIVE),
        (None, 0.948, NOT_RUN),
        (None, 0.7, NOT_REPRODUCED),
        (0.335, None, NOT_RUN),
    ],
)
def test_parse_shift(before: float | None, after: float | None, verdict: str) -> None:
    rows = ([] if before is None else seeds(sft, before)) + ([] if after is None else seeds(row, after))
    assert ask("parse_shift", rows).verdict == verdict


def test_few_seeds_are_inconclusive_and_one_has_wilsons_interval() -> None:
    found = ask("ablation_listopd", scored(seeds(row, 0.948, 4), 0.88))
    assert (found.verdict, found.ours.n_seeds, "4 here, 5 would do" in found.reason) == (INCONCLUSIVE, 4, True)
    one = over_seeds(list(runs_of([row(0, 0.9)])), "parse")
    assert (one["low"], one["high"]) == wilson(900, 1000, 0.95)
    alone = over_seeds(list(runs_of(scored([row(2, 0.9)], 0.8))), "useful")
    assert (round(alone["value"], 9), alone["low"], alone["high"], alone["n_seeds"]) == (0.8, 0.0, 1.0, 1)


def test_the_interval_over_seeds_is_t_and_for_rates_at_least_wilsons() -> None:
    rows = scored([row(s, 1.0) for s in range(5)], 0.8)
    found = over_seeds(list(runs_of(rows)), "useful")
    half = 2.7764451 * math.sqrt(sum((0.004 * (s - 2)) ** 2 for s in range(5)) / 4) / math.sqrt(5)
    assert found["high"] - 0.8 == pytest.approx(half, rel=1e-6)
    assert over_seeds(list(runs_of(rows)), "parse")["low"] == wilson(5000, 5000, 0.95)[0]
    far = over_seeds(list(runs_of([row(s, float(s % 2)) for s in range(4)])), "parse")
    assert (far["value"], far["low"], far["high"]) == (0.5, 0.0, 1.0)
    nothing = over_seeds(list(runs_of([row(0, 0.0)])), "quality")
    assert (nothing["value"], nothing["n_seeds"]) == (None, 0)
    assert over_seeds(list(runs_of([row(0, 0.0)])), "useful")["value"] == 0.0


def test_more_than_a_level() -> None:
    at_one = scored(seeds(row, 0.93, **{"lambda": 1.0}), 0.82)
    assert ask("ablation_lambda_one", at_one + scored(seeds(row, 0.94), 0.87)).verdict == REPRODUCED
    assert ask("ablation_lambda_one", at_one + scored(seeds(row, 0.94), 0.78)).verdict == NOT_REPRODUCED
    assert ask("ablation_lambda_one", at_one + scored(seeds(row, 0.94), 0.822)).verdict == INCONCLUSIVE
    missing = ask("ablation_lambda_one", at_one)
    assert (missing.verdict, "lambda 1.15" in missing.reason) == (NOT_RUN, True)


@pytest.mark.parametrize(
    ("second", "verdict"), [(0.86, REPRODUCED), (0.70, NOT_REPRODUCED), (0.81, INCONCLUSIVE), (None, NOT_RUN)]
)
def test_parity(second: float | None, verdict: str) -> None:
    eight = [] if second is None else scored(seeds(sft, 0.92, student="Qwen3-8B"), second)
    assert ask("parity", scored(seeds(row, 0.94), 0.857) + eight).verdict == verdict


def test_parity_and_variance_need_seeds_on_both_sides() -> None:
    rows = scored(seeds(row, 0.94), 0.857) + scored(seeds(sft, 0.92, 2, student="Qwen3-8B"), 0.85)
    for claim in ("parity", "variance"):
        found = ask(claim, rows)
        assert (found.verdict, found.ours.n_seeds, "3 would do" in found.reason) == (INCONCLUSIVE, 2, True)
    same = [r | {"ndcg_at_1": 0.9, "parsed": 900} for r in scored(seeds(sft, 0.9, student="Qwen3-8B"), 0.8)]
    assert "no spread" in ask("variance", scored(seeds(row, 0.94), 0.857) + same).reason


@pytest.mark.parametrize(("spread", "n", "verdict"), [(6**0.5, 5, INCONCLUSIVE), (0.3, 5, NOT_REPRODUCED)])
def test_variance(spread: float, n: int, verdict: str) -> None:
    eight = scored(seeds(sft, 0.92, n, student="Qwen3-8B"), 0.833, spread=spread)
    found = ask("variance", scored(seeds(row, 0.94, n), 0.857) + eight)
    assert found.verdict == verdict, found
    assert verdict == NOT_REPRODUCED or "seeds each would do" in found.reason


# Sweeps


@pytest.mark.parametrize(
    ("start", "grid", "onset", "band", "marker"),
    [
        (1.22, FINE, REPRODUCED, REPRODUCED, REPRODUCED),
        (1.3, FINE, NOT_REPRODUCED, REPRODUCED, NOT_REPRODUCED),
        (1.15, FINE, NOT_REPRODUCED, NOT_REPRODUCED, NOT_REPRODUCED),
        (9.0, FINE, NOT_REPRODUCED, INCONCLUSIVE, NOT_REPRODUCED),
        (9.0, [*FINE, 1.5, 2.0], NOT_REPRODUCED, NOT_REPRODUCED, NOT_REPRODUCED),
        (1.3, [1.0, 1.1, 1.3, 1.5], INCONCLUSIVE, INCONCLUSIVE, INCONCLUSIVE),
        (9.0, [1.0, 1.1, 1.15], INCONCLUSIVE, INCONCLUSIVE, INCONCLUSIVE),
        (1.22, [1.15, 1.2, 1.22, 1.23], NOT_RUN, NOT_RUN, NOT_RUN),
        (1.22, [1.0], NOT_RUN, NOT_RUN, NOT_RUN),
    ],
)
def test_where_the_collapse_begins(start: float, grid: list[float], onset: str, band: str, marker: str) -> None:
    grid = [lam for lam in grid if lam != 1.3] + [1.3, 1.31] if start == 1.3 and grid is FINE else grid
    rows = collapse(start, grid)
    assert [ask(claim, rows).verdict for claim in ("onset", "band", "marker")] == [onset, band, marker]


@pytest.mark.parametrize(
    ("p", "verdict"),
    [
        ([0.99934], REPRODUCED),
        ([0.9], NOT_REPRODUCED),
        ([0.99934, 0.999], INCONCLUSIVE),
        ([0.4], CANNOT_COMPARE),
        ([None], NOT_RUN),
    ],
)
def test_the_marker_needs_the_measured_p(p: list[float | None], verdict: str) -> None:
    rows = [{k: v for k, v in r.items() if k != "p"} for r in MAIN]
    rows = [r | ({} if p[i % len(p)] is None else {"p": p[i % len(p)]}) for i, r in enumerate(rows)]
    assert ask("marker", rows).verdict == verdict
    assert verdict == NOT_REPRODUCED or ask("clip15", [r | {"clip": 1.5} for r in rows]).verdict != REPRODUCED


def test_a_small_clip_is_shown_by_a_fine_grid_only() -> None:
    assert ask("clip15", collapse(1.055, SMALL, clip=1.5)).verdict == REPRODUCED
    assert ask("clip15", collapse(1.055, [0.9, 1.0, 1.02, 1.03, 1.055, 1.08], clip=1.5)).verdict == INCONCLUSIVE
    assert ask("clip15", collapse(1.1, [1.0, 1.05, 1.08, 1.1, 1.2], clip=1.5)).verdict == NOT_REPRODUCED


@pytest.mark.parametrize(("parse", "verdict"), [(0.04, REPRODUCED), (0.3, NOT_REPRODUCED), (0.095, INCONCLUSIVE)])
def test_parse_above_the_marker(parse: float, verdict: str) -> None:
    rows = [r for r in MAIN if r["lambda"] != 1.3]
    bare = {"shorter": None, "repetition": None}
    assert ask("above", rows + seeds(row, parse, **{"lambda": 1.3}, **bare)).verdict == verdict
    assert ask("above", rows).verdict == NOT_RUN


@pytest.mark.parametrize(
    ("shorter", "repetition", "verdict"),
    [
        (900, 10, REPRODUCED),
        (100, 800, NOT_REPRODUCED),
        (480, 400, INCONCLUSIVE),
        (None, 10, NOT_RUN),
        (900, None, NOT_RUN),
    ],
)
def test_failures_above_the_onset(shorter: int | None, repetition: int | None, verdict: str) -> None:
    rows = [r | ({"shorter": shorter, "repetition": repetition} if r["parsed"] < 500 else {}) for r in MAIN]
    rows = [{k: v for k, v in r.items() if v is not None} for r in rows]
    found = ask("failure", rows)
    assert found.verdict == verdict, found
    below = [r for r in rows if r["lambda"] <= 1.2]
    assert ask("failure", below).verdict == INCONCLUSIVE, "no collapse: nothing fails above it"


@pytest.mark.parametrize(
    ("ndcg", "verdict"),
    [
        (lambda lam: 0.9, REPRODUCED),
        (lambda lam: 0.9 - lam / 3, NOT_REPRODUCED),
        (lambda lam: 0.99, INCONCLUSIVE),
    ],
)
def test_flat(ndcg: Any, verdict: str) -> None:
    rows = [r | {"ndcg_at_1": ndcg(r["lambda"]), "labeller": "somebody"} for r in MAIN]
    assert ask("ndcg_flat", rows).verdict == verdict
    assert ask("ndcg_flat", [r for r in rows if r["seed"] < 4]).verdict == INCONCLUSIVE
    assert ask("ndcg_flat", MAIN).verdict == NOT_RUN


def test_flat_where_nothing_parses() -> None:
    rows = [r | {"ndcg_at_1": 0.9, "labeller": "somebody"} for r in MAIN if r["lambda"] < 1.22]
    rows += [row(s, 0.0, **{"lambda": 1.3}) for s in range(5)]
    found = ask("ndcg_flat", rows)
    assert (found.verdict, "nothing parses at λ = 1.3" in found.reason) == (INCONCLUSIVE, True)


@pytest.mark.parametrize(
    ("start", "verdict"), [(1.21, REPRODUCED), (1.22, NOT_REPRODUCED), (1.15, NOT_REPRODUCED), (9.0, INCONCLUSIVE)]
)
def test_aspo(start: float, verdict: str) -> None:
    rows = collapse(start, FINE, reading="aspo")
    assert ask("aspo", MAIN + rows).verdict == verdict
    assert (ask("aspo", rows).verdict, ask("aspo", MAIN).verdict) == (NOT_RUN, NOT_RUN)


@pytest.mark.parametrize(("start", "verdict"), [(9.0, REPRODUCED), (1.2, NOT_REPRODUCED)])
def test_no_base(start: float, verdict: str) -> None:
    assert ask("nobase", MAIN + collapse(start, FINE, method="no_base")).verdict == verdict
    assert ask("nobase", collapse(9.0, FINE) + collapse(9.0, FINE, method="no_base")).verdict == INCONCLUSIVE


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, REPRODUCED),
        ({"Software": 0.3}, NOT_REPRODUCED),
        ({"BFCL": 0.7}, NOT_REPRODUCED),
        ({"BFCL": 0.95}, INCONCLUSIVE),
        ({"p": 0.95}, NOT_REPRODUCED),
        ({"p": 0.9}, NOT_REPRODUCED),
        ({"p": None}, NOT_RUN),
    ],
)
def test_scope(change: dict[str, Any], verdict: str) -> None:
    rows = [*seeds(row, 0.9, data_set="Baby_Products"), *seeds(sft, 0.4, data_set="Baby_Products")]
    rows += [*seeds(row, change.get("Software", 0.9), data_set="Software"), *seeds(sft, 0.4, data_set="Software")]
    rows += seeds(sft, change.get("BFCL", 0.985), data_set="BFCL")
    rows += seeds(sft, 0.5, data_set="GSM8K", teacher="Qwen3-4B", p=change.get("p", 0.7))
    assert ask("scope", rows).verdict == verdict


def test_a_partial_sweep_uses_the_seeds_and_lambdas_that_are_whole() -> None:
    stray = [row(s, 0.5, **{"lambda": 1.05}) for s in range(3)] + [row(9, 0.95, **{"lambda": 1.15})]
    found = sweep(list(runs_of(MAIN + stray)), 5, (1.2, 1.2))
    assert [r["lambda"] for r in found["lambdas"]] == FINE
    assert found["onset"]["n_seeds"] == 5
    few = ask("onset", [r for r in MAIN if r["seed"] < 3])
    assert (few.verdict, few.ours.n_seeds, "3 here, 5 would do" in few.reason) == (INCONCLUSIVE, 3, True)
    holes = [r for r in MAIN if (r["seed"], r["lambda"]) != (0, 1.1)] + [row(7, 0.95, **{"lambda": 1.1})]
    assert ask("onset", holes).verdict == INCONCLUSIVE, "four seeds have the whole grid"
    with pytest.raises(Unjudged):
        sweep(list(runs_of([row()])), 5, (1.2, 1.2))


@pytest.mark.parametrize("claim", ["onset", "band", "failure", "above", "marker", "ndcg_flat", "nobase", "aspo"])
def test_no_seed_with_a_whole_grid(claim: str) -> None:
    scores = {"ndcg_at_1": 0.9, "labeller": "somebody"}
    rows = [r | scores | {"seed": r["seed"] + int(1000 * r["lambda"])} for r in MAIN]
    rows += [r | {"method": "no_base"} for r in rows] + [r | {"reading": "aspo"} for r in rows]
    assert ask(claim, rows).verdict == (REPRODUCED if claim == "above" else INCONCLUSIVE)


# What a reader is told


def test_provenance_is_one_line_and_shows_what_was_settled() -> None:
    rows = list(runs_of([row(s, provenance=f"cluster {s}\u2028<script>") for s in range(5)] + scored([sft(0)], 0.2)))
    told = provenance(rows)
    assert told.isprintable() and "\\u2028<script>" in told and "and 3 more" in told
    assert "reading: truncate; decoding: sampled; labels: Gemini 2.5 Pro" in told
    assert printable("a\u202eb") == "a\\u202eb"


def test_the_rows_behind_a_verdict() -> None:
    case = Case({}, Published("x"), 0.0, runs_of(seeds(row, 0.9) + seeds(sft, 0.3) + [row(student="Another")]))
    assert len(rows_behind(case, CHECKS["parse_shift"].arguments)) == 10
    assert len(rows_behind(case, CHECKS["marker"].arguments)) == 5
    assert rows_behind(case, CHECKS["scope"].arguments) == []
