"""A third task, for the tests: a small JSON object instead of a ranking."""

import json

from pipeline.contract import MALFORMED, OK, UNTERMINATED, Outcome, load_object
from pipeline.groups import SPLITS, Group
from pipeline.streams import generator


def groups(config):
    rows = generator(config.seed, "records").permutation(10_000)[: sum(getattr(config.data, s) for s in SPLITS)]
    numbers = iter([int(row) for row in rows])
    make = lambda n: Group(tuple(f"{n:04d}"), tuple(map(int, f"{n:04d}")))  # noqa: E731
    return {split: [make(next(numbers)) for _ in range(getattr(config.data, split))] for split in SPLITS}, {
        "labeller": "digits"
    }


def prompt(group):
    return " ".join(group.texts) + " ->"


def complete(group, defect, rng):
    return json.dumps({"max": max(group.scores)} if defect == "none" else {"min": min(group.scores)})


def parse(text, terminated, group):
    value = load_object(text) if terminated else None
    if value is None or set(value) != {"max"} or type(value["max"]) is not int:
        return Outcome(MALFORMED if terminated else UNTERMINATED)
    return Outcome(OK, (str(value["max"]),))


def score(outcome, group):
    return {"exact": float(outcome.answer == (str(max(group.scores)),))}
