# ruff: noqa: E501
"""Invented inputs of the report, of the right shape: what its tests render."""

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from pipeline.config import Config, parse
from pipeline.files import write_json, write_json_lines
from pipeline.layout import Layout

ROOT = Path(__file__).resolve().parent.parent


def settings() -> Config:
    path = ROOT / "params.yaml"
    return parse(yaml.safe_load(path.read_text(encoding="utf-8")), path)


def estimate(value: float, spread: float = 0.02, **more: Any) -> dict[str, Any]:
    return {
        "value": value,
        "low": max(value - spread, 0.0),
        "high": min(value + spread, 1.0),
        "n_seeds": 5,
        "n": 5120,
        **more,
    }


def aggregate_of(config: Config, labeller: str = "invented grades") -> dict[str, Any]:
    """Invented figures of the right shape: parse collapses past λ = 1.25 where the clip acts, nowhere else."""
    star = {"value": 1.237, "low": 1.229, "high": 1.244, "n_seeds": 5, "n": 512}
    b = {"value": 0.42, "log_odds": -0.32, "low": 0.4, "high": 0.44, "n_seeds": 5, "n": 512}
    pilot = [
        {"learning_rate": rate, "parse": 0.6 + 40 * rate, "low": 0.55, "high": 0.8, "n": 1024, "status": "finished"}
        for rate in config.calibrate.learning_rates
    ]
    calibration = {
        "profile": config.profile, "prompts": 512, "clip": 5.0, "confidence": 0.95,
        "binding": {"position": 16, "token": ",", "rule": "where the base puts the least mass"},
        "precondition": {"modal_threshold": 0.9, "holds": True},
        "p": {"value": 0.99912, "log_odds": 7.03, "low": 0.999, "high": 0.9993, "n_seeds": 1, "n": 512}, "b": b,
        "lambda_star": star, "lambda_star_base_neutral": 1.229, "clip_threshold_logit": 8.64,
        "per_seed": [{"seed": seed, "b": b, "lambda_star": star, "lambda_star_of_prompts": {"q05": 1.21, "median": 1.23, "q95": 1.26, "n": 512, "defined": 512}} for seed in config.seeds],
        "positions": [{"position": t, "token": token, "p": 0.999, "b": 0.99 if t < 16 else 0.42, "p_logit_mean": 7.0, "b_logit_mean": 4.0, "lambda_star": None if t == 2 else 1.24} for t, token in ((0, '{"ranking":['), (2, ","), (16, ","), (17, "]}"))],
        "learning_rate": {"rule": "the smallest within one standard error", "chosen": config.calibrate.learning_rates[2], "pilot": pilot},
        "models_sha256": {"teacher": "a" * 64},
    }  # fmt: skip
    sft = {"parse": estimate(0.34), "useful": estimate(0.3), "quality": estimate(0.9, n=1740), "quality_name": "ndcg_at_1", "scores": {"ndcg_at_1": 0.9}, "outcomes": {"ok": 1740, "listed 7, distinct 7": 3200, "listed 8, distinct 7": 150, "malformed": 30}}  # fmt: skip
    return {
        "profile": config.profile, "command": f"python -m pipeline stage aggregate --profile {config.profile}", "confidence": 0.95,
        "data": {"labeller": labeller, "groups": {"sft": 102400, "train": 1795, "validation": 212, "heldout": 1024}, "vocabulary": 26, "sha256": {"train": "b" * 64}},
        "k": 8, "calibration": calibration, "calibration_sha256": "c" * 64, "sft": {"teacher": copy.deepcopy(sft), "student": sft},
        "cells": {name: group_of(name, config) for name in config.cells},
    }  # fmt: skip


def group_of(name: str, config: Config) -> dict[str, Any]:
    cells = config.cells[name]
    rows = []
    for lam in sorted(cells.lambdas):
        gone = name == "main" and lam > 1.25
        parse = 0.05 if gone else 0.93
        rows.append({
            "lambda": lam, "parse": estimate(parse), "parse_greedy": estimate(parse), "useful": estimate(0.9 * parse),
            "quality": estimate(0.9, n=int(5120 * parse)), "quality_name": "ndcg_at_1", "scores": {"ndcg_at_1": 0.9},
            "outcomes": {"ok": int(5120 * parse), "listed 7, distinct 7": 5120 - int(5120 * parse)}, "lift": estimate(0.5),
            "parse_by_seed": [{"seed": seed, "parse": min(parse + 0.01 * seed, 1.0)} for seed in config.seeds],
            "training": [{"step": step, "parse": 0.34 + (parse - 0.34) * step / 42, "least": 0.0, "greatest": 1.0, "n_seeds": 5} for step in range(7, 43, 7)],
            "q_logit_by_seed": [7.0 + 3 * (lam - 1) + 0.1 * seed for seed in config.seeds], "q_above_by_seed": [float(gone)] * len(config.seeds),
        })  # fmt: skip
    found = {"median": 1.27, "low": 1.26, "high": None, "beyond": 2.0, "n_seeds": 5, "censored": 1, "per_seed": [{"seed": seed, "value": None if seed == 4 else 1.27} for seed in config.seeds]}  # fmt: skip
    none = {"median": None, "low": None, "high": None, "beyond": 2.0, "n_seeds": 5, "censored": 5, "per_seed": [{"seed": seed, "value": None} for seed in config.seeds]}  # fmt: skip
    return {
        **asdict(cells.method), "learning_rate": 2e-4, "invalid": [], "not_of_this_calibration": [],
        "lambdas": rows, "plateau": [{"seed": seed, "parse": 0.93} for seed in config.seeds],
        "fixed_point_logit": [{"lambda": row["lambda"], "by_seed": [7.0 + 7 * (row["lambda"] - 1)] * len(config.seeds)} for row in rows],
        "onset": found if name == "main" else none, "onset_of_least": found, "crossing": none, "jump": none,
        "flatness": {"ndcg_at_1": {"range": 0.01, "p_value": 0.4, "permutations": 2000, "n_seeds": 5, "n_lambdas": len(rows)}},
    }  # fmt: skip


def check(claim: str, tier: str, verdict: str, **more: Any) -> dict[str, Any]:
    return {
        "claim": claim, "title": f"Title of {claim}", "statement": f"What {claim} says", "tier": tier, "grade": "page", "source": "the authors' page",
        "published": {"text": "33.5% to 94.8%", "value": None, "low": None, "high": None, "unit": None},
        "ours": {"text": None, "value": 0.61, "low": 0.58, "high": 0.64, "n_seeds": 5, "n": 5120},
        "verdict": verdict, "reason": f"why {claim} is {verdict}", "rule": "overlap", "arguments": {"margin": 0.05}, "tolerance": {"value": 0.05, "reason": "the grid's step"},
        "would_change": "a finer grid", "conflicts_with": None, "evidence": ["reports/replica/aggregate.json"], **more,
    }  # fmt: skip


def verdicts_of(**more: Any) -> dict[str, Any]:
    checks = [
        check(
            "marker", "A", "reproduced", published={"text": "1.22", "value": 1.22, "low": None, "high": None, "unit": None}
        ),
        check("parse_shift", "C", "not reproduced"),
        check("useful", "B", "inconclusive", grade="secondary", conflicts_with=["useful_ablation"]),
        check("onset", "D", "not run", ours=None),
        check("failure", "C", "cannot compare", grade="secondary", **more),
    ]
    return {"profile": "replica", "command": "python -m pipeline stage check --profile replica", "aggregate_sha256": "d" * 64, "checks": checks, "unknown": ["the learning rate"], "sources": {}}  # fmt: skip


def write_tree(
    aggregate: dict[str, Any], verdicts: dict[str, Any], config: Config, completion: str = '{"ranking":["r1"]}'
) -> None:
    """Everything the stage reads, below the working directory."""
    layout = Layout(config.profile)
    write_json(layout.aggregate, aggregate)
    write_json(layout.verdicts, verdicts)
    good = json.dumps({"ranking": [f"r{i + 1}" for i in range(8)]})
    sample = {
        "step": 42,
        "split": "heldout",
        "decoding": "sampled",
        "completions": [completion, good, good.replace(',"r8"', "")],
        "unterminated": [],
    }
    record = {"command": "python -m pipeline stage", "commit": "0" * 40, "dirty": False, "python": "3.11", "packages": {"torch": "1"}, "platform": "Linux", "processor": "a CPU", "cores": 2, "threads": 1, "started": "2026-01-01T00:00:00Z", "wall_seconds": 8.1, "peak_memory_mib": 400}  # fmt: skip
    folders = [layout.sft_record(name) for name in config.models_to_train()] + [
        layout.cell_record(cell) for cell in config.all_cells()
    ]
    for folder in folders:
        write_json(folder / "run.json", record)
        write_json_lines(folder / "samples.jsonl.gz", [sample])
