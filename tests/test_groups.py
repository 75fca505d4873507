"""Groups on disk: read back as written, and a damaged line is named."""

import json

import pytest

from pipeline.errors import InputError
from pipeline.groups import Group, assert_disjoint, read_groups, write_groups

ODD = ("line\u2028para\u2029", "car\rriage\r\nfeed\n", 'quote " \\ / \x00', "🧵 \u0085 \x0b\x0c", "")
GOOD = b'{"texts":["a","b"],"scores":[1,2]}\n'


def group(*scores):
    return Group(tuple(map(str, scores)), scores)


def test_ids_and_target_order():
    odd = Group(("a", "b", "c", "d"), (3, 10, 3, 0))
    assert odd.ids == ("r1", "r2", "r3", "r4")
    assert odd.best_first() == ("r2", "r1", "r3", "r4")


def test_read_back_as_written(tmp_path):
    path = tmp_path / "deep" / "sft.jsonl"
    groups = [Group(ODD, (0, 10, 5, 5, 1)), group(4, 2)]
    write_groups(path, groups)
    assert read_groups(path) == groups
    assert path.read_bytes().count(b"\n") == 2


def test_no_groups(tmp_path):
    write_groups(tmp_path / "empty.jsonl", [])
    assert read_groups(tmp_path / "empty.jsonl") == []


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"null",
        b'{"texts":["a","b"]}',
        b'{"scores":[1,2]}',
        b'{"texts":null,"scores":[1]}',
        b'{"texts":["a","b"],"scores":[1,',
        b'{"texts":["a","b"],"scores":[1]}',
        b'{"texts":"ab","scores":[1,2]}',
        b'{"texts":["a","b"],"scores":["1",null]}',
        b'{"texts":["\xff","b"],"scores":[1,2]}',
        b"[" * 100_000,
    ],
)
def test_damaged_line_is_named(line, tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(GOOD + line + b"\n" + GOOD)
    with pytest.raises(InputError, match=r"train\.jsonl: line 2: .*expected a group") as caught:
        read_groups(path)
    assert len(str(caught.value).splitlines()) == 1


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.jsonl: not found; expected the groups"):
        read_groups(tmp_path / "none.jsonl")


def test_lines_are_plain_json(tmp_path):
    write_groups(tmp_path / "x.jsonl", [group(7, 1)])
    assert json.loads((tmp_path / "x.jsonl").read_text()) == {"texts": ["7", "1"], "scores": [7, 1]}


def splits(**more):
    return {"sft": [group(1, 2)], "train": [group(1, 3)], "validation": [group(1, 4)], "heldout": [group(1, 5)]} | more


def test_disjoint_splits_pass():
    assert_disjoint(splits())
    assert_disjoint(splits(sft=[group(1, 2), group(1, 2)]))


@pytest.mark.parametrize(
    ("split", "stranger"),
    [("sft", 5), ("sft", 4), ("sft", 3), ("train", 5), ("train", 4), ("validation", 5)],
)
def test_a_group_in_two_splits_is_refused(split, stranger):
    crossed = splits()
    crossed[split] = [*crossed[split], group(1, stranger)]
    with pytest.raises(AssertionError, match=split):
        assert_disjoint(crossed)


@pytest.mark.parametrize("split", ["validation", "heldout"])
def test_a_group_twice_where_it_is_evaluated_is_refused(split):
    with pytest.raises(AssertionError, match=split):
        assert_disjoint(splits(**{split: [group(0, 9), group(0, 9)]}))
