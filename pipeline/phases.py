"""Where over λ and learning rate cells collapse: the phase map, from the groups of an aggregate. Pure, no files."""

from typing import Any

import numpy as np

METHOD = ("clip", "steps", "signal", "estimator", "mean", "batch", "reading")


def phase_map(groups: dict[str, Any]) -> list[dict[str, Any]]:
    """Median parse and share of collapsed seeds for each reading, learning rate and λ, at one clip, budget and signal.

    A seed has collapsed where it ends below half of its own plateau under the same reading at the calibrated rate, or
    diverged. Empty where no group has a learning rate of its own.
    """
    calibrated = {
        tuple(group[key] for key in METHOD): {row["seed"]: row["parse"] for row in group["plateau"]}
        for group in groups.values()
        if group["calibrated_rate"]
    }
    compared = {tuple(g[key] for key in METHOD) for g in groups.values() if not g["calibrated_rate"]} & calibrated.keys()
    rows = []
    for name, group in groups.items():
        plateau = calibrated.get(tuple(group[key] for key in METHOD), {})
        if tuple(group[key] for key in METHOD) not in compared:
            continue
        for row in group["lambdas"]:
            diverged = sum(cell["lambda"] == row["lambda"] for cell in group["diverged"])
            known = [one for one in row["parse_by_seed"] if one["seed"] in plateau]
            low = sum(one["parse"] < plateau[one["seed"]] / 2 for one in known)
            n = len(known) + diverged
            if not n:
                continue
            rows.append(
                {
                    "cells": name,
                    "reading": group["reading"],
                    "learning_rate": group["learning_rate"],
                    "lambda": row["lambda"],
                    "parse": float(np.median([one["parse"] for one in known] + [0.0] * diverged)),
                    "collapsed": low + diverged,
                    "diverged": diverged,
                    "n_seeds": n,
                }
            )
    return rows
