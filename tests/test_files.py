"""Files: whole or not at all, the same bytes every time, and damage is one line that names the file."""

import gzip
import math
import os

import pytest

from pipeline import files
from pipeline.errors import InputError
from pipeline.files import read_json, read_json_lines, sha256_of, write_atomically, write_json, write_json_lines

ROWS = [{"text": "a\u2028b\rc\r\nd\n", "n": i, "none": None} for i in range(40)]
NAMES = ["rows.jsonl", "rows.jsonl.gz"]


def fail(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_failed_write_keeps_the_old_file(call, tmp_path, monkeypatch):
    path = tmp_path / "kept.json"
    write_atomically(path, b"old")
    monkeypatch.setattr(files.os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["kept.json"]


def test_write_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("value", [math.nan, math.inf, [{"deep": -math.inf}]])
def test_numbers_that_json_lacks_are_refused(value, tmp_path):
    path = tmp_path / "x.json"
    write_json(path, 1)
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, value)
    with pytest.raises(ValueError, match="JSON"):
        write_json_lines(path, [{"value": value}])
    assert read_json(path, "x") == 1


def test_json_reads_back_with_its_order(tmp_path):
    value = {"z": 1.1, "a": ["λ\u2028", None, True], "m": {"y": 1, "b": 2}}
    write_json(tmp_path / "x.json", value)
    found = read_json(tmp_path / "x.json", "x")
    assert found == value
    assert list(found) == ["z", "a", "m"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"a":1}x', b"\xff", b"[" * 100_000])
def test_damaged_json_names_file_and_stage(content, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.json: not valid JSON .*`calibrate` writes"):
        read_json(path, "calibrate")


def test_missing_files_name_the_stage(tmp_path):
    for read in (read_json, read_json_lines):
        with pytest.raises(InputError, match=r"gone\.gz: not found; expected the file that `sft` writes"):
            read(tmp_path / "gone.gz", "sft")


@pytest.mark.parametrize("name", NAMES)
def test_rows_read_back(name, tmp_path):
    write_json_lines(tmp_path / name, ROWS)
    assert read_json_lines(tmp_path / name, "x") == ROWS


def test_compressed_bytes_are_the_same_every_time(tmp_path, monkeypatch):
    for moment, name in ((1.0, "a.gz"), (2e9, "b.gz")):
        monkeypatch.setattr("time.time", lambda moment=moment: moment)
        write_json_lines(tmp_path / name, ROWS)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()).count(b"\n") == len(ROWS)


def test_truncated_gzip_is_refused_at_every_length(tmp_path):
    path = tmp_path / "x.gz"
    write_json_lines(path, ROWS)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"x\.gz: damaged"):
            read_json_lines(path, "x")


def test_flipped_byte_in_gzip_never_changes_the_rows(tmp_path):
    path = tmp_path / "x.gz"
    write_json_lines(path, ROWS)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            assert read_json_lines(path, "x") == ROWS
        except InputError as problem:
            assert "x.gz: damaged" in str(problem)


@pytest.mark.parametrize("content", [b"\xff\n", b'{"a":1}\n{"a"\n', b"not JSON\n"])
def test_damaged_rows(content, tmp_path):
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.jsonl: damaged .*`evaluate` writes"):
        read_json_lines(tmp_path / "x.jsonl", "evaluate")


def test_hash_of_a_file(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_of(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_hash_of_a_folder_follows_names_and_content(tmp_path):
    folder = tmp_path / "folder"
    write_atomically(folder / "a", b"1")
    write_atomically(folder / "sub" / "b", b"2")
    seen = [sha256_of(folder)]
    write_atomically(folder / "a", b"3")
    seen.append(sha256_of(folder))
    (folder / "a").rename(folder / "c")
    seen.append(sha256_of(folder))
    (folder / "sub" / "b").rename(folder / "b")
    seen.append(sha256_of(folder))
    (folder / "b").unlink()
    seen.append(sha256_of(folder))
    assert len(set(seen)) == 5


def test_hash_of_a_folder_ignores_compiled_python_and_place(tmp_path):
    for name in ("one", "two"):
        write_atomically(tmp_path / name / "sub" / "m.py", b"x = 1")
    write_atomically(tmp_path / "one" / "sub" / "__pycache__" / "m.pyc", b"compiled")
    assert sha256_of(tmp_path / "one") == sha256_of(tmp_path / "two")
