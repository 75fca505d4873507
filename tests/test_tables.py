"""Imported tables: what is accepted, how each fault is named, that nothing is stored when anything is wrong.

All rows are INVENTED (`invented.py`, ``invented_metrics.csv``).
"""

import gzip
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from invented import Row, csv_of, row, runs_of, scored, seeds, sft

from pipeline import check, cli, imported, tables
from pipeline.errors import InputError
from pipeline.files import sha256_of

EXAMPLE = Path(__file__).with_name("invented_metrics.csv")
GOOD = [row(0), row(1), sft(0)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "bundle" / "imported"
    found.mkdir(parents=True)
    (found / tables.GUIDE).write_text("columns")
    return found


def write(path: Path, rows: list[Row]) -> Path:
    path.write_text(csv_of(rows) if path.suffix == ".csv" else json.dumps(rows), encoding="utf-8")
    return path


def stored(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# What is accepted


@pytest.mark.parametrize("name", ["t.csv", "t.json"])
def test_both_forms_give_the_same_runs(tmp_path: Path, name: str) -> None:
    rows = [*scored(seeds(row, 0.9), 0.8), sft(0, p=0.99934, teacher="Qwen3-4B"), row(7, 0.5, shorter=400, repetition=0)]
    assert tables.read_table(write(tmp_path / name, rows)).runs == runs_of(rows)


def test_optional_columns_may_lack_order_is_free_and_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    text = csv_of([sft(0), sft(1)], reversed(imported.REQUIRED and [c for c in imported.COLUMNS if c in sft(0)]))
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n")
    assert tables.read_table(path).runs == runs_of([sft(0), sft(1)])


def test_gzip_is_told_by_content(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(gzip.compress(csv_of(GOOD).encode()))
    assert len(tables.read_table(tmp_path / "t.csv").runs) == 3


def test_a_row_that_says_the_same_again_is_counted_and_skipped(folder: Path, tmp_path: Path) -> None:
    said = tables.store([write(tmp_path / "t.csv", [*GOOD, row(0, provenance="somebody else")])], [], folder)
    assert said == [f"{folder / 't.csv'}: 3 evaluations, 2 seeds, 1 row given twice and skipped"]


def test_text_of_any_kind_is_only_text(folder: Path, tmp_path: Path) -> None:
    evil = '=HYPERLINK("http://x")<script>alert(1)</script>{{7*7}}\u2028end'
    tables.store([write(tmp_path / "t.csv", [row(provenance=evil)])], [], folder)
    assert tables.load_tables(folder)["t.csv"].runs[0].provenance == evil


def test_the_guide_names_every_column() -> None:
    guide = (tables.FOLDER / tables.GUIDE).read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", guide, re.MULTILINE)
    assert [name for name, _ in named] == list(imported.COLUMNS)
    assert tuple(name for name, needed in named if needed == "always") == imported.REQUIRED
    assert tables.load_tables() == {}, "no table is committed"


# Faults


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"parsed": 1001}, ["parsed: found 1001", "at most n = 1000"]),
        ({"parsed": -1}, ["parsed: found -1", "greater than or equal to 0"]),
        ({"parsed": 950.5}, ["parsed: found 950.5", "valid integer"]),
        ({"parsed": "95%"}, ["parsed: found '95%'", "valid integer"]),
        ({"parsed": "NaN"}, ["parsed: found 'NaN'"]),
        ({"n": 0}, ["n: found 0"]),
        ({"n": "1_000"}, ["n: found '1_000'"]),
        ({"n": 10**12}, ["n: found 1000000000000"]),
        ({"seed": "a"}, ["seed: found 'a'"]),
        ({"seed": None}, ["seed: missing"]),
        ({"student": None}, ["student: missing"]),
        ({"student": "../x"}, ["student: found '../x'"]),
        ({"student": "<b>"}, ["student: found '<b>'"]),
        ({"provenance": None}, ["provenance: missing"]),
        ({"provenance": "x" * 301}, ["provenance: found 'xxx"]),
        ({"method": "magic"}, ["method: found 'magic'", "'listopd'"]),
        ({"decoding": "beam"}, ["decoding: found 'beam'", "'greedy'"]),
        ({"reading": "soft"}, ["reading: found 'soft'"]),
        ({"reading": None}, ["reading: found None", "a value, as method is listopd"]),
        ({"lambda": None}, ["lambda: found None", "a value, as method is listopd"]),
        ({"lambda": "inf"}, ["lambda: found 'inf'", "valid number"]),
        ({"lambda": "1e999"}, ["lambda: found inf", "finite"]),
        ({"lambda": 0}, ["lambda: found 0", "greater than 0"]),
        ({"clip": 1.0}, ["clip: found 1", "greater than 1"]),
        ({"clip": None}, ["clip: found None"]),
        ({"teacher": None}, ["teacher: found None", "a value, as method is listopd"]),
        ({"k": 1}, ["k: found 1"]),
        ({"step": 0}, ["step: found 0", "1 or more, as method is listopd"]),
        ({"shorter": 40, "repetition": 11}, ["shorter: found 51", "at most n - parsed = 50"]),
        ({"shorter": 1, "k": None}, ["k: found None", "ids are counted as missing"]),
        ({"ndcg_at_1": 0.9}, ["labeller: found None", "ndcg_at_1 is given"]),
        ({"ndcg_at_1": 1.1, "labeller": "x"}, ["ndcg_at_1: found 1.1", "less than or equal to 1"]),
        ({"ndcg_at_1": 0.9, "labeller": "x", "parsed": 0}, ["ndcg_at_1: found 0.9", "no value, as parsed is 0"]),
        ({"p": 1.0}, ["p: found 1", "less than 1"]),
        ({"method": "sft", "step": 0}, ["lambda: found 1.15", "no value, as method is sft"]),
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.json"])
def test_a_wrong_cell_is_named_by_file_row_and_column(
    folder: Path, tmp_path: Path, name: str, change: dict[str, Any], words: list[str]
) -> None:
    path = write(tmp_path / name, [row(0), {key: value for key, value in (row(1) | change).items() if value is not None}])
    if name == "t.json" and change.get("lambda") == "1e999":
        path.write_text(path.read_text().replace('"1e999"', "1e999"))
    with pytest.raises(InputError) as problem:
        tables.store([write(tmp_path / "good.csv", GOOD), path], [], folder)
    message = str(problem.value)
    place = "row 2 (line 3)" if name == "t.csv" else "row 2"
    assert message.startswith(f"{path}: {place}: "), message
    assert all(word in message for word in words), message
    assert "\n" not in message and "expected" in message
    assert list(stored(folder)) == [tables.GUIDE], "nothing is stored, not even the good table"


def test_an_sft_row_has_no_steps(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="step: found 42; expected 0, as method is sft"):
        tables.read_table(write(tmp_path / "t.csv", [sft(0, step=42)]))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", b"", "empty file"),
        ("t.csv", csv_of([]).encode(), "no rows"),
        ("t.csv", b"\xff\xfea\n", "not valid UTF-8"),
        ("t.csv", csv_of(GOOD).encode("utf-16"), "not valid UTF-8"),
        ("t.csv", b"student,seed\na,1\n", "header: data_set: missing"),
        ("t.csv", csv_of(GOOD).replace("lambda", "lamda", 1).encode(), "header: lamda: found 'lamda'; expected one of"),
        ("t.csv", csv_of(GOOD).replace("teacher", "student", 1).encode(), "header: student: found '2 columns'"),
        ("t.csv", csv_of(GOOD).replace(",k,", ",,", 1).encode(), "a column without a name"),
        ("t.csv", csv_of(GOOD).replace("\n", ",x\n").replace(",x\n", "\n", 1).encode(), "line 2: found 20 columns"),
        ("t.csv", (csv_of(GOOD) + '"open').encode(), "invalid CSV"),
        ("t.json", b"", "expected a JSON list of objects"),
        ("t.json", b"{}", "expected a JSON list of objects"),
        ("t.json", b"[]", "no rows"),
        ("t.json", b"[1]", "row 1: the row: found 1"),
        ("t.json", b"[" * 100_000, "expected a JSON list of objects"),
        ("t.json", b'[{"n": NaN}]', "NaN, which is no number"),
        ("t.json", b'[{"n": 1, "n": 2}]', "a key twice in one object"),
        ("t.json", json.dumps([row(extra=1)]).encode(), "row 1: column: found 'extra'; expected one of student"),
        ("t.json", json.dumps([row(student="\ud800")]).encode(), "row 1: "),
        ("t.json", json.dumps([row(seed=True)]).encode(), "seed: found True"),
        ("t.json", json.dumps([row(seed="1")]).encode(), "seed: found '1'"),
        ("t.xlsx", b"PK", "expected .csv or .json"),
        ("t.csv", None, "not found"),
    ],
)
def test_a_file_that_is_no_table(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as problem:
        tables.read_table(path)
    assert str(problem.value).startswith(str(path)) and words in str(problem.value), problem.value
    assert "\n" not in str(problem.value)


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(InputError, match="found a directory"):
        tables.read_table(tmp_path / "t.csv")


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [row(i % 1000, **{"lambda": 1.0 + (i // 1000) / 1000}) for i in range(tables.MAX_ROWS)]
    path, started = write(tmp_path / "t.csv", many), time.monotonic()
    assert len(tables.read_table(path).runs) == tables.MAX_ROWS
    assert time.monotonic() - started < 30
    path.write_text(csv_of([*many, row(5, step=7)]))
    with pytest.raises(InputError, match=r"row 100001 \(line 100002\): found more than 100000 rows"):
        tables.read_table(path)
    monkeypatch.setattr(tables, "MAX_CHARACTERS", 100)
    with pytest.raises(InputError, match="more than 100 characters"):
        tables.read_table(path)


# The same run with other numbers


def test_one_run_with_two_results_is_refused_within_a_table_and_across_tables(folder: Path, tmp_path: Path) -> None:
    other = row(1, 0.5)
    with pytest.raises(InputError, match=r"row 4 \(line 5\): parsed: found 500; expected 950, as row 2 \(line 3\) gives"):
        tables.read_table(write(tmp_path / "t.csv", [*GOOD, other]))
    tables.store([write(tmp_path / "first.csv", GOOD)], [], folder)
    before = stored(folder)
    with pytest.raises(InputError, match=r"second\.json: parsed: found 500; expected 950, as first\.csv gives .*seed 1"):
        tables.store([write(tmp_path / "second.json", [other])], [], folder)
    assert stored(folder) == before
    tables.store([write(tmp_path / "second.json", [other])], ["first.csv"], folder)
    assert set(stored(folder)) == {tables.GUIDE, tables.INDEX, "second.json"}


# The folder


def test_a_table_is_stored_as_it_is_with_its_checksum(folder: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", GOOD)
    tables.store([path], [], folder)
    assert (folder / "t.csv").read_bytes() == path.read_bytes()
    assert json.loads((folder / tables.INDEX).read_text()) == {"t.csv": {"sha256": sha256_of(path), "evaluations": 3}}
    assert tables.load_tables(folder)["t.csv"].runs == runs_of(GOOD)
    before = stored(folder)
    assert tables.store([path], [], folder)[0].endswith("already there")
    assert stored(folder) == before
    write(path, GOOD[:1])
    with pytest.raises(InputError, match=r"another table is called t\.csv; expected a new name or --remove"):
        tables.store([path], [], folder)
    tables.store([path], ["t.csv"], folder)
    assert tables.load_tables(folder)["t.csv"].runs == runs_of(GOOD[:1])
    assert tables.store([], ["t.csv"], folder) == ["t.csv: removed"]
    assert set(stored(folder)) == {tables.GUIDE, tables.INDEX}


@pytest.mark.parametrize("name", ["..csv", ".t.csv", "a b.csv", "-t.csv", "index.json", "t\n.csv", "é.csv"])
def test_names_that_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"name: found .*expected letters, digits") as problem:
        tables.store([write(tmp_path / name, GOOD)], [], folder)
    assert "\n" not in str(problem.value)
    assert list(stored(folder)) == [tables.GUIDE]


def test_two_files_of_one_name(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match=r"another table is called t\.csv"):
        tables.store([write(tmp_path / "t.csv", GOOD), write(tmp_path / "other/t.csv", GOOD)], [], folder)


@pytest.mark.parametrize("name", ["../../README.md", "/etc/passwd", "none.csv", ""])
def test_only_a_table_can_be_removed(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match="--remove: NAME: found"):
        tables.store([], [name], folder)


def test_nothing_to_do(folder: Path) -> None:
    with pytest.raises(InputError, match="FILE: found none"):
        tables.store([], [], folder)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ("{", "expected what `import` writes"),
        ("[]", "expected what `import` writes"),
        ('{"../x.csv": {"sha256": "%s", "evaluations": 1}}' % ("0" * 64), "without a path"),
        ('{"x.csv": {"sha256": "%s", "evaluations": 1}}' % ("0" * 64), "x.csv: not found"),
        ('{"t.csv": {"sha256": "%s", "evaluations": 1}}' % ("0" * 64), "t.csv: found SHA-256"),
        ('{"t.csv": {"sha256": "0", "evaluations": 1}}', "expected what `import` writes"),
        ("{}", "t.csv: found a file that index.json does not list"),
        (None, "t.csv: found a file that index.json does not list"),
    ],
)
def test_a_folder_that_was_changed_by_hand_is_refused(folder: Path, index: str | None, words: str) -> None:
    if "x.csv: not" not in words:
        write(folder / "t.csv", GOOD)
    if index is not None:
        (folder / tables.INDEX).write_text(index)
    with pytest.raises(InputError) as problem:
        tables.load_tables(folder)
    assert words in str(problem.value) and "\n" not in str(problem.value)


# From the command line


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def test_the_example_table_is_marked_as_invented_and_imports(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tables.store, "__defaults__", (folder,))
    assert call(monkeypatch, "import", str(EXAMPLE)) == 0
    assert "60 evaluations, 5 seeds" in capsys.readouterr().out
    runs = tables.load_tables(folder)[EXAMPLE.name].runs
    assert {run.provenance for run in runs} == {"INVENTED for the tests; there is no run behind it"}
    assert call(monkeypatch, "import") == 2
    assert call(monkeypatch, "import", str(folder / "none.csv")) == 2
    out = capsys.readouterr()
    assert (out.out, len(out.err.splitlines())) == ("", 2)
    assert call(monkeypatch, "import", "--remove", EXAMPLE.name) == 0
    assert tables.load_tables(folder) == {}
    assert check.IMPORTED == tables.FOLDER
