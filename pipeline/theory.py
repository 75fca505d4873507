"""The extrapolation cliff on paper: lambda*, p_lambda, q_c, and the expected Bernoulli flow per reading of the clip.

One token position, two classes: the modal one (1) and the rest (0). p, b, q are the modal probabilities of teacher T,
base B and student S; c > 1 is the clip. The loss is L = -sum rho A log pi_S over tokens sampled on-policy, rho and A
constants, A(a) = lambda log(pi_T/pi_B) - log(pi_S/pi_B). With s = logit q the expected score-function gradient is

    ds/dt = q (1 - q) F(s),        F(s) = rho(1) A(1) - rho(0) A(0),

where rho = 1 (`none`; also `rollout`, for equal trainer and sampler), min(c, pi_T/pi_S) (`truncate`, the loss as
quoted), or pi_T/pi_S, and 0 for a token whose ratio exceeds c (`mask`). The tail's ratio exceeds c just where q > q_c,
the modal one's just where q < p/c. For p > b > 0, always:
turns_up (`mask_escape`) < lambda* < crossing under `truncate` (`lambda_star_reading`) < 1 + log c / log((1-b)/(1-p)).

Log-odds, float64; any p or b may be given as `LogOdds(x)`, which keeps what 1 - p loses near 1.
Left out: finite budgets (the formula of Cor. 4.2 is unknown), momentum, noise, pooling over positions.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import expit, log_expit, log_softmax, logit

READINGS = ("none", "truncate", "mask", "rollout")
_UNWEIGHTED = ("none", "rollout")
_GREATEST = 1e9  # of a clip or a lambda: beyond it log-odds leave float64
Pair = tuple[float, float]


class DomainError(ValueError):
    """An argument outside the domain of the theory; the message names it, what was found and what was expected."""


class LogOdds(float):
    """A probability given by its log-odds (natural log): `LogOdds(30.0)` stands for 1 - 9.4e-14."""


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise DomainError(message)


def log_odds(probability: float, name: str = "probability") -> float:
    """Log-odds of a probability in (0, 1), or of a `LogOdds` (within 700 of 0) as it is. DomainError names `name`."""
    if isinstance(probability, LogOdds):
        _require(abs(probability) <= 700.0, f"{name}: log-odds must lie within +-700, found {float(probability)}")
        return float(probability)
    _require(0.0 < probability < 1.0, f"{name} must lie strictly between 0 and 1, found {probability}")
    return float(logit(np.float64(probability)))


def _log_probs(odds: float) -> Pair:
    return float(log_expit(odds)), float(log_expit(-odds))


def _teacher_above_base(p: float, b: float) -> Pair:
    p_logit, b_logit = log_odds(p, "p"), log_odds(b, "b")
    _require(p_logit > b_logit, f"p (teacher) must exceed b (base), found log-odds {p_logit} and {b_logit}")
    return p_logit, b_logit


def _clip_shift(p_logit: float, clip: float) -> float:
    """logit q_c - logit p = log(1 + (c-1)/p); every use of the clip passes through this check."""
    _require(1.0 < clip <= _GREATEST, f"clip (c) must be above 1 and at most {_GREATEST:g}, found {clip}")
    return float(np.log1p((clip - 1.0) / expit(p_logit)))


def clip_threshold_logit(p: float, clip: float) -> float:
    """Log-odds of q_c. Equation: logit q_c = logit p + log(1 + (c-1)/p)."""
    return log_odds(p, "p") + _clip_shift(log_odds(p, "p"), clip)


def clip_threshold(p: float, clip: float) -> float:
    """q_c = 1 - (1-p)/c, the end of the clip-safe region: above it the tail's ratio (1-p)/(1-q) exceeds c."""
    return float(expit(clip_threshold_logit(p, clip)))


def fixed_point_logit(p: float, b: float, lam: float) -> float:
    """Log-odds of p_lambda, the fixed point for rho = 1: lambda logit p + (1 - lambda) logit b (p <= b is allowed)."""
    _require(0.0 <= lam <= _GREATEST, f"lambda must be at least 0 and at most {_GREATEST:g}, found {lam}")
    return lam * log_odds(p, "p") + (1.0 - lam) * log_odds(b, "b")


def fixed_point(p: float, b: float, lam: float) -> float:
    """p_lambda as a probability (see `fixed_point_logit`); 1.0 where it rounds to that."""
    return float(expit(fixed_point_logit(p, b, lam)))


def lambda_star(p: float, b: float = 0.5, clip: float = 5.0) -> float:
    """lambda* = 1 + log(1 + (c-1)/p) / (logit p - logit b), where p_lambda = q_c. DomainError unless p > b, c > 1."""
    p_logit, b_logit = _teacher_above_base(p, b)
    return 1.0 + _clip_shift(p_logit, clip) / (p_logit - b_logit)


def p_logit_for_lambda_star(lam_star: float, b: float = 0.5, clip: float = 5.0) -> float:
    """Log-odds of the p whose lambda* is `lam_star` (> 1). One root: lambda* falls strictly from inf to 1 in p > b."""
    b_logit, excess = log_odds(b, "b"), lam_star - 1.0
    _require(1.0 < lam_star < math.inf, f"lambda* must be finite and above 1, found {lam_star}")
    furthest, nearest = _clip_shift(b_logit, clip) / excess, math.log(clip) / excess
    low, high = nearest * (1.0 - 1e-9), furthest * (1.0 + 1e-9)
    return b_logit + float(brentq(lambda x: _clip_shift(b_logit + x, clip) - excess * x, low, high, xtol=1e-14))


def p_for_lambda_star(lam_star: float, b: float = 0.5, clip: float = 5.0) -> float:
    """The teacher's modal probability that a given lambda* implies (inverse of `lambda_star` in p)."""
    return float(expit(p_logit_for_lambda_star(lam_star, b, clip)))


def lambda_star_gradient(p: float, b: float = 0.5, clip: float = 5.0) -> tuple[float, float, float]:
    """Partial derivatives of lambda* by p, b and c. Signs are fixed: it falls in p, rises in b and rises in c."""
    p_logit, b_logit = _teacher_above_base(p, b)
    shift, gap = _clip_shift(p_logit, clip), p_logit - b_logit
    p_prob, p_tail, b_var = float(expit(p_logit)), float(expit(-p_logit)), float(expit(b_logit) * expit(-b_logit))
    reach = p_prob + clip - 1.0
    by_p_logit = -((clip - 1.0) * p_tail / reach + shift / gap) / gap
    return by_p_logit / (p_prob * p_tail), shift / gap**2 / b_var, 1.0 / (reach * gap)


def lambda_star_interval(p_range: Pair, b_range: Pair = (0.5, 0.5), clip: float = 5.0) -> Pair:
    """Range of lambda* over a box, exact as it falls in p and rises in b. DomainError if reversed or p_lo <= b_hi."""
    for name, (low, high) in (("p", p_range), ("b", b_range)):
        _require(log_odds(low, name) <= log_odds(high, name), f"{name}: interval ends are reversed: {low} > {high}")
    return lambda_star(p_range[1], b_range[0], clip), lambda_star(p_range[0], b_range[1], clip)


def lambda_star_reading(p: float, b: float = 0.5, clip: float = 5.0, reading: str = "none") -> float:
    """The lambda at which the stable fixed point of the reading's own flow reaches q_c.

    `none`, `rollout`: lambda*. `truncate`, `mask`: F(q_c) = 0 is linear in lambda; with r = p/q_c it gives
    1 + (c log c - r log r) / (c log((1-b)/(1-p)) + r log(p/b)). Under `truncate` the point goes on, stable, past q_c;
    under `mask` it ends there (vanishes: a true cliff).
    """
    _require(reading in READINGS, f"reading must be one of {', '.join(READINGS)}, found {reading!r}")
    if reading in _UNWEIGHTED:
        return lambda_star(p, b, clip)
    (log_p, log_p_rest), (log_b, log_b_rest) = map(_log_probs, _teacher_above_base(p, b))
    r = math.exp(log_r := log_p - _log_probs(clip_threshold_logit(p, clip))[0])
    return 1.0 + (clip * math.log(clip) - r * log_r) / (clip * (log_b_rest - log_p_rest) + r * (log_p - log_b))


def mask_escape(p: float, b: float = 0.5, clip: float = 5.0) -> Pair:
    """(turns_up, endless): under `mask`, what becomes of a q just past q_c, where only the modal token still pulls.

    Below lambda = turns_up = log(q_c/b)/log(p/b) it falls back; above, q_c is an unstable point and q rises: to a
    finite stable point below endless = log(1/b)/log(p/b), without end from there on. Both are near 1 for p near 1.
    """
    log_p, log_b = (_log_probs(x)[0] for x in _teacher_above_base(p, b))
    return (_log_probs(clip_threshold_logit(p, clip))[0] - log_b) / (log_p - log_b), -log_b / (log_p - log_b)


@dataclass(frozen=True)
class _Flow:
    """One validated flow. `targets` = lambda log p + (1-lambda) log b per class: A = target - log q."""

    clip: float
    reading: str
    log_p: Pair
    targets: Pair
    edges: Pair
    span: Pair

    def force(self, s: ArrayLike, over: tuple[bool, bool] | None = None) -> Any:
        """F at log-odds s. `over`: which of the two ratios to treat as above c, for exact one-sided limits."""
        clipped = over or (np.less(s, self.edges[0]), np.greater(s, self.edges[1]))
        beyond = self.clip if self.reading == "truncate" else 0.0
        pulls = []
        for log_p, target, sign, beyond_c in zip(self.log_p, self.targets, (1, -1), clipped, strict=True):
            log_q = log_expit(np.multiply(sign, s))
            ratio = np.exp(np.minimum(log_p - log_q, math.log(self.clip)))
            rho = 1.0 if self.reading in _UNWEIGHTED else np.where(beyond_c, beyond, ratio)
            pulls.append(rho * (target - log_q))
        return pulls[0] - pulls[1]


def _flow_of(p: float, b: float, clip: float, lam: float, reading: str) -> _Flow:
    """Edges: log-odds of p/c and q_c. Span: fixed points lie between the zeros of A(1) and A(0), or at an edge."""
    _require(reading in READINGS, f"reading must be one of {', '.join(READINGS)}, found {reading!r}")
    tail_edge, unweighted = clip_threshold_logit(p, clip), fixed_point_logit(p, b, lam)
    log_p, log_b = _log_probs(log_odds(p, "p")), _log_probs(log_odds(b, "b"))
    modal_edge = log_p[0] - math.log(clip - 1.0 + math.exp(log_p[1]))
    targets = log_b[0] + lam * (log_p[0] - log_b[0]), log_b[1] + lam * (log_p[1] - log_b[1])
    zeros = [sign * (x - math.log(-math.expm1(x))) for sign, x in zip((1, -1), targets, strict=True) if x < 0.0]
    span = min(modal_edge, unweighted, *zeros) - 1.0, max(tail_edge, unweighted, *zeros) + 1.0
    return _Flow(clip, reading, log_p, targets, (modal_edge, tail_edge), span)


def force(s: ArrayLike, p: float, b: float, clip: float, lam: float, *, reading: str) -> NDArray[np.float64]:
    """F(s) = rho(1) A(1) - rho(0) A(0) at the student's log-odds s (any shape, kept): the natural-gradient flow."""
    return np.asarray(_flow_of(p, b, clip, lam, reading).force(s), dtype=np.float64)


def flow(s: ArrayLike, p: float, b: float, clip: float, lam: float, *, reading: str) -> NDArray[np.float64]:
    """Expected ds/dt = q (1-q) F(s) at the student's log-odds s (any shape, kept): the plain gradient flow on -L."""
    return np.asarray(expit(s) * expit(np.negative(s)) * force(s, p, b, clip, lam, reading=reading))


def fixed_points(p: float, b: float, clip: float, lam: float, reading: str) -> list[tuple[float, bool]]:
    """All fixed points of the flow as (log-odds, stable), rising, by a scan for sign changes of F and brentq.

    A jump of F through zero (`mask`, at q_c or p/c) counts: unstable where the flow leaves it on both sides.
    """
    setting = _flow_of(p, b, clip, lam, reading)
    ends = [setting.span[0], *setting.edges, setting.span[1]]
    samples: list[tuple[float, float, int]] = []
    for piece in range(3):
        grid = np.linspace(ends[piece], ends[piece + 1], 257)
        values = setting.force(grid, (piece == 0, piece == 2))
        samples += [(float(s), float(f), piece) for s, f in zip(grid, values, strict=True) if f != 0.0]
    found = []
    for (s0, f0, piece0), (s1, f1, piece1) in pairwise(samples):
        if (f0 > 0.0) != (f1 > 0.0):
            over, root = (piece1 == 0, piece1 == 2), ends[piece1]
            if piece0 == piece1:
                root = float(brentq(lambda s, over=over: float(setting.force(s, over)), s0, s1, xtol=1e-13))
            found.append((root, f0 > 0.0))
    return found


def stable_fixed_point_logit(p: float, b: float, clip: float, lam: float, reading: str) -> float | None:
    """Log-odds of the lowest stable fixed point, the one the flow reaches from q = b for lambda >= 1; None if gone."""
    return next((s for s, stable in fixed_points(p, b, clip, lam, reading) if stable), None)


def flow_end(
    start: float, p: float, b: float, clip: float, lam: float, *, reading: str, duration: float, natural: bool = False
) -> float:
    """Log-odds of q after integrating the flow for `duration` from log-odds `start`.

    Time is learning rate times steps on the logit s; `natural` drops the factor q (1-q): same path, other clock, and
    its end within some tens even for p near 1 (but `mask` from below p/c is as slow as 1 - p: only the tail pushes).
    """
    _require(math.isfinite(start) and 0.0 <= duration < math.inf, f"no path from {start} for a duration of {duration}")
    setting = _flow_of(p, b, clip, lam, reading)
    now, left, bounds = float(start), float(duration), (-1e300, *setting.edges, 1e300)
    piece = 1 + (now > bounds[2]) - (now < bounds[1])
    heading = int(np.sign(setting.force(now)))

    def velocity(_: float, s: NDArray[np.float64]) -> Any:
        return setting.force(s, (piece == 0, piece == 2)) * (1.0 if natural else expit(s) * expit(-s))

    def at_edge(_: float, s: NDArray[np.float64]) -> float:
        return float(s[0]) - bounds[piece + (heading > 0)]

    at_edge.terminal = True  # type: ignore[attr-defined]
    while True:  # one clip state at a time: where F jumps, an integrator would chatter
        path = solve_ivp(velocity, (0.0, left), [now], method="LSODA", events=at_edge, rtol=1e-9, atol=1e-11)
        if path.status != 1:
            return float(path.y[0, -1])
        now, left, piece = bounds[piece + (heading > 0)], left - float(path.t[-1]), piece + heading
        if heading * setting.force(now, (piece == 0, piece == 2)) <= 0.0:
            return now


def categorical_fixed_point(teacher: ArrayLike, base: ArrayLike, lam: float) -> NDArray[np.float64]:
    """K-ary fixed point for rho = 1: log of pi_lambda, proportional to pi_T^lambda pi_B^(1-lambda).

    `teacher`, `base`: log-probabilities or logits, one shape [..., K >= 2]; returns log-probabilities of that shape.
    Where both are -inf (a masked token) so is the result; DomainError where nothing normalises (a token without base
    mass, at lambda > 1). With the off-modal ratios of T and B equal, its modal mass is the Bernoulli p_lambda exactly.
    """
    teacher, base = np.asarray(teacher, dtype=np.float64), np.asarray(base, dtype=np.float64)
    alike = teacher.shape == base.shape and teacher.shape[-1:] >= (2,)
    _require(alike, f"teacher and base must share a shape [..., K >= 2], found {teacher.shape} and {base.shape}")
    _require(0.0 < lam < math.inf, f"lambda must be finite and above 0, found {lam}")
    with np.errstate(invalid="ignore"):
        mixed = teacher if lam == 1.0 else lam * teacher + (1.0 - lam) * base
    mixed = np.where(np.isneginf(teacher) & np.isneginf(base), -np.inf, mixed)
    proper = bool((mixed < np.inf).all() and np.isfinite(mixed).any(axis=-1).all())
    _require(proper, "no K-ary fixed point: a NaN, a row without mass, or lambda > 1 on a token without base mass")
    return np.asarray(log_softmax(mixed, axis=-1), dtype=np.float64)


def summary(p: float, b: float, clip: float, reading: str, lam: float | None = None) -> dict[str, Any]:
    """Everything above for one setting, as plain JSON values (floats, bools, None); what `theory --json` prints.

    `crossing`: lambda at which the reading's stable point reaches q_c. `vanishing`, `turns_up`, `endless`: `mask` only.
    With `lam`: p_lambda, the fixed points under the reading, and the lowest stable one (None if gone).
    """
    crossing = lambda_star_reading(p, b, clip, reading)
    p_logit, b_logit = _teacher_above_base(p, b)
    turns_up, endless = mask_escape(p, b, clip) if reading == "mask" else (None, None)
    facts: dict[str, Any] = {"reading": reading, "clip": float(clip), "p_logit": p_logit, "b_logit": b_logit}
    facts |= {
        "p": float(expit(p_logit)),
        "b": float(expit(b_logit)),
        "lambda_star": lambda_star(p, b, clip),
        "logit_gap": p_logit - b_logit,
    }
    facts |= {"q_clip": clip_threshold(p, clip), "q_clip_logit": clip_threshold_logit(p, clip), "crossing": crossing}
    facts |= {"vanishing": crossing if reading == "mask" else None, "turns_up": turns_up, "endless": endless}
    if lam is not None:
        points = [{"logit": s, "stable": held} for s, held in fixed_points(p, b, clip, lam, reading)]
        facts |= {"lambda": float(lam), "p_lambda": fixed_point(p, b, lam), "fixed_points": points}
        facts |= {"p_lambda_logit": fixed_point_logit(p, b, lam)}
        facts |= {"stable_fixed_point_logit": stable_fixed_point_logit(p, b, clip, lam, reading)}
    return facts
