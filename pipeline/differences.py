"""How two files or two JSON values differ, told briefly. Pure, no files.

Numbers are equal within a relative 1e-9, which leaves room for another processor's last bits and for nothing else.
"""

import csv
import io
import json
import math
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

RELATIVE, ABSOLUTE = 1e-9, 1e-12
SHOWN_CHARACTERS, BEFORE = 80, 20


def parsed(suffix: str, content: bytes) -> Any:
    """JSON or CSV as data, numbers as numbers. Raises ValueError when it is neither."""
    if suffix == ".json":
        return json.loads(content)
    return [{key: _number(value) for key, value in row.items()} for row in csv.DictReader(io.StringIO(content.decode()))]


def _number(text: str) -> float | str:
    try:
        return float(text)
    except (TypeError, ValueError):
        return text


def differences(committed: Any, recomputed: Any, path: str = "") -> Iterator[str]:
    """Each place where two JSON values differ: its path, the committed value and the recomputed one."""
    if isinstance(committed, dict) and isinstance(recomputed, dict):
        for key in [*committed, *(key for key in recomputed if key not in committed)]:
            where = f"{path}.{key}" if path else str(key)
            if key in committed and key in recomputed:
                yield from differences(committed[key], recomputed[key], where)
            else:
                yield f"{where}: {'not recomputed' if key in committed else 'not committed'}"
    elif isinstance(committed, list) and isinstance(recomputed, list) and len(committed) == len(recomputed):
        for i, (a, b) in enumerate(zip(committed, recomputed, strict=True)):
            yield from differences(a, b, f"{path}[{i}]")
    elif not _same(committed, recomputed):
        a, b = _parting(*(json.dumps(value, ensure_ascii=False) for value in (committed, recomputed)))
        yield f"{path}: committed {a}, recomputed {b}"


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool) or not isinstance(a, int | float) or not isinstance(b, int | float):
        return type(a) is type(b) and bool(a == b)
    both_nan = math.isnan(a) and math.isnan(b)
    return both_nan or math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def first_difference(a: bytes, b: bytes, names: tuple[str, str] = ("committed", "recomputed")) -> str:
    """Where two texts part: the number of the line and a piece of both."""
    pairs = enumerate(zip_longest(a.splitlines(), b.splitlines(), fillvalue=b""), 1)
    number, lines = next(((n, pair) for n, pair in pairs if pair[0] != pair[1]), (0, (b"", b"")))
    if not number:
        return f"{names[0]} {len(a)} bytes, {names[1]} {len(b)}"
    one, other = _parting(*(line.decode(errors="replace") for line in lines))
    return f"line {number}: {names[0]} {one!r}, {names[1]} {other!r}"


def _parting(a: str, b: str) -> tuple[str, str]:
    """Both texts, or the piece of either around the place where they part."""
    if max(len(a), len(b)) <= SHOWN_CHARACTERS:
        return a, b
    parts = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    start = max(parts - BEFORE, 0)
    return _piece(a, start), _piece(b, start)


def _piece(text: str, start: int) -> str:
    end = start + SHOWN_CHARACTERS
    return f"{'...' if start else ''}{text[start:end]}{'...' if len(text) > end else ''}"
