"""The gate, ``make check``: `verify`, and whether the verdicts are as expected.

The verdicts that `verify` made again are compared with ``bundle/expected.yaml``, and a tree that was run again with the
results of a commit (`rerun`). Prints the table of claims; writes JUnit XML and Markdown where asked.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from pipeline import findings
from pipeline.config import DEFAULT_PROFILE, Config
from pipeline.errors import InputError
from pipeline.findings import VERDICTS, Finding
from pipeline.verify import ROOT, verification

EXPECTED = ROOT / "bundle" / "expected.yaml"


@dataclass(frozen=True)
class Outputs:
    """Where to write what was found, besides the terminal."""

    junit: Path | None = None
    markdown: Path | None = None


def run(config: Config, against: str | None = None, outputs: Outputs = Outputs()) -> int:
    """Print the verdicts, every difference and a count; 0 when nothing differs, else 1. The checkout is only read.

    ``against`` names a commit whose results are compared with the tree's, for a tree that was run again.
    """
    started, verified = time.monotonic(), verification(config)
    results = verified.results | {VERDICTS: list(_expectations(config.profile, verified.verdicts))}
    if against:
        from pipeline.rerun import moved

        results["re-run"] = [Finding(what, (problem,) if problem else ()) for what, problem in moved(config, against)]
    findings.print_verdicts(verified.verdicts)
    status = findings.conclude(results, time.monotonic() - started)
    if outputs.junit:
        findings.write_junit(outputs.junit, results, verified.verdicts, time.monotonic() - started)
    if outputs.markdown:
        findings.write_markdown(outputs.markdown, results, verified.verdicts)
    return status


def _expectations(profile: str, verdicts: dict[str, Any]) -> Iterator[Finding]:
    """Each verdict beside the one that a person committed. Without any for the profile: said, and red for the default one
    once the file has others."""
    try:
        every = TypeAdapter(dict[str, dict[str, str]]).validate_python(yaml.safe_load(EXPECTED.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError, UnicodeDecodeError) as problem:
        raise InputError(f"{EXPECTED}: {' '.join(str(problem).split())}; expected profile, check and verdict") from None
    expected = every.get(profile)
    if expected is None:
        said = f"{EXPECTED.name}: no expectation committed for {profile}"
        print(said)
        yield Finding("expectations", (said,) if profile == DEFAULT_PROFILE and every else ())
        return
    found = {check["id"]: check["verdict"] for check in verdicts["checks"]}
    for name in sorted(found.keys() | expected.keys()):
        wanted, got = expected.get(name, "nothing"), found.get(name, "no such check")
        yield Finding(name, () if wanted == got else (f"{name}: expected {wanted}, found {got}",))
