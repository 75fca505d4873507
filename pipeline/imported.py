"""A row of an imported table: one evaluation of one run that was made elsewhere. No I/O.

`bundle/imported/README.md` says the same for the people who fill the columns in; a test compares the two.
Left out on purpose: whatever no rule of tier D reads (losses, step sizes, hardware); say it in ``provenance``.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.terms import Reading

_STRICT = ConfigDict(extra="forbid", strict=True)
Name = Annotated[str, Field(pattern=r"^\w[\w .+/-]{0,79}$")]
Text = Annotated[str, Field(pattern=r"\S", max_length=300)]
Natural = Annotated[int, Field(ge=0, le=1_000_000_000)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Method = Literal["sft", "continued_sft", "seed_selection", "listopd", "no_base", "forward_kl"]

ON_POLICY = ("listopd", "no_base")
WITHOUT_STEPS = ("sft", "seed_selection")
NUMBERS = ("k", "lambda", "clip", "seed", "step", "n", "parsed", "shorter", "repetition", "ndcg_at_1", "p")


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class Run:
    """One row. ``lam`` is the column ``lambda``; None is an empty cell.

    n: outputs evaluated, ``parsed`` of them whole; ``shorter`` and ``repetition``: failures with one id missing, lists of
    K − 1 and of K; ``ndcg_at_1``: mean over the parsed outputs; ``p``: the teacher's modal probability.
    """

    student: Name
    data_set: Name
    method: Method
    decoding: Literal["sampled", "greedy", "constrained"]
    seed: Natural
    step: Natural
    n: Annotated[int, Field(ge=1, le=1_000_000_000)]
    parsed: Natural
    provenance: Text
    teacher: Name | None = None
    k: Annotated[int, Field(ge=2, le=1000)] | None = None
    lam: Annotated[float | None, Field(alias="lambda", gt=0, allow_inf_nan=False)] = None
    clip: Annotated[float, Field(gt=1, allow_inf_nan=False)] | None = None
    reading: Reading | None = None
    shorter: Natural | None = None
    repetition: Natural | None = None
    ndcg_at_1: Share | None = None
    labeller: Annotated[str, Field(pattern=r"\S", max_length=80)] | None = None
    p: Annotated[float, Field(gt=0, lt=1)] | None = None

    @property
    def identity(self) -> tuple[Any, ...]:
        """What makes two rows the same evaluation of the same run."""
        which = (self.student, self.data_set, self.method, self.decoding, self.seed, self.step)
        return (*which, self.teacher, self.k, self.lam, self.clip, self.reading)

    @property
    def figures(self) -> tuple[Any, ...]:
        return (self.n, self.parsed, self.shorter, self.repetition, self.ndcg_at_1, self.labeller, self.p)


REQUIRED = ("student", "data_set", "method", "decoding", "seed", "step", "n", "parsed", "provenance")
COLUMNS = (
    *REQUIRED,
    *("teacher", "k", "lambda", "clip", "reading", "shorter", "repetition", "ndcg_at_1", "labeller", "p"),
)


def value_of(run: Run, column: str) -> Any:
    """A cell by the name of its column. Raises AttributeError for an unknown one."""
    return getattr(run, "lam" if column == "lambda" else column)


def contradiction(run: Run) -> tuple[str, Any, str] | None:
    """What no single cell can say: the column at fault, what was found and what was expected; None if all is well."""
    failures, missing_one = run.n - run.parsed, (run.shorter or 0) + (run.repetition or 0)
    on_policy, distilled = run.method in ON_POLICY, run.method in (*ON_POLICY, "forward_kl")
    wanted = "a value" if on_policy else "no value"
    rules: list[tuple[bool, str, Any, str]] = [
        (failures < 0, "parsed", run.parsed, f"at most n = {run.n}"),
        (failures < missing_one, "shorter", missing_one, f"with repetition at most n - parsed = {failures}"),
        (run.k is None and missing_one > 0, "k", run.k, "a value, as ids are counted as missing"),
        (distilled and run.teacher is None, "teacher", None, f"a value, as method is {run.method}"),
        *(
            (
                (value_of(run, column) is not None) != on_policy,
                column,
                value_of(run, column),
                f"{wanted}, as method is {run.method}",
            )
            for column in ("lambda", "clip", "reading")
        ),
        (run.method in WITHOUT_STEPS and run.step > 0, "step", run.step, f"0, as method is {run.method}"),
        (run.method not in WITHOUT_STEPS and not run.step, "step", run.step, f"1 or more, as method is {run.method}"),
        (run.ndcg_at_1 is not None and not run.parsed, "ndcg_at_1", run.ndcg_at_1, "no value, as parsed is 0"),
        (run.ndcg_at_1 is not None and run.labeller is None, "labeller", None, "who labelled, as ndcg_at_1 is given"),
        (run.p is not None and run.teacher is None, "teacher", None, "a value, as p is its modal probability"),
    ]
    return next((fault[1:] for fault in rules if fault[0]), None)
