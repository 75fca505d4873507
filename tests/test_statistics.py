"""Intervals and tests against known values."""

import math

import numpy as np
import pytest

from pipeline.statistics import estimate, flatness, percentiles, pooled_mean, resample, wilson


def rng(seed=0):
    return np.random.default_rng(seed)


def wilson_by_hand(x, n, z):
    centre = (x + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(x * (n - x) / n + z * z / 4)
    return centre - half, centre + half


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (1, 29, 0.0061, 0.1718), (0, 20, 0.0, 0.1611)],
)
def test_wilson_as_printed_by_newcombe_1998(successes, n, low, high):
    """Table I of Newcombe, Statistics in Medicine 17 (1998), method 3."""
    assert wilson(successes, n, 0.95) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("confidence", "z"), [(0.95, 1.959963985), (0.99, 2.575829304)])
@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (1, 1), (335, 1000)])
def test_wilson_is_its_formula(successes, n, confidence, z):
    assert wilson(successes, n, confidence) == pytest.approx(wilson_by_hand(successes, n, z), abs=1e-9)


def test_wilson_stays_within_zero_and_one():
    assert wilson(0, 5, 0.95)[0] == 0.0
    assert wilson(5, 5, 0.95)[1] == 1.0


def test_bootstrap_covers_a_known_mean():
    covered = 0
    for trial in range(60):
        draw = rng(trial)
        seeds = [draw.normal(2.0 + draw.normal(0, 0.5), 1.0, size=40) for _ in range(8)]
        found = estimate(seeds, 0.9, 150, draw)
        covered += found["low"] <= 2.0 <= found["high"]
    assert 44 <= covered <= 59


def test_seeds_are_the_unit():
    """Many prompts do not make few seeds precise."""
    seeds = [np.full(5000, value) for value in (0.0, 1.0, 2.0, 3.0)]
    found = estimate(seeds, 0.95, 500, rng())
    assert found["value"] == 1.5
    assert found["high"] - found["low"] > 1.5
    assert (found["n_seeds"], found["n"]) == (4, 20000)


def test_prompts_are_resampled_within_seeds():
    seeds = [np.array([0.0, 1.0] * 50), np.array([0.0, 1.0] * 50)]
    found = estimate(seeds, 0.95, 500, rng())
    assert 0.05 < found["high"] - found["low"] < 0.3


def test_one_seed():
    found = estimate([np.array([0.0, 1.0, 1.0, 1.0] * 25)], 0.95, 500, rng())
    assert (found["value"], found["n_seeds"], found["n"]) == (0.75, 1, 100)
    assert 0.6 < found["low"] < 0.75 < found["high"] < 0.9


def test_nan_marks_a_prompt_without_a_value():
    parts = [np.array([1.0, math.nan, 0.0]), np.array([math.nan, 1.0])]
    assert pooled_mean(parts) == pytest.approx(2 / 3)
    found = estimate(parts, 0.95, 200, rng())
    assert found["value"] == pytest.approx(2 / 3)
    assert found["n"] == 3
    assert 0.0 <= found["low"] <= found["high"] <= 1.0


@pytest.mark.filterwarnings("error")
def test_no_value_at_all():
    empty = [np.full(3, math.nan), np.full(3, math.nan)]
    assert math.isnan(pooled_mean(empty))
    assert estimate(empty, 0.95, 100, rng()) == {"value": None, "low": None, "high": None, "n_seeds": 2, "n": 0}


@pytest.mark.filterwarnings("error")
def test_one_value_among_many_prompts():
    lonely = np.full(30, math.nan)
    lonely[4] = 0.5
    found = estimate([lonely], 0.95, 100, rng())
    assert (found["value"], found["low"], found["high"], found["n"]) == (0.5, 0.5, 0.5, 1)


def test_same_stream_same_interval():
    values = [rng(1).random(20), rng(2).random(20)]
    assert estimate(values, 0.95, 100, rng(3)) == estimate(values, 0.95, 100, rng(3))
    assert estimate(values, 0.95, 100, rng(3)) != estimate(values, 0.95, 100, rng(4))


def test_resample_gives_rows_as_they_are():
    pairs = np.stack([np.arange(5.0), np.arange(5.0) * 10], axis=1)
    drawn = resample([pairs], lambda parts: float((parts[0][:, 1] - 10 * parts[0][:, 0]).sum()), 20, rng())
    assert drawn.tolist() == [0.0] * 20


def test_percentiles_leave_undefined_draws_out():
    draws = np.array([*np.arange(101.0), math.nan, math.nan])
    assert percentiles(draws, 0.9) == pytest.approx((5.0, 95.0))


def test_a_trend_is_not_flat():
    table = 0.1 * np.arange(5) + rng().normal(0, 0.02, size=(5, 5))
    found = flatness(table, 999, rng())
    assert found["p_value"] == 0.001
    assert found["range"] == pytest.approx(0.4, abs=0.05)
    assert (found["n_seeds"], found["n_lambdas"], found["permutations"]) == (5, 5, 999)


def test_no_trend_is_flat():
    """p is uniform where nothing depends on lambda, also when seeds differ much."""
    values = []
    for trial in range(60):
        draw = rng(trial)
        values.append(flatness(draw.normal(size=(5, 1)) * 10 + draw.normal(size=(5, 4)), 99, draw)["p_value"])
    assert 0.35 < np.mean(values) < 0.65
    assert np.mean(np.array(values) <= 0.05) < 0.17


def test_all_equal_is_as_flat_as_can_be():
    assert flatness(np.full((3, 4), 0.7), 99, rng())["p_value"] == 1.0
