"""The whole graph of the mini profile in a temporary checkout, as a user runs it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
MINI = "pipeline/profiles/mini/dvc.yaml"


def call(tree, *command):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tree,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def stages_run(output):
    return set(re.findall(r"Running stage '(?:[^':]*:)?([^']+)'", output))


def cell_records(tree):
    return {path: path.read_bytes() for path in (tree / "reports/mini/cells").rglob("run.json")}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """What git would give a user of the working tree as it stands, without any result."""
    tree = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and (not name.startswith("reports/") or name.startswith("reports/templates/")):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    (tree / "pipeline/profiles/mini/dvc.lock").unlink(missing_ok=True)
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "t"],
    ):
        subprocess.run(["git", *command], cwd=tree, check=True)
    return tree


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_repro_runs_everything_once_and_only_what_changed_again(checkout):
    output = call(checkout, "dvc", "repro", MINI)
    assert {"prepare", "sft_teacher", "sft_student@0", "calibrate", "listopd@1.5-1", "report"} <= stages_run(output)
    report = checkout / "reports/mini/report.html"
    assert "<html" in report.read_text()

    assert stages_run(call(checkout, "dvc", "repro", MINI)) == set()
    metrics = json.loads(call(checkout, "dvc", "metrics", "show", "--json", "reports/mini/metrics.json"))
    assert 0 < metrics[""]["data"]["reports/mini/metrics.json"]["data"]["p"] < 1

    before = cell_records(checkout)
    params = checkout / "pipeline/profiles/mini/params.yaml"
    params.write_text(params.read_text().replace("lambdas: [1.0, 1.1, 1.5]", "lambdas: [1.0, 1.1, 1.5, 2.0]"))
    output = call(checkout, "pipeline", "run", "--profile", "mini", "--jobs", "2")
    assert "cells: 10 of 12 up to date, 2 to run" in output
    assert output.strip().splitlines()[-1] == "reports/mini/report.html"
    subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "reports/mini/MANIFEST.sha256"], cwd=checkout, check=True)
    assert ", 0 failed" in call(checkout, "pipeline", "verify", "--profile", "mini")
    after = cell_records(checkout)
    assert {path: content for path, content in after.items() if path in before} == before
    assert len(after) == len(before) + 2
    assert stages_run(call(checkout, "dvc", "repro", MINI)) == set()

    before = after
    params.write_text(params.read_text().replace("lambdas: [1.0, 1.5]", "lambdas: [1.0, 1.5, 2.0]"))
    assert {"listopd_group@no_clip-0", "listopd_group@no_clip-1"} <= stages_run(call(checkout, "dvc", "repro", MINI))
    after = cell_records(checkout)
    assert {path: content for path, content in after.items() if path in before} == before
    assert len(after) == len(before) + 2

    template = checkout / "reports/templates/report.html.j2"
    template.write_text(template.read_text() + "\n<!-- changed -->\n")
    assert stages_run(call(checkout, "dvc", "repro", "--dry", MINI)) == {"report"}


def test_every_cell_depends_on_the_calibration():
    for path in (ROOT / "dvc.yaml", *ROOT.glob("pipeline/profiles/*/dvc.yaml")):
        stages = yaml.safe_load(path.read_text())["stages"]
        cells = {name: stage for name, stage in stages.items() if name.startswith("listopd")}
        assert "listopd" in cells
        for stage in cells.values():
            assert "reports/${profile}/calibration.json" in stage["deps"]
