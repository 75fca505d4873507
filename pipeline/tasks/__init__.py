"""Tasks: a task is a module with the functions below. `params.yaml` names it; nothing else has to know it.

groups(config) -> (splits, facts)   groups for sft, train, validation and heldout, and facts for the report
prompt(group) -> str                what the model reads
complete(group, defect, rng) -> str what it is taught to answer; ``defect`` says how a broken target is broken
parse(text, terminated, group)      the outcome of a completion (a `contract.Outcome`)
score(outcome, group)               named figures in [0, 1] of a parsed outcome; USEFUL multiplies the first
"""

import importlib
from typing import Any, Protocol, cast

import numpy as np

from pipeline.config import Config
from pipeline.contract import Outcome
from pipeline.errors import InputError
from pipeline.groups import Group


class Task(Protocol):
    """The type of a task module."""

    def groups(self, config: Config) -> tuple[dict[str, list[Group]], dict[str, Any]]: ...
    def prompt(self, group: Group) -> str: ...
    def complete(self, group: Group, defect: str, rng: np.random.Generator) -> str: ...
    def parse(self, text: str, terminated: bool, group: Group) -> Outcome: ...
    def score(self, outcome: Outcome, group: Group) -> dict[str, float]: ...


def load_task(module: str) -> Task:
    """The task module that ``task.module`` names. Raises InputError when there is none, or a function is missing."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as problem:
        raise InputError(
            f"task.module: found {module!r} ({problem}); expected a module such as pipeline.tasks.items"
        ) from None
    missing = [name for name in ("groups", "prompt", "complete", "parse", "score") if not hasattr(found, name)]
    if missing:
        raise InputError(f"task.module: {module} lacks {', '.join(missing)}; expected the functions in pipeline/tasks")
    return cast(Task, found)
