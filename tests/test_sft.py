"""Warm starts: targets, schedule, loss, initial weights, resuming."""

import itertools
import json
import math
import shutil
from dataclasses import replace

import pytest
import torch

from pipeline import config as settings
from pipeline import sft
from pipeline.config import TEACHER
from pipeline.files import read_json_lines
from pipeline.groups import read_groups
from pipeline.layout import Layout
from pipeline.sft import schedule
from pipeline.tasks import load_task
from pipeline.tokens import Batch, Codec, load_tokenizer

LAYOUT = Layout("mini")
STUDENT = "student-0"


class Stop(Exception):
    pass


@pytest.fixture
def short(mini):
    """Five steps, of which the log has each one; no model has been trained."""
    shutil.rmtree(LAYOUT.reports / "sft")
    shutil.rmtree(LAYOUT.runs / "sft")
    return replace(mini, sft=replace(mini.sft, steps=5, warmup=2))


@pytest.fixture(autouse=True)
def every_step_in_the_log(monkeypatch):
    monkeypatch.setattr(sft, "LOG_EVERY", 1)


def codec():
    return Codec(load_tokenizer(LAYOUT.tokenizer))


def targets(config, name):
    """Prompt and completion of each target, as text."""
    batch, reader = sft._targets(config, name, codec()), codec()
    completions = reader.texts(batch)
    assert all(ended for _, ended in completions)
    prompts = [reader.tokenizer.decode(ids[1:]) for ids in batch.prompt_BP]
    return list(zip(prompts, (text for text, _ in completions), strict=True))


def files(name=STUDENT):
    """What a run wrote, apart from its record."""
    paths = [*LAYOUT.sft_record(name).iterdir(), *LAYOUT.model(name).iterdir()]
    return {path: path.read_bytes() for path in paths if path.name != "run.json"}


def record(name=STUDENT):
    return json.loads((LAYOUT.sft_record(name) / "run.json").read_text())


def test_warm_up_is_linear_and_ends_at_the_full_rate():
    assert [schedule(step, 4, 20) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("warmup", [0, 4, 10])
def test_the_cosine_runs_over_the_steps_after_warm_up(warmup):
    assert schedule(warmup, warmup, 20) == 1.0
    assert schedule((warmup + 20) // 2, warmup, 20) == pytest.approx(0.5)
    assert schedule(19, warmup, 20) == pytest.approx(math.sin(math.pi / 2 / (20 - warmup)) ** 2)
    after = [schedule(step, warmup, 20) for step in range(warmup, 20)]
    assert after == sorted(after, reverse=True)


def test_each_step_has_the_rate_of_its_schedule(short, monkeypatch):
    rates, original = [], sft.update

    def seen(accelerator, model, optimizer, *rest):
        rates.extend(group["lr"] for group in optimizer.param_groups)
        return original(accelerator, model, optimizer, *rest)

    monkeypatch.setattr(sft, "update", seen)
    sft.run(short, STUDENT)
    assert rates == pytest.approx([short.sft.learning_rate * factor for factor in (0.5, 1.0, 1.0, 0.75, 0.25)])


@pytest.mark.parametrize(("name", "rate"), [(TEACHER, 0.1), ("student-0", 0.8), ("student-pilot", 0.8)])
def test_the_share_of_defective_targets_is_that_of_the_role(mini, name, rate):
    config = replace(mini, defect=replace(mini.defect, teacher=0.1, student=0.8))
    defective = [len(json.loads(text)["ranking"]) < config.task.k for _, text in targets(config, name)]
    error = math.sqrt(rate * (1 - rate) / len(defective))
    assert abs(sum(defective) / len(defective) - rate) < 4 * error


def test_every_group_is_a_target_once_beside_its_own_prompt(mini):
    task, groups = load_task(mini.task.module), read_groups(LAYOUT.groups("sft"))
    pairs = targets(mini, STUDENT)
    assert sorted(prompt for prompt, _ in pairs) == sorted(map(task.prompt, groups))
    allowed = {task.prompt(g): [task.complete(g, defect, None) for defect in ("none", "truncate")] for g in groups}
    assert all(text in allowed[prompt] for prompt, text in pairs)


def test_each_model_has_targets_of_its_own(mini):
    found = [targets(mini, name) for name in mini.models_to_train()]
    assert all(one != other for one, other in itertools.combinations(found, 2))
    assert targets(mini, STUDENT) == targets(mini, STUDENT)


def test_batches_follow_one_another_and_start_over():
    place = torch.arange(5)[:, None]
    batch = Batch(place, place > 0, place + 10, place > 1)
    for step, rows in enumerate([[0, 1], [2, 3], [4, 0], [1, 2]]):
        found, at = sft._cycle(batch, step, 2), torch.tensor(rows)[:, None]
        assert torch.equal(found.prompt_BP, at) and torch.equal(found.completion_BT, at + 10)
        assert torch.equal(found.prompt_mask_BP, at > 0) and torch.equal(found.completion_mask_BT, at > 1)


def test_each_model_starts_from_weights_of_its_own(short, monkeypatch):
    original = sft.new_model

    def first_weights(name):
        with monkeypatch.context() as patch, pytest.raises(Stop) as stop:
            patch.setattr(sft, "new_model", stopped)
            sft.run(short, name)
        return stop.value.args[0]

    def stopped(*args):
        raise Stop(original(*args).model.embed_tokens.weight.detach())

    weights = [first_weights(name) for name in short.models_to_train()]
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(weights, 2))
    assert torch.equal(weights[0], first_weights(TEACHER))


@pytest.mark.parametrize("kind", ["truncate", "overrun"])
def test_the_loss_is_the_mean_over_the_tokens_of_the_targets(short, monkeypatch, kind):
    """The first step's, against row after row without padding in float64; targets differ in length."""
    config = replace(short, defect=replace(short.defect, kind=kind), sft=replace(short.sft, steps=1, warmup=0))
    original, models = sft.new_model, []

    def kept(*args):
        models.append(original(*args))
        return original(*args)

    monkeypatch.setattr(sft, "new_model", kept)
    sft.run(config, STUDENT)
    total, n = 0.0, 0
    batch = sft._targets(config, STUDENT, codec()).rows(slice(0, config.sft.batch))
    rows = [ids[mask] for ids, mask in zip(batch.completion_BT, batch.completion_mask_BT, strict=True)]
    for prompt, completion in zip(batch.prompt_BP, rows, strict=True):
        with torch.no_grad():
            logits = models[0](torch.cat([prompt, completion])[None]).logits[0, len(prompt) - 1 : -1].double()
        total -= logits.log_softmax(-1)[torch.arange(len(completion)), completion].sum().item()
        n += len(completion)
    assert len({len(row) for row in rows}) == 2
    (row,) = read_json_lines(LAYOUT.sft_record(STUDENT) / "log.jsonl", "test")
    assert row["step"] == 1 and row["loss"] == pytest.approx(total / n, rel=1e-5)


def test_a_killed_warm_start_goes_on_and_ends_the_same(short, monkeypatch):
    monkeypatch.setattr(sft, "CHECKPOINT_EVERY", 2)
    sft.run(short, STUDENT)
    whole = files()
    assert len(read_json_lines(LAYOUT.sft_record(STUDENT) / "log.jsonl", "test")) == 5
    shutil.rmtree(LAYOUT.sft_record(STUDENT))
    shutil.rmtree(LAYOUT.model(STUDENT))
    original, calls = sft.update, iter(range(10))

    def killed_at_four(*args):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return original(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sft, "update", killed_at_four)
        sft.run(short, STUDENT)
    assert not (LAYOUT.sft_record(STUDENT) / "run.json").exists()
    sft.run(short, STUDENT)
    assert (record()["resumed_at"], record()["steps"]) == (2, 5)
    assert files() == whole
    assert not LAYOUT.progress(f"sft/{STUDENT}").exists()


def test_a_finished_warm_start_does_not_run_again_and_a_damaged_one_does(short, monkeypatch):
    sft.run(short, STUDENT)
    whole, before = files(), record()
    with monkeypatch.context() as patch:
        patch.setattr(sft, "new_model", None)
        sft.run(short, STUDENT)
    assert record() == before
    weights = LAYOUT.model(STUDENT) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    sft.run(short, STUDENT)
    assert files() == whole


def test_other_settings_train_again(short):
    sft.run(short, STUDENT)
    path = settings.params_file("mini")
    path.write_text(path.read_text().replace("steps: 150", "steps: 12"))
    sft.run(settings.load("mini"), STUDENT)
    assert (record()["steps"], record()["resumed_at"]) == (12, 0)
