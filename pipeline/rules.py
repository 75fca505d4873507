"""Rules: from the figures of one profile, or from published numbers alone, to a verdict with its reason. No I/O.

A rule gets a `Case` and the arguments that ``bundle/claims.yaml`` gives it; `judge` is the one entry. What the tolerance
means stands in each rule's docstring. An interval that straddles a bound is `inconclusive`, so a result too wide to tell
is never a success, and a figure from a broken or foreign cell is `invalid` whatever its value.
Left out on purpose: anything that turns a figure of one scale into a verdict about another.
"""

from collections.abc import Callable
from typing import Any

from pipeline.rules_cells import (
    begins_at_prediction,
    exceeds,
    failure_share,
    flat,
    low_above_prediction,
    ordering,
    warm_start_near,
)
from pipeline.rules_groups import contrast, falls, onset_ratio, steps_earlier
from pipeline.rules_imported import (
    imported_contrast,
    imported_equal,
    imported_failures,
    imported_flat,
    imported_levels,
    imported_low_above,
    imported_marker,
    imported_onset,
    imported_scope,
    imported_small_clip,
    imported_steps_earlier,
    imported_unknown,
    imported_variance,
)
from pipeline.rules_published import (
    agree,
    arithmetic,
    closed_form,
    implied_p,
    means_equivalent,
    premises,
    ratio_of_rounded,
    whole_batches,
    within,
)
from pipeline.verdicts import CANNOT_COMPARE, NOT_RUN, Case, Judgement, Unjudged


def judge(rule: str, case: Case, **arguments: Any) -> Judgement:
    """Apply the rule of that name. Raises KeyError for an unknown name."""
    try:
        return RULES[rule](case, **arguments)
    except Unjudged as early:
        return early.judgement


# What stands in the way of a judgement


def needs(case: Case, *, cells: str, what: str) -> Judgement:
    """A claim about a group of cells that the profile does not hold."""
    there = cells in case.aggregate["cells"]
    raise Unjudged(NOT_RUN, f"cells `{cells}` " + ("ran, but no rule judges them" if there else f"are missing: {what}"))


def unknown_fact(case: Case, *, what: str) -> Judgement:
    """A claim that rests on a fact which no source gives."""
    raise Unjudged(CANNOT_COMPARE, f"unknown: {what}")


RULES: dict[str, Callable[..., Judgement]] = {
    rule.__name__: rule
    for rule in (
        *(needs, unknown_fact),
        *(premises, implied_p, closed_form, within, arithmetic, whole_batches, agree, ratio_of_rounded, means_equivalent),
        *(exceeds, warm_start_near, ordering, begins_at_prediction, low_above_prediction, failure_share, flat),
        *(contrast, falls, steps_earlier, onset_ratio),
        *(imported_levels, imported_marker, imported_onset, imported_small_clip, imported_low_above, imported_failures),
        *(imported_equal, imported_flat, imported_variance, imported_steps_earlier, imported_contrast, imported_scope),
        imported_unknown,
    )
}
