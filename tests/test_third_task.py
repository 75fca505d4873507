"""Another task goes through every training stage with nothing changed but `params.yaml`."""

import yaml

from pipeline import aggregate, calibrate, config, evaluate, listopd, prepare, sft
from pipeline.files import read_json
from pipeline.layout import Layout

SMALL = {
    "task": {"module": "records", "k": 4, "distinct_scores": False},
    "tokenizer": {"kind": "bpe", "vocab_size": 300},
    "data": {"sft": 300, "train": 32, "validation": 8, "heldout": 32},
    "sft": {"steps": 30, "batch": 16, "learning_rate": 0.01, "warmup": 3},
}


def test_a_json_object_instead_of_a_ranking(mini):
    path = config.params_file("mini")
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | SMALL))
    settings, layout = config.load("mini"), Layout("mini")
    prepare.run(settings)
    for name in settings.models_to_train():
        sft.run(settings, name)
    calibrate.run(settings)
    for cell in settings.all_cells():
        listopd.run(settings, cell)
    evaluate.run(settings)
    aggregate.run(settings)
    found = read_json(layout.aggregate, "aggregate")
    assert found["data"]["labeller"] == "digits"
    assert found["sft"]["student"]["parse"]["n"] == 64
    assert set(found["sft"]["student"]["outcomes"]) <= {"ok", "malformed", "unterminated"}
    assert len(found["cells"]["main"]["lambdas"]) == 3
