"""``python -m pipeline verify``: does what is committed follow from the samples, and is it what the manifest lists?

Everything downstream of the samples (data, metrics, aggregate, verdicts, report) is made again in a temporary folder,
without training, and compared with ``reports/<profile>``, and so is the claims' schema. Red (exit status 1) also when a
cell is broken or saw another calibration, samples are not as their run wrote them, a file is there that nothing makes, or
the manifest disagrees. `gate` adds the expected verdicts.

Where only the last bits of numbers differ (`differences`), what comes after is made from the committed file, as it holds
that file's hash.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import manifest
from pipeline.config import Config
from pipeline.differences import RELATIVE, differences, first_difference, parsed
from pipeline.errors import InputError
from pipeline.files import read_json, sha256_of
from pipeline.findings import Finding, Results, conclude, problems
from pipeline.layout import Layout

ROOT = Path(__file__).resolve().parent.parent
INPUTS = ("sft", "cells", "calibration.json")
LINKED = ("bundle", "pipeline", "params.yaml", "dvc.yaml", "dvc.lock", "reports/templates")
MANIFEST = "manifest"


@dataclass(frozen=True)
class Verification:
    """The findings by part, and the verdicts as they were made again."""

    results: Results
    verdicts: dict[str, Any]


def run(config: Config, update_manifest: bool) -> int:
    """Print every difference and a count; 0 when nothing differs, else 1.

    ``update_manifest``: if all but the manifest agrees, write that, whatever it holds; nothing else is ever written.
    """
    started, layout = time.monotonic(), Layout(config.profile)
    results = verification(config, with_manifest=not update_manifest).results
    if update_manifest:
        agrees = not any(problems(findings) for findings in results.values())
        if agrees:
            manifest.write(layout)
            results = {MANIFEST: _manifest(layout)} | results
        print(f"{layout.manifest}: {'written' if agrees else 'not written, because of the differences below'}")
    return conclude(results, time.monotonic() - started)


def verification(config: Config, with_manifest: bool = True) -> Verification:
    """Recompute and compare. Raises InputError where claims, manifest or committed results are missing or damaged."""
    from pipeline.check import CLAIMS, load_claims

    layout = Layout(config.profile)
    load_claims(CLAIMS)
    for name in INPUTS:
        if not (layout.reports / name).exists():
            raise InputError(f"{layout.reports / name}: not found; expected the committed results of {config.profile}")
    results = {MANIFEST: _manifest(layout)} if with_manifest else {}
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        fresh = Path(folder)
        results["files"] = [_schema(), *_recompute(config, layout, fresh)]
        verdicts = read_json(fresh / layout.verdicts, "check")
        results["runs"] = [*_runs(read_json(fresh / layout.aggregate, "aggregate")), *_records(config, layout)]
    return Verification(results, verdicts)


def _manifest(layout: Layout) -> list[Finding]:
    """Every file that the manifest lists or should list."""
    return [Finding(what, (problem,) if problem else ()) for what, problem in manifest.mismatches(layout)]


def _schema() -> Finding:
    from pipeline.claims_schema import SCHEMA, claims_schema

    path = f"bundle/{SCHEMA.name}"
    found = differences(read_json(SCHEMA, "tests/test_claims_schema.py --regolden"), claims_schema())
    return Finding(path, tuple(f"{path}: {problem}" for problem in found))


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
        return Finding(str(path), (f"{path}: differs from the one made anew: {first_difference(committed, recomputed)}",))
    try:
        found = tuple(differences(*(parsed(path.suffix, content) for content in (committed, recomputed))))
    except ValueError as problem:
        return Finding(str(path), (f"{path}: damaged ({problem})",))
    if not found:
        print(f"{path}: equal within {RELATIVE:g}, not to the last bit; going on from the committed file.")
        (fresh / path).write_bytes(committed)
    return Finding(str(path), tuple(f"{path}: {problem}" for problem in found))


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
