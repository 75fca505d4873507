"""dvc.yaml: one text for every profile, every module that can change a result is a dependency, fingerprints follow."""

import ast
from pathlib import Path

import pytest
import yaml

from pipeline import config as settings
from pipeline.config import Cell
from pipeline.errors import InputError
from pipeline.graph import Stage, address, cell_stage, fingerprint, model_stage, read_stage

ROOT = Path(__file__).resolve().parents[1]
PROFILES = sorted((ROOT / "pipeline/profiles").glob("*/dvc.yaml"))
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]

INFRASTRUCTURE = {
    "__init__.py": "holds the version",
    "config.py": "hands params.yaml over; the values are dependencies themselves, as params",
    "consistency.py": "refuses settings; those that pass are as they are given",
    "errors.py": "an exception's name",
    "files.py": "how bytes get to disk; what is read is what was written (test_files), outputs are hashed",
    "graph.py": "decides whether a stage runs, not what it writes",
    "layout.py": "where files lie; the paths stand in dvc.yaml too",
    "progress.py": "a resumed run equals an undisturbed one bit for bit (test_progress)",
    "terms.py": "names of types",
    "record.py": "run records, which are never compared",
}
# Read a user's raw file, which `prepare` does, and `check` of imported tables; other stages that load a task read groups.
RAW_INPUT = {"reviews.py", "lines.py"}


def imported(path):
    """The pipeline's own files that a module names in an import; `load_task` imports any module of pipeline/tasks."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    places = [ROOT / name.replace(".", "/") for name in names if name.split(".")[0] == "pipeline"]
    files = {file for place in places for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()}
    return files | (set((ROOT / "pipeline/tasks").glob("*.py")) if "pipeline.tasks.load_task" in names else set())


def needed(module):
    """Every pipeline file that a module imports, directly or through others but the infrastructure, and itself."""
    seen, left = set(), [module]
    while left:
        path = left.pop()
        if path not in seen:
            seen.add(path)
            left += imported(path) if path.parent.name != "pipeline" or path.name not in INFRASTRUCTURE else ()
    return seen


def module_of(stage):
    words = STAGES[stage]["cmd"].split()
    return ROOT / "pipeline" / f"{words[words.index('stage') + 1]}.py"


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.parent.name)
def test_every_profile_has_the_same_stages(path):
    texts = [file.read_text(encoding="utf-8") for file in (ROOT / "dvc.yaml", path)]
    ours, theirs = (text[text.index("\nstages:") :] for text in texts)
    if path.parent.name == "mini":  # its results are not committed: `dvc metrics show` would miss them in a clone
        ours = ours.replace("    metrics:\n", "")[: ours.index("\nplots:") - len("    metrics:\n")]
    assert theirs.strip() == ours.strip()
    variables = yaml.safe_load(texts[1])["vars"][0]
    assert variables["params"] == path.with_name("params.yaml").relative_to(ROOT).as_posix()
    assert (path.parent / variables["root"]).resolve() == ROOT


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_can_change_a_result_is_a_dependency(stage):
    module = module_of(stage)
    assert module.is_file()
    deps = [ROOT / dep for dep in STAGES[stage]["deps"] if "${" not in dep]
    ignored = set(INFRASTRUCTURE) | (set() if module.stem in ("prepare", "check") else RAW_INPUT)
    own = {path for path in needed(module) if path.parent.name != "pipeline" or path.name not in ignored}
    missing = {path for path in own if path not in deps and path.parent not in deps}
    assert sorted(path.relative_to(ROOT).as_posix() for path in missing) == []


@pytest.mark.parametrize("stage", STAGES)
def test_dependencies_are_used_and_exist(stage):
    deps = [ROOT / dep for dep in STAGES[stage]["deps"] if dep.startswith("pipeline/")]
    assert [dep.name for dep in deps if not dep.exists()] == []
    used = needed(module_of(stage))
    assert [dep.name for dep in deps if dep.suffix == ".py" and dep not in used] == []


def test_infrastructure_exists():
    assert [name for name in INFRASTRUCTURE if not (ROOT / "pipeline" / name).is_file()] == []


@pytest.mark.parametrize("stage", [name for name in STAGES if name.startswith("listopd")])
def test_cells_wait_for_the_calibration(stage):
    assert "reports/${profile}/calibration.json" in STAGES[stage]["deps"]


DVC = """
stages:
  plain:
    deps: [code.py, "data/${profile}"]
    params:
      - ${params}: [seed, sft.steps]
    outs: [out]
  sft_student:
    deps: ["runs/${profile}/${item.seed}"]
    outs:
      - kept/${item.seed}:
          cache: false
    metrics:
      - metrics/${item.seed}.json
  listopd:
    deps: ["cells/${item.lambda}-${item.seed}"]
"""


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(DVC)
    Path("params.yaml").write_text("seed: 1\nsft: {steps: 5, batch: 2}\nother: 3\n")
    Path("code.py").write_text("x = 1\n")
    Path("data/replica").mkdir(parents=True)
    Path("data/replica/a.jsonl").write_text("a\n")
    return tmp_path


def test_stage_is_read_with_its_template_filled_in(tree):
    plain = read_stage("replica", "plain")
    assert plain == Stage("plain", ("code.py", "data/replica"), ("seed", "sft.steps"), ("out",))
    student = read_stage("replica", "sft_student", {"seed": "4"})
    assert student == Stage("sft_student@4", ("runs/replica/4",), (), ("kept/4", "metrics/4.json"))
    cell = read_stage("replica", "listopd", {"lambda": "1.05", "seed": "0"})
    assert (cell.name, cell.deps) == ("listopd@1.05-0", ("cells/1.05-0",))


def fingerprint_now():
    return fingerprint("replica", read_stage("replica", "plain"))


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("params.yaml", "seed: 2\nsft: {steps: 5, batch: 2}\n"),
        ("params.yaml", "seed: 1\nsft: {steps: 6, batch: 2}\n"),
        ("code.py", "x = 2\n"),
        ("data/replica/a.jsonl", "b\n"),
        ("data/replica/b.jsonl", ""),
        ("dvc.yaml", DVC.replace("[seed, sft.steps]", "[seed, sft.batch]")),
    ],
    ids=["a setting", "a nested setting", "code", "data", "one more file", "what it depends on"],
)
def test_fingerprint_follows_settings_and_dependencies(tree, path, content):
    before = fingerprint_now()
    Path(path).write_text(content)
    assert fingerprint_now() != before


def test_fingerprint_follows_nothing_else(tree):
    before = fingerprint_now()
    Path("params.yaml").write_text("# a comment\nother: 4\nsft: {batch: 3, steps: 5}\nseed: 1\n")
    Path("elsewhere.py").write_text("x = 3\n")
    Path("out").write_text("result")
    Path("data/replica/__pycache__").mkdir()
    Path("data/replica/__pycache__/a.pyc").write_text("compiled")
    assert fingerprint_now() == before


def test_fingerprints_of_two_stages_differ(tree):
    Path("cells").mkdir()
    for name in ("1.0-0", "1.0-1"):
        Path("cells", name).write_text("same")
    first, second = (read_stage("replica", "listopd", {"lambda": "1.0", "seed": seed}) for seed in "01")
    assert fingerprint("replica", first) != fingerprint("replica", second)


def test_missing_dependency_is_named(tree):
    Path("code.py").unlink()
    with pytest.raises(InputError, match=r"^code\.py: not found; expected an input of the stage plain"):
        fingerprint_now()


def test_addresses_of_models_and_cells(monkeypatch):
    monkeypatch.chdir(ROOT)
    config = settings.load("mini")
    assert [address(config, model_stage(config, name)) for name in ("teacher", "student-pilot", "student-1")] == [
        "pipeline/profiles/mini/dvc.yaml:sft_teacher",
        "pipeline/profiles/mini/dvc.yaml:sft_pilot",
        "pipeline/profiles/mini/dvc.yaml:sft_student@1",
    ]
    assert cell_stage(config, Cell("main", 1.0, 1)).name == "listopd@1.0-1"
    assert cell_stage(config, Cell("no_clip", 1.5, 0)).name == "listopd_group@no_clip-0"
    assert address(settings.load(), Stage("prepare", (), (), ())) == "prepare"


@pytest.mark.parametrize("profile", ["replica", *(path.parent.name for path in PROFILES)])
def test_every_group_of_cells_has_a_stage(profile, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = settings.load(profile)
    for name, cells in config.cells.items():
        lam, seed = cells.lambdas[-1], config.seeds[-1]
        stage = cell_stage(config, Cell(name, lam, seed))
        folder = f"reports/{profile}/cells/{name}/{seed}"
        assert (f"{folder}/{lam}" if name == "main" else folder) in stage.outs
        assert "${" not in "".join([*stage.deps, *stage.params, *stage.outs])


def test_another_lambda_in_a_group_leaves_its_cells_as_they_are(tree):
    stage = Stage("listopd_group@a-0", (), ("seed", "cells.a.lambdas"), ())
    text = "seed: 1\ncells: {a: {lambdas: [1.0]}}\n"
    Path("params.yaml").write_text(text)
    before = fingerprint("replica", stage)
    Path("params.yaml").write_text(text.replace("[1.0]", "[1.0, 2.0]"))
    assert fingerprint("replica", stage) == before
    Path("params.yaml").write_text(text.replace("seed: 1", "seed: 2"))
    assert fingerprint("replica", stage) != before
