"""Real reviews: K reviews of one product, an excerpt of each; the completion lists their ids, most helpful first.

**Items.** An excerpt is the first ``reviews.words`` words of a text, white space collapsed, and no more characters than
`CHARACTERS_PER_WORD` times that. Texts with the same excerpt, case ignored, count as one: the model sees no more.

**Split.** By excerpt, never by product: one pool feeds sft and train, the other validation and heldout, and no excerpt
is in both, whatever products list it. (An edited copy that differs within the excerpt is another text.) Within a pool
groups are drawn: a product in proportion to its texts there, then K different excerpts of it in random order (with
``task.distinct_scores`` also K different scores). validation and heldout hold no group twice; sft and train may each
repeat one, but share none.

**Scores.** The label's, or `heuristic_score` where no labels file is given. With labels, a review without one takes the
label of another copy of its whole text, else it is left out; a text that several products list keeps each one's own.

With ``reviews.show_score`` the score stands before the excerpt in the prompt. A small CPU model cannot infer it from
the text, so then NDCG measures sorting by a number that is given, **not** judging how helpful a review is. Without
``show_score`` NDCG says how well the labels can be read off the excerpts.
"""

import math
import sys
from array import array
from bisect import bisect
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import Config, params_file
from pipeline.config import Reviews as Settings
from pipeline.contract import parse_ranking as parse
from pipeline.contract import render_ranking as complete
from pipeline.contract import score_ranking as score
from pipeline.errors import InputError
from pipeline.groups import SPLITS, Group, assert_disjoint
from pipeline.lines import shown
from pipeline.reviews import HEURISTIC, MAX_SCORE, Review, heuristic_score, read_labels, read_reviews
from pipeline.streams import generator

__all__ = ["complete", "groups", "parse", "prompt", "score"]

CHARACTERS_PER_WORD = 12
POOL_OF = {"validation": "evaluation", "heldout": "evaluation", "train": "train", "sft": "train"}
PATIENCE = 10_000


@dataclass(frozen=True, slots=True)
class Item:
    """One excerpt of one product as the prompt shows it, with the score of the first review there that has it."""

    text: str
    score: int


Shelf = dict[int, Item]  # the items of one product by the key of their excerpt


def groups(config: Config) -> tuple[dict[str, list[Group]], dict[str, Any]]:
    """Groups for each split, of the sizes in ``config.data``, and the facts about them, without text and paths.

    What was counted and skipped is said on standard error. Raises InputError when a file is wrong or holds too little.
    """
    settings = config.reviews
    if settings is None:
        raise InputError(f"{params_file(config.profile)}: reviews: missing; expected file, labels, words and so on")
    if config.task.distinct_scores and config.task.k > MAX_SCORE + 1:
        allowed = f"at most {MAX_SCORE + 1}, as task.distinct_scores asks for different scores"
        raise InputError(f"task.k: found {config.task.k}; expected {allowed}")
    products, facts = _read(settings)
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in facts["counts"].items() if count)
    said = f"{shown(Path(settings.file))}: {counts}"
    _check_enough(products, config.task.k, said)
    print(said, file=sys.stderr)

    pools = _split(products, config)
    splits: dict[str, list[Group]] = {}
    for split, pool in POOL_OF.items():
        taken = {group for other in splits if POOL_OF[other] == pool for group in splits[other]}
        splits[split] = _draw(config, split, list(pools[pool].values()), taken)
    assert_disjoint(splits)
    facts["groups"] = {split: len(splits[split]) for split in SPLITS}
    facts["texts_per_pool"] = {pool: _keys(shelves).size for pool, shelves in pools.items()}
    facts["products_per_pool"] = {pool: len(shelves) for pool, shelves in pools.items()}
    return {split: splits[split] for split in SPLITS}, facts


def prompt(group: Group) -> str:
    """A line for each item, its id first, then an arrow."""
    return "".join(f"{name} {text}\n" for name, text in zip(group.ids, group.texts, strict=True)) + "->"


def excerpt(text: str, words: int) -> str:
    """What is shown of ``text``: never empty, on one line."""
    return " ".join(text.split(None, words)[:words])[: words * CHARACTERS_PER_WORD].rstrip()


def _read(settings: Settings) -> tuple[dict[str, Shelf], dict[str, Any]]:
    """A shelf for each product, and the facts about records, labels and texts. The whole texts are let go."""
    result = read_reviews(Path(settings.file))
    for warning in result.warnings:
        print(warning, file=sys.stderr)
    reviews = result.reviews
    wholes = array("Q", (_key(" ".join(review.text.split())) for review in reviews))
    scores, labeller = _scores(reviews, settings)
    own = [index for index, value in enumerate(scores) if value is not None]
    borrowed: list[int] = []
    if settings.labels:
        label_of_text = {wholes[index]: scores[index] for index in reversed(own)}
        borrowed = [i for i, value in enumerate(scores) if value is None and wholes[i] in label_of_text]
        for index in borrowed:
            scores[index] = label_of_text[wholes[index]]

    products: dict[str, Shelf] = {}
    for index in (*own, *borrowed):
        text, value = excerpt(reviews[index].text, settings.words), scores[index]
        assert value is not None
        item = Item(f"[{value}] {text}" if settings.show_score else text, value)
        products.setdefault(reviews[index].product, {}).setdefault(_key(text), item)
    usable = len(own) + len(borrowed)
    counts = {
        **result.counts,
        "unlabelled": len(reviews) - usable,
        "labels_from_a_copy": len(borrowed),
        "usable": usable,
        "distinct_texts": np.unique(np.array(wholes)[own + borrowed]).size,
        "distinct_excerpts": _keys(products).size,
        "products": len(products),
    }
    tally = Counter(item.score for shelf in products.values() for item in shelf.values())
    histogram = [tally[value] for value in range(MAX_SCORE + 1)]
    warnings = sum(result.counts.values()) - result.counts["records"]
    facts = {"labeller": labeller, "counts": counts, "warnings": warnings, "score_histogram": histogram}
    return products, facts


def _scores(reviews: list[Review], settings: Settings) -> tuple[list[int | None], str]:
    """The score of each review, None where it has no label, and the name of who gave them.

    ``reviews.labels`` is where `run --labels` puts the user's file; when none was given there is none.
    """
    if settings.labels is None or not Path(settings.labels).exists():
        return [heuristic_score(review) for review in reviews], HEURISTIC
    labels = read_labels(Path(settings.labels), reviews)
    names = sorted({label.labeller for label in labels.values()})
    found = (labels.get(review.review_id) for review in reviews)
    return [label.score if label else None for label in found], ", ".join(names)


def _key(text: str) -> int:
    """64 bits that stand for ``text``, case ignored."""
    return int.from_bytes(blake2b(text.casefold().encode(), digest_size=8).digest())


def _keys(products: dict[str, Shelf]) -> np.ndarray:
    """The keys of the excerpts, each once."""
    return np.unique(np.fromiter((key for shelf in products.values() for key in shelf), np.uint64))


def _largest_first(products: dict[str, Shelf]) -> list[str]:
    return sorted(products, key=lambda name: (-len(products[name]), name))


def _check_enough(products: dict[str, Shelf], k: int, said: str) -> None:
    largest = next(iter(_largest_first(products)), None)
    if largest is None:
        raise InputError(f"{said}; found no usable review; expected at least {2 * k} of one product (2K, K = {k})")
    if (found := len(products[largest])) < 2 * k:
        has = f"largest product {largest} has {found} usable distinct texts"
        raise InputError(f"{said}; {has}; expected at least {2 * k} (2K, K = {k}); no group formed")


def _split(products: dict[str, Shelf], config: Config) -> dict[str, dict[str, Shelf]]:
    """The two pools, of the products that can fill a group there. No excerpt is in both."""
    large = {name: shelf for name, shelf in products.items() if len(shelf) >= config.task.k}
    keys = list(dict.fromkeys(key for shelf in large.values() for key in shelf))
    assert config.reviews is not None
    order = generator(config.seed, "reviews", "split").permutation(len(keys))
    evaluation = {keys[i] for i in order[: round(config.reviews.evaluation_share * len(keys))]}
    for pool in ("evaluation", "train"):
        if not _pools(large, evaluation, config)[pool]:
            evaluation = _moved(large, evaluation, pool, config)
    pools = _pools(large, evaluation, config)
    shared = np.intersect1d(_keys(pools["train"]), _keys(pools["evaluation"]))
    assert not shared.size, "a text is on both sides of the split"
    return pools


def _pools(products: dict[str, Shelf], evaluation: set[int], config: Config) -> dict[str, dict[str, Shelf]]:
    pools: dict[str, dict[str, Shelf]] = {"train": {}, "evaluation": {}}
    for name, shelf in products.items():
        for pool, inside in (("train", False), ("evaluation", True)):
            part = {key: item for key, item in shelf.items() if (key in evaluation) == inside}
            if len(_kinds(part, config)) >= config.task.k:
                pools[pool][name] = part
    return pools


def _moved(products: dict[str, Shelf], evaluation: set[int], short: str, config: Config) -> set[int]:
    """``evaluation`` with texts moved into or out of it, so that a product fills a group in the pool ``short`` too.

    It is the largest product that can fill one on both sides. Raises InputError when there is none.
    """
    k, inside = config.task.k, short == "evaluation"
    for name in _largest_first(products):
        giving = {key: item for key, item in products[name].items() if (key in evaluation) != inside}
        having = {key: item for key, item in products[name].items() if key not in giving}
        here, there = _kinds(giving, config), _kinds(having, config)
        moved = set()
        for last_may_go in (False, True):
            for key, kind in zip(giving, _kinds_in_order(giving, config), strict=True):
                may_go = here[kind] > 1 or (last_may_go and here[kind] == 1 and len(here) > k)
                if len(there) < k and kind not in there and may_go:
                    here -= Counter([kind])
                    there[kind] += 1
                    moved.add(key)
        if len(there) >= k and len(here) >= k:
            return evaluation ^ moved
    name = _largest_first(products)[0]
    scores = len(_kinds(products[name], config))
    has = f"largest product {name} has {len(products[name])} usable distinct texts with {scores} different scores"
    raise InputError(f"task.distinct_scores: {has}; expected {k} scores on both sides of the split (K = {k})")


def _kinds_in_order(shelf: Shelf, config: Config) -> list[int]:
    """The kind of each item; the items of a group are of different kinds: of score if asked for, else of text."""
    return [item.score if config.task.distinct_scores else key for key, item in shelf.items()]


def _kinds(shelf: Shelf, config: Config) -> Counter[int]:
    return Counter(_kinds_in_order(shelf, config))


def _draw(config: Config, split: str, shelves: list[Shelf], taken: set[Group]) -> list[Group]:
    """Random groups from ``shelves``, none of them in ``taken``, and for an evaluation split none twice."""
    k, wanted = config.task.k, getattr(config.data, split)
    rng, once = generator(config.seed, "reviews", split), POOL_OF[split] == "evaluation"
    by_kind = [_by_kind(shelf, config) for shelf in shelves]
    ends = list(accumulate(len(shelf) for shelf in shelves))
    sizes = [np.array([len(items) for items in kinds]) for kinds in by_kind]
    possible = sum(_orders(size.tolist(), k) for size in sizes)
    taken, misses = set(taken), 0
    drawn: list[Group] = []
    while len(drawn) < wanted:
        still = wanted - len(drawn) if once else 1
        if len(taken) + still > possible or misses > PATIENCE:
            texts = len({key for shelf in shelves for key in shelf})
            pool = f"the {POOL_OF[split]} pool has {texts} texts in {len(shelves)} products, {possible} possible groups"
            found = f"found {wanted} groups asked for, {pool} and {len(taken)} of them used"
            raise InputError(f"data.{split}: {found}; expected fewer groups or more texts")
        product = bisect(ends, int(rng.integers(ends[-1])))
        items = _pick(rng, by_kind[product], sizes[product], k)
        group = Group(tuple(item.text for item in items), tuple(item.score for item in items))
        misses = misses + 1 if group in taken else 0
        if not misses:
            drawn.append(group)
            taken.update([group] if once else [])
    return drawn


def _by_kind(shelf: Shelf, config: Config) -> list[list[Item]]:
    kinds: dict[int, list[Item]] = {}
    for kind, item in zip(_kinds_in_order(shelf, config), shelf.values(), strict=True):
        kinds.setdefault(kind, []).append(item)
    return list(kinds.values())


def _pick(rng: np.random.Generator, kinds: list[list[Item]], sizes: np.ndarray, k: int) -> list[Item]:
    """``k`` items of different kinds, as if drawn one by one with a kind seen before put back; in random order."""
    arrival = rng.exponential(size=len(kinds)) / sizes
    chosen = rng.permutation(np.argpartition(arrival, k - 1)[:k])
    return [kinds[i][j] for i, j in zip(chosen, rng.integers(sizes[chosen]), strict=True)]


def _orders(sizes: list[int], k: int) -> int:
    """How many sequences of ``k`` items of different kinds there are: k! times the elementary symmetric polynomial."""
    if max(sizes) == 1:
        return math.perm(len(sizes), k)
    ways = [1] + [0] * k
    for size in sizes:
        for taken in range(k, 0, -1):
            ways[taken] += size * ways[taken - 1]
    return math.factorial(k) * ways[k]
