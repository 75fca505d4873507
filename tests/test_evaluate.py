"""Samples to metrics, on completions written by hand."""

from collections.abc import Sequence
from typing import Any

import pytest

from pipeline.evaluate import evaluation
from pipeline.groups import Group
from pipeline.statistics import wilson
from pipeline.tasks import items

GROUPS = [Group(("a", "b"), scores) for scores in ((4, 8), (10, 5), (0, 0), (6, 3), (2, 9))]
RIGHT, LEFT = '{"ranking":["r2","r1"]}', '{"ranking":["r1","r2"]}'


def evaluated(completions: Sequence[str], unterminated: Sequence[int] = (), groups=GROUPS) -> dict[str, Any]:
    row = {
        "step": 7,
        "split": "heldout",
        "decoding": "sampled",
        "completions": list(completions),
        "unterminated": list(unterminated),
    }
    return evaluation(items, groups, row, 0.95)


def test_counts_scores_and_useful():
    found = evaluated([LEFT, RIGHT, "oops", LEFT, '{"ranking":["r2"]}'])
    assert (found["step"], found["split"], found["decoding"]) == (7, "heldout", "sampled")
    assert (found["n"], found["parsed"], found["parse"]) == (5, 3, 0.6)
    assert (found["parse_low"], found["parse_high"]) == wilson(3, 5, 0.95)
    assert found["outcomes"] == {"listed 1, distinct 1": 1, "malformed": 1, "ok": 3}
    assert found["parsed_prompts"] == "11010"
    assert found["quality"] == [0.5, 0.5, 1.0]
    assert found["scores"]["ndcg_at_1"] == pytest.approx(2 / 3)
    assert list(found["scores"]) == ["ndcg_at_1", "ndcg_at_2"]
    assert found["useful"] == pytest.approx((0.5 + 0.5 + 0 + 1 + 0) / 5)


def test_useful_is_parse_times_quality_of_the_parsed():
    found = evaluated([LEFT, RIGHT, "oops", LEFT, ""])
    assert found["useful"] == pytest.approx(found["parse"] * found["scores"]["ndcg_at_1"])


def test_unterminated_counts_as_such_even_where_the_text_is_right():
    found = evaluated([RIGHT, LEFT, LEFT, LEFT, RIGHT], unterminated=[0, 2])
    assert found["outcomes"] == {"ok": 3, "unterminated": 2}
    assert found["parsed_prompts"] == "01011"
    assert found["quality"] == [1.0, 1.0, 1.0]


def test_nothing_parsed():
    found = evaluated(["", "x", '{"ranking":["r9"]}', '{"ranking":["r1","r1"]}', "{}"])
    assert (found["parsed"], found["parse"], found["useful"]) == (0, 0.0, 0.0)
    assert (found["scores"], found["quality"], found["parsed_prompts"]) == ({}, [], "00000")
    assert found["outcomes"] == {"listed 2, distinct 1": 1, "malformed": 3, "unknown id": 1}
    assert found["parse_low"] == 0.0 < found["parse_high"]


def test_all_unterminated():
    found = evaluated([RIGHT] * 5, unterminated=range(5))
    assert found["outcomes"] == {"unterminated": 5}
    assert found["scores"] == {}


def test_everything_parsed_and_right():
    found = evaluated([RIGHT, LEFT, LEFT, LEFT, RIGHT])
    assert (found["parse"], found["useful"], found["parse_high"]) == (1.0, 1.0, 1.0)
    assert set(found["scores"].values()) == {1.0}


@pytest.mark.parametrize("number", [4, 6])
def test_samples_of_other_groups_are_refused(number):
    with pytest.raises(ValueError, match="zip"):
        evaluated([RIGHT] * number)
