"""Text files that a user gives, line by line: plain or gzip, JSON lines or CSV. A fault is one line of InputError."""

import csv
import gzip
import json
import reprlib
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from pipeline.errors import InputError

MAX_LINE = 1 << 24

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def refuse(where: str, field: str, found: object, expected: str) -> NoReturn:
    """Raise an InputError in the usual form; a long ``found`` is shortened, line breaks in it are escaped."""
    raise InputError(f"{where}: {field}: found {_SHORT.repr(found)}; expected {expected}")


def shown(path: Path) -> str:
    """``path`` for a message of one line."""
    return str(path) if str(path).isprintable() else ascii(str(path))


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Each line with its number, from 1. gzip is told by content, a byte order mark is dropped.

    Only a line feed ends a line, so U+2028 inside a text does not. Raises InputError where UTF-8 lines cannot be read.
    """
    name, number, offset = shown(path), 0, 0
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{name}: found {'a directory' if path.is_dir() else 'a pipe or device'}; expected a file")
        with path.open("rb") as raw:
            head = raw.read(2)
            raw.seek(0)
            if path.suffix == ".gz" and head and head != b"\x1f\x8b":
                raise InputError(f"{name}: not gzip: found bytes {head.hex()}; expected gzip, as the name says")
            stream = gzip.GzipFile(fileobj=raw) if head == b"\x1f\x8b" else raw
            while line := stream.readline(MAX_LINE):
                number += 1
                if len(line) == MAX_LINE:
                    raise InputError(f"{name}: line {number}: longer than {MAX_LINE} bytes; expected one record")
                text = line.decode()
                yield number, text.removeprefix("\ufeff") if number == 1 else text
                offset += len(line)
    except UnicodeDecodeError as fault:
        found = f"byte 0x{fault.object[fault.start]:02X} at byte {offset + fault.start} of the file, counted from 0"
        raise InputError(f"{name}: line {number}: not valid UTF-8: found {found}; expected UTF-8") from None
    except FileNotFoundError:
        raise InputError(f"{name}: not found; expected a file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
        what = f"damaged gzip after line {number} ({fault})"
        raise InputError(f"{name}: {what}; expected a whole gzip file") from None
    except OSError as fault:
        raise InputError(f"{name}: cannot be read ({fault.strerror}); expected a readable file") from None


def json_rows(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON object on each line, with its line number; blank lines are passed over. ``path`` is for messages."""
    name = shown(path)
    for number, line in lines:
        if line.isspace():
            continue
        where = f"{name}: line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as fault:
            what = f"invalid JSON ({fault.msg.removesuffix(' at').lower()} at column {fault.colno})"
            if not line.lstrip().startswith("{"):
                what = f"not JSON: found {_SHORT.repr(line.rstrip())}"
            elif not line.endswith("\n"):
                what += ", the file may be truncated"
            raise InputError(f"{where}: {what}; expected one JSON object per line") from None
        except (ValueError, RecursionError):
            raise InputError(f"{where}: a number too long or lists nested too deeply; expected a record") from None
        if not isinstance(row, dict):
            raise InputError(f"{where}: found {_SHORT.repr(row)}; expected one JSON object per line")
        yield number, row


def csv_rows(path: Path, lines: Iterable[tuple[int, str]], columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """The trimmed cells of each row by column, with the number of its first line. The header must have ``columns``."""
    name, start = shown(path), 1
    header: list[str] = []
    reader = csv.reader((line for _, line in lines), strict=True)
    try:
        for cells in reader:
            where = f"{name}: line {start}"
            if not header:
                header = [cell.strip() for cell in cells]
                if any(header.count(column) != 1 for column in columns):
                    refuse(where, "header", ",".join(header), f"the columns {','.join(columns)}, each once")
            elif cells:
                if len(cells) != len(header):
                    raise InputError(f"{where}: found {len(cells)} columns; expected {len(header)}, as in the header")
                yield start, dict(zip(header, map(str.strip, cells), strict=True))
            start = reader.line_num + 1
    except csv.Error as fault:
        raise InputError(f"{name}: line {start}: invalid CSV ({fault}); expected {','.join(columns)}") from None
