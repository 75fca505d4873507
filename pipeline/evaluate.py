"""Stage `evaluate`: samples to metrics. Needs no model and no torch, so anyone can repeat it from the committed samples.

Reads ``samples.jsonl.gz`` and ``log.jsonl`` of every SFT run and every cell; writes one ``metrics`` file for each, which
holds only what depends on settings and seeds. Scores are means over parsed outputs and always stand beside their number.
"""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.config import Cell, Config
from pipeline.files import read_json, read_json_lines, write_json
from pipeline.groups import Group, read_groups
from pipeline.layout import Layout
from pipeline.statistics import wilson
from pipeline.tasks import Task, load_task


def run(config: Config) -> None:
    layout, task = Layout(config.profile), load_task(config.task.module)
    groups = {split: read_groups(layout.groups(split)) for split in ("validation", "heldout")}
    for name in config.models_to_train():
        record = layout.sft_record(name)
        facts = {"profile": config.profile, "model": name, "status": "finished"}
        write_json(layout.sft_metrics(name), facts | _metrics(config, task, groups, record))
    for cell in config.all_cells():
        record = layout.cell_record(cell)
        write_json(layout.cell_metrics(cell), _facts(config, cell, record) | _metrics(config, task, groups, record))


def _facts(config: Config, cell: Cell, record: Path) -> dict[str, Any]:
    run_record = read_json(record / "run.json", "listopd")
    return {
        "profile": config.profile,
        "cells": cell.group,
        "lambda": cell.lam,
        "seed": cell.seed,
        **asdict(config.cells[cell.group].method),
        "learning_rate": run_record["learning_rate"],
        "calibration_sha256": run_record["calibration_sha256"],
        "status": run_record["status"],
    }


def _metrics(config: Config, task: Task, groups: dict[str, list[Group]], record: Path) -> dict[str, Any]:
    rows = read_json_lines(record / "samples.jsonl.gz", "the training stages")
    return {
        "evaluations": [evaluation(task, groups[row["split"]], row, config.statistics.confidence) for row in rows],
        "training": read_json_lines(record / "log.jsonl", "the training stages"),
    }


def evaluation(task: Task, groups: list[Group], row: dict[str, Any], confidence: float) -> dict[str, Any]:
    """Metrics of one row of samples: strict parse with its Wilson interval, outcomes, scores on parsed outputs, USEFUL.

    For held-out prompts also ``parsed_prompts``, a text of 0 and 1, and ``quality``, the first score of each parsed one.
    """
    unterminated = set(row["unterminated"])
    outcomes = [
        task.parse(text, i not in unterminated, group)
        for i, (text, group) in enumerate(zip(row["completions"], groups, strict=True))
    ]
    scores = [task.score(outcome, group) for outcome, group in zip(outcomes, groups, strict=True) if outcome.parsed]
    names = list(scores[0]) if scores else []
    n, parsed = len(outcomes), len(scores)
    low, high = wilson(parsed, n, confidence)
    quality = [score[names[0]] for score in scores]
    metrics = {
        "step": row["step"],
        "split": row["split"],
        "decoding": row["decoding"],
        "n": n,
        "parsed": parsed,
        "parse": parsed / n,
        "parse_low": low,
        "parse_high": high,
        "outcomes": dict(sorted(Counter(outcome.label for outcome in outcomes).items())),
        "scores": {name: sum(score[name] for score in scores) / parsed for name in names},
        "useful": sum(quality) / n,
    }
    if row["split"] == "heldout":
        metrics["parsed_prompts"] = "".join("1" if outcome.parsed else "0" for outcome in outcomes)
        metrics["quality"] = [round(value, 6) for value in quality]
    return metrics
