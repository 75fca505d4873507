"""A tree that was run again, on another machine or by other versions, beside a commit's (design.md, the gate).

Training is not the same to the last bit elsewhere, so the comparison is statistical: rates by overlapping 99 % intervals
over seeds and prompts, p and b within three standard errors of their difference, verdicts exactly.
"""

import json
import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from pipeline.aggregate import final
from pipeline.config import TEACHER, Cell, Config
from pipeline.errors import InputError
from pipeline.files import read_json
from pipeline.layout import Layout
from pipeline.statistics import Array, estimate
from pipeline.streams import generator

CONFIDENCE = 0.99
STANDARD_ERRORS = 3.0


def moved(config: Config, commit: str) -> Iterator[tuple[str, str]]:
    """Each figure that is compared, and what is wrong with it (empty: nothing). Raises InputError for an unknown commit."""
    layout = Layout(config.profile)
    then, now = _at(commit, layout.calibration), read_json(layout.calibration, "calibrate")
    for name in ("p", "b"):
        yield f"{name} against {commit}", _mass(name, then[name], now[name])
    rates = {f"sft {TEACHER}": [layout.sft_metrics(TEACHER)]}
    rates["sft student"] = [layout.sft_metrics(f"student-{seed}") for seed in config.seeds]
    for group, cells in config.cells.items():
        for lam in cells.lambdas:
            rates[f"{group} at lambda {lam}"] = [layout.cell_metrics(Cell(group, lam, seed)) for seed in config.seeds]
    for name, paths in rates.items():
        before = _rate(config, [_at(commit, path) for path in paths])
        after = _rate(config, [read_json(path, "evaluate") for path in paths])
        apart = before["low"] > after["high"] or after["low"] > before["high"]
        problem = f"parse of {name}: 99 % intervals apart: {commit} {_told(before)}, here {_told(after)}"
        yield f"parse of {name} against {commit}", problem if apart else ""
    before, after = (
        {check["id"]: check["verdict"] for check in verdicts["checks"]}
        for verdicts in (_at(commit, layout.verdicts), read_json(layout.verdicts, "check"))
    )
    for name in sorted(before.keys() | after.keys()):
        was, found = before.get(name), after.get(name)
        yield f"verdict {name} against {commit}", "" if was == found else f"{name}: {commit} {was}, here {found}"


def _at(commit: str, path: Path) -> Any:
    """The JSON of ``path`` in ``commit``."""
    command = ["git", "show", f"{commit}:./{path.as_posix()}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"{commit}: {path}: {' '.join(done.stderr.split())}; expected a commit that holds the file")
    return json.loads(done.stdout)


def _mass(name: str, then: dict[str, Any], now: dict[str, Any]) -> str:
    """Standard errors are those of the 95 % intervals, as `calibrate` wrote them."""
    width = 2.0 * NormalDist().inv_cdf(0.975)
    error = math.hypot(*((each["high"] - each["low"]) / width for each in (then, now)))
    apart = abs(then["value"] - now["value"])
    if apart <= STANDARD_ERRORS * error:
        return ""
    return f"{name}: {then['value']:.6g} became {now['value']:.6g}, {apart / error:.1f} standard errors (3 allowed)"


def _rate(config: Config, runs: list[dict[str, Any]]) -> dict[str, Any]:
    parsed: list[Array] = [np.array([float(mark) for mark in final(run)["parsed_prompts"]]) for run in runs]
    return estimate(parsed, CONFIDENCE, config.statistics.resamples, generator(config.seed, "rerun"))


def _told(rate: dict[str, Any]) -> str:
    return f"{rate['value']:.3f} ({rate['low']:.3f} to {rate['high']:.3f}, {rate['n_seeds']} seeds, n = {rate['n']})"
