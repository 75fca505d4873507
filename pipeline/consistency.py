"""What no single setting can say: how the keys of ``params.yaml`` must fit together, each misfit one line."""

from pathlib import Path
from typing import Any

from tokenizers import Regex

from pipeline.config import MAIN, Config
from pipeline.errors import InputError
from pipeline.onsets import PLATEAU_UP_TO


def _is_pattern(pattern: str | None) -> bool:
    try:
        return bool(pattern and Regex(pattern))
    except Exception as problem:  # tokenizers raises the bare class
        if type(problem) is Exception:
            return False
        raise


def check_together(config: Config, raw: Any, path: Path) -> None:
    """What no single field can say."""

    def refuse(key: str, found: object, expected: str) -> None:
        raise InputError(f"{path}: {key}: found {found!r}; expected {expected}")

    if MAIN not in config.cells:
        refuse("cells", list(config.cells), f"a group called {MAIN}: the sweep that the verdicts are about")
    method = config.cells[MAIN].method
    if method.reading == "aspo" or method.signal != "listopd":
        refuse(f"cells.{MAIN}.method", [method.reading, method.signal], "a reading and a signal that the theory speaks of")
    others = [name for name in config.cells if name != MAIN]
    if sorted(config.groups) != sorted(others):
        refuse("groups", list(config.groups), f"the groups of cells but {MAIN}, each once: {others}")
    if len(set(config.seeds)) != len(config.seeds):
        refuse("seeds", list(config.seeds), "no value twice")
    for name, cells in config.cells.items():
        for value in raw["cells"][name]["lambdas"]:
            if not isinstance(value, float):
                refuse(f"cells.{name}.lambdas", value, f"a decimal point ({float(value)}): DVC names the cell after it")
        if min(cells.lambdas) > PLATEAU_UP_TO:
            refuse(f"cells.{name}.lambdas", list(cells.lambdas), f"one of at most {PLATEAU_UP_TO}, which the plateau needs")
        if len(set(cells.lambdas)) != len(cells.lambdas):
            refuse(f"cells.{name}.lambdas", list(cells.lambdas), "no value twice")
    if config.tokenizer.kind == "pieces" and not _is_pattern(config.tokenizer.pattern):
        refuse("tokenizer.pattern", config.tokenizer.pattern, "a regular expression, as tokenizer.kind is pieces")
    if config.tokenizer.kind == "bpe" and (config.tokenizer.vocab_size or 0) < 300:
        refuse("tokenizer.vocab_size", config.tokenizer.vocab_size, "at least 300, as tokenizer.kind is bpe")
    for role, model in (("teacher", config.models.teacher), ("student", config.models.student)):
        if model.hidden % (2 * model.heads):
            refuse(f"models.{role}.hidden", model.hidden, f"a multiple of 2 × heads = {2 * model.heads}")
    batches = {"opd.batch": config.opd.batch} | {f"cells.{n}.method.batch": c.method.batch for n, c in config.cells.items()}
    for key, batch in batches.items():
        if batch is not None and batch > config.data.train:
            refuse(key, batch, f"at most data.train = {config.data.train}")
    if config.calibrate.prompts > config.data.heldout:
        refuse("calibrate.prompts", config.calibrate.prompts, f"at most data.heldout = {config.data.heldout}")
    if config.sft.warmup >= config.sft.steps:
        refuse("sft.warmup", config.sft.warmup, f"less than sft.steps = {config.sft.steps}")
