"""The replica's task: eight items with an observed grade each; the completion lists their ids, best first.

Groups are generated: the sequence of grades is drawn without replacement over all splits, so no group occurs twice.
"""

from typing import Any

from pipeline.config import Config
from pipeline.contract import parse_ranking as parse
from pipeline.contract import render_ranking as complete
from pipeline.contract import score_ranking as score
from pipeline.errors import InputError
from pipeline.groups import SPLITS, Group
from pipeline.streams import generator

__all__ = ["complete", "groups", "parse", "prompt", "score"]

GRADES = 11


def groups(config: Config) -> tuple[dict[str, list[Group]], dict[str, Any]]:
    """Groups for each split, of the sizes in ``config.data``, and the facts about them for the report."""
    rng = generator(config.seed, "items")
    sizes = {split: getattr(config.data, split) for split in SPLITS}
    k, wanted = config.task.k, sum(sizes.values())
    if config.task.distinct_scores and k > GRADES:
        raise InputError(f"task.k: found {k}; expected at most {GRADES}, as task.distinct_scores asks for distinct grades")
    drawn: dict[tuple[int, ...], None] = {}
    for _ in range(100):
        if config.task.distinct_scores:
            rows = rng.permuted(rng.random((wanted, GRADES)).argsort(axis=1), axis=1)[:, :k]
        else:
            rows = rng.integers(GRADES, size=(wanted, k))
        drawn.update(dict.fromkeys(map(tuple, rows.tolist())))
        if len(drawn) >= wanted:
            break
    else:
        raise InputError(
            f"data: found {wanted} groups over all splits; expected fewer, {len(drawn)} different ones were drawn"
        )
    everything = iter(drawn)
    splits = {split: [_group(next(everything)) for _ in range(size)] for split, size in sizes.items()}
    return splits, {"labeller": "generated grades", "groups": sizes}


def _group(grades: tuple[int, ...]) -> Group:
    return Group(tuple(str(grade) for grade in grades), grades)


def prompt(group: Group) -> str:
    """One id and one observed grade for each item, then an arrow: 2K + 1 tokens."""
    return "".join(f'"{name}":{text} ' for name, text in zip(group.ids, group.texts, strict=True)) + "->"
