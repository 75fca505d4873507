"""Intervals and tests (design.md, Definitions): Wilson for one cell, hierarchical bootstrap across seeds, permutation."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Array = NDArray[np.float64]


def wilson(successes: int, n: int, confidence: float) -> tuple[float, float]:
    """Wilson score interval of a rate from one cell."""
    low, high = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(low), float(high)


def resample(values: Sequence[Array], statistic: Callable[[list[Array]], float], resamples: int, rng: Any) -> Array:
    """Bootstrap distribution [resamples] of ``statistic``: seeds are drawn first, then prompts within each drawn seed.

    ``values`` holds one array per seed, prompts along the first axis. With one seed only prompts vary.
    """
    out = np.empty(resamples)
    for i in range(resamples):
        seeds = rng.integers(len(values), size=len(values))
        out[i] = statistic([values[s][rng.integers(len(values[s]), size=len(values[s]))] for s in seeds])
    return out


def percentiles(draws: Array, confidence: float) -> tuple[float, float]:
    """Equal-tailed percentile interval of a bootstrap distribution; undefined draws (NaN) are left out."""
    tail = 50.0 * (1.0 - confidence)
    low, high = np.nanpercentile(draws, [tail, 100.0 - tail])
    return float(low), float(high)


def pooled_mean(parts: list[Array]) -> float:
    """Mean over all prompts of all seeds; NaN marks a prompt without a value (an output that did not parse)."""
    everything = np.concatenate(parts)
    return float(np.nanmean(everything)) if np.isfinite(everything).any() else float("nan")


def estimate(values: Sequence[Array], confidence: float, resamples: int, rng: Any) -> dict[str, Any]:
    """Mean with its interval over seeds and prompts: value, low, high, n_seeds, n (prompts with a value)."""
    n = int(sum(np.isfinite(part).sum() for part in values))
    if n == 0:
        return {"value": None, "low": None, "high": None, "n_seeds": len(values), "n": 0}
    low, high = percentiles(resample(values, pooled_mean, resamples, rng), confidence)
    return {"value": pooled_mean(list(values)), "low": low, "high": high, "n_seeds": len(values), "n": n}


def flatness(table: Array, permutations: int, rng: Any) -> dict[str, Any]:
    """Is a figure flat over λ? ``table`` is [seeds, λ]; λ labels are permuted within each seed.

    The statistic is the range of the λ means. Small p says that it is not flat.
    """

    def spread(values: Array) -> float:
        return float(np.ptp(values.mean(axis=0)))

    observed = spread(table)
    shuffled = np.array([spread(rng.permuted(table, axis=1)) for _ in range(permutations)])
    p_value = (1 + int((shuffled >= observed - 1e-12).sum())) / (1 + permutations)
    return {
        "range": observed,
        "p_value": p_value,
        "permutations": permutations,
        "n_seeds": len(table),
        "n_lambdas": table.shape[1],
    }
