"""Write requirements.lock: every package that pyproject.toml's pins bring in, at one version each (`make lock`).

Reads pyproject.toml and, unless --upgrade is given, the present lock, so that only what must move moves. Resolves with
pip's own resolver in a scratch environment and installs nothing. It deliberately writes no hashes, no index and no
local version: the pinned torch exists as several builds, and which one is wanted depends on the machine.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Written by `make lock` from pyproject.toml; do not edit.
# No hashes: torch {torch} is published as different builds (CPU, CUDA, macOS) under this one version, and a hash would
# forbid all but one. The CUDA libraries are left out too: the CUDA build pins its own.
"""
CUDA_ONLY = re.compile(r"(nvidia|cuda)-.*|triton")


def canonical(name: str) -> str:
    """The normalised form of a distribution's name (PyPA, "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()


def direct_pins() -> dict[str, str]:
    """The exact pins of pyproject.toml, dev group included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = {}
    for line in project["dependencies"] + project["optional-dependencies"]["dev"]:
        name, exact, version = line.partition("==")
        if not exact:
            raise SystemExit(f"error: pyproject.toml: {line!r} is not an exact pin (name==version)")
        pins[canonical(name)] = version
    return pins


def resolve(pins: dict[str, str], kept: dict[str, str]) -> dict[str, str]:
    """What pip would install for ``pins``, holding other packages at their versions in ``kept``."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        venv.create(scratch / "venv", with_pip=True)
        for name, versions in (("wanted", pins), ("kept", kept)):
            (scratch / name).write_text("".join(f"{n}=={v}\n" for n, v in versions.items()), encoding="utf-8")
        report = scratch / "report.json"
        python = scratch / "venv" / "bin" / "python"
        options = ["-qq", "--dry-run", "--ignore-installed", "--disable-pip-version-check", "--use-pep517"]
        files = ["--report", report, "-r", scratch / "wanted", "-c", scratch / "kept"]
        done = subprocess.run([python, "-m", "pip", "install", *options, *files], check=False)
        if done.returncode:
            raise SystemExit("error: pip found no consistent set of versions; `make lock UPGRADE=1` lets them all move")
        found = [item["metadata"] for item in json.loads(report.read_text(encoding="utf-8"))["install"]]
    return {canonical(item["name"]): item["version"].partition("+")[0] for item in found}


def main() -> None:
    """Resolve and rewrite the lock."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="let packages that pyproject.toml does not pin move")
    upgrade = parser.parse_args().upgrade
    lock, pins, kept = ROOT / "requirements.lock", direct_pins(), {}
    if lock.exists() and not upgrade:
        lines = [line.split("==") for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line]
        kept = {name: version for name, version in lines if name not in pins}
    resolved = {name: version for name, version in resolve(pins, kept).items() if not CUDA_ONLY.fullmatch(name)}
    body = "".join(f"{name}=={version}\n" for name, version in sorted(resolved.items()))
    text = HEADER.format(torch=pins["torch"]) + body
    if not lock.exists() or lock.read_text(encoding="utf-8") != text:  # an untouched lock keeps the environment valid
        temporary = lock.with_suffix(".lock.tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(lock)
    sys.stdout.write(f"{lock.name}: {len(resolved)} packages, {len(pins)} of them pinned in pyproject.toml\n")


if __name__ == "__main__":
    main()
