"""Stage `aggregate`: metrics of all cells to the figures that verdicts and report rest on.

Reads the metrics files and `calibration.json`; writes ``aggregate.json`` (everything, with n and interval),
``metrics.json`` (the few numbers that `dvc metrics show` prints) and the tables for `dvc plots show`. Seeds are the unit:
intervals are a hierarchical bootstrap over seeds, then prompts. A cell that did not finish is listed as invalid and
enters no mean. Profiles never mix.
"""

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from pipeline import onsets, theory
from pipeline.config import TEACHER, Cell, Config
from pipeline.files import read_json, sha256_of, write_atomically, write_json
from pipeline.layout import Layout
from pipeline.phases import phase_map
from pipeline.statistics import Array, estimate, flatness
from pipeline.streams import generator

Metrics = dict[str, Any]
FINAL = ("heldout", "sampled")


def run(config: Config) -> None:
    layout = Layout(config.profile)
    calibration = read_json(layout.calibration, "calibrate")
    students = {seed: read_json(layout.sft_metrics(f"student-{seed}"), "evaluate") for seed in config.seeds}
    aggregate = {
        "profile": config.profile,
        "command": f"python -m pipeline stage aggregate --profile {config.profile}",
        "confidence": config.statistics.confidence,
        "data": read_json(layout.data_facts, "prepare"),
        "k": config.task.k,
        "calibration": calibration,
        "calibration_sha256": sha256_of(layout.calibration),
        "sft": {
            "teacher": _summary(config, [read_json(layout.sft_metrics(TEACHER), "evaluate")]),
            "student": _summary(config, list(students.values())),
        },
        "cells": {name: _group(config, layout, name, students, calibration) for name in config.cells},
    }
    aggregate["phase_map"] = phase_map(aggregate["cells"])
    write_json(layout.aggregate, aggregate)
    write_json(layout.summary, _headline(aggregate))
    for name, table in _tables(aggregate).items():
        write_atomically(layout.plots / f"{name}.csv", table.to_csv(index=False).encode())


def _group(
    config: Config, layout: Layout, name: str, students: dict[int, Metrics], calibration: dict[str, Any]
) -> dict[str, Any]:
    """Figures of one group of cells along λ, and where collapse, crossing and jump begin."""
    cells = config.cells[name]
    metrics = {
        (lam, seed): read_json(layout.cell_metrics(Cell(name, lam, seed)), "evaluate")
        for lam in cells.lambdas
        for seed in config.seeds
    }
    finished = {key: value for key, value in metrics.items() if value["status"] == "finished"}
    lambdas = sorted(cells.lambdas)
    rows = []
    for lam in lambdas:
        found = {seed: finished[lam, seed] for seed in config.seeds if (lam, seed) in finished}
        rows.append(
            {
                "lambda": lam,
                **_summary(config, list(found.values())),
                "lift": _lift(config, found, students),
                "parse_by_seed": [{"seed": seed, "parse": final(value)["parse"]} for seed, value in found.items()],
                "training": _trajectory(list(found.values())),
                **_q(list(found.values())),
            }
        )
    broken = [{"lambda": k[0], "seed": k[1], "status": m["status"]} for k, m in metrics.items() if k not in finished]
    whole = [seed for seed in config.seeds if all((lam, seed) in finished for lam in lambdas)]
    quality = next((next(iter(final(m)["scores"])) for m in finished.values() if final(m)["scores"]), None)
    return {
        **asdict(cells.method),
        "learning_rate": cells.method.learning_rate or calibration["learning_rate"]["chosen"],
        "calibrated_rate": cells.method.learning_rate is None,
        "invalid": [] if cells.method.learning_rate else broken,
        "diverged": broken if cells.method.learning_rate else [],
        "not_of_this_calibration": sorted(
            {
                f"{lam}-{seed}"
                for (lam, seed), m in metrics.items()
                if m["calibration_sha256"] != sha256_of(layout.calibration)
            }
        ),
        "lambdas": rows,
        **_prediction(calibration, cells.method.clip),
        **_begins(config, finished, lambdas, whole, calibration),
        "flatness": {} if quality is None else {quality: _flat(config, finished, lambdas, whole, quality)},
    }


def _prediction(calibration: dict[str, Any], clip: float) -> dict[str, Any]:
    """λ* and q_c at the group's clip. λ* − 1 is proportional to logit q_c − logit p, so its interval follows the clip."""
    p, star = theory.LogOdds(calibration["p"]["log_odds"]), calibration["lambda_star"]
    threshold, written = (theory.clip_threshold_logit(p, c) for c in (clip, calibration["clip"]))
    if clip != calibration["clip"] and star["value"] is not None:
        scale = (threshold - p) / (written - p)
        star = star | {key: 1.0 + scale * (star[key] - 1.0) for key in ("value", "low", "high")}
    return {"lambda_star": star, "clip_threshold_logit": threshold}


def final(metrics: Metrics, split: str = FINAL[0], decoding: str = FINAL[1]) -> Metrics:
    """The last evaluation of that kind."""
    return [row for row in metrics["evaluations"] if (row["split"], row["decoding"]) == (split, decoding)][-1]


def _summary(config: Config, runs: list[Metrics]) -> dict[str, Any]:
    """Parse, scores on parsed outputs, USEFUL and outcomes at the end, over the seeds in ``runs``."""
    rng = generator(config.seed, "bootstrap")
    level, resamples = config.statistics.confidence, config.statistics.resamples

    def pooled(values: list[Array]) -> dict[str, Any] | None:
        return estimate(values, level, resamples, rng) if values else None

    ends = [final(run) for run in runs]
    outcomes: Counter[str] = sum((Counter(end["outcomes"]) for end in ends), Counter())
    return {
        "parse": pooled([_parsed(end) for end in ends]),
        "parse_greedy": pooled([_parsed(final(run, decoding="greedy")) for run in runs]),
        "useful": pooled([np.nan_to_num(_quality(end)) for end in ends]),
        "quality": pooled([_quality(end) for end in ends]),
        "quality_name": next((next(iter(end["scores"])) for end in ends if end["scores"]), None),
        "scores": {
            name: float(np.mean([end["scores"][name] for end in ends if end["scores"]]))
            for name in next((end["scores"] for end in ends if end["scores"]), {})
        },
        "outcomes": dict(sorted(outcomes.items())),
    }


def _parsed(end: Metrics) -> Array:
    return np.array([float(mark) for mark in end["parsed_prompts"]])


def _quality(end: Metrics) -> Array:
    """The first score per prompt; NaN where the output did not parse."""
    parsed = _parsed(end)
    values = np.full(len(parsed), np.nan)
    values[parsed == 1.0] = end["quality"]
    return values


def _lift(config: Config, found: dict[int, Metrics], students: dict[int, Metrics]) -> dict[str, Any] | None:
    """Parse minus that of the same seed's warm start on the same prompts."""
    rng = generator(config.seed, "bootstrap lift")
    pairs = [_parsed(final(run)) - _parsed(final(students[seed])) for seed, run in found.items()]
    return estimate(pairs, config.statistics.confidence, config.statistics.resamples, rng) if pairs else None


def _trajectory(runs: list[Metrics]) -> list[dict[str, Any]]:
    """Parse on the validation prompts along training: median, least and greatest over seeds."""
    steps = sorted({row["step"] for run in runs for row in run["evaluations"] if row["split"] == "validation"})
    out = []
    for step in steps:
        at = [
            row["parse"]
            for run in runs
            for row in run["evaluations"]
            if row["step"] == step and row["split"] == "validation"
        ]
        out.append({"step": step, "parse": float(np.median(at)), "least": min(at), "greatest": max(at), "n_seeds": len(at)})
    return out


def _q(runs: list[Metrics]) -> dict[str, Any]:
    """The student's q at the binding position at the end: mean log-odds and share of prompts above q_c, per seed."""
    ends = [run["training"][-1] for run in runs]
    return {"q_logit_by_seed": [end["q_logit"] for end in ends], "q_above_by_seed": [end["q_above"] for end in ends]}


def _begins(
    config: Config,
    finished: dict[tuple[float, int], Metrics],
    lambdas: list[float],
    whole: list[int],
    calibration: dict[str, Any],
) -> dict[str, Any]:
    """Onset of collapse (at the end, and on the minimum over training), crossing and jump, per seed and over seeds."""
    rng = generator(config.seed, "bootstrap onsets")
    p = theory.LogOdds(calibration["p"]["log_odds"])
    b = {row["seed"]: theory.LogOdds(row["b"]["log_odds"]) for row in calibration["per_seed"]}

    def along(seed: int, figure: Any) -> list[float]:
        return [figure(finished[lam, seed]) for lam in lambdas]

    def least(metrics: Metrics) -> float:
        return min(row["parse"] for row in metrics["evaluations"] if row["split"] == "validation")

    def fixed(metrics: Metrics) -> float | None:
        if metrics["reading"] not in theory.READINGS or metrics["signal"] != "listopd":
            return None
        at = (p, b[metrics["seed"]], metrics["clip"], metrics["lambda"])
        flow = "truncate" if metrics["reading"] == "mask" else metrics["reading"]  # where that of `mask` has vanished
        return theory.stable_fixed_point_logit(*at, flow)

    found: dict[str, dict[int, float | None]] = {
        "onset": {s: onsets.onset(lambdas, along(s, lambda m: final(m)["parse"])) for s in whole},
        "onset_of_least": {s: onsets.onset(lambdas, along(s, least)) for s in whole},
        "crossing": {s: onsets.crossing(lambdas, along(s, lambda m: m["training"][-1]["q_above"])) for s in whole},
        "jump": {s: onsets.jump(lambdas, along(s, lambda m: m["training"][-1]["q_logit"]), along(s, fixed)) for s in whole},
    }
    level, resamples = config.statistics.confidence, config.statistics.resamples
    return {
        "plateau": [
            {"seed": s, "parse": onsets.plateau(lambdas, along(s, lambda m: final(m)["parse"]))} for s in whole
        ],
        "fixed_point_logit": [
            {"lambda": lam, "by_seed": [fixed(finished[lam, s]) for s in whole]} for lam in lambdas
        ],
        **{
            name: onsets.over_seeds(values, lambdas[-2 if name.startswith("onset") else -1], level, resamples, rng)
            for name, values in found.items()
        },
    }  # fmt: skip


def _flat(
    config: Config, finished: dict[tuple[float, int], Metrics], lambdas: list[float], whole: list[int], name: str
) -> dict[str, Any] | None:
    """Permutation test of a score over λ, on seeds whose every cell has parsed outputs."""
    seeds = [s for s in whole if all(final(finished[lam, s])["scores"] for lam in lambdas)]
    if len(seeds) < 2:
        return None
    table = np.array([[final(finished[lam, s])["scores"][name] for lam in lambdas] for s in seeds])
    return flatness(table, config.statistics.resamples, generator(config.seed, "flatness"))


def _headline(aggregate: dict[str, Any]) -> dict[str, Any]:
    """What `dvc metrics show` prints: the prediction, the warm start and parse along λ."""
    calibration, main = aggregate["calibration"], aggregate["cells"]["main"]
    return {
        "lambda_star": calibration["lambda_star"]["value"],
        "p": calibration["p"]["value"],
        "b": calibration["b"]["value"],
        "learning_rate": calibration["learning_rate"]["chosen"],
        "parse_sft": aggregate["sft"]["student"]["parse"]["value"],
        "parse_teacher": aggregate["sft"]["teacher"]["parse"]["value"],
        "parse": {str(row["lambda"]): row["parse"] and row["parse"]["value"] for row in main["lambdas"]},
        "onset_of_collapse": main["onset"]["median"],
        "crossing_of_q_c": main["crossing"]["median"],
        "jump_of_q": main["jump"]["median"],
        "invalid_cells": sum(len(group["invalid"]) for group in aggregate["cells"].values()),
    }


def _tables(aggregate: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """One table over λ and one along training, all groups of cells together."""
    over, along = [], []
    for name, group in aggregate["cells"].items():
        for row in group["lambdas"]:
            key = {"cells": name, "reading": group["reading"], "lambda": row["lambda"]}
            if row["parse"]:
                figures = {"parse": row["parse"]["value"], "low": row["parse"]["low"], "high": row["parse"]["high"]}
                over.append(key | figures | {"useful": row["useful"]["value"], "n_seeds": row["parse"]["n_seeds"]})
            along += [key | point for point in row["training"]]
    return {"parse": pd.DataFrame(over), "training": pd.DataFrame(along)}
