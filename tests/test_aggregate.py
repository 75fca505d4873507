"""Aggregation of made-up metrics in which a collapse, a broken cell and a foreign calibration are planted."""

import copy
import csv
import dataclasses
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from pipeline import aggregate, theory
from pipeline import config as settings
from pipeline.config import Cell
from pipeline.files import read_json, sha256_of, write_json
from pipeline.layout import Layout
from pipeline.phases import phase_map
from pipeline.theory import LogOdds

ROOT = Path(__file__).resolve().parents[1]
MINI = yaml.safe_load((ROOT / "pipeline/profiles/mini/params.yaml").read_text(encoding="utf-8"))
LAMBDAS, SEEDS, N = [1.0, 1.1, 1.3, 1.5], [0, 1, 2], 20
PARSED = {1.0: 16, 1.1: 16, 1.3: 2, 1.5: 0}
P, B = 5.0, {0: 0.0, 1: 0.5, 2: -0.5}


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = copy.deepcopy(MINI)
    raw["cells"]["main"] |= {"lambdas": LAMBDAS}
    raw["cells"]["no_clip"] |= {"lambdas": [1.0, 1.5]}
    raw["seeds"] = SEEDS
    raw["statistics"]["resamples"] = 60
    return settings.parse(raw, Path("p.yaml"))


def evaluation(step, split, decoding, parsed, quality=0.75):
    return {
        "step": step,
        "split": split,
        "decoding": decoding,
        "n": N,
        "parsed": parsed,
        "parse": parsed / N,
        "outcomes": {"malformed": N - parsed, "ok": parsed},
        "scores": {"ndcg_at_1": quality, "ndcg_at_3": 0.9} if parsed else {},
        "useful": parsed * quality / N,
        "parsed_prompts": "1" * parsed + "0" * (N - parsed),
        "quality": [quality] * parsed,
    }


def evaluations(parsed, least=None):
    return [
        evaluation(2, "validation", "sampled", parsed if least is None else least),
        evaluation(4, "validation", "sampled", parsed),
        evaluation(4, "heldout", "sampled", parsed),
        evaluation(4, "heldout", "greedy", N),
    ]


def cell_metrics(config, cell, calibration_sha256):
    """Parse by `PARSED`; q at the fixed point below lambda 1.5, two above it there; q > q_c from 1.3 on."""
    cells = config.cells[cell.group]
    at = (LogOdds(P), LogOdds(B[cell.seed]), cells.method.clip, cell.lam)
    fixed = theory.stable_fixed_point_logit(*at, cells.method.reading)
    return {
        "profile": "mini",
        "cells": cell.group,
        "lambda": cell.lam,
        "seed": cell.seed,
        **asdict(cells.method),
        "learning_rate": 1e-3,
        "calibration_sha256": calibration_sha256,
        "status": "finished",
        "evaluations": evaluations(PARSED[cell.lam], least=1 if cell.lam == 1.1 else None),
        "training": [
            {"step": 3},
            {"step": 4, "q_logit": (fixed or 0.0) + 2.0 * (cell.lam == 1.5), "q_above": float(cell.lam >= 1.3)},
        ],
    }


def written(config, change=lambda cell, metrics: None):
    """Run the stage on metrics that ``change`` may alter; the aggregate."""
    layout = Layout(config.profile)
    rows = [{"seed": seed, "b": {"log_odds": b}} for seed, b in B.items()]
    write_json(
        layout.calibration,
        {
            "p": {"log_odds": P, "value": 0.99},
            "b": {"value": 0.5},
            "per_seed": rows,
            "clip": 5.0,
            "lambda_star": {"value": 1.3, "low": 1.2, "high": 1.4},
            "learning_rate": {"chosen": 1e-3},
        },
    )
    write_json(layout.data_facts, {"labeller": "made up"})
    for name in config.models_to_train():
        facts = {"profile": "mini", "model": name, "status": "finished", "training": []}
        write_json(layout.sft_metrics(name), facts | {"evaluations": evaluations(10)})
    for cell in config.all_cells():
        metrics = cell_metrics(config, cell, sha256_of(layout.calibration))
        change(cell, metrics)
        write_json(layout.cell_metrics(cell), metrics)
    aggregate.run(config)
    return read_json(layout.aggregate, "aggregate")


def broken(*cells):
    def change(cell, metrics):
        if cell in cells:
            metrics |= {"status": "not finite: loss at step 2", "evaluations": [], "training": []}

    return change


def test_planted_onsets_are_found(config):
    main = written(config)["cells"]["main"]
    assert main["onset"]["median"] == pytest.approx(1.1 + 0.2 * (0.8 - 0.4) / (0.8 - 0.1))
    assert (main["onset"]["n_seeds"], main["onset"]["censored"]) == (3, 0)
    assert main["crossing"]["median"] == 1.3
    assert main["jump"]["median"] == 1.5
    assert [row["parse"] for row in main["plateau"]] == [0.8] * 3


def test_minimum_over_training_has_an_onset_of_its_own(config):
    """The plateau of the least is (0.8 + 0.05) / 2, so its half is passed between 1.0 and 1.1."""
    main = written(config)["cells"]["main"]
    half = (0.8 + 0.05) / 2 / 2
    assert main["onset_of_least"]["median"] == pytest.approx(1.0 + 0.1 * (0.8 - half) / (0.8 - 0.05))


def test_figures_of_each_lambda(config):
    found = written(config)
    rows = {row["lambda"]: row for row in found["cells"]["main"]["lambdas"]}
    assert list(rows) == LAMBDAS
    assert rows[1.0]["parse"]["value"] == 0.8
    assert (rows[1.0]["parse"]["n_seeds"], rows[1.0]["parse"]["n"]) == (3, 60)
    assert rows[1.0]["parse"]["low"] < 0.8 < rows[1.0]["parse"]["high"]
    assert rows[1.0]["parse_greedy"]["value"] == 1.0
    assert rows[1.0]["lift"]["value"] == pytest.approx(0.8 - 0.5)
    assert rows[1.3]["useful"]["value"] == pytest.approx(0.1 * 0.75)
    assert (rows[1.3]["quality"]["value"], rows[1.3]["quality"]["n"]) == (0.75, 6)
    assert rows[1.3]["outcomes"] == {"malformed": 54, "ok": 6}
    assert rows[1.1]["training"][0] == {"step": 2, "parse": 0.05, "least": 0.05, "greatest": 0.05, "n_seeds": 3}
    assert found["sft"]["student"]["parse"]["value"] == 0.5


def test_lift_is_over_the_warm_start_of_the_same_seed(config):
    """Every cell at 1.0 ends where its warm start was and at 1.1 one prompt above; seed 1 is broken at 1.1."""
    before = {0: 4, 1: 16, 2: 11}

    def change(cell, metrics):
        metrics["evaluations"] = evaluations(before[cell.seed] + (cell.lam == 1.1))
        broken(Cell("main", 1.1, 1))(cell, metrics)

    written(config, change)
    layout = Layout(config.profile)
    for seed, parsed in before.items():
        metrics = read_json(layout.sft_metrics(f"student-{seed}"), "test")
        write_json(layout.sft_metrics(f"student-{seed}"), metrics | {"evaluations": evaluations(parsed)})
    aggregate.run(config)
    rows = read_json(layout.aggregate, "aggregate")["cells"]["main"]["lambdas"]
    lift = [{key: row["lift"][key] for key in ("value", "low", "high", "n_seeds")} for row in rows]
    assert lift[0] == {"value": 0.0, "low": 0.0, "high": 0.0, "n_seeds": 3}
    assert (lift[1]["value"], lift[1]["n_seeds"]) == (pytest.approx(1 / N), 2)


def test_nothing_parsed_has_no_quality(config):
    row = written(config)["cells"]["main"]["lambdas"][-1]
    assert row["parse"]["value"] == 0.0
    assert row["useful"]["value"] == 0.0
    assert (row["quality"]["value"], row["quality"]["n"], row["scores"]) == (None, 0, {})


def test_invalid_cell_is_listed_and_enters_no_mean(config):
    main = written(config, broken(Cell("main", 1.3, 1)))["cells"]["main"]
    assert main["invalid"] == [{"lambda": 1.3, "seed": 1, "status": "not finite: loss at step 2"}]
    row = main["lambdas"][2]
    assert (row["parse"]["n_seeds"], row["parse"]["n"]) == (2, 40)
    assert [one["seed"] for one in row["parse_by_seed"]] == [0, 2]
    assert [one["seed"] for one in main["onset"]["per_seed"]] == [0, 2]
    assert read_json(Path("reports/mini/metrics.json"), "aggregate")["invalid_cells"] == 1


def test_a_lambda_without_a_finished_cell(config):
    main = written(config, broken(*(Cell("main", 1.5, seed) for seed in SEEDS)))["cells"]["main"]
    assert main["lambdas"][3]["parse"] is None
    assert main["onset"]["n_seeds"] == 0
    assert read_json(Path("reports/mini/metrics.json"), "aggregate")["parse"]["1.5"] is None


def test_no_cell_finished(config):
    found = written(config, broken(*config.all_cells()))
    assert len(found["cells"]["main"]["invalid"]) == 12
    assert all(row["parse"] is None for row in found["cells"]["main"]["lambdas"])


def test_cell_of_another_calibration_is_listed(config):
    def change(cell, metrics):
        if cell == Cell("main", 1.1, 2):
            metrics["calibration_sha256"] = "0" * 64

    found = written(config, change)
    assert found["cells"]["main"]["not_of_this_calibration"] == ["1.1-2"]
    assert found["cells"]["no_clip"]["not_of_this_calibration"] == []


def test_flatness_uses_seeds_that_parsed_everywhere(config):
    def change(cell, metrics):
        if cell.lam == 1.5 and cell.seed != 2:
            metrics["evaluations"] = evaluations(5)

    found = written(config, change)["cells"]["main"]["flatness"]["ndcg_at_1"]
    assert (found["n_seeds"], found["n_lambdas"], found["p_value"]) == (2, 4, 1.0)
    assert written(config)["cells"]["main"]["flatness"]["ndcg_at_1"] is None


def test_order_of_the_grid_in_the_settings_does_not_matter(config):
    raw = copy.deepcopy(MINI)
    raw["cells"]["main"] |= {"lambdas": LAMBDAS[::-1]}
    raw["seeds"] = SEEDS
    raw["statistics"]["resamples"] = 60
    shuffled = settings.parse(raw, Path("p.yaml"))
    assert written(shuffled)["cells"]["main"]["lambdas"] == written(config)["cells"]["main"]["lambdas"]


def test_headline_and_tables(config):
    written(config)
    headline = read_json(Path("reports/mini/metrics.json"), "aggregate")
    assert headline["lambda_star"] == 1.3
    assert headline["parse"] == {"1.0": 0.8, "1.1": 0.8, "1.3": 0.1, "1.5": 0.0}
    assert headline["invalid_cells"] == 0
    with Path("reports/mini/plots/parse.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["cells"], row["lambda"], row["parse"]) for row in rows][:2] == [
        ("main", "1.0", "0.8"),
        ("main", "1.1", "0.8"),
    ]
    assert len(rows) == 6


def test_the_same_twice(config):
    assert written(config) == written(config)


def map_group(parse, rate, calibrated, reading="mask", diverged=()):
    method = {"clip": 5.0, "steps": 4, "signal": "listopd", "estimator": "sampled", "mean": "token", "batch": None}
    rows = [
        {"lambda": lam, "parse_by_seed": [{"seed": seed, "parse": value} for seed, value in by_seed.items()]}
        for lam, by_seed in parse.items()
    ]
    first = next(iter(parse.values()))
    return method | {
        "reading": reading,
        "learning_rate": rate,
        "calibrated_rate": calibrated,
        "plateau": [{"seed": seed, "parse": value} for seed, value in first.items()],
        "diverged": [{"lambda": lam, "seed": seed, "status": "not finite"} for lam, seed in diverged],
        "lambdas": rows,
    }


def test_phase_map_counts_seeds_below_half_their_own_calibrated_plateau():
    groups = {
        "main": map_group({1.0: {0: 0.9, 1: 0.5}, 2.0: {0: 0.8, 1: 0.2}}, 1e-4, True),
        "fast": map_group({1.0: {0: 0.44, 1: 0.26}, 2.0: {0: 0.1}}, 1e-3, False, diverged=[(2.0, 1)]),
        "other": map_group({1.0: {0: 0.9, 1: 0.9}}, 1e-4, True, reading="none"),
    }
    found = {(row["cells"], row["lambda"]): row for row in phase_map(groups)}
    assert list(found) == [("main", 1.0), ("main", 2.0), ("fast", 1.0), ("fast", 2.0)]
    counts = {key: (row["collapsed"], row["diverged"], row["n_seeds"]) for key, row in found.items()}
    assert list(counts.values()) == [(0, 0, 2), (1, 0, 2), (1, 0, 2), (2, 1, 2)]
    assert [row["parse"] for row in found.values()] == pytest.approx([0.7, 0.5, 0.35, 0.05])


def test_no_phase_map_without_a_second_learning_rate():
    assert phase_map({"main": map_group({1.0: {0: 0.9}}, 1e-4, True)}) == []


def test_a_cell_that_diverges_at_a_rate_of_its_own_is_an_outcome(config):
    method = dataclasses.replace(config.cells["no_clip"].method, learning_rate=1.0)
    group = dataclasses.replace(config.cells["no_clip"], method=method)
    config = dataclasses.replace(config, cells=config.cells | {"no_clip": group})
    found = written(config, broken(Cell("no_clip", 1.5, 1)))["cells"]["no_clip"]
    assert found["invalid"] == []
    assert found["diverged"] == [{"lambda": 1.5, "seed": 1, "status": "not finite: loss at step 2"}]
    assert found["learning_rate"] == 1.0
