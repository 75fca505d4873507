"""Files: written under a temporary name and renamed, hashed, and compressed to the same bytes every time."""

import gzip
import hashlib
import json
import os
import tempfile
import zlib
from pathlib import Path
from typing import Any

from pipeline.errors import InputError


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` so that ``path`` holds either its old bytes or all of the new ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Indented JSON, keys in the order given, NaN refused."""
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode())


def read_json(path: Path, made_by: str) -> Any:
    """The value in ``path``. Raises InputError naming the stage ``made_by`` when it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: not found; expected the file that `{made_by}` writes") from None
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{path}: not valid JSON ({problem}); expected the file that `{made_by}` writes") from None


def write_json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """One JSON object per line; gzip without a time stamp when the name ends in ``.gz``."""
    content = "".join(json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n" for row in rows).encode()
    write_atomically(path, gzip.compress(content, 9, mtime=0) if path.suffix == ".gz" else content)


def read_json_lines(path: Path, made_by: str) -> list[dict[str, Any]]:
    """The rows of a file written by `write_json_lines`. Raises InputError when it is missing or damaged."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz" and not content:
            raise ValueError("empty")
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        return [json.loads(line) for line in text.split("\n") if line]
    except FileNotFoundError:
        raise InputError(f"{path}: not found; expected the file that `{made_by}` writes") from None
    except (ValueError, OSError, EOFError, RecursionError, zlib.error) as problem:
        raise InputError(f"{path}: damaged ({problem}); expected the file that `{made_by}` writes") from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, or of a folder: of its files' relative names and hashes, sorted; compiled Python left out."""
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file() and "__pycache__" not in file.parts]
        parts = [f"{file.relative_to(path).as_posix()} {sha256_of(file)}\n" for file in files]
        return hashlib.sha256("".join(parts).encode()).hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
