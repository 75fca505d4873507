"""Log-odds of target tokens against a computation of their own, structural positions, and q against q_c."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline import probe
from pipeline.groups import read_groups
from pipeline.layout import Layout
from pipeline.models import load_model
from pipeline.probe import Probe, structural_positions, target_batch, target_logits
from pipeline.tasks import load_task
from pipeline.tokens import Batch

LAYOUT = Layout("mini")


def batch_of(completions, mask=None):
    completion_BT = torch.tensor(completions)
    mask_BT = torch.ones_like(completion_BT).bool() if mask is None else torch.tensor(mask).bool()
    prompt_BP = torch.zeros(len(completions), 1, dtype=torch.long)
    return Batch(prompt_BP, torch.ones_like(prompt_BP).bool(), completion_BT, mask_BT)


def log_odds_of_rows(model, batch):
    """Per row, without padding: log(π/(1−π)) of each token from a float64 log-softmax."""
    for prompt, ids, mask in zip(batch.prompt_BP, batch.completion_BT, batch.completion_mask_BT, strict=True):
        completion = ids[mask]
        with torch.no_grad():
            logits = model(torch.cat([prompt, completion])[None]).logits[0, len(prompt) - 1 : -1].double()
        logp = logits.log_softmax(-1)[torch.arange(len(completion)), completion]
        yield (logp - torch.log1p(-logp.exp())).numpy()


@pytest.mark.parametrize("rows", [256, 3])
def test_log_odds_are_those_of_the_softmax_and_nan_past_the_end(mini, rows):
    student, codec = load_model(LAYOUT.model("student-0"))
    task, groups = load_task(mini.task.module), read_groups(LAYOUT.groups("heldout"))[:8]
    texts = [task.complete(g, "truncate" if i % 3 else "none", None) for i, g in enumerate(groups)]
    batch = codec.batch([task.prompt(g) for g in groups], texts)
    found = target_logits(student, batch, codec.vocabulary, rows)
    assert found.dtype == np.float64 and not batch.completion_mask_BT.all()
    assert np.array_equal(np.isnan(found), ~batch.completion_mask_BT.numpy())
    for row, expected in zip(found, log_odds_of_rows(student, batch), strict=True):
        np.testing.assert_allclose(row[: len(expected)], expected, rtol=1e-4, atol=1e-4)


def test_log_odds_next_to_one_are_exact_and_padding_of_the_vocabulary_has_no_mass(monkeypatch):
    logits = torch.tensor([[[90.0, 1.0, 1.0, 99.0], [0.0, 90.0, 0.0, 99.0]]])
    monkeypatch.setattr(probe, "completion_logits", lambda model, batch: logits)
    found = target_logits(SimpleNamespace(device="cpu"), batch_of([[0, 2]]), vocabulary=3)
    assert found[0] == pytest.approx([89.0 - math.log(2), -90.0], rel=1e-14)


def test_structural_positions_have_one_token_in_all_rows():
    assert structural_positions(batch_of([[5, 1, 6, 2], [5, 1, 7, 2], [5, 2, 8, 2]])) == [0, 3]


def test_a_position_past_the_end_of_one_row_is_not_structural():
    same = [[5, 6, 7]] * 3
    assert structural_positions(batch_of(same)) == [0, 1, 2]
    assert structural_positions(batch_of(same, [[1, 1, 1], [1, 1, 0], [1, 1, 1]])) == [0, 1]


def test_targets_are_the_correct_completions_of_the_first_held_out_prompts(mini):
    _, codec = load_model(LAYOUT.model("teacher"))
    batch = target_batch(mini, codec)
    task, groups = load_task(mini.task.module), read_groups(LAYOUT.groups("heldout"))
    assert len(groups) > mini.calibrate.prompts
    expected = groups[: mini.calibrate.prompts]
    assert codec.texts(batch) == [(task.complete(g, "none", None), True) for g in expected]
    assert torch.equal(batch.prompt_BP, codec.prompts([task.prompt(g) for g in expected])[0])


def test_q_is_above_its_threshold_only_where_it_is_greater(monkeypatch):
    q_NT = np.array([[-9.0, 5.0, 9.0], [-9.0, 2.0, 9.0], [-9.0, 1.0, 9.0], [-9.0, 1.0, 9.0]])
    monkeypatch.setattr(probe, "target_logits", lambda *_: q_NT)
    one = Probe(batch_of([[0]] * 4), vocabulary=3, position=1, threshold_N=np.array([1.0, 2.0, 3.0, 4.0]))
    assert one.measure(None) == {"q_logit": 2.25, "q_above": 0.25}


def test_each_prompt_has_the_threshold_of_its_own_p(mini, monkeypatch):
    """q_c = 1 − (1−p)/c, in log-odds; the p of neighbouring positions and prompts differ."""
    teacher, codec = load_model(LAYOUT.model("teacher"))
    p_NT = np.linspace(-3.0, 5.0, 32 * 8).reshape(32, 8)
    monkeypatch.setattr(probe, "target_logits", lambda model, batch, _: p_NT[:, : batch.completion_BT.shape[1]])
    for clip in (5.0, 1.5):
        tail = (1 - 1 / (1 + np.exp(-p_NT[:, 4]))) / clip
        found = Probe.at(mini, codec, teacher, 4, clip).threshold_N
        np.testing.assert_allclose(found, np.log((1 - tail) / tail), rtol=1e-12)


def test_q_at_the_position_is_that_of_the_whole_completion(mini):
    teacher, codec = load_model(LAYOUT.model("teacher"))
    student, _ = load_model(LAYOUT.model("student-0"))
    whole = target_logits(student, target_batch(mini, codec), codec.vocabulary)
    for position in (0, 4):
        found = Probe.at(mini, codec, teacher, position, 5.0).measure(student)
        assert found["q_logit"] == pytest.approx(whole[:, position].mean(), abs=1e-4)


def test_the_teacher_itself_is_nowhere_above_its_thresholds(mini):
    teacher, codec = load_model(LAYOUT.model("teacher"))
    assert Probe.at(mini, codec, teacher, 4, 1.01).measure(teacher)["q_above"] == 0.0
