"""One place for versions: pyproject.toml, the lock, environment.yml and what is installed say the same."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import pipeline

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
# Packages that only torch's CUDA build brings: they are not in the lock, for the CUDA build pins them itself.
CUDA_ONLY = re.compile(r"(nvidia|cuda)-.*|triton")


def pins(lines: list[str]) -> dict[str, str]:
    """Name → version of requirement lines, each of which must be one exact pin without a build of its own."""
    found = {}
    for line in lines:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!]+)", line)
        assert match, f"{line!r} is not name==version"
        assert canonicalize_name(match[1]) not in found, f"{match[1]} is pinned twice"
        found[canonicalize_name(match[1])] = match[2]
    return found


def lock_lines() -> list[str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


LOCK = pins(lock_lines())
RUNTIME = pins(PROJECT["project"]["dependencies"])
DEV = pins(EXTRAS["dev"])
DIRECT = RUNTIME | DEV


def imported_modules(folder: str) -> Iterator[tuple[str, str]]:
    """Top-level name of each third-party import under ``folder``, with the file it stands in."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            else:
                continue
            for name in (name.partition(".")[0] for name in names):
                if name not in sys.stdlib_module_names and name not in {"pipeline", "tests", "conftest"}:
                    yield name, str(path.relative_to(ROOT))


def undeclared(folder: str, declared: set[str]) -> dict[str, str]:
    """Modules imported under ``folder`` that no distribution in ``declared`` provides, each with one file."""
    owners = metadata.packages_distributions()
    local = {path.stem for path in (ROOT / folder).glob("*.py")}
    return {
        name: path
        for name, path in imported_modules(folder)
        if name not in local and declared.isdisjoint(canonicalize_name(owner) for owner in owners.get(name, [name]))
    }


def test_every_direct_pin_is_the_locks() -> None:
    assert {name: LOCK.get(name) for name in DIRECT} == DIRECT


def test_the_lock_is_sorted_and_names_no_index() -> None:
    assert list(LOCK) == sorted(LOCK)
    for name in ("requirements.lock", "environment.yml", "pyproject.toml"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text and "index-url" not in text, name


def test_the_lock_is_complete() -> None:
    """What any locked package asks for on this machine is locked too, at a version that satisfies it."""
    for name in LOCK:
        for line in metadata.requires(name) or []:
            wanted = Requirement(line)
            needed = canonicalize_name(wanted.name)
            applies = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
            if not applies or CUDA_ONLY.fullmatch(needed):
                continue
            assert needed in LOCK, f"{name} needs {line}: run `make lock`"
            assert wanted.specifier.contains(LOCK[needed], prereleases=True), f"{name} needs {line}: run `make lock`"


@pytest.mark.parametrize("name", sorted(DIRECT))
def test_the_installed_version_is_the_locked_one(name: str) -> None:
    assert Version(metadata.version(name)).public == LOCK[name], "the environment is stale: run `make setup`"


def test_conda_takes_the_lock_and_a_supported_python() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (from_pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert from_pip == ["-r requirements.lock"]
    (python,) = [entry for entry in environment["dependencies"] if str(entry).startswith("python=")]
    assert Version(python.removeprefix("python=")) in SpecifierSet(PROJECT["project"]["requires-python"])
    assert environment["name"] == PROJECT["project"]["name"]
    versioned = [entry for entry in environment["dependencies"] if "=" in str(entry) and entry != python]
    assert all(isinstance(entry, dict) for entry in versioned), "versions belong in pyproject.toml"


def test_one_python_version_everywhere() -> None:
    supported = SpecifierSet(PROJECT["project"]["requires-python"])
    assert Version(".".join(map(str, sys.version_info[:3]))) in supported
    (lowest,) = [Version(part.version) for part in supported if part.operator == ">="]
    assert PROJECT["tool"]["mypy"]["python_version"] == str(lowest)
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{lowest.major}{lowest.minor}"


def test_pipeline_imports_only_declared_dependencies() -> None:
    optional = set(pins([line for group, lines in EXTRAS.items() if group != "dev" for line in lines]))
    assert undeclared("pipeline", set(RUNTIME) | optional) == {}


def test_tests_import_only_declared_dependencies() -> None:
    assert undeclared("tests", set(DIRECT)) == {}


def test_one_version_of_this_software() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert PROJECT["project"]["version"] == pipeline.__version__ == str(citation["version"])


def test_make_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    explained = re.findall(r"^([a-z-]+):.*## \S", makefile, flags=re.MULTILINE)
    assert explained == phony.split()


def test_workflows_pin_actions_and_may_only_read() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        assert yaml.safe_load(text)["permissions"] == {"contents": "read"}, path.name
        for action in re.findall(r"uses: *(\S+)", text):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), f"{path.name}: {action} is not pinned by commit"


def test_ci_keeps_and_shows_what_the_gate_writes() -> None:
    (job,) = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"].values()
    (kept,) = [step["with"]["path"] for step in job["steps"] if step.get("uses", "").startswith("actions/upload-artifact@")]
    assert {str(Path(job["env"][name]).parent) for name in ("JUNIT", "MARKDOWN")} == {kept}
    assert any("GITHUB_STEP_SUMMARY" in step.get("run", "") for step in job["steps"])
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"JUNIT", "MARKDOWN"} <= set(re.findall(r"^(\w+) *\?=", makefile, flags=re.MULTILINE))
