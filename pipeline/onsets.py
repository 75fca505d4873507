"""Where along λ something begins: the onset of collapse, the crossing of q_c, the jump of q (design.md, Definitions).

Each takes one seed's figures along an increasing grid of λ and gives the λ, or None where there is none on the grid
(censored): up to its last point, or for an onset of collapse, which the next point must confirm, up to the one before.
None of them looks at λ*.
"""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

PLATEAU_UP_TO = 1.1
JUMP = 1.0


def plateau(lambdas: Sequence[float], parse: Sequence[float]) -> float:
    """Median parse over the grid's λ ≤ 1.1. Raises ValueError when the grid has none."""
    below = [value for lam, value in zip(lambdas, parse, strict=True) if lam <= PLATEAU_UP_TO + 1e-9]
    if not below:
        raise ValueError(f"the grid has no lambda up to {PLATEAU_UP_TO}: no plateau")
    return median(below)


def onset(lambdas: Sequence[float], parse: Sequence[float]) -> float | None:
    """First λ at which parse is below half the plateau, there and at the next grid point; interpolated linearly."""
    half = plateau(lambdas, parse) / 2
    for i in range(len(lambdas) - 1):
        if parse[i] < half and parse[i + 1] < half:
            if i == 0:
                return lambdas[0]
            share = (parse[i - 1] - half) / (parse[i - 1] - parse[i])
            return lambdas[i - 1] + share * (lambdas[i] - lambdas[i - 1])
    return None


def crossing(lambdas: Sequence[float], share_above: Sequence[float]) -> float | None:
    """First λ at which at least half of the prompts end with q > q_c."""
    return next((lam for lam, share in zip(lambdas, share_above, strict=True) if share >= 0.5), None)


def jump(lambdas: Sequence[float], q_logit: Sequence[float], fixed_point_logit: Sequence[float | None]) -> float | None:
    """First λ at which the mean log-odds of q exceed the flow's stable fixed point by more than 1."""
    for lam, q, fixed in zip(lambdas, q_logit, fixed_point_logit, strict=True):
        if fixed is not None and q - fixed > JUMP:
            return lam
    return None


def over_seeds(values: dict[int, float | None], last: float, confidence: float, resamples: int, rng: Any) -> dict[str, Any]:
    """Median over seeds with a bootstrap interval; a censored seed counts as beyond ``last``, and so may the figures."""
    numbers = np.array([math.inf if value is None else value for value in values.values()])
    tail = (1.0 - confidence) / 2
    draws = np.median(rng.choice(numbers, size=(resamples, len(numbers))), axis=1) if len(numbers) else np.array([math.inf])
    low, high = (float(np.quantile(draws, q, method="nearest")) for q in (tail, 1.0 - tail))
    middle = float(np.median(numbers)) if len(numbers) else math.inf
    return {
        "median": _finite(middle),
        "low": _finite(low),
        "high": _finite(high),
        "beyond": last,
        "n_seeds": len(numbers),
        "censored": int(np.isinf(numbers).sum()),
        "per_seed": [{"seed": seed, "value": value} for seed, value in values.items()],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
