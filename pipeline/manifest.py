"""The manifest: SHA-256 of all that a profile publishes, in the format of ``sha256sum``, sorted by path.

It lists the profile's calibration, samples, logs, metrics, figure data, verdicts and reports; the default profile's
lists the bundle (claims, their schema, expected verdicts, notes) too. It leaves out the run records, which tell of a
machine and of its time, and ``dvc.lock``. `run` writes it as its last step. From the root of the checkout,
``sha256sum -c bundle/MANIFEST.sha256`` checks the default profile without this program; another profile's manifest is
``reports/<profile>/MANIFEST.sha256``.
"""

import gzip
import hashlib
import re
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

from pipeline.config import DEFAULT_PROFILE
from pipeline.differences import first_difference
from pipeline.errors import InputError
from pipeline.files import sha256_of, write_atomically
from pipeline.layout import Layout

BUNDLE = Path("bundle")
NAME = "MANIFEST.sha256"
LEFT_OUT = ("run.json", NAME)
LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def write(layout: Layout) -> None:
    """Hash every file that belongs in the manifest of the layout's profile."""
    lines = "".join(f"{sha256_of(Path(name))}  {name}\n" for name in belonging(layout))
    write_atomically(layout.manifest, lines.encode())


def belonging(layout: Layout) -> list[str]:
    """The paths of the files that are to be listed, sorted; hidden files are nobody's publication."""
    folders = (BUNDLE, layout.reports) if layout.profile == DEFAULT_PROFILE else (layout.reports,)
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sorted(path.as_posix() for path in files if path.name not in LEFT_OUT and not path.name.startswith("."))


def read(path: Path) -> dict[str, str]:
    """Path → digest. Raises InputError naming the line that ``sha256sum`` would not have written, or not there."""
    listed: dict[str, str] = {}
    previous = ""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"{path}: {problem}; expected the file that `python -m pipeline run` writes") from None
    for number, line in enumerate(lines, 1):
        match = LINE.fullmatch(line)
        if not match:
            raise InputError(f"{path}: line {number}: found {line!r:.90}; expected SHA-256, two spaces, a path")
        digest, name = match.groups()
        if name <= previous:
            raise InputError(f"{path}: line {number}: found {name!r}; expected a path that sorts after {previous!r}")
        listed[name], previous = digest, name
    return listed


def mismatches(layout: Layout) -> Iterator[tuple[str, str]]:
    """Each file that is listed or should be, and what is wrong with it (empty: nothing)."""
    path = layout.manifest
    if not path.is_file():
        yield str(path), f"{path}: not found; expected the file that `python -m pipeline run` writes as its last step"
        return
    listed, present = read(path), set(belonging(layout))
    for name in sorted(listed.keys() | present):
        if name not in listed:
            yield name, f"{name}: not listed in {path}"
        elif name not in present:
            wrong = "not one of the files that belong there" if Path(name).exists() else "not found"
            yield name, f"{name}: listed in {path}, but {wrong}"
        elif (found := sha256_of(Path(name))) != listed[name]:
            told = _changed(path, Path(name), listed[name]) or f"listed {listed[name]}, found {found}"
            yield name, f"{name}: not as {path} lists it: {told}"
        else:
            yield name, ""


def _changed(manifest: Path, path: Path, digest: str) -> str:
    """Where the file differs from the listed one, if the commit that last wrote the manifest holds that; else empty."""
    try:
        last = ["git", "log", "-1", "--format=%H", "--", str(manifest)]
        commit = subprocess.run(last, capture_output=True, text=True, check=True).stdout.strip()
        shown = subprocess.run(["git", "show", f"{commit}:./{path.as_posix()}"], capture_output=True, check=True).stdout
        if hashlib.sha256(shown).hexdigest() != digest:
            return ""
        before, now = (gzip.decompress(c) if path.suffix == ".gz" else c for c in (shown, path.read_bytes()))
    except (OSError, subprocess.CalledProcessError, EOFError, zlib.error):
        return ""
    return first_difference(before, now, ("listed", "found"))
