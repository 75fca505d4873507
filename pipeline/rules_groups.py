"""Rules of tier C that hold two groups of cells against each other: the clip away, ASPO, no base, another clip or budget."""

from pipeline import theory
from pipeline.evidence import begun, cells_of, estimated, row_of
from pipeline.verdicts import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    Case,
    Judgement,
    Ours,
    Unjudged,
    allowed,
    either,
    enough,
)
from pipeline.words import counted


def contrast(case: Case, *, group: str, against: str, min_seeds: int) -> Judgement:
    """The cells of ``group`` collapse in no seed where those of ``against`` do. Without a collapse there: no contrast."""
    free, other = (cells_of(case, name)["onset"] for name in (group, against))
    collapsed = free["n_seeds"] - free["censored"]
    text = f"{group}: a collapse in {collapsed} of {counted(free['n_seeds'], 'seed')}"
    ours = Ours(text, collapsed, n_seeds=free["n_seeds"])
    enough(min(free["n_seeds"], other["n_seeds"]), min_seeds, ours)
    there = f"{against}: in {other['n_seeds'] - other['censored']} of {other['n_seeds']}"
    if collapsed:
        return Judgement(NOT_REPRODUCED if free["median"] is not None else INCONCLUSIVE, ours, there)
    shown = other["median"] is not None and other["median"] <= free["beyond"]
    return Judgement(REPRODUCED if shown else INCONCLUSIVE, ours, there + ("" if shown else ": no contrast"))


def falls(case: Case, *, group: str, against: str, lam: float, min_seeds: int) -> Judgement:
    """Parse at ``lam`` is lower in ``group`` than in ``against``: their intervals lie apart by more than the tolerance."""
    low, high = (estimated(row_of(case, name, lam)["parse"], min_seeds) for name in (group, against))
    text = f"{high.ours().text} in {against}, {low.ours().text} in {group}"
    ours = Ours(text, low.value - high.value, n_seeds=low.n_seeds, n=low.n)
    if low.high < high.low - case.tolerance:
        return Judgement(REPRODUCED, ours, f"parse at λ = {lam:g} falls")
    if low.low > high.high + case.tolerance:
        return Judgement(NOT_REPRODUCED, ours, f"parse at λ = {lam:g} rises")
    return Judgement(INCONCLUSIVE, ours, f"parse at λ = {lam:g}: the intervals overlap")


def steps_earlier(case: Case, *, group: str, against: str, steps: int, min_seeds: int) -> Judgement:
    """The onset of collapse in ``group`` lies that many steps of the shared λ grid below the one in ``against``."""
    ours_cells, theirs = (cells_of(case, name) for name in (group, against))
    grid = [row["lambda"] for row in theirs["lambdas"]]
    text = "; ".join(f"{name}: {begun(c['onset'])}" for name, c in ((group, ours_cells), (against, theirs)))
    ours = Ours(text, n_seeds=ours_cells["onset"]["n_seeds"])
    enough(min(c["onset"]["n_seeds"] for c in (ours_cells, theirs)), min_seeds, ours)
    begins = [cells["onset"]["median"] for cells in (ours_cells, theirs)]
    if None in begins:
        raise Unjudged(INCONCLUSIVE, f"no onset to compare with: {text}", ours)
    earlier = sum(begins[0] < lam <= begins[1] for lam in grid) - sum(begins[1] < lam <= begins[0] for lam in grid)
    return either(earlier == steps, ours, f"{counted(earlier, 'grid point')} earlier; claimed: {steps}")


def onset_ratio(case: Case, *, group: str, against: str, min_seeds: int) -> Judgement:
    """(onset − 1) of two groups stands in the ratio that their clips predict whatever p and b are, ± the tolerance."""
    small, large = (cells_of(case, name) for name in (group, against))
    p = theory.LogOdds(case.aggregate["calibration"]["p"]["log_odds"])
    reach = [theory.clip_threshold_logit(p, cells["clip"]) - p for cells in (small, large)]
    predicted = reach[0] / reach[1]
    text = "; ".join(f"{name}: {begun(cells['onset'])}" for name, cells in ((group, small), (against, large)))
    shown = Ours(text, n_seeds=small["onset"]["n_seeds"])
    enough(min(cells["onset"]["n_seeds"] for cells in (small, large)), min_seeds, shown)
    begins = [cells["onset"]["median"] for cells in (small, large)]
    if None in begins or begins[1] <= 1.0:
        raise Unjudged(INCONCLUSIVE, f"no onset above 1 in both: {text}; predicted ratio {predicted:.3f}", shown)
    found = (begins[0] - 1.0) / (begins[1] - 1.0)
    ours = Ours(f"{found:.3f} ({text})", found, n_seeds=small["onset"]["n_seeds"])
    return either(abs(found - predicted) <= case.tolerance, ours, f"predicted {predicted:.3f}, {allowed(case)}")
