"""Stage `check`: a verdict for every claim.

Reads the profile's ``aggregate.json``, ``bundle/claims.yaml`` (validated here: a claim without a rule, an unknown rule
or a wrong argument is an error that names it) and the tables in ``bundle/imported``; writes ``verdicts.json``. The
judging itself is in `pipeline/rules.py`. A verdict of tier C is about the profile it was made in, one of tier D about the
imported rows, and each says so.
"""

import inspect
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.dataclasses import dataclass

from pipeline.config import Config
from pipeline.errors import InputError
from pipeline.files import read_json, sha256_of, write_json
from pipeline.full_scale import provenance, rows_behind
from pipeline.imported import Run
from pipeline.layout import Layout
from pipeline.rules import RULES, judge
from pipeline.tables import FOLDER, Table, load_tables
from pipeline.verdicts import NOT_RUN, Case, Judgement, Published

ROOT = Path(__file__).resolve().parent.parent
CLAIMS = ROOT / "bundle" / "claims.yaml"
IMPORTED = FOLDER
TIERS = ("A", "B", "C", "D")

_STRICT = ConfigDict(extra="forbid", strict=True)
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, config=_STRICT)
class Tolerance:
    """What may differ, in the unit of the rule, and why. ``value`` is null where nothing is compared."""

    value: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    reason: Text


@dataclass(frozen=True, config=_STRICT)
class Check:
    """One question to a claim: the rule that answers it, and what would change the answer."""

    id: Name
    tier: Literal["A", "B", "C", "D"]
    statement: Text
    rule: Text
    arguments: dict[str, Any]
    tolerance: Tolerance
    would_change: Text


@dataclass(frozen=True, config=_STRICT)
class SourceOf:
    """``of`` names an entry of the file's ``sources``."""

    of: Name
    where: Text


@dataclass(frozen=True, config=_STRICT)
class Source:
    title: Text
    where: Text


@dataclass(frozen=True, config=_STRICT)
class Claim:
    """A published or derived figure, in our words, with its grade."""

    id: Name
    title: Text
    claim: Text
    published: Published
    grade: Literal["page", "quoted", "secondary", "derived", "unknown"]
    source: SourceOf
    checks: Annotated[tuple[Check, ...], Field(min_length=1)]
    conflicts_with: tuple[Name, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class Bundle:
    """All of ``claims.yaml``."""

    sources: dict[Name, Source]
    unknown: tuple[Text, ...]
    claims: Annotated[tuple[Claim, ...], Field(min_length=1)]


def run(config: Config) -> None:
    """Raises InputError when a file is missing or damaged; an earlier verdicts file then stays as it is."""
    layout, bundle, tables = Layout(config.profile), load_claims(CLAIMS), load_tables(IMPORTED)
    aggregate = read_json(layout.aggregate, "aggregate")
    runs = tuple({run.identity: run for table in tables.values() for run in table.runs}.values())
    try:
        checks = [
            _verdict(
                layout, Case(aggregate, claim.published, check.tolerance.value or 0.0, runs), tables, bundle, claim, check
            )
            for claim in bundle.claims
            for check in claim.checks
        ]
        calibration_sha256 = aggregate["calibration_sha256"]
    except (KeyError, TypeError, IndexError) as problem:
        raise InputError(f"{layout.aggregate}: {problem!r}; expected the file that `aggregate` writes") from None
    write_json(
        layout.verdicts,
        {
            "profile": config.profile,
            "command": f"python -m pipeline stage check --profile {config.profile}",
            "aggregate_sha256": sha256_of(layout.aggregate),
            "calibration_sha256": calibration_sha256,
            "claims_sha256": sha256_of(CLAIMS),
            "imported": [
                {"table": name, "sha256": sha256_of(IMPORTED / name), "evaluations": len(table.runs)}
                for name, table in tables.items()
            ],
            "checks": checks,
            "summary": _summary(checks),
            "unknown": list(bundle.unknown),
            "sources": {name: asdict(source) for name, source in bundle.sources.items()},
        },
    )


def load_claims(path: Path) -> Bundle:
    """The validated claims. Raises InputError that names the claim, what was found and what was expected."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        bundle = TypeAdapter(Bundle).validate_json(json.dumps(raw))
    except FileNotFoundError:
        raise InputError(f"{path}: not found; expected the claims of the bundle") from None
    except ValidationError as problem:
        raise InputError(f"{path}: {_first_error(problem, raw)}") from None
    except (yaml.YAMLError, TypeError, ValueError) as problem:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(problem).split())}") from None
    for message in _contradictions(bundle):
        raise InputError(f"{path}: {message}")
    return bundle


def _first_error(problem: ValidationError, raw: Any) -> str:
    """The first error with the claim's id in the place of its number."""
    error = problem.errors()[0]
    place = [str(part) for part in error["loc"]]
    if error["loc"][:1] == ("claims",) and len(error["loc"]) > 1:
        claim = raw["claims"][error["loc"][1]]
        place[1] = str(claim.get("id", place[1])) if isinstance(claim, dict) else place[1]
    if error["type"] in ("missing", "missing_argument"):
        return f"{'.'.join(place)}: missing; expected a value"
    found = "unknown key" if error["type"] == "unexpected_keyword_argument" else f"found {error['input']!r}"
    return f"{'.'.join(place)}: {found}; expected: {error['msg'].removeprefix('Input should be ')}"


def _contradictions(bundle: Bundle) -> Iterator[str]:
    """What no single field can say, one message each."""
    ids = Counter(claim.id for claim in bundle.claims)
    yield from (f"claim {name}: found {n} times; expected once" for name, n in ids.items() if n > 1)
    for claim in bundle.claims:
        if claim.source.of not in bundle.sources:
            yield f"claim {claim.id}: source.of: found {claim.source.of!r}; expected one of {', '.join(bundle.sources)}"
        for other in claim.conflicts_with:
            if other not in ids:
                yield f"claim {claim.id}: conflicts_with: found {other!r}; expected the id of a claim"
        for name, n in Counter(check.id for check in claim.checks).items():
            if n > 1:
                yield f"claim {claim.id}: check {name}: found {n} times; expected once"
        for check in claim.checks:
            where = f"claim {claim.id}: check {check.id}"
            if check.rule not in RULES:
                yield f"{where}: rule: found {check.rule!r}; expected one of {', '.join(RULES)}"
            else:
                yield from (f"{where}: arguments: {message}" for message in _wrong_arguments(check))


def _wrong_arguments(check: Check) -> Iterator[str]:
    """The rule's own signature says which arguments there are and of which type."""
    parameters = inspect.signature(RULES[check.rule], eval_str=True).parameters.values()
    fields: Any = {
        p.name: (p.annotation, ... if p.default is p.empty else p.default) for p in parameters if p.kind is p.KEYWORD_ONLY
    }
    try:
        create_model(check.rule, __config__=_STRICT, **fields).model_validate_json(json.dumps(check.arguments))
    except ValidationError as problem:
        for error in problem.errors():
            yield f"{'.'.join(map(str, error['loc']))}: found {error['input']!r}; expected: {error['msg']}"


def _verdict(
    layout: Layout, case: Case, tables: dict[str, Table], bundle: Bundle, claim: Claim, check: Check
) -> dict[str, Any]:
    found: Judgement = judge(check.rule, case, **check.arguments)
    about, evidence = "", list[str]()
    if check.tier == "C":
        about = f"Profile {layout.profile}: "
        evidence = _evidence(layout, check) if found.verdict != NOT_RUN else []
    elif check.tier == "D" and (found.verdict != NOT_RUN or found.ours.text != "none"):
        rows = rows_behind(case, check.arguments)
        about, evidence = f"Imported ({provenance(rows)}): ", _tables_of(rows, tables)
    return {
        "id": f"{claim.id}/{check.id}",
        "claim": claim.id,
        "title": claim.title,
        "wording": claim.claim,
        "statement": check.statement,
        "tier": check.tier,
        "grade": claim.grade,
        "source": {
            "title": bundle.sources[claim.source.of].title,
            "where": f"{bundle.sources[claim.source.of].where}: {claim.source.where}",
        },
        "published": asdict(claim.published),
        "ours": asdict(found.ours),
        "verdict": found.verdict,
        "reason": about + found.reason,
        "rule": check.rule,
        "arguments": check.arguments,
        "tolerance": asdict(check.tolerance),
        "would_change": check.would_change,
        "conflicts_with": list(claim.conflicts_with),
        "evidence": evidence,
    }


def _evidence(layout: Layout, check: Check) -> list[str]:
    """Files and folders under ``reports/<profile>`` that the verdict rests on."""
    groups = [check.arguments[key] for key in ("group", "against") if key in check.arguments]
    folders = [layout.metrics / group for group in groups] or [layout.metrics / "sft"]
    return [path.as_posix() for path in (layout.aggregate, layout.calibration, *folders)]


def _tables_of(rows: list[Run], tables: dict[str, Table]) -> list[str]:
    """The stored tables that hold one of the rows or say the same of its run."""
    used = {run.identity for run in rows}
    return [f"bundle/imported/{name}" for name, table in tables.items() if used & {run.identity for run in table.runs}]


def _summary(checks: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Verdicts counted for each tier by itself: a result of one tier earns nothing in another."""
    return {tier: dict(sorted(Counter(c["verdict"] for c in checks if c["tier"] == tier).items())) for tier in TIERS}
