"""Tables of metrics made elsewhere: read, checked row by row, stored with a checksum, read again by `check`.

A table is CSV with a header or a JSON list of objects; `bundle/imported/README.md` documents the columns. A stored table
is the user's file byte for byte; ``index.json`` beside it holds its SHA-256 and how many evaluations it gives. Nothing in
a table is ever run: a formula of a spreadsheet is text.
"""

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from pipeline.errors import InputError
from pipeline.files import sha256_of, write_atomically, write_json
from pipeline.imported import COLUMNS, NUMBERS, REQUIRED, Run, contradiction
from pipeline.lines import csv_rows, numbered_lines, refuse, shown
from pipeline.words import counted

FOLDER = Path(__file__).resolve().parent.parent / "bundle" / "imported"
INDEX, GUIDE = "index.json", "README.md"
MAX_ROWS, MAX_CHARACTERS = 100_000, 1 << 26

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.(csv|json)")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
_ROW = TypeAdapter(Run)
Cells = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """What the index says of one table."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    evaluations: int


@dataclass(frozen=True)
class Table:
    """A table's runs, each once; ``repeated`` counts the rows that said the same of the same run again."""

    name: str
    runs: tuple[Run, ...]
    repeated: int


def read_table(path: Path) -> Table:
    """Every row, validated. Raises InputError that names file, row and column, what was found and what was expected."""
    name = shown(path)
    if path.suffix not in (".csv", ".json"):
        raise InputError(f"{name}: found a name that ends in {path.suffix!r}; expected .csv or .json")
    lines = _limited(name, numbered_lines(path))
    rows = _from_csv(path, list(lines)) if path.suffix == ".csv" else _from_json(name, lines)
    found: dict[tuple[Any, ...], tuple[Run, str]] = {}
    number = 0
    for number, (where, cells) in enumerate(rows, 1):
        if number > MAX_ROWS:
            raise InputError(f"{where}: found more than {MAX_ROWS} rows; expected at most so many in one table")
        run = _validated(where, cells)
        first, place = found.setdefault(run.identity, (run, where))
        if first.figures != run.figures:
            _conflict(where, run, place.removeprefix(f"{name}: "), first)
    if not number:
        raise InputError(f"{name}: no rows; expected one for each evaluation of a run")
    return Table(path.name, tuple(run for run, _ in found.values()), number - len(found))


def load_tables(folder: Path = FOLDER) -> dict[str, Table]:
    """The stored tables by name. Raises InputError for a file that the index does not know, or knows otherwise."""
    index = _read_index(folder)
    there = {path.name for path in folder.glob("*") if path.name not in (INDEX, GUIDE) and not path.name.startswith(".")}
    for name in sorted(there - set(index)):
        raise InputError(
            f"{folder / name}: found a file that {INDEX} does not list; expected none (move it away and import it)"
        )
    for name, entry in index.items():
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: not found; expected the table that {INDEX} lists")
        if (digest := sha256_of(folder / name)) != entry.sha256:
            raise InputError(f"{folder / name}: found SHA-256 {digest}; expected {entry.sha256}, as {INDEX} says")
    tables = {name: read_table(folder / name) for name in index}
    _refuse_conflicts(tables.values())
    return tables


def store(files: list[Path], remove: list[str], folder: Path = FOLDER) -> list[str]:
    """Take the tables called ``remove`` out and put ``files`` in; what was done, one line each.

    Everything is read and compared first, so that either all of it happens or nothing. Raises InputError for a bad row,
    a name that is taken or is no plain file name, and a run that another table gives with other numbers.
    """
    if not files and not remove:
        raise InputError("FILE: found none; expected a table to import, or --remove NAME")
    kept = load_tables(folder)
    for name in remove:
        if kept.pop(name, None) is None:
            refuse("--remove", "NAME", name, f"one of {', '.join(kept) or 'no table: none is imported'}")
    said = [f"{name}: removed" for name in remove]
    fresh: dict[str, tuple[bytes, Table]] = {}
    for path in files:
        if not _NAME.fullmatch(path.name) or path.name == INDEX:
            refuse(shown(path), "name", path.name, "letters, digits, dots, dashes and underscores, then .csv or .json")
        table = read_table(path)
        content = path.read_bytes()
        same = path.name in kept and hashlib.sha256(content).hexdigest() == sha256_of(folder / path.name)
        if path.name in fresh or (path.name in kept and not same):
            raise InputError(f"{shown(path)}: another table is called {path.name}; expected a new name or --remove")
        fresh[path.name] = (content, table)
        seeds = len({run.seed for run in table.runs})
        facts = f"{counted(len(table.runs), 'evaluation')}, {counted(seeds, 'seed')}"
        facts += f", {counted(table.repeated, 'row')} given twice and skipped" if table.repeated else ""
        said.append(f"{folder / path.name}: {facts}{', already there' if same else ''}")
    _refuse_conflicts((*kept.values(), *(table for _, table in fresh.values())))
    _write(folder, kept, fresh, remove)
    return said


def _write(folder: Path, kept: dict[str, Table], fresh: dict[str, tuple[bytes, Table]], remove: list[str]) -> None:
    index = {name: entry for name, entry in _read_index(folder).items() if name in kept}
    for name, (content, table) in fresh.items():
        write_atomically(folder / name, content)
        index[name] = Entry(hashlib.sha256(content).hexdigest(), len(table.runs))
    entries = {name: {"sha256": one.sha256, "evaluations": one.evaluations} for name, one in sorted(index.items())}
    write_json(folder / INDEX, entries)
    for name in remove:
        if name not in fresh:
            (folder / name).unlink()


def _read_index(folder: Path) -> dict[str, Entry]:
    path = folder / INDEX
    try:
        content = path.read_text(encoding="utf-8")
        index = TypeAdapter(dict[str, Entry]).validate_json(content, strict=True)
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as problem:
        raise InputError(f"{path}: {' '.join(str(problem).split())}; expected what `import` writes") from None
    for name in index:
        if not _NAME.fullmatch(name):
            refuse(str(path), "name", name, "the name of a table, without a path")
    return index


def _limited(name: str, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    size = 0
    for number, line in lines:
        size += len(line)
        if size > MAX_CHARACTERS:
            raise InputError(f"{name}: found more than {MAX_CHARACTERS} characters; expected a table of metrics")
        yield number, line


def _from_csv(path: Path, lines: list[tuple[int, str]]) -> Iterator[tuple[str, Cells]]:
    """The rows of a CSV file: an empty cell is left out, and what looks like a number is one where one is expected."""
    name = shown(path)
    if not lines:
        raise InputError(f"{name}: found an empty file; expected a header and rows")
    header = [cell.strip() for cell in next(csv.reader([lines[0][1]]))]
    for column in header:
        if column not in COLUMNS:
            refuse(f"{name}: header", column or "a column without a name", column, f"one of {', '.join(COLUMNS)}")
        if header.count(column) > 1:
            refuse(f"{name}: header", column, f"{header.count(column)} columns", "each column once")
    for column in REQUIRED:
        if column not in header:
            raise InputError(f"{name}: header: {column}: missing; expected the columns {', '.join(REQUIRED)} at least")
    for number, (line, cells) in enumerate(csv_rows(path, lines, REQUIRED), 1):
        typed = {
            column: json.loads(text) if column in NUMBERS and _NUMBER.fullmatch(text) else text
            for column, text in cells.items()
            if text
        }
        yield f"{name}: row {number} (line {line})", typed


def _from_json(name: str, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[str, Cells]]:
    """The objects of a JSON list; null is an empty cell."""

    def once(pairs: list[tuple[str, Any]]) -> Cells:
        if len(dict(pairs)) < len(pairs):
            raise ValueError(f"a key twice in one object ({', '.join(key for key, _ in pairs)[:100]})")
        return dict(pairs)

    def number(text: str) -> float:
        raise ValueError(f"{text}, which is no number")

    try:
        table = json.loads("".join(line for _, line in lines), object_pairs_hook=once, parse_constant=number)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{name}: found {problem}; expected a JSON list of objects") from None
    if not isinstance(table, list):
        refuse(name, "the file", table, "a JSON list of objects")
    for place, row in enumerate(table, 1):
        if not isinstance(row, dict):
            refuse(f"{name}: row {place}", "the row", row, "an object with the columns as keys")
        yield f"{name}: row {place}", {key: value for key, value in row.items() if value is not None}


def _validated(where: str, cells: Cells) -> Run:
    try:
        run = _ROW.validate_json(json.dumps(cells))
    except ValidationError as problem:
        error = problem.errors()[0]
        column = str(error["loc"][0]) if error["loc"] else "the row"
        if error["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
            raise InputError(f"{where}: {column}: missing; expected a value") from None
        if error["type"] == "unexpected_keyword_argument":
            refuse(where, "column", column, f"one of {', '.join(COLUMNS)}")
        refuse(where, column, error["input"], error["msg"].removeprefix("Input should be "))
    if fault := contradiction(run):
        refuse(where, *fault)
    return run


def _refuse_conflicts(tables: Iterable[Table]) -> None:
    """One run has one set of numbers, whichever tables give it."""
    found: dict[tuple[Any, ...], tuple[Run, str]] = {}
    for table in tables:
        for run in table.runs:
            first, name = found.setdefault(run.identity, (run, table.name))
            if first.figures != run.figures:
                _conflict(table.name, run, name, first)


def _conflict(where: str, run: Run, place: str, first: Run) -> None:
    which = f"{run.student}, {run.method}, lambda {run.lam}, seed {run.seed}, step {run.step}"
    columns = ("n", "parsed", "shorter", "repetition", "ndcg_at_1", "labeller", "p")
    pairs = zip(columns, run.figures, first.figures, strict=True)
    column, found, other = next(one for one in pairs if one[1] != one[2])
    refuse(where, column, found, f"{other!r}, as {place} gives for the same run ({which})")
