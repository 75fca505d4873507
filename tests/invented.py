"""INVENTED metrics of runs that never were, in the shape of an imported table. No number here was measured."""

import csv
import io
import json
from typing import Any

from pydantic import TypeAdapter

from pipeline.imported import COLUMNS, Run

Row = dict[str, Any]
PROVENANCE = "INVENTED for the tests; there is no run behind it"
FINE = [1.0, 1.1, 1.15, 1.2, 1.21, 1.22, 1.23, 1.24, 1.3]
SMALL = [0.95, 1.0, 1.02, 1.03, 1.04, 1.05, 1.054, 1.055, 1.056, 1.08]
SEEDS = range(5)
N = 1000


def row(seed: int = 0, parse: float = 0.95, **changes: Any) -> Row:
    """One row of the main sweep's kind; None takes a column away."""
    full = {
        "student": "Qwen3-1.7B",
        "teacher": "Qwen3-4B",
        "data_set": "Amazon_Fashion",
        "k": 8,
        "method": "listopd",
        "lambda": 1.15,
        "clip": 5.0,
        "reading": "truncate",
        "decoding": "sampled",
        "step": 42,
        "seed": seed,
        "n": N,
        "parsed": round(parse * N),
        "provenance": PROVENANCE,
    } | changes
    return {key: value for key, value in full.items() if value is not None}


def sft(seed: int = 0, parse: float = 0.335, **changes: Any) -> Row:
    off: Row = {"teacher": None, "lambda": None, "clip": None, "reading": None}
    return row(seed, parse, **(off | {"method": "sft", "step": 0} | changes))


def wobble(seed: int) -> float:
    """A spread over seeds."""
    return 0.004 * (seed - 2)


def seeds(make: Any, parse: float, n: int = 5, **changes: Any) -> list[Row]:
    return [make(seed, parse + wobble(seed), **changes) for seed in range(n)]


def collapse(start: float, grid: list[float], n: int = 5, **changes: Any) -> list[Row]:
    """A sweep in which parse holds up to ``start`` and is gone from there on."""
    found = []
    for lam in grid:
        gone = lam >= start - 1e-9
        counts = {"shorter": 900, "repetition": 10} if gone else {"shorter": 0, "repetition": 0}
        found += seeds(row, 0.04 if gone else 0.948, n, **({"lambda": lam, "p": 0.99934} | counts | changes))
    return found


def scored(rows: list[Row], useful: float, labeller: str = "Gemini 2.5 Pro", spread: float = 1.0) -> list[Row]:
    """The rows with the NDCG@1 that gives that USEFUL on average."""
    return [
        r | {"ndcg_at_1": (useful + spread * wobble(r["seed"])) * r["n"] / r["parsed"], "labeller": labeller} for r in rows
    ]


def runs_of(rows: list[Row]) -> tuple[Run, ...]:
    return tuple(TypeAdapter(list[Run]).validate_json(json.dumps(rows)))


def csv_of(rows: list[Row], columns: Any = COLUMNS) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
