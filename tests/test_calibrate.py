"""The learning-rate rule, log-odds of mean probabilities, and the spread of lambda* over prompts."""

import math

import numpy as np
import pytest

from pipeline import theory
from pipeline.calibrate import _of_prompts, pooled_log_odds, smallest_within_one_error


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
