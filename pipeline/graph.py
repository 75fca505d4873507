"""What ``dvc.yaml`` says of a stage, so that the fan-out and the checkpoints agree with DVC by construction."""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from pipeline import config as settings
from pipeline.config import MAIN, PILOT, TEACHER, Cell, Config
from pipeline.errors import InputError
from pipeline.files import sha256_of


@dataclass(frozen=True)
class Stage:
    """One stage with its template filled in: paths relative to the root, names of the settings it depends on."""

    name: str
    deps: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[str, ...]


@lru_cache
def _stages(text: str) -> dict[str, Any]:
    stages: dict[str, Any] = yaml.safe_load(text)["stages"]
    return stages


def read_stage(profile: str, name: str, item: dict[str, str] | None = None) -> Stage:
    """Stage ``name`` of the profile's dvc.yaml; ``item`` fills a matrix stage's ``${item.key}``."""
    definition = _stages(settings.dvc_file(profile).read_text(encoding="utf-8"))[name]
    values = {"profile": profile, **{f"item.{key}": value for key, value in (item or {}).items()}}

    def fill(path: str) -> str:
        for key, value in values.items():
            path = path.replace("${" + key + "}", value)
        return path

    def paths(entries: list[Any]) -> tuple[str, ...]:
        return tuple(fill(entry if isinstance(entry, str) else next(iter(entry))) for entry in entries)

    params = [key for entry in definition.get("params", []) for keys in entry.values() for key in keys]
    outs = [*definition.get("outs", []), *definition.get("metrics", [])]
    suffix = "@" + "-".join(item.values()) if item else ""
    return Stage(name + suffix, paths(definition.get("deps", [])), tuple(map(fill, params)), paths(outs))


def model_stage(config: Config, name: str) -> Stage:
    """The stage that trains the model called ``name``."""
    if name in (TEACHER, f"student-{PILOT}"):
        return read_stage(config.profile, f"sft_{name.removeprefix('student-')}")
    return read_stage(config.profile, "sft_student", {"seed": name.removeprefix("student-")})


def cell_stage(config: Config, cell: Cell) -> Stage:
    """The stage that a cell belongs to: its own for the main sweep, else the one of its group and seed."""
    if cell.group == MAIN:
        return read_stage(config.profile, "listopd", {"lambda": str(cell.lam), "seed": str(cell.seed)})
    return read_stage(config.profile, "listopd_group", {"group": cell.group, "seed": str(cell.seed)})


def address(config: Config, stage: Stage) -> str:
    """The stage as DVC names it on its command line and in `dvc status`."""
    file = settings.dvc_file(config.profile)
    return stage.name if file == Path("dvc.yaml") else f"{file}:{stage.name}"


def fingerprint(profile: str, stage: Stage) -> str:
    """SHA-256 over the stage's settings and the hashes of its dependencies: equal exactly when nothing changed.

    Which other λ a stage holds changes none of its cells, so a list of λ does not enter.
    """
    raw = yaml.safe_load(settings.params_file(profile).read_text(encoding="utf-8"))
    chosen = {}
    for key in stage.params:
        if key.endswith(".lambdas"):
            continue
        value = raw
        for part in key.split("."):
            value = value[part]
        chosen[key] = value
    for path in stage.deps:
        if not Path(path).exists():
            raise InputError(f"{path}: not found; expected an input of the stage {stage.name} (run the stages before it)")
    hashes = {path: sha256_of(Path(path)) for path in stage.deps}
    return hashlib.sha256(json.dumps([stage.name, chosen, hashes], sort_keys=True).encode()).hexdigest()
