"""What the gate found, told four ways: in the terminal, as a table of claims, as JUnit XML and as Markdown.

The Markdown is made for a pull-request comment: what differs first, and never longer than GitHub takes.
"""

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.files import write_atomically

SHOWN = 20
COMMENT_CHARACTERS = 60_000
HEAD = ("tier", "claim", "published", "ours", "verdict", "reason")
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
VERDICTS = "verdicts"


@dataclass(frozen=True)
class Finding:
    """One thing that was compared, and how it differs: empty when it does not."""

    what: str
    problems: tuple[str, ...] = ()


Results = dict[str, list[Finding]]


def problems(findings: Iterable[Finding]) -> list[str]:
    """All of their differences."""
    return [problem for finding in findings for problem in finding.problems]


def told(results: Results) -> Iterator[str]:
    """The differences part by part, of each part the first ones and how many more there are."""
    for part, findings in results.items():
        found = problems(findings)
        yield from found[:SHOWN]
        if len(found) > SHOWN:
            yield f"... and {len(found) - SHOWN} more differences ({part})"


def conclude(results: Results, seconds: float) -> int:
    """Print what differs and a count; the exit status."""
    for line in told(results):
        print(line if line.startswith("...") else f"DIFFERS {line}")
    passed, failed = _count(results)
    print(f"{passed} checks passed, {failed} failed ({seconds:.0f} s, nothing trained)")
    return 1 if failed else 0


def _count(results: Results) -> tuple[int, int]:
    outcomes = [not finding.problems for findings in results.values() for finding in findings]
    return sum(outcomes), len(outcomes) - sum(outcomes)


def table_rows(verdicts: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """What is told of each check, under `HEAD`."""
    for c in verdicts["checks"]:
        yield c["tier"], c["id"], c["published"]["text"], c["ours"]["text"], c["verdict"], c["reason"]


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; nothing in a cell can break it."""
    head = list(head)
    escaped = ([_cell(value) for value in row] for row in rows)
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *escaped))


def _cell(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")
    return " ".join(escaped.split())


def print_verdicts(verdicts: dict[str, Any]) -> None:
    """The table of claims: in colour in a terminal, else Markdown."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        print(markdown_table(HEAD, table_rows(verdicts)))
        return
    colours = {"reproduced": "green", "not reproduced": "red", "invalid": "bold red", "inconclusive": "yellow"}
    table = Table(*HEAD, title=f"Profile {verdicts['profile']}")
    for row in table_rows(verdicts):
        style = colours.get(row[HEAD.index("verdict")], "dim")
        table.add_row(*(Text(value, style if key == "verdict" else "") for key, value in zip(HEAD, row, strict=True)))
    console.print(table)


def write_junit(path: Path, results: Results, verdicts: dict[str, Any], seconds: float) -> None:
    """A test suite for each part of the gate, a test case for each thing compared; that of a claim tells its verdict."""
    from junitparser import Failure, JUnitXml, TestCase, TestSuite

    rows = {row[HEAD.index("claim")]: row for row in table_rows(verdicts)}
    xml = JUnitXml(f"gate {verdicts['profile']}")
    for part, findings in results.items():
        suite, cases = TestSuite(part), []
        for finding in findings:
            case = TestCase(_xml(finding.what), classname=f"{verdicts['profile']}.{part}")
            if part == VERDICTS and finding.what in rows:
                case.system_out = _xml("\n".join(map(": ".join, zip(HEAD, rows[finding.what], strict=True))))
            if finding.problems:
                failure = Failure(_xml(finding.problems[0]), "differs")
                failure.text = _xml("\n".join(finding.problems))
                case.result = [failure]
            cases.append(case)
        suite.add_testcases(cases)
        xml.add_testsuite(suite)
    xml.update_statistics()
    xml.time = round(seconds, 1)
    content = io.BytesIO()
    xml.write(content)
    _write(path, content.getvalue())


def _xml(text: str) -> str:
    """XML 1.0 has no place for most control characters, not even escaped."""
    return NOT_XML.sub("\ufffd", text)


def write_markdown(path: Path, results: Results, verdicts: dict[str, Any]) -> None:
    """What differs, then the table of claims, the unexpected verdicts first."""
    passed, failed = _count(results)
    count = f"{failed} of {passed + failed} checks differ" if failed else f"all {passed} checks agree"
    text = f"## Gate of the profile {verdicts['profile']}: {count}\n\n"
    if failed:
        listed = "\n".join(told(results))
        fence = "`" * (max((len(run) for run in re.findall("`+", listed)), default=0) + 3)
        text += f"{fence}text\n{listed}\n{fence}\n\n"
    differing = {finding.what: finding.problems for finding in results[VERDICTS] if finding.problems}
    rows = sorted(table_rows(verdicts), key=lambda row: row[1] not in differing)
    shown = [(claim, *rest, "; ".join([*differing.get(claim, []), reason])) for _, claim, *rest, reason in rows]
    table = markdown_table(HEAD[1:], shown).splitlines(keepends=True)
    while table and len(text) + sum(map(len, table)) > COMMENT_CHARACTERS:
        table.pop()
    left = len(shown) + 2 - len(table)
    text += "".join(table) + (f"\n... and {left} more claims: the report has all.\n" if left else "")
    _write(path, text.encode())


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as problem:
        raise InputError(f"{path}: cannot be written ({problem.strerror}); expected a path for a new file") from None
