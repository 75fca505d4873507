"""The format's own tokens: in JSON by its grammar, elsewhere by agreement."""

import json

import numpy as np
import pytest

from pipeline.structure import END, agreed, json_structure, positions


def marked(text):
    """The text with the inside of its values blanked out."""
    return "".join(c if keep else "·" for c, keep in zip(text, json_structure(text), strict=True))


@pytest.mark.parametrize(
    ("text", "structure"),
    [
        ('{"ranking": ["r1", "r12"]}', '{"ranking": ["··", "···"]}'),
        ('{"max": -7.5, "ok": true}', '{"max": ····, "ok": ····}'),
        (r'{"a\"b": "c\"d:", "e": ""}', r'{"a\"b": "·····", "e": ""}'),
        ('{"a" : {"b":[1,2]}}', '{"a" : {"b":[·,·]}}'),
        ('["x:", ":"]', '["··", "·"]'),
        ("[]", "[]"),
    ],
)
def test_structure_is_all_but_the_inside_of_values(text, structure):
    json.loads(text)
    assert marked(text) == structure


def test_positions_are_numbered_whatever_the_values_are():
    tokens = [['{"a":"', "x", '","b":', "1", "}", END], ['{"a":"', "long", "er", '","b":', "2", "}", END]]
    found = positions(tokens, [json_structure("".join(row[:-1])) for row in tokens], 0.9)
    assert [(p.number, p.text) for p in found] == [(0, '{"a":"'), (1, '","b":'), (2, "}"), (3, END)]
    assert found[1].columns == {0: 2, 1: 3}
    assert found[1].of(np.arange(14.0).reshape(2, 7)).tolist() == [2.0, 10.0]


def test_a_token_that_holds_part_of_a_value_is_no_structure():
    tokens = [['{"a', '":"x', '"}']]
    assert [p.text for p in positions(tokens, [json_structure('{"a":"x"}')], 0.9)] == ['{"a', '"}']


def test_a_position_must_be_shared():
    tokens = [["[", "1", "]"], ["[", "1", ",", "2", "]"], ["[", "1", "]"]]
    marks = [json_structure("".join(row)) for row in tokens]
    assert [p.name for p in positions(tokens, marks, 0.9)] == ["0: ["]
    assert [p.name for p in positions(tokens, marks, 0.6)] == ["0: [", "1: ]"]


def test_without_a_grammar_positions_are_columns_that_agree():
    tokens = [["Answer", ":", "yes", END], ["Answer", ":", "no", END], ["Answer", ":", "no", "!"]]
    found = agreed(tokens, 0.6)
    assert [(p.number, p.text, len(p.columns)) for p in found] == [(0, "Answer", 3), (1, ":", 3), (2, "no", 2), (3, END, 2)]
