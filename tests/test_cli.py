"""The command line as a user meets it: help, numbers, and bad input in one line with exit code 2."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import cli, theory
from pipeline.config import load

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ["run", "theory", "advise", "ids", "import", "check", "verify", "report", "doctor", "stage"]


def python(*arguments, cwd=ROOT):
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def pipeline(monkeypatch, capsys):
    """Call the command line in this process, which spares the start of an interpreter: exit code, stdout, stderr."""

    def call(*arguments):
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out = capsys.readouterr()
        return end.value.code, out.out, out.err

    return call


@pytest.fixture
def refusal(pipeline):
    """The one line with which a command is refused."""

    def call(*arguments):
        code, out, err = pipeline(*arguments)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert err.startswith("error: ")
        return err

    return call


def test_bad_input_is_one_line_and_exit_code_two():
    done = python("-m", "pipeline", "theory", "--p", "0.4", "--b", "0.5")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: theory: p (teacher) must exceed b (base)")


def test_help_lists_every_command():
    done = python("-m", "pipeline", "--help")
    assert done.returncode == 0
    listed = [line.strip("│ ").split()[0] for line in done.stdout.splitlines() if line.strip("│ ")]
    assert set(COMMANDS) <= set(listed)


def test_the_front_door_is_light():
    heavy = {"torch", "transformers", "scipy", "pandas", "numpy"}
    done = python("-c", f"import sys, pipeline.cli; print(sorted({heavy} & set(sys.modules)))")
    assert done.stdout.strip() == "[]"


def test_theory_as_json(pipeline):
    code, out, _ = pipeline("theory", "--p", "0.99934", "--b", "0.5", "--c", "5", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["lambda_star"] == pytest.approx(theory.lambda_star(0.99934, 0.5, 5.0), rel=1e-12)
    assert facts["lambda_star"] == pytest.approx(1.22, abs=0.005)
    assert facts["logit_gap"] == pytest.approx(theory.log_odds(0.99934), rel=1e-12)
    assert facts["q_clip"] == pytest.approx(1 - (1 - 0.99934) / 5, rel=1e-12)


def test_theory_as_text(pipeline):
    code, out, _ = pipeline("theory", "--p", "0.99934", "--reading", "mask", "--lambda", "1.3")
    assert code == 0
    assert ["lambda_star", f"{theory.lambda_star(0.99934):.6g}"] in [line.split() for line in out.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--p", "0.4", "--b", "0.5"], "p (teacher) must exceed b (base)"),
        (["--p", "0.5", "--b", "0.5"], "p (teacher) must exceed b (base)"),
        (["--p", "1.0"], "p must lie strictly between 0 and 1"),
        (["--p", "nan"], "p must lie strictly between 0 and 1"),
        (["--p", "0.9", "--c", "1"], "clip (c) must be above 1 and at most 1e+09"),
    ],
)
def test_theory_outside_its_domain(refusal, arguments, words):
    assert words in refusal("theory", *arguments)


@pytest.mark.parametrize(
    "command", [["run", "--dry-run"], ["check"], ["verify"], ["report"], ["doctor"], ["stage", "evaluate"]], ids=" ".join
)
def test_unknown_profile(refusal, command):
    assert "profile: found 'nope'; expected one of replica" in refusal(*command, "--profile", "nope")


def test_outside_a_checkout(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv[1:] = ['run']; from pipeline.cli import main; main()"
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no dvc.yaml here" in done.stderr


def test_dry_run_of_the_replica_trains_nothing():
    done = python("-m", "pipeline", "run", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"groups: sft {load().data.sft}, train 1795, validation 212, heldout 1024" in done.stdout
    assert "7 warm starts and 65 cells; nothing was trained" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "cell",
    [
        ["--lambda", "1.07"],
        ["--seed", "9"],
        ["--cells", "none"],
        ["--cells", "no_clip", "--lambda", "1.05"],
        ["--lambda", "nan"],
    ],
    ids=" ".join,
)
def test_cell_outside_the_grid(refusal, cell):
    assert "expected a cell of the settings' grid" in refusal("stage", "listopd", *cell)


def test_unknown_model(refusal):
    assert "--model: found 'student-7'; expected one of teacher, student-pilot" in refusal(
        "stage", "sft", "--model", "student-7"
    )


@pytest.mark.parametrize(
    "arguments",
    [["stage", "train"], ["theory"], ["run", "--jobs", "0"], ["theory", "--p", "x"], ["check", "--junit", "tests"]],
    ids=" ".join,
)
def test_wrong_usage(refusal, arguments):
    assert "--help lists what there is" in refusal(*arguments)


def test_reviews_for_a_profile_that_generates_its_data(refusal, tmp_path):
    (tmp_path / "reviews.jsonl").write_text("{}\n")
    found = refusal("run", "--dry-run", "--profile", "mini", "--reviews", str(tmp_path / "reviews.jsonl"))
    assert "the profile mini generates its data" in found


@pytest.mark.parametrize(
    ("name", "content"),
    [("bad.jsonl", b"not JSON\n"), ("bytes.jsonl", b"\xff\xfe\n"), ("fake.jsonl.gz", b"plain"), ("list.jsonl", b"[1]\n")],
)
def test_ids_of_a_bad_file(refusal, name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert name in refusal("ids", str(tmp_path / name))


def test_ids_of_no_file(refusal, tmp_path):
    assert "not found" in refusal("ids", str(tmp_path / "none.jsonl"))


def test_ids_prints_one_line_for_each_review(pipeline, tmp_path):
    rows = [
        {"overall": 5.0, "reviewerID": f"u{i}", "asin": "A", "reviewText": f"text\n{i}", "unixReviewTime": 1_460_000_000 + i}
        for i in range(3)
    ]
    rows.append(rows[0] | {"reviewText": " "})
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, out, err = pipeline("ids", str(tmp_path / "r.jsonl"))
    assert "4 records, 1 without text" in err
    assert "3 ids printed" in err
    lines = [line.split("\t") for line in out.splitlines()]
    assert [text for _, text in lines] == ["text 0", "text 1", "text 2"]
    assert all(len(name) == 16 and int(name, 16) >= 0 for name, _ in lines)
