"""Amazon Reviews files and labels files: streamed, checked line by line, and reduced to what the task needs.

**Reviews.** One JSON object per line, plain or gzip (told by content, not by name), in the 2018 5-core schema
(reviewerID, asin, overall, unixReviewTime; reviewText, summary, vote) or the 2023 schema (user_id, asin, rating,
timestamp in ms; text, title, helpful_vote). The fields before the semicolon are required, others are ignored. The first
record decides the schema, and the same review gives an identical `Review` in both:

* The product is ``asin``, which both schemas have; ``parent_asin`` is taken only where a 2023 record has no ``asin``.
* In text and title ``<br>`` in any spelling becomes a line break and an HTML character reference that ends in a
  semicolon (``&#34;``, ``&amp;``) is decoded once, in both schemas, so that the same review agrees wherever it is so
  written. Nothing else is changed: other tags and ``{{...}}`` stay as literal text.
* Milliseconds are cut to seconds. No vote means 0, no title the empty text. White space around the text stays.

A record without text, or with white space only, is skipped. So is an exact duplicate (an equal `Review`: a difference
in style or images alone does not count) and a record that repeats a review id with another rating, title or vote. One
with reviewer, product and time of an earlier record and another text is kept. All four are counted, and the first
`WARNINGS_PER_KIND` of each are named by line. Anything else that is wrong is an InputError.

The review id joins reviewer, product, seconds and text by line feeds; only the text, which comes last, may hold one.

**Labels.** A CSV file with the header ``review_id,score,labeller`` in any order, further columns ignored, or JSON lines
with the same keys. A score is a whole number from 0 to 10, higher is more helpful; ``labeller`` names the person,
model or rule and is printed on figures. At most one label to an id, and each id must be in the reviews file.
"""

import hashlib
import html
import itertools
import re
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.lines import csv_rows, json_rows, numbered_lines, refuse, shown

HEURISTIC = "heuristic: words and votes"
MAX_SCORE = 10
WARNINGS_PER_KIND = 5
LABEL_FIELDS = ("review_id", "score", "labeller")

_EARLIEST, _LATEST = 631_152_000, 4_102_444_800
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_VOTES = re.compile(r"[0-9]{1,12}|[0-9]{1,3}(?:,[0-9]{3}){1,3}")


@dataclass(frozen=True, slots=True)
class Review:
    """``time`` in seconds since 1970 (UTC), ``rating`` from 1 to 5, ``votes`` of helpfulness; ``text`` is not blank."""

    review_id: str
    reviewer: str
    product: str
    time: int
    text: str
    title: str
    rating: float
    votes: int


@dataclass(frozen=True)
class ReadResult:
    """``reviews`` in file order, no id twice; ``counts`` of records and irregularities; ``warnings``, one line each."""

    reviews: list[Review]
    counts: dict[str, int]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Label:
    """``score`` from 0 to 10, higher is more helpful."""

    score: int
    labeller: str


@dataclass(frozen=True)
class _Schema:
    """The field names of one release; ``ticks`` of its time make a second."""

    name: str
    reviewer: str
    products: tuple[str, ...]
    time: str
    ticks: int
    rating: str
    text: str
    title: str
    votes: str

    def missing(self, row: dict[str, Any]) -> list[str]:
        product = () if any(field in row for field in self.products) else self.products[:1]
        return [field for field in (self.reviewer, *product, self.rating, self.time) if field not in row]

    @property
    def expectation(self) -> str:
        return f"{self.reviewer}, {self.products[0]}, {self.rating} and {self.time} ({self.name} schema)"


_SCHEMAS = (
    _Schema("2018", "reviewerID", ("asin",), "unixReviewTime", 1, "overall", "reviewText", "summary", "vote"),
    _Schema("2023", "user_id", ("asin", "parent_asin"), "timestamp", 1000, "rating", "text", "title", "helpful_vote"),
)


def review_id(reviewer: str, product: str, seconds: int, text: str) -> str:
    """The first 16 hex digits of SHA-256 over the four, joined by line feeds, as UTF-8 (design.md, Definitions)."""
    return hashlib.sha256(f"{reviewer}\n{product}\n{seconds}\n{text}".encode()).hexdigest()[:16]


def heuristic_score(review: Review) -> int:
    """A stand-in for helpfulness, 0 to 10: min(10, ⌊1.5 log2 words⌋ + v), v = 1, 2, 3 from 2, 8, 32 votes, else 0.

    Words are split on white space. The first term is 1, 2, … 10 from 2, 3, 4, 7, 11, 16, 26, 41, 64, 102 words.
    """
    words = len(review.text.split())
    return min(MAX_SCORE, ((words**3).bit_length() - 1) // 2 + min(3, review.votes.bit_length() // 2))


def id_rows(reviews: Iterable[Review]) -> Iterator[tuple[str, str]]:
    """(review id, text on one line) of each review: white space collapsed, unprintable characters escaped."""
    for review in reviews:
        text = " ".join(review.text.split())
        yield review.review_id, "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def read_reviews(path: Path) -> ReadResult:
    """The reviews in ``path``. Raises InputError: one line with file, line, field, what was found and expected."""
    reviews: list[Review] = []
    line_of = array("Q")
    counts = dict.fromkeys(("records", "without_text", "exact_duplicates", "repeated_ids", "repeated_keys"), 0)
    warnings: list[str] = []
    first_of_key: dict[tuple[str, str, int], int] = {}
    later_ids: dict[str, int] = {}

    def irregular(kind: str, message: str) -> None:
        counts[kind] += 1
        if counts[kind] <= WARNINGS_PER_KIND:
            warnings.append(f"{shown(path)}: {message}")

    for number, schema, review in _records(path):
        counts["records"] += 1
        if review is None:
            irregular("without_text", f"line {number}: {schema.text}: missing or blank; the record is skipped")
            continue
        first = first_of_key.setdefault((review.reviewer, review.product, review.time), len(reviews))
        if first != len(reviews):
            twin = first if reviews[first].review_id == review.review_id else later_ids.get(review.review_id)
            lines = f"lines {line_of[first if twin is None else twin]} and {number}"
            if twin is not None and reviews[twin] == review:
                irregular("exact_duplicates", f"{lines}: exact duplicates; line {number} is skipped")
                continue
            what = f"{lines}: same reviewer, product and time, different content"
            if twin is not None:
                irregular("repeated_ids", f"{what} but the same text; line {number} is skipped")
                continue
            irregular("repeated_keys", f"{what}; both are kept")
            later_ids[review.review_id] = len(reviews)
        reviews.append(review)
        line_of.append(number)
    if not counts["records"]:
        raise InputError(f"{shown(path)}: empty, no reviews; expected one JSON object per line")
    return ReadResult(reviews, counts, tuple(warnings))


def read_labels(path: Path, reviews: Iterable[Review]) -> dict[str, Label]:
    """Label by review id, in the order of ``path``. Raises InputError naming file, line and field."""
    known = {review.review_id for review in reviews}
    labels: dict[str, Label] = {}
    line_of: dict[str, int] = {}
    for number, row in _label_rows(path):
        where = f"{shown(path)}: line {number}"
        for field in LABEL_FIELDS:
            if field not in row:
                raise InputError(f"{where}: {field}: missing; expected {', '.join(LABEL_FIELDS)}")
        name, score, labeller = (row[field] for field in LABEL_FIELDS)
        if not isinstance(name, str) or name not in known:
            refuse(where, "review_id", name, "an id that `python -m pipeline ids FILE` prints for the reviews file")
        if name in labels:
            refuse(where, "review_id", name, f"no id twice, and line {line_of[name]} has it")
        if type(score) is not int or not 0 <= score <= MAX_SCORE:
            refuse(where, "score", score, f"a whole number from 0 to {MAX_SCORE}")
        if not isinstance(labeller, str) or not labeller.strip() or not labeller.isprintable() or len(labeller) > 80:
            refuse(where, "labeller", labeller, "a name on one line, of 1 to 80 characters")
        labels[name], line_of[name] = Label(score, sys.intern(labeller.strip())), number
    if not labels:
        raise InputError(f"{shown(path)}: no labels; expected {','.join(LABEL_FIELDS)} as CSV or JSON lines")
    return labels


def _label_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    lines = numbered_lines(path)
    first = next(lines, None)
    if first is None:
        return
    lines = itertools.chain([first], lines)
    if first[1].lstrip().startswith("{"):
        yield from json_rows(path, lines)
        return
    for number, row in csv_rows(path, lines, LABEL_FIELDS):
        whole = re.fullmatch("[0-9]{1,9}", row["score"])
        yield number, {**row, "score": int(row["score"])} if whole else row


def _records(path: Path) -> Iterator[tuple[int, _Schema, Review | None]]:
    """Line number, schema and review of each record; None stands for a record without text."""
    schema: _Schema | None = None
    for number, row in json_rows(path, numbered_lines(path)):
        where = f"{shown(path)}: line {number}"
        if schema is None:
            schema, since = _schema_of(row, where), number
        elif missing := schema.missing(row):
            other = next((other.name for other in _SCHEMAS if not other.missing(row)), None)
            found = f"found a record of the {other} schema" if other else f"{', '.join(missing)}: missing"
            raise InputError(f"{where}: {found}; expected {schema.expectation}, as on line {since}")
        yield number, schema, _review(row, schema, where)


def _schema_of(row: dict[str, Any], where: str) -> _Schema:
    nearest = min(_SCHEMAS, key=lambda schema: len(schema.missing(row)))
    if missing := nearest.missing(row):
        expected = " or ".join(schema.expectation for schema in _SCHEMAS)
        raise InputError(f"{where}: unknown schema: {', '.join(missing)}: missing; expected {expected}")
    return nearest


def _review(row: dict[str, Any], schema: _Schema, where: str) -> Review | None:
    reviewer = _identifier(row, schema.reviewer, where)
    product = sys.intern(_identifier(row, next(field for field in schema.products if field in row), where))
    ticks, rating = row[schema.time], row[schema.rating]
    if type(ticks) is not int or not _EARLIEST <= ticks // schema.ticks < _LATEST:
        unit = "milliseconds" if schema.ticks == 1000 else "seconds"
        refuse(where, schema.time, ticks, f"whole {unit} since 1970, in a year from 1990 to 2099")
    if type(rating) not in (int, float) or not 1 <= rating <= 5:
        refuse(where, schema.rating, rating, "a number from 1 to 5")
    votes = _votes(row, schema.votes, where)
    title = _plain(row, schema.title, where)
    text = _plain(row, schema.text, where)
    if not text or text.isspace():
        return None
    seconds = ticks // schema.ticks
    name = review_id(reviewer, product, seconds, text)
    return Review(name, reviewer, product, seconds, text, title, float(rating), votes)


def _identifier(row: dict[str, Any], field: str, where: str) -> str:
    value = row[field]
    if not isinstance(value, str) or not value or not value.isprintable():
        refuse(where, field, value, "a text of printable characters")
    return value


def _plain(row: dict[str, Any], field: str, where: str) -> str:
    value = row.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        refuse(where, field, value, "a text")
    try:
        value.encode()
    except UnicodeEncodeError as fault:
        refuse(where, field, value[fault.start], "Unicode text without half of a surrogate pair")
    text = _BREAK.sub("\n", value) if "<" in value else value
    return _REFERENCE.sub(lambda match: html.unescape(match[0]), text) if "&" in text else text


def _votes(row: dict[str, Any], field: str, where: str) -> int:
    value = row.get(field)
    if value is None:
        return 0
    if isinstance(value, str) and _VOTES.fullmatch(value):
        return int(value.replace(",", ""))
    if type(value) is not int or value < 0:
        refuse(where, field, value, 'a whole number from 0, as in 3 or "1,204"')
    return value
