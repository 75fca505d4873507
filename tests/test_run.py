"""The fan-out: what is due runs, a stage is handed to DVC when its last item is done, a failure costs only its own stage."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline import run
from pipeline.config import Cell
from pipeline.errors import InputError
from pipeline.graph import address, cell_stage
from pipeline.layout import Layout


@pytest.fixture
def fan_out(mini, monkeypatch):
    """Runs the mini profile's cells in threads, DVC replaced; gives (cells that ran, what was committed, what was said)."""
    items = [(address(mini, cell_stage(mini, cell)), cell) for cell in mini.all_cells()]
    ran, commits = [], []

    def go(due, failing=()):
        def dvc(*arguments):
            if arguments[0] == "commit":
                commits.extend(name.rsplit(":", 1)[-1] for name in arguments[3:])
            return json.dumps({name: ["changed deps"] for name, _ in items if name.rsplit(":", 1)[-1] in due})

        def work(_config, cell):
            ran.append(cell)
            if cell in failing:
                raise ValueError("broken")

        monkeypatch.setattr(run, "_dvc", dvc)
        monkeypatch.setattr(run, "_work", work)
        monkeypatch.setattr(run, "ProcessPoolExecutor", lambda jobs, *_: ThreadPoolExecutor(jobs))
        run._fan_out(mini, "cells", items, 2)

    return go, ran, commits


def test_only_what_is_due_runs_and_a_stage_is_committed_once_with_all_its_cells(fan_out, capsys):
    go, ran, commits = fan_out
    go({"listopd@1.5-1", "listopd_group@no_clip-0"})
    assert sorted(ran, key=str) == sorted([Cell("main", 1.5, 1), Cell("no_clip", 1.0, 0), Cell("no_clip", 1.5, 0)], key=str)
    assert sorted(commits) == ["listopd@1.5-1", "listopd_group@no_clip-0"]
    said = capsys.readouterr().out
    assert "cells: 7 of 10 up to date, 3 to run, 2 at a time" in said
    assert "cells: 3 done, 0 running, 0 waiting, elapsed 0:00, about 0:00 to go" in said


def test_nothing_due_runs_nothing(fan_out, capsys):
    go, ran, commits = fan_out
    go(set())
    assert (ran, commits) == ([], [])
    assert "10 of 10 up to date" in capsys.readouterr().out


@pytest.mark.parametrize("lam", [1.0, 1.5])
def test_a_failure_is_named_and_keeps_its_stage_from_being_committed(fan_out, capsys, lam):
    go, ran, commits = fan_out
    with pytest.raises(InputError, match=rf"cells: 1 of 3 failed \(no_clip/0/{lam}\); the others are kept"):
        go({"listopd@1.5-1", "listopd_group@no_clip-0"}, failing=[Cell("no_clip", lam, 0)])
    assert len(ran) == 3
    assert commits == ["listopd@1.5-1"]
    assert f"no_clip/0/{lam}: failed: ValueError: broken" in capsys.readouterr().err


def test_a_second_run_of_the_profile_is_refused(mini):
    with run._alone(mini), pytest.raises(InputError, match="held by another run"), run._alone(mini):
        pass
    with run._alone(mini):
        pass


def test_sigterm_ends_as_an_interrupt_does_and_says_what_is_kept(capsys):
    with pytest.raises(SystemExit) as end, run._terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert end.value.code == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_dry_run_writes_nothing(mini, capsys):
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    run.run("mini", None, None, None, dry_run=True)
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before
    assert "settings and input are valid: 4 warm starts and 10 cells; nothing was trained" in capsys.readouterr().out


def test_a_dry_run_refuses_a_completion_that_cannot_fit(mini):
    path = Path("pipeline/profiles/mini/params.yaml")
    path.write_text(path.read_text().replace("max_tokens: 12", "max_tokens: 7"))
    with pytest.raises(InputError, match=r"opd\.max_tokens: found 7; a correct completion has up to 8 tokens"):
        run.run("mini", None, None, None, dry_run=True)


def test_files_for_a_profile_that_generates_its_data_are_refused(mini, tmp_path):
    with pytest.raises(InputError, match="the profile mini generates its data"):
        run.run("mini", None, tmp_path / "reviews.jsonl", None, dry_run=False)
    assert not list(Layout("mini").runs.glob("input*"))
