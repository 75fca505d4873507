"""``params.yaml`` as frozen dataclasses: read once, validated once, every error one line that names the key.

The field comments in ``params.yaml`` say where a value comes from; the ranges here say what is possible.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipeline.errors import InputError
from pipeline.terms import Estimator, Mean, Reading, Signal

PROFILES = Path("pipeline/profiles")
DEFAULT_PROFILE = "replica"
MAIN = "main"
PILOT = "pilot"
TEACHER = "teacher"

_STRICT = ConfigDict(extra="forbid", strict=True)
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Groups = Annotated[int, Field(ge=1, le=10_000_000)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Defect = Literal["none", "truncate", "overrun"]


@dataclass(frozen=True, config=_STRICT)
class Task:
    """What is to be produced. ``module`` holds the five functions groups, prompt, complete, parse, score."""

    module: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*$")]
    k: Annotated[int, Field(ge=2, le=64)]
    distinct_scores: bool


@dataclass(frozen=True, config=_STRICT)
class Reviews:
    """Where review texts come from and how much of each is shown. Paths are inside the checkout (`run` copies them)."""

    file: str
    labels: str | None
    words: Count
    show_score: bool
    evaluation_share: OpenFraction


@dataclass(frozen=True, config=_STRICT)
class Data:
    """Groups per split. ``train`` feeds the rollouts, ``sft`` the warm starts, ``heldout`` the final rates."""

    sft: Groups
    train: Groups
    validation: Groups
    heldout: Groups


@dataclass(frozen=True, config=_STRICT)
class Tokenizer:
    """``pieces``: one token per match of ``pattern``. ``bpe``: byte-level BPE of ``vocab_size`` on the SFT texts."""

    kind: Literal["pieces", "bpe"]
    pattern: str | None = None
    vocab_size: Count | None = None


@dataclass(frozen=True, config=_STRICT)
class FormatDefect:
    """The dial for b and p: the share of SFT targets that break the contract in the way ``kind`` says."""

    kind: Defect
    student: Fraction
    teacher: Fraction


@dataclass(frozen=True, config=_STRICT)
class Model:
    """Dimensions of a Qwen3-architecture model trained from scratch."""

    hidden: Count
    layers: Count
    heads: Count
    intermediate: Count


@dataclass(frozen=True, config=_STRICT)
class Models:
    teacher: Model
    student: Model


@dataclass(frozen=True, config=_STRICT)
class Sft:
    """Supervised warm start: AdamW, linear warm-up, cosine decay to zero."""

    steps: Count
    batch: Count
    learning_rate: Positive
    warmup: Natural


@dataclass(frozen=True, config=_STRICT)
class Opd:
    """On-policy distillation: AdamW at the learning rate that `calibrate` chose."""

    batch: Count
    max_tokens: Count
    temperature: Positive
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    gradient_clip: Positive
    evaluate_every: Count


@dataclass(frozen=True, config=_STRICT)
class Calibrate:
    """``modal_threshold`` is τ of paper.md §1; ``learning_rates`` are the candidates of the pilot at λ = 1."""

    prompts: Count
    modal_threshold: OpenFraction
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)]


@dataclass(frozen=True, config=_STRICT)
class Method:
    """What the cells of a group train with; see `objective` for the names. ``learning_rate``: null for the calibrated one.

    ``batch``: completions per step, null for ``opd.batch``.
    """

    reading: Reading
    clip: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    steps: Count
    signal: Signal = "listopd"
    estimator: Estimator = "sampled"
    mean: Mean = "token"
    learning_rate: Positive | None = None
    batch: Count | None = None


@dataclass(frozen=True, config=_STRICT)
class Cells:
    """A named group of sweep cells: one for each λ and each of the profile's seeds."""

    method: Method
    lambdas: Annotated[tuple[Positive, ...], Field(min_length=2)]


@dataclass(frozen=True, config=_STRICT)
class Statistics:
    confidence: OpenFraction
    resamples: Count


@dataclass(frozen=True, config=_STRICT)
class Compute:
    """``threads`` per cell, fixed so that results do not depend on how many cells run side by side."""

    threads: Annotated[int, Field(ge=1, le=1024)]


@dataclass(frozen=True)
class Cell:
    """One run of ListOPD."""

    group: str
    lam: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.group}/{self.seed}/{self.lam}"


@dataclass(frozen=True, config=_STRICT)
class Config:
    """All settings of one profile.

    ``seed`` is the base of every random stream; each of ``seeds`` has a warm-started student of its own, which all groups
    of cells share. ``groups`` names every group but `MAIN`: DVC makes a matrix from a list.
    """

    profile: Name
    seed: Natural
    seeds: Annotated[tuple[Natural, ...], Field(min_length=1)]
    task: Task
    reviews: Reviews | None
    data: Data
    tokenizer: Tokenizer
    defect: FormatDefect
    models: Models
    sft: Sft
    calibrate: Calibrate
    opd: Opd
    groups: tuple[Name, ...]
    cells: dict[Name, Cells]
    statistics: Statistics
    compute: Compute

    def models_to_train(self) -> tuple[str, ...]:
        """Names of the SFT runs: the teacher, the pilot student and one student for each seed."""
        return (TEACHER, f"student-{PILOT}", *(f"student-{seed}" for seed in self.seeds))

    def all_cells(self) -> Iterator[Cell]:
        for name, group in self.cells.items():
            for lam in group.lambdas:
                for seed in self.seeds:
                    yield Cell(name, lam, seed)


def params_file(profile: str) -> Path:
    return Path("params.yaml") if profile == DEFAULT_PROFILE else PROFILES / profile / "params.yaml"


def dvc_file(profile: str) -> Path:
    return params_file(profile).with_name("dvc.yaml")


def known_profiles() -> list[str]:
    return [DEFAULT_PROFILE, *sorted(folder.parent.name for folder in PROFILES.glob("*/params.yaml"))]


def load(profile: str = DEFAULT_PROFILE) -> Config:
    """The validated settings of ``profile``. Raises InputError naming the key, what was found and what is allowed."""
    if not Path("dvc.yaml").is_file():
        raise InputError(f"{Path.cwd()}: no dvc.yaml here; run from the root of the checkout")
    if profile not in known_profiles():
        raise InputError(f"profile: found {profile!r}; expected one of {', '.join(known_profiles())}")
    path = params_file(profile)
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; expected the settings of the profile {profile}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(problem).split())}") from None
    config = parse(raw, path)
    if config.profile != profile:
        raise InputError(f"{path}: profile: found {config.profile!r}; expected {profile!r}")
    return config


class _UniqueKeys(yaml.SafeLoader):
    """The safe loader, for which a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def parse(raw: Any, path: Path) -> Config:
    """Validate a parsed YAML document; ``path`` is only for the message."""
    from pipeline.consistency import check_together

    _require_plain(raw, (), path)
    try:
        config = TypeAdapter(Config).validate_json(json.dumps(raw))
    except ValidationError as problem:
        raise InputError(f"{path}: {_first_error(problem)}") from None
    check_together(config, raw, path)
    return config


def _require_plain(value: Any, where: tuple[object, ...], path: Path) -> None:
    """Only what JSON knows: a date, a binary or a key that is no text would change its meaning on the way."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str) or not key.isprintable():
                raise InputError(f"{path}: {_key((*where, key))}: found the key {key!r}; expected a name")
            _require_plain(inner, (*where, key), path)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            _require_plain(inner, (*where, place), path)
    elif not isinstance(value, str | int | float | None):
        raise InputError(f"{path}: {_key(where)}: found {value!r}; expected a number, a text or a list")


def _key(parts: Sequence[object]) -> str:
    return ".".join(str(part) if str(part).isprintable() else ascii(part) for part in parts) or "the file"


def _first_error(problem: ValidationError) -> str:
    error = problem.errors()[0]
    key = _key([part for part in error["loc"] if part != "Config"])
    if error["type"] == "missing":
        return f"{key}: missing; expected a value"
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key}: unknown key; expected one of the keys in the shipped params.yaml"
    more = f" (and {len(problem.errors()) - 1} more)" if len(problem.errors()) > 1 else ""
    return f"{key}: found {error['input']!r}; expected: {error['msg'].removeprefix('Input should be ')}{more}"
