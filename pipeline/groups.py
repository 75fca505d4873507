"""A group: K items to rank, as every stage after ``prepare`` sees it, and its one-line JSON form."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from pipeline.files import write_atomically

SPLITS = ("sft", "train", "validation", "heldout")


@dataclass(frozen=True)
class Group:
    """``texts[i]`` and ``scores[i]`` (0 to 10, higher is better) belong to the item called ``r{i+1}``."""

    texts: tuple[str, ...]
    scores: tuple[int, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"r{i + 1}" for i in range(len(self.texts)))

    def best_first(self) -> tuple[str, ...]:
        """The target ranking: by score, ties in the order of the prompt."""
        order = sorted(range(len(self.scores)), key=lambda i: -self.scores[i])
        return tuple(self.ids[i] for i in order)


def write_groups(path: Path, groups: Iterable[Group]) -> None:
    lines = (json.dumps({"texts": g.texts, "scores": g.scores}, ensure_ascii=False) + "\n" for g in groups)
    write_atomically(path, "".join(lines).encode())


def read_groups(path: Path) -> list[Group]:
    """The groups of one split. Raises InputError naming the line when the file is damaged."""
    if not path.is_file():
        raise InputError(f"{path}: not found; expected the groups that the stage `prepare` writes")
    groups = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            row = json.loads(line.decode())
            texts, scores = row["texts"], row["scores"]
            if not (isinstance(texts, list) and isinstance(scores, list) and len(texts) == len(scores)):
                raise ValueError("texts and scores are not lists of one length")
            if not (all(type(text) is str for text in texts) and all(type(score) is int for score in scores)):
                raise ValueError("a text or a score is of another type")
            groups.append(Group(tuple(texts), tuple(scores)))
        except (ValueError, KeyError, TypeError, RecursionError) as problem:
            raise InputError(f"{path}: line {number}: {problem!r}; expected a group with texts and scores") from None
    return groups


def assert_disjoint(splits: dict[str, list[Group]]) -> None:
    """No group stands in two splits, or twice in one that is evaluated on (invariant, design.md)."""
    seen: dict[Group, str] = {}
    for name in ("heldout", "validation", "train", "sft"):
        for group in splits[name]:
            other = seen.get(group)
            assert other is None or other == name in ("sft", "train"), f"a group of {name} stands in {other} too"
            seen[group] = name
