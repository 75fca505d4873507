"""The replica's task: the groups it draws, the length of its texts, and what it refuses."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from pipeline import config as settings
from pipeline.errors import InputError
from pipeline.groups import SPLITS, assert_disjoint
from pipeline.streams import generator
from pipeline.tasks import items, load_task
from pipeline.tokens import Codec, build_tokenizer

ROOT = Path(__file__).resolve().parents[1]
MINI = yaml.safe_load((ROOT / "pipeline/profiles/mini/params.yaml").read_text(encoding="utf-8"))
PATTERN = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["tokenizer"]["pattern"]
SMALL = {"sft": 20, "train": 33, "validation": 7, "heldout": 34}


def config_for(k=4, distinct=True, data=SMALL, seed=1):
    raw = copy.deepcopy(MINI) | {"seed": seed, "data": data}
    raw["task"] |= {"k": k, "distinct_scores": distinct}
    return settings.parse(raw, Path("p.yaml"))


@pytest.mark.parametrize("distinct", [True, False])
def test_sizes_and_no_group_twice(distinct):
    splits, facts = items.groups(config_for(distinct=distinct))
    assert {split: len(groups) for split, groups in splits.items()} == SMALL == facts["groups"]
    assert tuple(splits) == SPLITS
    everything = [group for groups in splits.values() for group in groups]
    assert len(set(everything)) == len(everything)
    assert_disjoint(splits)
    assert all(group.texts == tuple(map(str, group.scores)) for group in everything)
    assert {score for group in everything for score in group.scores} == set(range(11))


def test_distinct_grades_where_asked_for():
    for distinct in (True, False):
        splits, _ = items.groups(config_for(distinct=distinct))
        assert all(len(set(group.scores)) == 4 for groups in splits.values() for group in groups) == distinct


def test_every_pair_is_drawn_when_all_are_asked_for():
    splits, _ = items.groups(config_for(k=2, data={"sft": 38, "train": 32, "validation": 8, "heldout": 32}))
    assert len({group.scores for groups in splits.values() for group in groups}) == 11 * 10


def test_the_seed_alone_decides():
    first, _ = items.groups(config_for())
    again, _ = items.groups(config_for())
    other, _ = items.groups(config_for(seed=2))
    assert first == again
    assert first["train"] != other["train"]


@pytest.mark.parametrize("k", [2, 8, 11])
def test_lengths_in_tokens(k):
    groups = items.groups(config_for(k=k))[0]["heldout"]
    prompts = [items.prompt(group) for group in groups]
    targets = [items.complete(group, "none", generator(0)) for group in groups]
    codec = Codec(build_tokenizer(settings.Tokenizer("pieces", PATTERN), prompts + targets))
    prompt_BP, prompt_mask_BP = codec.prompts(prompts)
    target_BT, target_mask_BT = codec.completions(targets)
    assert prompt_BP.shape == (len(groups), 1 + 2 * k + 1)
    assert target_BT.shape == (len(groups), 2 * k + 2)
    assert prompt_mask_BP.all()
    assert target_mask_BT.all()
    pieces = re.findall(PATTERN, prompts[0])
    assert len(pieces) == 2 * k + 1
    assert "".join(pieces) == prompts[0]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (config_for(k=12), r"^task\.k: found 12; expected at most 11"),
        (
            config_for(k=2, data={"sft": 40, "train": 32, "validation": 8, "heldout": 32}),
            r"^data: found 112 groups .*, 110 ",
        ),
        (
            config_for(k=2, distinct=False, data=SMALL | {"sft": 48}),
            r"^data: found 122 groups over all splits; expected fewer, 121 ",
        ),
    ],
    ids=["more than the grades", "more than the pairs", "more than the pairs with ties"],
)
def test_what_cannot_be_drawn_is_refused(config, message):
    with pytest.raises(InputError, match=message):
        items.groups(config)


def test_load_task():
    assert load_task("pipeline.tasks.items") is items


@pytest.mark.parametrize("module", ["no_such_module", "pipeline.tasks.none", "pipeline.tasks.items.more", "pipeline."])
def test_missing_module(module):
    with pytest.raises(InputError, match=rf"^task\.module: found '{re.escape(module)}' .*expected a module such as"):
        load_task(module)


def test_module_without_the_functions():
    with pytest.raises(InputError, match=r"^task\.module: json lacks groups, prompt, complete, parse, score; expected"):
        load_task("json")
