"""Stage `prepare`: the groups of every split, the tokenizer, and the facts about the data.

Writes ``runs/<profile>/data/`` and ``reports/<profile>/data.json``. The data are shared by all seeds; a seed redraws the
student's warm start and all sampling, never the groups. No text of a review leaves ``runs/``.
"""

from pipeline.config import Config
from pipeline.files import sha256_of, write_json
from pipeline.groups import assert_disjoint, write_groups
from pipeline.layout import Layout
from pipeline.streams import generator
from pipeline.tasks import load_task
from pipeline.tokens import build_tokenizer

TOKENIZER_SAMPLE = 5000


def run(config: Config) -> None:
    """Raises InputError when the task cannot make the groups that ``config.data`` asks for."""
    layout, task = Layout(config.profile), load_task(config.task.module)
    splits, facts = task.groups(config)
    assert_disjoint(splits)
    for split, groups in splits.items():
        write_groups(layout.groups(split), groups)
    rng = generator(config.seed, "tokenizer")
    sample = splits["sft"][:TOKENIZER_SAMPLE]
    texts = [text for group in sample for text in (task.prompt(group), task.complete(group, config.defect.kind, rng))]
    tokenizer = build_tokenizer(config.tokenizer, texts)
    tokenizer.save_pretrained(layout.tokenizer)
    hashes = {split: sha256_of(layout.groups(split)) for split in splits}
    write_json(layout.data_facts, {**facts, "vocabulary": len(tokenizer), "sha256": hashes})
