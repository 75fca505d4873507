"""The output contract: one JSON object ``{"ranking":["r3","r1",...]}`` naming each of the K ids once, best first.

The strict rule, for the toy vocabulary and for real text alike: the completion, up to its end token, is parsed as a
whole by a JSON parser. Anything that parser refuses is a failure, so are trailing text, Markdown fences, a key given
twice, a key other than ``ranking``, and anything but a list of strings. White space that JSON allows is allowed.

NDCG uses the score as linear gain and 1/log2(1 + position) as discount; items of equal score are interchangeable.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.groups import Group

OK = "ok"
UNTERMINATED = "unterminated"
MALFORMED = "malformed"
UNKNOWN_ID = "unknown id"


@dataclass(frozen=True)
class Outcome:
    """How a completion ended: ``label`` is `OK` or the name of the failure; ``answer`` is set only when it is `OK`."""

    label: str
    answer: tuple[str, ...] | None = None

    @property
    def parsed(self) -> bool:
        return self.label == OK


def render_ranking(group: Group, defect: str, rng: np.random.Generator) -> str:
    """The target completion. ``truncate`` stops after K-1 ids, ``overrun`` appends a repeated id, ``none`` is correct."""
    ids = list(group.best_first())
    if defect == "truncate":
        ids = ids[:-1]
    elif defect == "overrun":
        ids.append(ids[int(rng.integers(len(ids)))])
    return json.dumps({"ranking": ids}, separators=(",", ":"))


def parse_ranking(text: str, terminated: bool, group: Group) -> Outcome:
    """The outcome of one completion: the first failure that applies, in the order of this function (design.md)."""
    if not terminated:
        return Outcome(UNTERMINATED)
    value = load_object(text)
    if value is None or set(value) != {"ranking"}:
        return Outcome(MALFORMED)
    listed = value["ranking"]
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        return Outcome(MALFORMED)
    if not set(listed) <= set(group.ids):
        return Outcome(UNKNOWN_ID)
    distinct, k = len(set(listed)), len(group.ids)
    if len(listed) != k or distinct != k:
        return Outcome(listing(len(listed), distinct))
    return Outcome(OK, tuple(listed))


def listing(listed: int, distinct: int) -> str:
    """The name of the failure to list each id once."""
    return f"listed {listed}, distinct {distinct}"


def load_object(text: str) -> dict[str, Any] | None:
    """The JSON object that ``text`` is as a whole, or None. A key given twice makes it None."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a key is given twice")
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def score_ranking(outcome: Outcome, group: Group) -> dict[str, float]:
    """NDCG@1 and NDCG@K of a parsed ranking, in [0, 1]; the first one is the quality that USEFUL multiplies."""
    assert outcome.answer is not None, "only parsed outputs are scored"
    gains = dict(zip(group.ids, group.scores, strict=True))
    got = [gains[item] for item in outcome.answer]
    best = sorted(group.scores, reverse=True)
    return {f"ndcg_at_{at}": _ratio(_dcg(got, at), _dcg(best, at)) for at in (1, len(got))}


def _dcg(gains: Sequence[int], at: int) -> float:
    return sum(gain / math.log2(position + 1) for position, gain in enumerate(gains[:at], 1))


def _ratio(got: float, best: float) -> float:
    return got / best if best else 1.0
