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


def listopd(config: Config, cell: Cell) -> None:
    if cell not in config.all_cells():
        raise InputError(f"--cells, --lambda, --seed: found {cell.name}; expected a cell of the settings' grid")
    from pipeline import listopd as module

    module.run(config, cell)
