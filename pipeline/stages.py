"""From a stage's name to its module: each is imported only when it runs."""

import importlib

from pipeline.config import Cell, Config
from pipeline.errors import InputError


def plain(config: Config, name: str) -> None:
    """A stage that runs once."""
    importlib.import_module(f"pipeline.{name}").run(config)


def sft(config: Config, model: str) -> None:
    if model not in config.models_to_train():
        raise InputError(f"--model: found {model!r}; expected one of {', '.join(config.models_to_train())}")
    from pipeline import sft as module

    module.run(config, model)


def listopd(config: Config, group: str, seed: int, lam: float | None) -> None:
    """One cell, or without ``lam`` every cell of the group at that seed."""
    asked = [c for c in config.all_cells() if (c.group, c.seed) == (group, seed) and lam in (None, c.lam)]
    if not asked:
        found = f"{group}, {lam}, {seed}"
        raise InputError(f"--cells, --lambda, --seed: found {found}; expected a cell of the settings' grid")
    cell(config, *asked)


def cell(config: Config, *cells: Cell) -> None:
    from pipeline import listopd as module

    for each in cells:
        module.run(config, each)
