"""Where collapse, crossing and jump begin along the grid."""

import math

import numpy as np
import pytest

from pipeline.onsets import crossing, jump, onset, over_seeds, plateau

GRID = [1.0, 1.1, 1.2, 1.3, 1.5, 2.0]


def summary(values, last=2.0):
    return over_seeds(dict(enumerate(values)), last, 0.95, 400, np.random.default_rng(0))


def test_plateau_is_the_median_up_to_the_mark():
    assert plateau(GRID, [0.9, 0.7, 0.1, 0.1, 0.1, 0.1]) == pytest.approx(0.8)
    assert plateau([1.0, 1.05, 1.1], [0.9, 0.1, 0.8]) == 0.8
    assert plateau([1.1, 1.2], [0.6, 0.0]) == 0.6


def test_plateau_ends_at_the_mark():
    assert plateau([1.0, 1.1, 1.11, 1.15, 1.2], [0.9, 0.7, 0.1, 0.1, 0.1]) == pytest.approx(0.8)
    with pytest.raises(ValueError, match="no plateau"):
        plateau([1.11, 1.15], [0.9, 0.8])


def test_plateau_tolerates_rounding_of_the_mark():
    assert plateau([1.0 + 0.1, 1.2], [0.6, 0.0]) == plateau([1.1 + 1e-12, 1.2], [0.6, 0.0]) == 0.6


def test_grid_without_a_plateau():
    with pytest.raises(ValueError, match=r"no lambda up to 1\.1"):
        plateau([1.2, 1.3], [0.9, 0.8])


def test_onset_is_interpolated_to_half_the_plateau():
    assert onset(GRID, [0.8, 0.8, 0.6, 0.2, 0.1, 0.0]) == pytest.approx(1.25)
    assert onset(GRID, [0.8, 0.8, 0.8, 0.8, 0.0, 0.0]) == pytest.approx(1.4)


def test_onset_needs_the_next_point_too():
    assert onset(GRID, [0.8, 0.8, 0.1, 0.8, 0.8, 0.8]) is None
    assert onset(GRID, [0.8, 0.8, 0.1, 0.8, 0.0, 0.0]) == pytest.approx(1.4)


def test_last_point_alone_is_no_onset():
    assert onset(GRID, [0.8, 0.8, 0.8, 0.8, 0.8, 0.0]) is None
    assert onset(GRID, [0.8, 0.8, 0.8, 0.8, 0.0, 0.0]) is not None


def test_exactly_half_is_not_below():
    assert onset(GRID, [0.8, 0.8, 0.4, 0.4, 0.4, 0.4]) is None
    assert onset(GRID, [0.8, 0.8, 0.4, 0.3, 0.3, 0.3]) == pytest.approx(1.2)


def test_onset_at_the_first_point():
    assert onset([1.0, 1.02, 1.05, 1.1, 1.2], [0.1, 0.1, 0.8, 0.8, 0.8]) == 1.0


def test_censored():
    assert onset(GRID, [0.8] * 6) is None
    assert onset(GRID, [0.8, 0.8, 0.9, 0.95, 1.0, 1.0]) is None


def test_onset_does_not_use_lambda_star():
    """The same figures on a stretched grid give the stretched onset."""
    figures = [0.8, 0.8, 0.6, 0.2, 0.1, 0.0]
    stretched = [1.0, 1.1, 1.4, 1.6, 2.0, 3.0]
    assert onset(stretched, figures) == pytest.approx(1.5)


def test_crossing():
    assert crossing(GRID, [0.0, 0.1, 0.49, 0.5, 0.2, 1.0]) == 1.3
    assert crossing(GRID, [0.9] * 6) == 1.0
    assert crossing(GRID, [0.4] * 6) is None


def test_jump():
    fixed = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert jump(GRID, [1.0, 3.0, 4.0, 5.5, 9.0, 9.0], fixed) == 1.3
    assert jump(GRID, fixed, fixed) is None
    assert jump(GRID, [9.0] * 6, [None, None, 8.5, 7.9, None, 0.0]) == 1.3
    assert jump(GRID, [9.0] * 6, [None] * 6) is None


@pytest.mark.parametrize("figure", [onset, crossing])
def test_lengths_must_agree(figure):
    with pytest.raises(ValueError, match="zip"):
        figure([1.0, 1.1, 1.2], [0.4, 0.4])


def test_over_seeds():
    found = summary([1.2, 1.3, 1.25])
    assert found["median"] == 1.25
    assert 1.2 <= found["low"] <= 1.25 <= found["high"] <= 1.3
    assert (found["n_seeds"], found["censored"], found["beyond"]) == (3, 0, 2.0)
    assert found["per_seed"][1] == {"seed": 1, "value": 1.3}


def test_censored_seeds_count_as_beyond_the_grid():
    found = summary([1.2, 1.2, 1.3, 1.25, None])
    assert (found["median"], found["censored"]) == (1.25, 1)
    assert found["low"] == 1.2
    assert found["high"] is None
    assert found["per_seed"][4] == {"seed": 4, "value": None}


def test_mostly_censored():
    found = summary([1.2, None, None])
    assert found["median"] is None
    assert found["low"] == 1.2
    assert found["high"] is None


@pytest.mark.filterwarnings("error")
def test_all_censored_and_no_seed():
    assert summary([None, None]) | {"per_seed": []} == {
        "median": None, "low": None, "high": None, "beyond": 2.0, "n_seeds": 2, "censored": 2, "per_seed": [],
    }  # fmt: skip
    assert summary([])["n_seeds"] == 0
    assert summary([])["median"] is None


@pytest.mark.filterwarnings("error")
def test_interval_of_finite_draws_is_finite_beside_censored_ones():
    """One censored seed of nine: over half of the resamples have a finite median, so the lower end is finite."""
    found = summary([1.1 + 0.01 * i for i in range(8)] + [None])
    assert math.isfinite(found["low"])
    assert found["high"] is not None


def test_even_number_of_seeds_with_half_censored_has_no_median():
    assert summary([1.2, None])["median"] is None
