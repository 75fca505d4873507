"""The manifest: what `sha256sum` would write, what it lists, and every way in which it and the tree can disagree."""

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline import manifest, run
from pipeline.errors import InputError
from pipeline.layout import Layout

ROOT = Path(__file__).resolve().parents[1]
REPLICA, FASHION = Layout("replica"), Layout("fashion")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Invented results of two profiles, each with its manifest, as working directory."""
    monkeypatch.chdir(tmp_path)
    files = {"bundle/claims.yaml": "value: 1.22\n", "bundle/expected.yaml": "a: b\n", "bundle/imported/t.csv": "x\n1\n"}
    for layout in (REPLICA, FASHION):
        files |= {
            f"{layout.aggregate}": '{"p": 0.9}\n',
            f"{layout.reports}/cells/main/0/1.0/run.json": "{}",
            f"{layout.reports}/cells/main/0/1.0/log.jsonl": '{"loss": 0.1}\n',
            f"{layout.reports}/.aggregate.json.x": "unfinished",
        }
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    samples = REPLICA.reports / "cells/main/0/1.0/samples.jsonl.gz"
    samples.write_bytes(gzip.compress(b'{"completions": ["one 1"]}\n', mtime=0))
    for layout in (REPLICA, FASHION):
        manifest.write(layout)
    return tmp_path


def wrong(layout=REPLICA):
    return [problem for _, problem in manifest.mismatches(layout) if problem]


def git(*arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "core.autocrlf=true"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def sha256sum(path):
    """What GNU coreutils say of the manifest in the working directory."""
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    return done.returncode, done.stdout


def test_it_lists_the_bundle_and_the_profile_and_no_run_record(tree):
    base = "reports/replica/cells/main/0/1.0"
    names = ["bundle/claims.yaml", "bundle/expected.yaml", "bundle/imported/t.csv", "reports/replica/aggregate.json"]
    assert list(manifest.read(REPLICA.manifest)) == [*names, f"{base}/log.jsonl", f"{base}/samples.jsonl.gz"]
    assert str(REPLICA.manifest) == "bundle/MANIFEST.sha256"
    assert wrong() == wrong(FASHION) == []


def test_it_is_what_sha256sum_writes_and_checks(tree):
    names = sorted(manifest.read(REPLICA.manifest))
    assert subprocess.run(["sha256sum", *names], capture_output=True, check=True).stdout == REPLICA.manifest.read_bytes()
    assert sha256sum(REPLICA.manifest)[0] == 0
    Path("bundle/claims.yaml").write_text("value: 1.23\n")
    code, said = sha256sum(REPLICA.manifest)
    assert (code, "bundle/claims.yaml: FAILED" in said) == (1, True)


def test_another_profiles_run_leaves_it_true(tree):
    before = REPLICA.manifest.read_bytes()
    FASHION.aggregate.write_text('{"p": 0.8}\n')
    assert len(wrong(FASHION)) == 1
    manifest.write(FASHION)
    assert wrong() == wrong(FASHION) == []
    assert REPLICA.manifest.read_bytes() == before


def test_it_is_right_in_a_fresh_clone(tree, tmp_path_factory):
    shutil.copy(ROOT / ".gitattributes", tree)
    shutil.copy(ROOT / ".gitignore", tree)
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "t")
    clone = tmp_path_factory.mktemp("clone") / "tree"
    git("clone", "-q", str(tree), str(clone))
    os.chdir(clone)
    assert wrong() == wrong(FASHION) == []
    assert sha256sum(REPLICA.manifest)[0] == sha256sum(FASHION.manifest)[0] == 0


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("bundle/claims.yaml", b"1.22", b"1.23", "line 1: listed 'value: 1.22', found 'value: 1.23'"),
        ("reports/replica/aggregate.json", b"0.9", b"0.8", """line 1: listed '{"p": 0.9}', found '{"p": 0.8}'"""),
        ("reports/replica/cells/main/0/1.0/samples.jsonl.gz", b"one 1", b"one 2", """listed '{"completions": ["one 1"]}'"""),
    ],
)
def test_a_changed_digit_is_named_where_git_knows_the_listed_file(tree, name, old, new, told):
    path = Path(name)

    def edit():
        content = path.read_bytes()
        packed = path.suffix == ".gz"
        changed = (gzip.decompress(content) if packed else content).replace(old, new)
        path.write_bytes(gzip.compress(changed, mtime=0) if packed else changed)

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "t")
    edit()
    (problem,) = wrong()
    assert problem.startswith(f"{name}: not as bundle/MANIFEST.sha256 lists it: line 1: ")
    assert told in problem
    git("commit", "-qam", "changed by hand")
    assert wrong() == [problem]


def test_without_git_the_file_is_named(tree, monkeypatch):
    Path("bundle/claims.yaml").write_text("value: 1.23\n")
    for path in (os.environ["PATH"], "/nowhere"):
        monkeypatch.setenv("PATH", path)
        (problem,) = wrong()
        assert problem.startswith("bundle/claims.yaml: not as bundle/MANIFEST.sha256 lists it: listed ")


def edited(change):
    lines = REPLICA.manifest.read_text().splitlines()
    REPLICA.manifest.write_text("".join(f"{line}\n" for line in change(lines)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda lines: [f"{'0' * 64}{lines[0][64:]}", *lines[1:]],
            f"bundle/claims.yaml: not as {REPLICA.manifest} lists it",
        ),
        (lambda lines: lines[1:], f"bundle/claims.yaml: not listed in {REPLICA.manifest}"),
        (lambda lines: [*lines, f"{'0' * 64}  reports/x"], f"reports/x: listed in {REPLICA.manifest}, but not found"),
        (
            lambda lines: [*lines, f"{'0' * 64}  reports/replica/z/run.json"],
            f"reports/replica/z/run.json: listed in {REPLICA.manifest}, but not found",
        ),
        (lambda lines: [lines[0].replace("claims.yaml", "claims.yml"), *lines[1:]], "bundle/claims.yml: listed in"),
        (lambda lines: [], "reports/replica/aggregate.json: not listed"),
    ],
    ids=["edited", "missing", "added", "added record", "renamed", "emptied"],
)
def test_a_line_edited_missing_or_added_is_named(tree, change, told):
    edited(change)
    assert any(problem.startswith(told) for problem in wrong()), wrong()


def test_a_record_may_not_be_listed_even_with_its_hash(tree):
    name = "reports/replica/cells/main/0/1.0/run.json"
    digest = subprocess.run(["sha256sum", name], capture_output=True, check=True, text=True).stdout
    edited(lambda lines: sorted([*lines, digest.strip()], key=lambda line: line[66:]))
    assert wrong() == [f"{name}: listed in {REPLICA.manifest}, but not one of the files that belong there"]


@pytest.mark.parametrize(
    ("change", "number", "words"),
    [
        (lambda lines: [lines[0].upper(), *lines[1:]], 1, "expected SHA-256, two spaces, a path"),
        (lambda lines: [lines[0], lines[1][1:], *lines[2:]], 2, "expected SHA-256"),
        (lambda lines: [*lines, "<<<<<<< HEAD"], 7, "expected SHA-256"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], 3, "expected a path that sorts after 'bundle/expected.yaml'"),
        (lambda lines: lines[::-1], 2, "expected a path that sorts after"),
        (lambda lines: [lines[0], "", *lines[1:]], 2, "found ''"),
    ],
    ids=["upper case", "short", "merge conflict", "twice", "unsorted", "empty line"],
)
def test_a_damaged_manifest_is_one_line_that_names_the_line(tree, change, number, words):
    edited(change)
    with pytest.raises(InputError) as problem:
        wrong()
    message = str(problem.value)
    assert message.startswith(f"bundle/MANIFEST.sha256: line {number}: found ")
    assert words in message
    assert "\n" not in message


def test_bytes_that_are_no_text_are_refused(tree):
    REPLICA.manifest.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"MANIFEST\.sha256"):
        wrong()


def test_a_missing_manifest_is_said(tree):
    REPLICA.manifest.unlink()
    assert wrong() == [
        "bundle/MANIFEST.sha256: not found; expected the file that `python -m pipeline run` writes as its last step"
    ]


def test_a_run_writes_it_last(tree, monkeypatch, capsys):
    done = []
    monkeypatch.setattr(run.settings, "load", lambda profile: type("C", (), {
        "profile": profile, "reviews": None, "models_to_train": tuple, "all_cells": tuple,
    })())  # fmt: skip
    monkeypatch.setattr(run, "_fan_out", lambda *_: done.append("fan out"))
    monkeypatch.setattr(
        run, "_repro", lambda _config, stage=None: (done.append(stage), REPLICA.aggregate.write_text('{"p": 0.7}\n'))
    )
    run.run("replica", 1, None, None, dry_run=False)
    assert done == ["prepare", "fan out", "calibrate", "fan out", None]
    assert wrong() == []
    assert capsys.readouterr().out.splitlines()[-1] == "reports/replica/report.html"
