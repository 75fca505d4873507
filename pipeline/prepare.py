"""Stage `prepare`: the groups of every split, the tokenizer, and the facts about the data.

Writes ``runs/<profile>/data/`` and ``reports/<profile>/data.json``. The data are shared by all seeds; a seed redraws the
student's warm start and all sampling, never the groups. No text of a review leaves ``runs/``.
"""

from typing import Any

from transformers import PreTrainedTokenizerFast

from pipeline.config import Config
from pipeline.errors import InputError
from pipeline.files import sha256_of, write_json
from pipeline.groups import Group, assert_disjoint, write_groups
from pipeline.layout import Layout
from pipeline.streams import generator
from pipeline.tasks import load_task
from pipeline.tokens import Codec, build_tokenizer

TOKENIZER_SAMPLE = 5000


def run(config: Config) -> None:
    layout = Layout(config.profile)
    splits, facts, tokenizer = plan(config)
    for split, groups in splits.items():
        write_groups(layout.groups(split), groups)
    tokenizer.save_pretrained(layout.tokenizer)
    hashes = {split: sha256_of(layout.groups(split)) for split in splits}
    write_json(layout.data_facts, {**facts, "vocabulary": len(tokenizer), "sha256": hashes})


def plan(config: Config) -> tuple[dict[str, list[Group]], dict[str, Any], PreTrainedTokenizerFast]:
    """Groups by split, facts and tokenizer, not written.

    Raises InputError when the task cannot make the groups that ``config.data`` asks for, or when a correct completion is
    longer than ``config.opd.max_tokens``.
    """
    task = load_task(config.task.module)
    splits, facts = task.groups(config)
    assert_disjoint(splits)
    rng = generator(config.seed, "tokenizer")
    sample = splits["sft"][:TOKENIZER_SAMPLE]
    texts = [text for group in sample for text in (task.prompt(group), task.complete(group, config.defect.kind, rng))]
    tokenizer = build_tokenizer(config.tokenizer, texts)
    correct = [task.complete(group, "none", rng) for group in splits["heldout"]]
    longest = Codec(tokenizer).completions(correct)[0].shape[1]
    if longest > config.opd.max_tokens:
        raise InputError(f"opd.max_tokens: found {config.opd.max_tokens}; a correct completion has up to {longest} tokens")
    return splits, facts, tokenizer
