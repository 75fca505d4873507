"""The gate, ``make check``: does what is committed follow from the committed samples, and are the verdicts as expected?

Everything downstream of the samples (data, metrics, aggregate, verdicts, report) is made again in a temporary folder,
without training, and compared with ``reports/<profile>``; the verdicts are compared with ``bundle/expected.yaml``. Red
(exit status 1) also when a cell is broken or saw another calibration, samples are not as their run wrote them, or a file
is there that nothing makes.

Numbers are equal within a relative 1e-9, which leaves room for another processor's last bits and for nothing else. Where
only such bits differ, what comes after is made from the committed file, as it holds that file's hash.
"""

import csv
import io
import json
import math
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from pipeline.config import DEFAULT_PROFILE, Config
from pipeline.errors import InputError
from pipeline.files import read_json, sha256_of
from pipeline.layout import Layout

ROOT = Path(__file__).resolve().parent.parent
EXPECTED = ROOT / "bundle" / "expected.yaml"
RELATIVE, ABSOLUTE = 1e-9, 1e-12
SHOWN = 20
INPUTS = ("sft", "cells", "calibration.json")
LINKED = ("bundle", "pipeline", "params.yaml", "dvc.yaml", "dvc.lock", "reports/templates")


@dataclass(frozen=True)
class Finding:
    """One thing that was compared, and how it differs: empty when it does not."""

    what: str
    problems: tuple[str, ...] = ()


def run(config: Config, against: str | None = None) -> int:
    """Print the verdicts, every difference and a count; 0 when nothing differs, else 1. The checkout is only read.

    ``against`` names a commit whose results are compared with the tree's, for a tree that was run again.
    """
    from pipeline.check import CLAIMS, load_claims

    started, layout = time.monotonic(), Layout(config.profile)
    load_claims(CLAIMS)
    for name in INPUTS:
        if not (layout.reports / name).exists():
            raise InputError(f"{layout.reports / name}: not found; expected the committed results of {config.profile}")
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        fresh = Path(folder)
        files = list(_recompute(config, layout, fresh))
        verdicts = read_json(fresh / layout.verdicts, "check")
        results = list(_runs(read_json(fresh / layout.aggregate, "aggregate")))
    results += [*_records(config, layout), *_expectations(config.profile, verdicts)]
    if against:
        from pipeline.rerun import moved

        results += [Finding(what, (problem,) if problem else ()) for what, problem in moved(config, against)]
    _print_verdicts(verdicts)
    return _conclude(results, files, time.monotonic() - started)


def _recompute(config: Config, layout: Layout, fresh: Path) -> Iterator[Finding]:
    """Make everything anew in ``fresh``, comparing file by file in the order in which they are made."""
    from pipeline import aggregate, check, evaluate, prepare, report

    can_prepare = config.reviews is None or Path(config.reviews.file).is_file()
    _lay_out(config, layout, fresh, can_prepare)
    if can_prepare:
        with chdir(fresh):
            prepare.run(config)
            evaluate.run(config)
        yield _compare(layout.data_facts, fresh)
        yield from _compare_folder(layout.metrics, fresh)
    else:
        print(f"The texts of {config.profile} are not in the repository: starting from the committed metrics.")
    with chdir(fresh):
        aggregate.run(config)
    for path in (layout.aggregate, layout.summary):
        yield _compare(path, fresh)
    yield from _compare_folder(layout.plots, fresh)
    with chdir(fresh):
        check.run(config)
    yield _compare(layout.verdicts, fresh)
    with chdir(fresh):
        report.run(config)
    for path in (layout.html, layout.reports / "report.md"):
        yield _compare(path, fresh)


def _lay_out(config: Config, layout: Layout, fresh: Path, can_prepare: bool) -> None:
    """Copies of what is trained, links to what is only read."""
    taken = INPUTS if can_prepare else (*INPUTS, layout.metrics.name, layout.data_facts.name)
    for name in taken:
        source, target = layout.reports / name, fresh / layout.reports / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.exists():
            shutil.copyfile(source, target)
        else:
            raise InputError(f"{source}: not found; expected the committed results of {config.profile}")
    for path in map(Path, LINKED):
        if (ROOT / path).exists():
            (fresh / path).parent.mkdir(parents=True, exist_ok=True)
            (fresh / path).symlink_to(ROOT / path)
    if config.reviews is not None and can_prepare:
        source = Path(config.reviews.file).parent
        (fresh / source).parent.mkdir(parents=True, exist_ok=True)
        (fresh / source).symlink_to(source.absolute())


def _compare_folder(folder: Path, fresh: Path) -> Iterator[Finding]:
    """Every file of either side; one that only one side has is a difference."""
    names = {path.relative_to(base) for base in (Path(), fresh) for path in (base / folder).rglob("*") if path.is_file()}
    for name in sorted(names):
        yield _compare(name, fresh)


def _compare(path: Path, fresh: Path) -> Finding:
    """The committed file beside the one made anew, as data where it is JSON or CSV, else byte for byte."""
    for base, missing in ((Path(), "not committed"), (fresh, "committed, but nothing makes it")):
        if not (base / path).is_file():
            return Finding(str(path), (f"{path}: {missing}",))
    committed, recomputed = path.read_bytes(), (fresh / path).read_bytes()
    if committed == recomputed:
        return Finding(str(path))
    if path.suffix not in (".json", ".csv"):
        return Finding(str(path), (f"{path}: differs from the one made anew{_first_line(committed, recomputed)}",))
    try:
        problems = tuple(differences(_parsed(path, committed), _parsed(path, recomputed)))
    except ValueError as problem:
        return Finding(str(path), (f"{path}: damaged ({problem})",))
    if not problems:
        print(f"{path}: equal within {RELATIVE:g}, not to the last bit; going on from the committed file.")
        (fresh / path).write_bytes(committed)
    return Finding(str(path), tuple(f"{path}: {problem}" for problem in problems))


def _first_line(committed: bytes, recomputed: bytes) -> str:
    """Where two texts part: the number of the line and a piece of both."""
    pairs = zip(committed.splitlines(), recomputed.splitlines(), strict=False)
    number, (a, b) = next(((n, pair) for n, pair in enumerate(pairs, 1) if pair[0] != pair[1]), (0, (b"", b"")))
    if not number:
        return f": {len(committed)} bytes committed, {len(recomputed)} recomputed"
    start = max(next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))) - 20, 0)
    shown = (text[start : start + 60].decode(errors="replace") for text in (a, b))
    return " in line {}: committed {!r}, recomputed {!r}".format(number, *shown)


def _parsed(path: Path, content: bytes) -> Any:
    if path.suffix == ".json":
        return json.loads(content)
    return [{key: _number(value) for key, value in row.items()} for row in csv.DictReader(io.StringIO(content.decode()))]


def _number(text: str) -> float | str:
    try:
        return float(text)
    except (TypeError, ValueError):
        return text


def differences(committed: Any, recomputed: Any, path: str = "") -> Iterator[str]:
    """Each place where two JSON values differ: its path, the committed value and the recomputed one."""
    if isinstance(committed, dict) and isinstance(recomputed, dict):
        for key in [*committed, *(key for key in recomputed if key not in committed)]:
            where = f"{path}.{key}" if path else str(key)
            if key in committed and key in recomputed:
                yield from differences(committed[key], recomputed[key], where)
            else:
                yield f"{where}: {'not recomputed' if key in committed else 'not committed'}"
    elif isinstance(committed, list) and isinstance(recomputed, list) and len(committed) == len(recomputed):
        for i, (a, b) in enumerate(zip(committed, recomputed, strict=True)):
            yield from differences(a, b, f"{path}[{i}]")
    elif not _same(committed, recomputed):
        yield f"{path}: committed {_short(committed)}, recomputed {_short(recomputed)}"


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool) or not isinstance(a, int | float) or not isinstance(b, int | float):
        return type(a) is type(b) and bool(a == b)
    both_nan = math.isnan(a) and math.isnan(b)
    return both_nan or math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _runs(aggregate: dict[str, Any]) -> Iterator[Finding]:
    """Every cell finished, and saw the calibration that is committed."""
    for name, group in aggregate["cells"].items():
        broken = [f"{c['lambda']}-{c['seed']} is {c['status']}" for c in group["invalid"]]
        foreign = [f"{cell} saw another calibration than the committed one" for cell in group["not_of_this_calibration"]]
        yield Finding(f"runs of {name}", tuple(f"cells {name}: {problem}" for problem in (*broken, *foreign)))


def _records(config: Config, layout: Layout) -> Iterator[Finding]:
    """Samples and logs are as the runs wrote them, and no file lies beside them that no run of the settings makes."""
    folders = [layout.sft_record(name) for name in config.models_to_train()]
    folders += [layout.cell_record(cell) for cell in config.all_cells()]
    known = set()
    for folder in folders:
        run_record = folder / "run.json"
        outputs = read_json(run_record, "the training stages")["outputs"].items()
        written = {Path(path): digest for path, digest in outputs if Path(path).is_relative_to(layout.reports)}
        known |= {run_record, *written}
        other = [path for path, digest in written.items() if not path.is_file() or sha256_of(path) != digest]
        yield Finding(str(folder), tuple(f"{path}: not as the run wrote it ({run_record}: outputs)" for path in other))
    found = {path for name in ("sft", "cells") for path in (layout.reports / name).rglob("*") if path.is_file()}
    yield Finding("runs", tuple(f"{path}: no run of the settings makes it" for path in sorted(found - known)))


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
        yield Finding(f"verdict {name}", () if wanted == got else (f"{name}: expected {wanted}, found {got}",))


def _print_verdicts(verdicts: dict[str, Any]) -> None:
    """The table of claims: in colour in a terminal, else Markdown."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pipeline.check import summary_table, table_rows

    console = Console()
    if not console.is_terminal:
        print(summary_table(verdicts))
        return
    colours = {"reproduced": "green", "not reproduced": "red", "invalid": "bold red", "inconclusive": "yellow"}
    table = Table("tier", "claim", "published", "ours", "verdict", "reason", title=f"Profile {verdicts['profile']}")
    for row in table_rows(verdicts):
        style = colours.get(row["verdict"], "dim")
        table.add_row(*(Text(value, style if key == "verdict" else "") for key, value in row.items()))
    console.print(table)


def _conclude(results: list[Finding], files: list[Finding], seconds: float) -> int:
    """Name what is wrong with runs and verdicts, then the first differences of files, and count; the exit status."""
    problems = [problem for finding in files for problem in finding.problems]
    for problem in (*(problem for finding in results for problem in finding.problems), *problems[:SHOWN]):
        print(f"DIFFERS {problem}")
    if len(problems) > SHOWN:
        print(f"... and {len(problems) - SHOWN} more differences in files")
    failed = sum(bool(finding.problems) for finding in (*results, *files))
    print(f"{len(results) + len(files) - failed} checks passed, {failed} failed ({seconds:.0f} s, nothing trained)")
    return 1 if failed else 0
