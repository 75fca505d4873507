"""The operating rule on the mini profile's models and on a random model that keeps no contract."""

import json

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from transformers import Qwen3Config, Qwen3ForCausalLM

from pipeline import theory
from pipeline.advise import PAPER_MARGIN, Question, advise, evidence, told
from pipeline.config import Tokenizer
from pipeline.errors import InputError
from pipeline.files import write_json
from pipeline.groups import read_groups
from pipeline.layout import Layout
from pipeline.models import load_model
from pipeline.probe import target_batch, target_logits
from pipeline.tasks import load_task
from pipeline.tokens import build_tokenizer

LAYOUT = Layout("mini")


@pytest.fixture
def question(mini, tmp_path):
    task = load_task(mini.task.module)
    prompts = [task.prompt(group) for group in read_groups(LAYOUT.groups("heldout"))]
    (tmp_path / "prompts.txt").write_text("\n".join(prompts) + "\n")
    models = LAYOUT.model("teacher"), LAYOUT.model("student-0")
    return Question(*models, tmp_path / "prompts.txt", 5.0, "truncate", None, 64, 12)


def changed(question, **at):
    return Question(**{**question.__dict__, **at})


def test_the_binding_position_is_the_comma_after_the_last_but_one_id(question, mini):
    """Where the student's SFT targets stop; b there is what scoring the right answers gives, up to the choice of answers."""
    found = advise(question)
    assert 0 < found["kept"] <= found["prompts"] == 64
    texts = [row["position"] for row in found["positions"]]
    assert texts == ['0: {"ranking":[', "1: ,", "2: ,", "3: ]}", "4: end of text"]
    assert found["precondition"] and found["binding"] == "2: ,"
    row = found["positions"][2]
    student, codec = load_model(LAYOUT.model("student-0"))
    b_N = target_logits(student, target_batch(mini, codec), codec.vocabulary)[:, 4]
    assert row["b"]["value"] == pytest.approx(expit(b_N).mean(), abs=0.05)
    assert row["b"]["low"] < row["b"]["value"] < row["b"]["high"] and row["n"] == found["kept"]


def test_lambda_star_is_the_closed_form_at_the_measured_p_and_b(question):
    found = advise(changed(question, clip=2.0, reading="none"))
    for row in found["positions"]:
        if row["lambda_star"]:
            expected = theory.lambda_star(theory.LogOdds(logit(row["p"]["value"])), row["b"]["value"], 2.0)
            assert row["lambda_star"]["value"] == pytest.approx(expected, rel=1e-6)
            assert row["crossing"] == pytest.approx(row["lambda_star"]["value"])
    below = next(row for row in found["positions"] if row["position"] == found["binding"])["lambda_star"]["low"]
    assert found["below"] == below
    assert found["with_paper_margin"] == pytest.approx(1 + PAPER_MARGIN * (below - 1))


def test_the_words_name_position_interval_and_evidence(question):
    write_json(LAYOUT.verdicts, {"checks": [{"id": "onset/collapse", "verdict": "not reproduced"}]})
    said = told(advise(question))
    assert "binding: 2: ," in said
    assert "profile mini: onset/collapse: not reproduced" in said
    assert json.dumps(advise(question), allow_nan=False)


def test_without_verdicts_it_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert evidence() == ["no verdicts here: run from the root of the checkout"]


def test_teacher_and_base_alike_say_nothing(question):
    found = advise(changed(question, base=question.teacher))
    assert not found["precondition"] and found["binding"] is None and found["below"] is None
    assert "the rule says nothing" in told(found)


@pytest.fixture
def random_model(tmp_path):
    """Two random models over one byte-level BPE, and prompts with text beyond ASCII."""
    tokenizer = build_tokenizer(Tokenizer("bpe", vocab_size=300), ["Bewertung: schön, naïve ☃ review"])
    folders = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        model = Qwen3ForCausalLM(
            Qwen3Config(vocab_size=len(tokenizer), num_key_value_heads=2, head_dim=8, eos_token_id=2, pad_token_id=0, **size)
        )
        folders.append(tmp_path / f"model-{seed}")
        model.save_pretrained(folders[-1])
        tokenizer.save_pretrained(folders[-1])
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"schön ☃ {i}"}) + "\n" for i in range(3)))
    return Question(*folders, path, 5.0, "truncate", None, 8, 6)


def test_a_random_model_keeps_no_json_contract(random_model):
    with pytest.raises(InputError, match="none of the teacher's 3 answers keeps the contract"):
        advise(random_model)


def test_a_pattern_is_a_contract_too(random_model, monkeypatch):
    """Any text that ends; the model is made to end after two tokens, so that columns agree."""
    monkeypatch.setattr("pipeline.advise._answer", lambda model, ids, limit: [5, 6, 2])
    found = advise(changed(random_model, pattern=".*"))
    assert found["kept"] == 3
    assert [row["position"].split(":")[0] for row in found["positions"]] == ["0", "1", "2"]
    assert not found["precondition"]
    assert np.isfinite(found["positions"][0]["p"]["value"])


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ({"pattern": "("}, "--pattern"),
        ({"clip": 1.0}, "clip"),
    ],
)
def test_bad_questions(question, at, said):
    with pytest.raises((InputError, theory.DomainError), match=said):
        advise(changed(question, **at))


def test_bad_files_are_one_line(question, random_model, tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a"}\n{"text": "b"}\n')
    for at, said in (
        ({"prompts": tmp_path / "empty.txt"}, "no prompt in it"),
        ({"prompts": tmp_path / "none.txt"}, "not readable"),
        ({"prompts": tmp_path / "bad.jsonl"}, "line 2: expected a JSON object with the key prompt"),
        ({"teacher": tmp_path}, "no config.json"),
        ({"base": random_model.base}, "its tokenizer differs"),
    ):
        with pytest.raises(InputError, match=said) as problem:
            advise(changed(question, **at))
        assert "\n" not in str(problem.value)
