"""Groups of real reviews: no leak between the pools, the same groups from both schemas, clear words when too little."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.config import Config, parse
from pipeline.errors import InputError
from pipeline.groups import SPLITS, Group, assert_disjoint
from pipeline.reviews import HEURISTIC, read_reviews
from pipeline.tasks import reviews as task

PARAMS = Path(__file__).parents[1] / "params.yaml"
START = 1_460_000_000


def sentence(number: int) -> str:
    """An invented text of its own: the number stands first, the length follows from it."""
    return f"Item {number} " + "is soft and warm " * (number % 20)


def write_2018(path: Path, texts_of: dict[str, list[str]]) -> Path:
    rows = []
    for product, texts in texts_of.items():
        for number, text in enumerate(texts):
            row = {"overall": 5.0, "reviewerID": f"u{number}", "asin": product, "reviewText": text, "summary": "T"}
            rows.append(row | {"unixReviewTime": START + number})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_2023(source: Path, path: Path) -> Path:
    names = {"overall": "rating", "reviewerID": "user_id", "asin": "asin", "reviewText": "text", "summary": "title"}
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    new = [{names[k]: row[k] for k in names} | {"timestamp": row["unixReviewTime"] * 1000} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in new))
    return path


def config_for(
    file: Path,
    k: int = 4,
    distinct: bool = False,
    data: dict[str, int] | None = None,
    **reviews: Any,
) -> Config:
    raw = yaml.safe_load(PARAMS.read_text())
    raw["task"] = {"module": "pipeline.tasks.reviews", "k": k, "distinct_scores": distinct}
    raw["reviews"] = {"file": str(file), "labels": None, "words": 6, "show_score": True, "evaluation_share": 0.3}
    raw["reviews"] |= reviews
    raw["data"] = {"sft": 200, "train": 130, "validation": 20, "heldout": 40} | (data or {})
    raw["opd"]["batch"], raw["calibrate"]["prompts"] = 1, 1
    return parse(raw, PARAMS)


def refusal(config: Config) -> str:
    with pytest.raises(InputError) as caught:
        task.groups(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def texts_in(groups: list[Group]) -> set[str]:
    return {text.split("] ", 1)[-1].casefold() for group in groups for text in group.texts}


@pytest.fixture
def listed_twice(tmp_path: Path) -> Path:
    """Two products that share most of their texts, as in the real data, and one that is too small to be used."""
    texts = [sentence(number) for number in range(60)]
    return write_2018(tmp_path / "r.jsonl", {"P1": texts[:50], "P2": [t.upper() for t in texts[10:]], "P3": texts[:3]})


@pytest.mark.parametrize("distinct", [False, True])
def test_groups_are_whole_and_nothing_leaks(listed_twice: Path, distinct: bool) -> None:
    config = config_for(listed_twice, distinct=distinct)
    splits, facts = task.groups(config)
    assert tuple(splits) == SPLITS
    assert {split: len(splits[split]) for split in SPLITS} == facts["groups"]
    assert_disjoint(splits)
    train, evaluation = splits["sft"] + splits["train"], splits["validation"] + splits["heldout"]
    assert not texts_in(train) & texts_in(evaluation)
    for group in train + evaluation:
        assert len(texts_in([group])) == len(group.texts) == 4
        assert not distinct or len(set(group.scores)) == 4
        assert group.texts[0].startswith(f"[{group.scores[0]}] ")
    assert len(set(evaluation)) == len(evaluation)
    assert facts["texts_per_pool"] == {"train": 42, "evaluation": 18}
    assert facts["products_per_pool"] == {"train": 2, "evaluation": 2}
    assert facts["labeller"] == HEURISTIC
    assert sum(facts["score_histogram"]) == 50 + 50 + 3


def test_the_same_groups_from_both_schemas_and_again(listed_twice: Path, tmp_path: Path) -> None:
    first = task.groups(config_for(listed_twice))
    second = task.groups(config_for(write_2023(listed_twice, tmp_path / "other.json")))
    assert first == second == task.groups(config_for(listed_twice))
    assert json.dumps(first[1]) == json.dumps(second[1])
    assert "r.jsonl" not in json.dumps(first[1]) and "soft" not in json.dumps(first[1])


def test_a_split_does_not_depend_on_the_size_of_the_others(listed_twice: Path) -> None:
    small, _ = task.groups(config_for(listed_twice, data={"sft": 1, "train": 5, "heldout": 3}))
    large, _ = task.groups(config_for(listed_twice))
    assert all(large[split][: len(small[split])] == small[split] for split in SPLITS)


def test_the_prompt_and_its_parts(listed_twice: Path) -> None:
    group = Group(("[3] a b", "[9] c"), (3, 9))
    assert task.prompt(group) == "r1 [3] a b\nr2 [9] c\n->"
    completion = task.complete(group, "none", np.random.default_rng(0))
    assert task.parse(completion, True, group).answer == ("r2", "r1")
    splits, _ = task.groups(config_for(listed_twice, show_score=False))
    assert not any("[" in text for group in splits["train"] for text in group.texts)


def test_an_excerpt_cannot_forge_a_line_or_grow_without_bound() -> None:
    assert task.excerpt("one\nr2 [10]\u2028 two  three four", 4) == "one r2 [10] two"
    assert len(task.excerpt("x" * 10_000, 5)) == 5 * task.CHARACTERS_PER_WORD


def test_texts_that_look_alike_in_the_prompt_count_as_one(tmp_path: Path) -> None:
    texts = [f"Item {n // 2} same first five words, then {n}" for n in range(80)]
    splits, facts = task.groups(config_for(write_2018(tmp_path / "r.jsonl", {"P1": texts}), words=6))
    assert (facts["counts"]["distinct_texts"], facts["counts"]["distinct_excerpts"]) == (80, 40)
    assert all(len(texts_in([group])) == 4 for groups in splits.values() for group in groups)


@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_pool_without_a_full_product_gets_texts(tmp_path: Path, share: float, distinct: bool) -> None:
    file = write_2018(tmp_path / "r.jsonl", {"P1": [sentence(n) for n in (*range(0, 12), *range(20, 32))]})
    data = {"sft": 9, "train": 9, "validation": 5, "heldout": 5}
    splits, facts = task.groups(config_for(file, distinct=distinct, evaluation_share=share, data=data))
    assert facts["products_per_pool"] == {"train": 1, "evaluation": 1}
    assert min(facts["texts_per_pool"].values()) >= 4
    assert not texts_in(splits["sft"] + splits["train"]) & texts_in(splits["validation"] + splits["heldout"])


def test_too_few_texts_are_refused_after_the_counts(tmp_path: Path) -> None:
    file = write_2018(tmp_path / "few.jsonl", {"P1": [sentence(n) for n in range(5)]})
    assert refusal(config_for(file, k=8)) == (
        f"{file}: 5 records, 5 usable, 5 distinct texts, 5 distinct excerpts, 1 products; largest product P1 has 5"
        " usable distinct texts; expected at least 16 (2K, K = 8); no group formed"
    )


def test_k_larger_than_any_product_has(listed_twice: Path) -> None:
    assert "largest product P1 has 50 usable distinct texts; expected at least 52" in refusal(config_for(listed_twice, k=26))


def test_nothing_usable(tmp_path: Path) -> None:
    assert "found no usable review; expected at least 8" in refusal(
        config_for(write_2018(tmp_path / "blank.jsonl", {"P1": [" "]}))
    )


def test_warnings_and_counts_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_2018(tmp_path / "r.jsonl", {"P1": [*(sentence(n) for n in range(60)), ""]})
    task.groups(config_for(file))
    said = capsys.readouterr().err
    assert "line 61: reviewText: missing or blank; the record is skipped" in said
    assert f"{file}: 61 records, 1 without text, 60 usable" in said


def test_distinct_scores_that_cannot_be_had(tmp_path: Path, listed_twice: Path) -> None:
    same_length = [f"number {n} is warm" for n in range(40)]
    file = write_2018(tmp_path / "r2.jsonl", {"P1": same_length})
    assert refusal(config_for(file, distinct=True)) == (
        "task.distinct_scores: largest product P1 has 40 usable distinct texts with 1 different scores; expected 4"
        " scores on both sides of the split (K = 4)"
    )
    assert "task.k: found 12; expected at most 11" in refusal(config_for(listed_twice, k=12, distinct=True))


def test_more_evaluation_groups_than_there_are(tmp_path: Path) -> None:
    file = write_2018(tmp_path / "r.jsonl", {"P1": [sentence(n) for n in range(8)]})
    few = {"sft": 50, "train": 5, "validation": 12, "heldout": 12}
    splits, _ = task.groups(config_for(file, data=few))
    assert len(set(splits["validation"] + splits["heldout"])) == 24
    assert refusal(config_for(file, data=few | {"heldout": 13})) == (
        "data.heldout: found 13 groups asked for, the evaluation pool has 4 texts in 1 products, 24 possible groups and"
        " 12 of them used; expected fewer groups or more texts"
    )


def test_without_the_reviews_block() -> None:
    raw = yaml.safe_load(PARAMS.read_text())
    assert "reviews: missing" in refusal(parse(raw | {"reviews": None}, PARAMS))


@pytest.fixture
def label(tmp_path: Path) -> Callable[[Path, dict[tuple[str, str], int]], Path]:
    def write(file: Path, scores: dict[tuple[str, str], int]) -> Path:
        path = tmp_path / "labels.csv"
        reviews = read_reviews(file).reviews
        rows = [(r.review_id, scores.get((r.product, r.text))) for r in reviews]
        path.write_text("review_id,score,labeller\n" + "".join(f"{i},{s},Ann\n" for i, s in rows if s is not None))
        return path

    return write


def test_labels_replace_the_heuristic(tmp_path: Path, label: Callable[..., Path]) -> None:
    texts = [sentence(number) for number in range(60)]
    file = write_2018(tmp_path / "r.jsonl", {"P1": texts, "P2": texts[:40], "P3": texts[55:]})
    scores = {("P1", text): 3 for text in texts[:50]} | {("P2", text): 9 for text in texts[:20]}
    splits, facts = task.groups(config_for(file, labels=str(label(file, scores))))
    assert facts["labeller"] == "Ann"
    assert (facts["counts"]["usable"], facts["counts"]["unlabelled"]) == (50 + 40, 10 + 5)
    assert facts["counts"]["labels_from_a_copy"] == 20
    assert (facts["score_histogram"][3], facts["score_histogram"][9]) == (50 + 20, 20)
    assert {score for groups in splits.values() for group in groups for score in group.scores} == {3, 9}
