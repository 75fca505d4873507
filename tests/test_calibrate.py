"""The binding position, the pilot and its learning-rate rule, log-odds of mean probabilities, lambda* over prompts."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logit

from pipeline import calibrate, theory
from pipeline.calibrate import _of_prompts, choose_learning_rate, pooled_log_odds, smallest_within_one_error
from pipeline.errors import InputError
from pipeline.files import read_json
from pipeline.groups import read_groups
from pipeline.layout import Layout
from pipeline.listopd import Trace
from pipeline.tasks import load_task

LAYOUT = Layout("mini")


def pilot(n=100, **parse):
    """Rows in the order given; ``r0_001=0.3`` is parse 0.3 at the rate 0.001."""
    return [{"learning_rate": float(rate[1:].replace("_", ".")), "parse": value, "n": n} for rate, value in parse.items()]


def test_smallest_candidate_within_one_error_of_the_best():
    """The best is 0.5 of n = 100, so its standard error is 0.05."""
    assert smallest_within_one_error(pilot(r0_1=0.44, r0_2=0.46, r0_3=0.5, r0_4=0.49)) == 0.2
    assert smallest_within_one_error(pilot(r0_1=0.44, r0_2=0.44, r0_3=0.5)) == 0.3


def test_more_prompts_make_the_rule_narrower():
    assert smallest_within_one_error(pilot(10_000, r0_1=0.46, r0_2=0.5)) == 0.2
    assert smallest_within_one_error(pilot(100, r0_1=0.46, r0_2=0.5)) == 0.1


def test_order_of_the_candidates_does_not_matter():
    assert smallest_within_one_error(pilot(r0_3=0.5, r0_1=0.44, r0_2=0.46)) == 0.2


@pytest.mark.parametrize("parse", [0.0, 0.4, 1.0])
def test_equal_candidates_give_the_smallest(parse):
    assert smallest_within_one_error(pilot(r0_2=parse, r0_1=parse, r0_3=parse)) == 0.1


def test_a_perfect_candidate_leaves_no_room():
    assert smallest_within_one_error(pilot(r0_1=0.99, r0_2=1.0)) == 0.2


def test_one_candidate():
    assert smallest_within_one_error(pilot(r0_1=0.0)) == 0.1


def test_a_failed_run_counts_as_zero_and_is_not_chosen():
    assert smallest_within_one_error(pilot(r0_1=0.0, r0_2=0.3, r0_3=0.31)) == 0.2


@pytest.mark.parametrize("logit", [-40.0, -3.0, 0.0, 12.5, 40.0])
def test_log_odds_of_equal_probabilities_are_exact(logit):
    found = pooled_log_odds(np.full(64, logit))
    assert isinstance(found, theory.LogOdds)
    assert found == pytest.approx(logit, rel=1e-14, abs=1e-14)


def test_log_odds_are_of_the_mean_probability():
    found = pooled_log_odds(np.log(np.array([1 / 9, 1.0, 9.0])))
    assert found == pytest.approx(0.0, abs=1e-14)
    assert pooled_log_odds(np.array([40.0, 42.0])) == pytest.approx(
        -math.log((math.exp(-40) + math.exp(-42)) / 2), rel=1e-14
    )


def test_spread_over_prompts():
    p_N, b_N = np.array([3.0, 4.0, 5.0, 6.0, 7.0]), np.zeros(5)
    found = _of_prompts(p_N, b_N, 5.0)
    values = [theory.lambda_star(theory.LogOdds(p), 0.5, 5.0) for p in p_N]
    assert (found["n"], found["defined"]) == (5, 5)
    assert found["median"] == pytest.approx(values[2], rel=1e-12)
    assert values[4] < found["q05"] < values[3] < values[1] < found["q95"] < values[0]


def test_prompts_where_p_does_not_exceed_b_are_counted_not_averaged():
    found = _of_prompts(np.array([4.0, 1.0, 2.0]), np.array([0.0, 1.0, 3.0]), 5.0)
    assert (found["n"], found["defined"]) == (3, 1)
    assert found["median"] == pytest.approx(theory.lambda_star(theory.LogOdds(4.0), 0.5, 5.0))


def test_no_prompt_has_lambda_star():
    found = _of_prompts(np.zeros(2), np.ones(2), 5.0)
    assert found == {"q05": None, "median": None, "q95": None, "n": 2, "defined": 0}


@pytest.fixture
def named(monkeypatch):
    """Models that `calibrate` loads know their name."""
    original = calibrate.load_model

    def load(folder):
        model, codec = original(folder)
        model.called = folder.name
        return model, codec

    monkeypatch.setattr(calibrate, "load_model", load)


@pytest.fixture
def calibrated(mini, named, monkeypatch):
    """The calibration for planted masses [position] by model; the structural positions are 0, 2, 4, 6 and 7."""
    monkeypatch.setattr(calibrate, "choose_learning_rate", lambda config: {"chosen": 1e-3})

    def run(**masses):
        def planted(model, batch, vocabulary):
            return np.tile(logit(masses[model.called.replace("-", "_")]), (len(batch.completion_BT), 1))

        monkeypatch.setattr(calibrate, "target_logits", planted)
        calibrate.run(mini)
        return read_json(LAYOUT.calibration, "test")

    return run


STUDENTS = {
    "student_0": [0.9, 0.001, 0.25, 0.001, 0.4, 0.001, 0.05, 0.8],
    "student_1": [0.9, 0.001, 0.95, 0.001, 0.3, 0.001, 0.05, 0.8],
}


def test_binding_is_where_the_base_has_least_mass_and_the_teacher_at_least_tau(calibrated):
    """Of all structural positions it would be 6, of the first student alone 2, of all positions 1, 3 or 5."""
    found = calibrated(teacher=[0.99, 0.99, 0.99, 0.99, 0.97, 0.99, 0.89, 0.98], **STUDENTS)
    assert [row["position"] for row in found["positions"]] == [0, 2, 4, 6, 7]
    assert found["binding"]["position"] == 4 and found["precondition"]["holds"]
    assert (found["p"]["value"], found["b"]["value"]) == (pytest.approx(0.97), pytest.approx(0.35))
    assert found["lambda_star"]["value"] == pytest.approx(theory.lambda_star(0.97, 0.35, 5.0))
    assert [row["b"]["value"] for row in found["per_seed"]] == pytest.approx([0.4, 0.3])
    for row, b in zip(found["per_seed"], (0.4, 0.3), strict=True):
        assert row["lambda_star"]["value"] == pytest.approx(theory.lambda_star(0.97, b, 5.0))


def test_a_teacher_nowhere_above_tau_leaves_every_structural_position(calibrated):
    found = calibrated(teacher=[0.7] * 8, **STUDENTS)
    assert found["binding"]["position"] == 6 and not found["precondition"]["holds"]


@pytest.fixture
def pilots(mini, named, monkeypatch):
    """`choose_learning_rate` on runs that end with so many parsed held-out samples, or with that status; and the calls."""
    task, groups = load_task(mini.task.module), read_groups(LAYOUT.groups("heldout"))
    correct = [task.complete(group, "none", None) for group in groups]

    def sample(split, decoding, parsed):
        """The first of the correct texts has no end token, so it does not count."""
        texts = correct[: parsed + 1] + [""] * (len(groups) - parsed - 1)
        return {"split": split, "decoding": decoding, "completions": texts, "unterminated": [0]}

    def run(**results):
        calls, ends = [], iter(results.values())

        def distil(config, recipe, student, codec, base_name, binding, progress):
            calls.append((recipe, student, base_name, binding, progress))
            end = next(ends)
            status, parsed = (end, 50) if isinstance(end, str) else ("finished", end)
            decoys = [sample("validation", "sampled", 40 - 9 * len(calls)), sample("heldout", "greedy", 60 - 9 * len(calls))]
            return Trace(status, samples=[*decoys, sample("heldout", "sampled", parsed)])

        monkeypatch.setattr(calibrate, "distil", distil)
        rates = tuple(float(rate[1:].replace("_", ".")) for rate in results)
        return choose_learning_rate(replace(mini, calibrate=replace(mini.calibrate, learning_rates=rates))), calls

    return run


def test_the_rule_chooses_on_the_pilot_runs(pilots):
    """Best 32 of 64, so the standard error is 4 of 64: 28 is within it and 27 is not."""
    found, _ = pilots(r0_001=27, r0_002=28, r0_003=32, r0_004=31)
    assert found["chosen"] == 0.002
    assert [row["parse"] for row in found["pilot"]] == [count / 64 for count in (27, 28, 32, 31)]
    assert all(row["low"] < row["parse"] < row["high"] and row["n"] == 64 for row in found["pilot"])


def test_the_pilot_trains_its_own_student_at_lambda_one(mini, pilots):
    """Afresh for each candidate, with the method of the main cells and without measuring q."""
    _, calls = pilots(r0_001=10, r0_002=10)
    assert [recipe.learning_rate for recipe, *_ in calls] == [0.001, 0.002]
    for recipe, student, base_name, binding, progress in calls:
        assert (recipe.lam, recipe.method) == (1.0, mini.cells["main"].method)
        assert student.called == base_name == "student-pilot"
        assert binding is None and progress is None
    assert calls[0][1] is not calls[1][1] and calls[0][0].streams != calls[1][0].streams


def test_a_pilot_run_that_is_not_finite_counts_as_zero(pilots):
    found, _ = pilots(r0_001=6, r0_002="not finite: loss at step 2")
    assert found["chosen"] == 0.001
    assert [(row["parse"], row["status"]) for row in found["pilot"]] == [
        (6 / 64, "finished"),
        (0.0, "not finite: loss at step 2"),
    ]


def test_no_finite_pilot_run_is_an_error(pilots):
    with pytest.raises(InputError, match=r"calibrate.learning_rates: found \[0.001, 0.002\]; no pilot run was finite"):
        pilots(r0_001="not finite: loss at step 1", r0_002="not finite: gradient at step 3")
