"""One cell: a recorded trajectory, resuming, stopping at what is not finite."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import listopd
from pipeline.config import Cell, Method
from pipeline.evaluate import evaluation
from pipeline.files import read_json_lines, write_json
from pipeline.groups import read_groups
from pipeline.layout import Layout
from pipeline.listopd import Recipe, distil
from pipeline.models import load_model
from pipeline.progress import Progress
from pipeline.tasks import load_task

GOLDEN = Path(__file__).parent / "golden"
LAYOUT = Layout("mini")
CELL = Cell("main", 1.5, 0)


def calibration():
    return {"learning_rate": {"chosen": 1e-3}, "binding": {"position": 4}}


def train(config, steps, progress=None, lam=1.5, **method):
    student, codec = load_model(LAYOUT.model("student-0"))
    recipe = Recipe(lam, Method(**{"reading": "truncate", "clip": 5.0, "steps": steps} | method), 1e-3, ("test",))
    return distil(config, recipe, student, codec, "student-0", 4, progress), student


def test_trajectory_is_the_recorded_one(mini, request):
    """Loss, gradient norm and parse of five steps from recorded weights.

    Weights are recorded because training them here would add another machine's rounding to the comparison; from equal
    weights five steps agree to 1e-3 across processors, and a flipped sample would show as a parse of one more or less.
    """
    models = {name: LAYOUT.model(name) / "model.safetensors" for name in ("teacher", "student-0")}
    if request.config.getoption("--regolden"):
        GOLDEN.mkdir(exist_ok=True)
        for name, path in models.items():
            shutil.copy(path, GOLDEN / f"{name}.safetensors")
    for name, path in models.items():
        shutil.copy(GOLDEN / f"{name}.safetensors", path)
    torch.set_num_threads(1)
    trace, _ = train(mini, steps=5)
    task, groups = load_task(mini.task.module), read_groups(LAYOUT.groups("heldout"))
    final = next(row for row in trace.samples if row["split"] == "heldout")
    rows = [{key: row[key] for key in ("step", "loss", "gradient_norm", "q_logit") if key in row} for row in trace.log]
    result = {"log": rows, "parsed": evaluation(task, groups, final, 0.95)["parsed"]}
    if request.config.getoption("--regolden"):
        write_json(GOLDEN / "trajectory.json", result)
    golden = json.loads((GOLDEN / "trajectory.json").read_text())
    assert abs(result["parsed"] - golden["parsed"]) <= 1
    for row, expected in zip(result["log"], golden["log"], strict=True):
        assert row == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_a_killed_cell_goes_on_and_ends_the_same(mini, monkeypatch):
    write_json(LAYOUT.calibration, calibration())
    listopd.run(mini, CELL)
    whole = {path.name: path.read_bytes() for path in LAYOUT.cell_record(CELL).iterdir() if path.name != "run.json"}
    weights = (LAYOUT.cell_model(CELL) / "model.safetensors").read_bytes()
    shutil.rmtree(LAYOUT.cell_record(CELL))

    original = listopd.sample_rows

    def killed_at_four(config, model, codec, step, *rest):
        if step == 4:
            raise KeyboardInterrupt
        return original(config, model, codec, step, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(listopd, "sample_rows", killed_at_four)
        listopd.run(mini, CELL)
    assert not (LAYOUT.cell_record(CELL) / "run.json").exists()
    listopd.run(mini, CELL)
    record = json.loads((LAYOUT.cell_record(CELL) / "run.json").read_text())
    assert record["resumed_at"] == 2 and record["status"] == "finished"
    assert whole == {path.name: path.read_bytes() for path in LAYOUT.cell_record(CELL).iterdir() if path.name != "run.json"}
    assert weights == (LAYOUT.cell_model(CELL) / "model.safetensors").read_bytes()
    assert not LAYOUT.progress(f"cells/{CELL.name}").exists()


def test_a_finished_cell_does_not_run_again_and_a_damaged_one_does(mini, monkeypatch):
    write_json(LAYOUT.calibration, calibration())
    listopd.run(mini, CELL)
    record = LAYOUT.cell_record(CELL) / "run.json"
    before = record.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(listopd, "distil", None)
        listopd.run(mini, CELL)
    assert record.read_bytes() == before
    weights = LAYOUT.cell_model(CELL) / "model.safetensors"
    sound = weights.read_bytes()
    weights.write_bytes(sound[:-1])
    listopd.run(mini, CELL)
    assert weights.read_bytes() == sound


def test_a_loss_that_is_not_finite_ends_the_cell_and_is_recorded(mini, monkeypatch):
    write_json(LAYOUT.calibration, calibration())
    original = listopd.objective
    calls = iter(range(100))

    def not_a_number_from_the_third_on(*args, **kwargs):
        result = original(*args, **kwargs)
        return result if next(calls) < 2 else dataclasses.replace(result, loss=result.loss * math.nan)

    monkeypatch.setattr(listopd, "objective", not_a_number_from_the_third_on)
    listopd.run(mini, CELL)
    record = json.loads((LAYOUT.cell_record(CELL) / "run.json").read_text())
    assert record["status"] == "not finite: loss at step 3"
    assert [row["step"] for row in read_json_lines(LAYOUT.cell_record(CELL) / "log.jsonl", "test")] == [1, 2]


@pytest.mark.parametrize(
    "method", [{"estimator": "exact"}, {"signal": "forward_kl"}, {"mean": "sequence"}, {"batch": 16}], ids=str
)
def test_each_method_trains_in_its_own_way(mini, method):
    plain, other = train(mini, steps=2)[0], train(mini, steps=2, **method)[0]
    assert other.status == "finished" and other.log[0]["loss"] != plain.log[0]["loss"]


def test_the_estimators_agree_in_expectation(mini, monkeypatch):
    """The loss of a student that stands still, over 40 batches: equal up to its standard error, and less noisy."""
    monkeypatch.setattr(listopd, "update", lambda *_: 0.0)
    figures = {}
    for estimator in ("sampled", "exact"):
        rows = train(mini, steps=40, estimator=estimator)[0].log
        figures[estimator] = {key: np.array([row[key] for row in rows]) for key in ("loss", "clipped")}
    for key, drawn in figures["sampled"].items():
        error = drawn.std(ddof=1) / math.sqrt(len(drawn))
        assert abs(drawn.mean() - figures["exact"][key].mean()) < 4 * error
        assert figures["exact"][key].std() < drawn.std() / 2


def test_the_sampler_is_the_trainer_up_to_rounding(mini):
    """So that under `rollout` nothing is clipped and no weight differs from 1 by more than float32 noise."""
    (row, _) = train(mini, steps=2, reading="rollout")[0].log
    assert row["clipped"] == 0 and row["effective"] == pytest.approx(1, abs=1e-6)


def test_the_log_says_the_advantage_by_token_class(mini):
    row = train(mini, steps=1)[0].log[0]
    assert set(row["advantage"]) == {"all", "structure", "value", "end"}
    assert min(row["advantage"].values()) < row["advantage"]["all"] < max(row["advantage"].values())


def test_lambda_one_ignores_the_base(mini):
    """Training at λ = 1 from the same student gives the same weights whatever the base is."""
    _, student = train(mini, steps=2, lam=1.0)
    student_0, codec = load_model(LAYOUT.model("student-0"))
    recipe = Recipe(1.0, Method(reading="truncate", clip=5.0, steps=2), 1e-3, ("test",))
    distil(mini, recipe, student_0, codec, "student-1", 4, None)
    for a, b in zip(student.parameters(), student_0.parameters(), strict=True):
        assert torch.equal(a, b)


def test_progress_of_other_settings_is_not_used(mini, capsys):
    folder = LAYOUT.progress("cells/test")
    train(mini, steps=2, progress=Progress(folder, "one"))
    assert train(mini, steps=2, progress=Progress(folder, "one"))[0].resumed_at == 2
    assert train(mini, steps=2, progress=Progress(folder, "two"))[0].resumed_at == 0
    assert "from other settings" in capsys.readouterr().err
