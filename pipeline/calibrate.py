"""Stage `calibrate`: the prediction, written before any sweep cell may start.

Measures p (teacher) and b (base, one for each seed) at every structural position of the correct completion, per prompt
and pooled; predicts λ*(p, b, c) with an interval; and chooses the OPD learning rate. Every cell depends on the file, so a
changed prediction invalidates the sweep.

Binding position: of the structural positions (same target token in every prompt) at which the teacher's mean p is at
least τ, the one where the base puts the least mean mass on the target token.

Learning rate rule, fixed before the sweep, since the paper's is unknown: train the pilot student, whose seed no cell
uses, at λ = 1 with each candidate for the budget of the main cells; take the smallest candidate whose held-out parse is
within one standard error of the best one's (the one-standard-error rule of cross-validation).
"""

import math
from typing import Any

import numpy as np
import torch
from scipy.special import expit

from pipeline import theory
from pipeline.config import PILOT, TEACHER, Config
from pipeline.errors import InputError
from pipeline.files import sha256_of, write_json
from pipeline.groups import read_groups
from pipeline.layout import Layout
from pipeline.listopd import FINISHED, Recipe, Trace, distil
from pipeline.models import load_model, require_same_tokens
from pipeline.probe import structural_positions, target_batch, target_logits, token_names
from pipeline.statistics import Array, percentiles, pooled_mean, resample, wilson
from pipeline.streams import generator
from pipeline.tasks import load_task

RULE = (
    "smallest candidate whose held-out parse at lambda = 1, on a seed that the sweep does not use, is within one "
    "standard error of the best candidate's"
)
BINDING_RULE = "structural position with teacher p at or above tau where the base's mean mass on the target token is least"


def run(config: Config) -> None:
    """Write ``reports/<profile>/calibration.json``. Nothing in it depends on time, machine load or number of jobs."""
    torch.set_num_threads(config.compute.threads)
    layout = Layout(config.profile)
    cells = config.cells["main"]
    teacher, codec = load_model(layout.model(TEACHER))
    batch = target_batch(config, codec)
    positions = structural_positions(batch)
    p_logit_NT = target_logits(teacher, batch, codec.vocabulary)
    b_logits = []
    for seed in config.seeds:
        student, student_codec = load_model(layout.model(f"student-{seed}"))
        require_same_tokens(codec, student_codec, (TEACHER, f"student-{seed}"))
        b_logits.append(target_logits(student, batch, codec.vocabulary))
    b_logit_SNT = np.stack(b_logits)
    p_T, b_T = expit(p_logit_NT).mean(axis=0), expit(b_logit_SNT).mean(axis=(0, 1))
    eligible = [t for t in positions if p_T[t] >= config.calibrate.modal_threshold]
    binding = min(eligible or positions, key=lambda t: b_T[t])
    names = token_names(codec, batch.completion_BT[0].tolist())
    p_N, b_SN = p_logit_NT[:, binding], b_logit_SNT[:, :, binding]
    p_pooled = pooled_log_odds(p_N)
    rng = generator(config.seed, "calibrate")
    write_json(
        layout.calibration,
        {
            "profile": config.profile,
            "prompts": len(p_N),
            "clip": cells.method.clip,
            "confidence": config.statistics.confidence,
            "binding": {"position": binding, "token": names[binding], "rule": BINDING_RULE},
            "precondition": {"modal_threshold": config.calibrate.modal_threshold, "holds": bool(eligible)},
            "p": _mass_interval(config, rng, [p_N]),
            "b": _mass_interval(config, rng, list(b_SN)),
            "lambda_star": _lambda_star_interval(config, rng, p_N, list(b_SN), cells.method.clip),
            "lambda_star_base_neutral": _lambda_star(p_pooled, 0.5, cells.method.clip),
            "clip_threshold_logit": theory.clip_threshold_logit(p_pooled, cells.method.clip),
            "per_seed": [
                {
                    "seed": seed,
                    "b": _mass_interval(config, rng, [b_N]),
                    "lambda_star": _lambda_star_interval(config, rng, p_N, [b_N], cells.method.clip),
                    "lambda_star_of_prompts": _of_prompts(p_N, b_N, cells.method.clip),
                }
                for seed, b_N in zip(config.seeds, b_SN, strict=True)
            ],
            "positions": [
                {
                    "position": t,
                    "token": names[t],
                    "p": float(p_T[t]),
                    "b": float(b_T[t]),
                    "p_logit_mean": float(p_logit_NT[:, t].mean()),
                    "b_logit_mean": float(b_logit_SNT[:, :, t].mean()),
                    "lambda_star": _lambda_star(
                        pooled_log_odds(p_logit_NT[:, t]), pooled_log_odds(b_logit_SNT[:, :, t]), cells.method.clip
                    ),
                }
                for t in positions
            ],
            "learning_rate": choose_learning_rate(config),
            "models_sha256": {name: sha256_of(layout.model(name)) for name in config.models_to_train()},
        },
    )


def choose_learning_rate(config: Config) -> dict[str, Any]:
    """Run the pilot at λ = 1 and apply `RULE`. A run that is not finite counts as parse 0."""
    cells = config.cells["main"]
    base = f"student-{PILOT}"
    pilot = []
    for rate in config.calibrate.learning_rates:
        student, codec = load_model(Layout(config.profile).model(base))
        recipe = Recipe(1.0, cells.method, rate, ("pilot", rate))
        trace = distil(config, recipe, student, codec, base, binding=None, progress=None)
        parsed, n = _heldout_parse(config, trace)
        low, high = wilson(parsed, n, config.statistics.confidence)
        pilot.append({"learning_rate": rate, "parse": parsed / n, "low": low, "high": high, "n": n, "status": trace.status})
    if all(row["status"] != FINISHED for row in pilot):
        raise InputError(f"calibrate.learning_rates: found {list(config.calibrate.learning_rates)}; no pilot run was finite")
    return {"rule": RULE, "chosen": smallest_within_one_error(pilot), "pilot": pilot}


def smallest_within_one_error(pilot: list[dict[str, Any]]) -> float:
    """The rule itself, on rows with learning_rate, parse and n."""
    best = max(pilot, key=lambda row: row["parse"])
    error = math.sqrt(best["parse"] * (1.0 - best["parse"]) / best["n"])
    return min(row["learning_rate"] for row in pilot if row["parse"] >= best["parse"] - error)


def _heldout_parse(config: Config, trace: Trace) -> tuple[int, int]:
    task = load_task(config.task.module)
    groups = read_groups(Layout(config.profile).groups("heldout"))
    if trace.status != FINISHED:
        return 0, len(groups)
    (row,) = (r for r in trace.samples if r["split"] == "heldout" and r["decoding"] == "sampled")
    unterminated = set(row["unterminated"])
    outcomes = (task.parse(text, i not in unterminated, groups[i]) for i, text in enumerate(row["completions"]))
    return sum(outcome.parsed for outcome in outcomes), len(groups)


def pooled_log_odds(logits: Array) -> theory.LogOdds:
    """Log-odds of the mean probability; stays exact where every probability is next to 1."""
    return theory.LogOdds(np.log(expit(logits).mean()) - np.log(expit(-logits).mean()))


def _lambda_star(p: float, b: float, clip: float) -> float | None:
    """λ*, or None where the teacher's mass does not exceed the base's (the closed form says nothing there)."""
    try:
        return theory.lambda_star(p, b, clip)
    except theory.DomainError:
        return None


def _mass_interval(config: Config, rng: Any, logits_SN: list[Array]) -> dict[str, Any]:
    """Mean probability, its log-odds, and an interval over seeds and prompts."""
    masses = [expit(logits) for logits in logits_SN]
    draws = resample(masses, pooled_mean, config.statistics.resamples, rng)
    low, high = percentiles(draws, config.statistics.confidence)
    log_odds = float(pooled_log_odds(np.concatenate(logits_SN)))
    value = pooled_mean(masses)
    return {"value": value, "log_odds": log_odds, "low": low, "high": high, "n_seeds": len(masses), "n": len(masses[0])}


def _lambda_star_interval(config: Config, rng: Any, p_N: Array, b_SN: list[Array], clip: float) -> dict[str, Any]:
    """λ* of the pooled means of p and b, given as log-odds per prompt.

    Seeds are resampled, then prompts, the same ones for teacher and base.
    """

    def statistic(parts: list[Array]) -> float:
        pairs = np.concatenate(parts)
        value = _lambda_star(pooled_log_odds(pairs[:, 0]), pooled_log_odds(pairs[:, 1]), clip)
        return math.nan if value is None else value

    pairs = [np.stack([p_N, b_N], axis=1) for b_N in b_SN]
    value = statistic(pairs)
    if math.isnan(value):
        return {"value": None, "low": None, "high": None, "n_seeds": len(b_SN), "n": len(p_N)}
    low, high = percentiles(resample(pairs, statistic, config.statistics.resamples, rng), config.statistics.confidence)
    return {"value": value, "low": low, "high": high, "n_seeds": len(b_SN), "n": len(p_N)}


def _of_prompts(p_N: Array, b_N: Array, clip: float) -> dict[str, Any]:
    """The spread of λ* over prompts, from log-odds; prompts where p does not exceed b are counted, not averaged."""
    pairs = [(theory.LogOdds(p), theory.LogOdds(b)) for p, b in zip(p_N, b_N, strict=True)]
    values = [value for p, b in pairs if (value := _lambda_star(p, b, clip)) is not None]
    quantiles = np.percentile(values, [5, 50, 95]).tolist() if values else [None] * 3
    return {"q05": quantiles[0], "median": quantiles[1], "q95": quantiles[2], "n": len(p_N), "defined": len(values)}
