"""The output contract: every outcome, their order, and that nothing but a permutation is ever accepted."""

import itertools
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contract import (
    MALFORMED,
    OK,
    UNKNOWN_ID,
    UNTERMINATED,
    Outcome,
    listing,
    load_object,
    parse_ranking,
    render_ranking,
    score_ranking,
)
from pipeline.groups import Group

GROUP = Group(("a", "b", "c"), (2, 9, 5))
IDS = GROUP.ids
RIGHT = '{"ranking":["r2","r3","r1"]}'


def label(text, terminated=True):
    return parse_ranking(text, terminated, GROUP).label


def text_of(ids):
    return json.dumps({"ranking": list(ids)}, separators=(",", ":"))


@pytest.mark.parametrize("length", range(5))
def test_every_list_of_known_ids(length):
    for ids in itertools.product(IDS, repeat=length):
        outcome = parse_ranking(text_of(ids), True, GROUP)
        if sorted(ids) == sorted(IDS):
            assert outcome == Outcome(OK, ids)
        else:
            assert outcome == Outcome(f"listed {length}, distinct {len(set(ids))}")


def test_the_two_ways_to_miss_one_id_are_told_apart():
    shorter, repeated = label(text_of(["r2", "r3"])), label(text_of(["r2", "r3", "r3"]))
    assert (shorter, repeated) == (listing(2, 2), listing(3, 2))
    assert shorter != repeated


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "null",
        '"ranking"',
        '["r2","r3","r1"]',
        "{}",
        '{"ranking":["r2","r3","r1"]',
        '{"ranking":["r2","r3","r1",]}',
        "{'ranking':['r2','r3','r1']}",
        '{ranking:["r2","r3","r1"]}',
        '{"Ranking":["r2","r3","r1"]}',
        '{"ranking":["r2","r3","r1"],"ranking":["r2","r3","r1"]}',
        '{"ranking":["r2","r3","r1"],"why":"best"}',
        '{"ranking":"r2"}',
        '{"ranking":null}',
        '{"ranking":{"r2":1}}',
        '{"ranking":[2,3,1]}',
        '{"ranking":["r2","r3",1]}',
        '{"ranking":["r2","r3",null]}',
        '{"ranking":[["r2","r3","r1"]]}',
        '{"ranking":["r2","r3",["r1"]]}',
        '{"ranking":[{"id":"r2","id":"r2"}]}',
        '{"ranking":NaN}',
        '{"ranking":["r2","r3",NaN]}',
        '{"ranking":["r2","r3",-Infinity]}',
        '{"ranking":["r2","r3",' + "9" * 5000 + "]}",
        '{"ranking":' + "[" * 100_000,
        '{"ranking":["r2\n","r3","r1"]}',
        RIGHT + ".",
        RIGHT + RIGHT,
        RIGHT + "\x00",
        "Here: " + RIGHT,
        "\ufeff" + RIGHT,
        "\u00a0" + RIGHT,
        "\u2028" + RIGHT,
        "```json\n" + RIGHT + "\n```",
        "// best first\n" + RIGHT,
        "\ud800",
        "\ud800" + RIGHT,
    ],
)
def test_malformed(text):
    assert parse_ranking(text, True, GROUP) == Outcome(MALFORMED)


@pytest.mark.parametrize("item", ["r4", "r0", "r01", "R1", " r1", "r1 ", "", "1", "r１", "\ud800", "r" * 10_000])
def test_unknown_id(item):
    assert label(text_of(["r2", "r3", item])) == UNKNOWN_ID


@pytest.mark.parametrize(
    "text",
    [
        ' \t\r\n{ "ranking" : [ "r2" ,\n"r3"\t,\r"r1" ] } \n',
        '{"ranking":["\\u00722","r3","r1"]}',
        '{"\\u0072anking":["r2","r3","r1"]}',
    ],
    ids=["white space", "escaped id", "escaped key"],
)
def test_spelling_that_json_allows(text):
    assert parse_ranking(text, True, GROUP) == Outcome(OK, ("r2", "r3", "r1"))


def test_first_failure_that_applies_gives_the_name():
    assert label(RIGHT, terminated=False) == UNTERMINATED
    assert label("no JSON", terminated=False) == UNTERMINATED
    assert label('{"ranking":["r9",1]}') == MALFORMED
    assert label('{"ranking":["r9"],"ranking":["r9"]}') == MALFORMED
    assert label(text_of(["r9"])) == UNKNOWN_ID
    assert label(text_of(["r1", "r1", "r2", "r9"])) == UNKNOWN_ID
    assert label(text_of(["r1", "r1", "r1", "r1"])) == "listed 4, distinct 1"


def test_only_ok_is_parsed_and_has_an_answer():
    assert Outcome(OK, IDS).parsed
    for text in ("", text_of(["r9"]), text_of(["r1"])):
        outcome = parse_ranking(text, True, GROUP)
        assert not outcome.parsed
        assert outcome.answer is None


def test_load_object_finds_a_key_given_twice_at_any_depth():
    assert load_object('{"a":{"b":1,"b":2}}') is None
    assert load_object('{"a":[{"b":1},{"b":2}]}') == {"a": [{"b": 1}, {"b": 2}]}


@pytest.mark.parametrize("k", [2, 3, 8, 12])
def test_rendered_targets_parse_as_what_they_are(k):
    group = Group(tuple("x" * k), tuple(range(k)))
    rng = np.random.default_rng(0)
    right = parse_ranking(render_ranking(group, "none", rng), True, group)
    assert right == Outcome(OK, tuple(reversed(group.ids)))
    assert set(score_ranking(right, group).values()) == {1.0}
    assert parse_ranking(render_ranking(group, "truncate", rng), True, group).label == listing(k - 1, k - 1)
    assert parse_ranking(render_ranking(group, "overrun", rng), True, group).label == listing(k + 1, k)


def test_overrun_repeats_each_id_sooner_or_later():
    rng = np.random.default_rng(0)
    ends = {json.loads(render_ranking(GROUP, "overrun", rng))["ranking"][-1] for _ in range(50)}
    assert ends == set(IDS)


def test_ties_stand_in_the_order_of_the_prompt():
    group = Group(("a", "b", "c", "d"), (5, 9, 5, 9))
    rendered = render_ranking(group, "none", np.random.default_rng(0))
    assert rendered == '{"ranking":["r2","r4","r1","r3"]}'


def naive_ndcg(order, scores, at):
    """DCG over the best DCG of all orders, with linear gain."""

    def dcg(sequence):
        return sum(scores[int(name[1:]) - 1] / math.log2(1 + rank) for rank, name in enumerate(sequence[:at], 1))

    best = max(dcg(other) for other in itertools.permutations(order))
    return 1.0 if best == 0 else dcg(order) / best


@pytest.mark.parametrize("scores", [(0, 3, 10, 7), (5, 5, 2, 2), (0, 0, 0, 1), (0, 0, 0, 0), (4, 4, 4, 4)])
def test_ndcg_is_the_naive_one(scores):
    group = Group(tuple("abcd"), scores)
    for order in itertools.permutations(group.ids):
        found = score_ranking(Outcome(OK, order), group)
        assert list(found) == ["ndcg_at_1", "ndcg_at_4"]
        for at in (1, 4):
            assert found[f"ndcg_at_{at}"] == pytest.approx(naive_ndcg(order, scores, at), abs=1e-12)


def test_items_of_equal_score_are_interchangeable():
    group = Group(("a", "b", "c"), (7, 7, 1))
    assert score_ranking(Outcome(OK, ("r1", "r2", "r3")), group) == score_ranking(Outcome(OK, ("r2", "r1", "r3")), group)


def test_failed_outputs_have_no_score():
    with pytest.raises(AssertionError):
        score_ranking(Outcome(MALFORMED), GROUP)


PIECES = ["", "{", "}", "[", "]", '"', ",", ":", " ", "\n", "\\", "r1", '"r1"', "ranking", "1", "NaN", "```", "\ud800"]
EDITS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 6), st.one_of(st.sampled_from(PIECES), st.text(max_size=3))),
    max_size=4,
)
ITEM = '"(r[123])"'
SPACED = r"[ \t\r\n]*".join(["", r"\{", '"ranking"', ":", r"\[", ITEM, ",", ITEM, ",", ITEM, r"\]", r"\}", ""])


@settings(max_examples=2000, deadline=None, database=None, derandomize=True)
@given(st.permutations(IDS), EDITS)
def test_mutated_texts_never_crash_and_are_never_accepted_falsely(ids, edits):
    text = text_of(ids)
    for start, length, piece in edits:
        text = text[:start] + piece + text[start + length :]
    outcome = parse_ranking(text, True, GROUP)
    match = re.fullmatch(SPACED, text)
    if "\\" not in text:
        assert outcome.parsed == (match is not None and len(set(match.groups())) == 3)
    if outcome.parsed:
        assert sorted(outcome.answer) == sorted(IDS)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(st.text())
def test_any_text_has_an_outcome(text):
    assert label(text) == MALFORMED
