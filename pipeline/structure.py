"""Which tokens of a completion are the format's own: the structural positions of a JSON text, or of any agreed text.

In JSON everything but the inside of values is structure: brackets, commas, colons, quotes and whole keys. A token is
structural when all its characters are. Structural tokens are told apart by their number: the k-th of a completion is
the same position as the k-th of another, however long the values between them are. Pure functions, no files.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.statistics import Array

END = "end of text"


@dataclass(frozen=True)
class Position:
    """The ``number``-th structural token, where it reads ``text``: its column in each completion that has it there."""

    number: int
    text: str
    columns: dict[int, int]

    @property
    def name(self) -> str:
        return f"{self.number}: {self.text}"

    def of(self, values_NT: Array) -> Array:
        """The values [N', ] of a table over completions and tokens at this position."""
        return np.array([values_NT[row, column] for row, column in self.columns.items()])


def json_structure(text: str) -> list[bool]:
    """For each character of a JSON text, whether it is structure. The text is taken to be valid."""
    marks, place = [True] * len(text), 0
    while place < len(text):
        if text[place] == '"':
            end = place + 1
            while text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            after = text[end + 1 :].lstrip()
            if not after.startswith(":"):
                marks[place + 1 : end] = [False] * (end - place - 1)
            place = end + 1
        else:
            if text[place].isalnum() or text[place] in "+-.":
                marks[place] = False
            place += 1
    return marks


def positions(tokens: Sequence[Sequence[str]], marks: Sequence[Sequence[bool]], least_share: float) -> list[Position]:
    """Positions that at least ``least_share`` of the completions have, from each one's token texts and character marks.

    ``tokens`` end with `END` where the completion ended by itself; joined without it they are the text that is marked.
    """
    found: dict[tuple[int, str], dict[int, int]] = {}
    for row, (texts, structure) in enumerate(zip(tokens, marks, strict=True)):
        start, number = 0, 0
        for column, text in enumerate(texts):
            inside = [True] if text == END else structure[start : start + len(text)]
            start += 0 if text == END else len(text)
            if inside and all(inside):
                found.setdefault((number, text), {})[row] = column
                number += 1
    shared = [Position(number, text, columns) for (number, text), columns in found.items()]
    return sorted((p for p in shared if len(p.columns) >= least_share * len(tokens)), key=lambda p: p.number)


def agreed(tokens: Sequence[Sequence[str]], least_share: float) -> list[Position]:
    """The same without a grammar: columns at which at least ``least_share`` of the completions have the same token."""
    out = []
    for column in range(max(map(len, tokens))):
        at = {row: texts[column] for row, texts in enumerate(tokens) if column < len(texts)}
        text, count = Counter(at.values()).most_common(1)[0]
        if count >= least_share * len(tokens):
            out.append(Position(column, text, {row: column for row, found in at.items() if found == text}))
    return out
