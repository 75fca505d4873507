"""Reading reviews and labels: both schemas, what is skipped, and every way in which a file can be wrong."""

import gzip
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError
from pipeline.reviews import Label, Review, heuristic_score, id_rows, read_labels, read_reviews, review_id

DAY = 86_400
START = 1_460_000_000
TEXTS = ("Soft and warm", "Too small for me", "Fine", "A gift, well liked", "Broke", "Wide enough", "Nice colour", "Ok")


def row_2018(number: int = 0, **changes: Any) -> dict[str, Any]:
    text = TEXTS[number % len(TEXTS)]
    row = {"overall": 4.0, "reviewerID": f"user{number}", "asin": "P1", "reviewText": text, "summary": "Title"}
    return row | {"unixReviewTime": START + number * DAY} | changes


def as_2023(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "rating": row["overall"],
        "title": row.get("summary", ""),
        "text": row.get("reviewText", ""),
        "asin": row["asin"],
        "parent_asin": "PARENT",
        "user_id": row["reviewerID"],
        "timestamp": row["unixReviewTime"] * 1000 + 7,
        "helpful_vote": int(row.get("vote", "0").replace(",", "")),
    }


def write(path: Path, *rows: dict[str, Any] | str | bytes) -> Path:
    lines = [row if isinstance(row, str | bytes) else json.dumps(row) for row in rows]
    content = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def eight() -> list[dict[str, Any]]:
    return [row_2018(number) for number in range(8)]


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_reviews(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    assert "; expected " in message
    return message.removeprefix(f"{path}: ")


def test_both_schemas_plain_and_compressed_give_identical_reviews(tmp_path: Path) -> None:
    rows = [
        *eight(),
        row_2018(8, vote="1,204", reviewText='Two<br />lines &#34;q&#34; R&D &not; "&lt;b&gt;" \u2028 über'),
    ]
    rows += [row_2018(9, reviewText="Two\nlines"), {k: v for k, v in row_2018(10).items() if k != "summary"}]
    expected = read_reviews(write(tmp_path / "a.jsonl", *rows))
    for name in ("b.jsonl", "b.json.gz"):
        other = read_reviews(write(tmp_path / name, *map(as_2023, rows)))
        assert other.reviews == expected.reviews and other.counts == expected.counts
    assert read_reviews(write(tmp_path / "a.jsonl.gz", *rows)) == expected
    assert expected.reviews[8].text == 'Two\nlines "q" R&D ¬ "<b>" \u2028 über'
    assert expected.reviews[8].votes == 1204
    assert len({review.review_id for review in expected.reviews}) == len(rows)


def test_the_review_id_is_pinned() -> None:
    """The value is from ``printf 'user0\\nP1\\n1460000000\\nSoft and warm' | sha256sum``."""
    assert review_id("user0", "P1", START, "Soft and warm") == "bf7f195398635021"
    assert review_id("user0", "P1", START, "soft and warm") != "bf7f195398635021"


def test_parent_asin_stands_in_for_a_missing_asin(tmp_path: Path) -> None:
    row = as_2023(row_2018())
    del row["asin"]
    assert read_reviews(write(tmp_path / "a.jsonl", row)).reviews[0].product == "PARENT"


def test_byte_order_mark_carriage_returns_and_blank_lines_are_no_fault(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + json.dumps(row_2018()).encode() + b"\r", "", row_2018(1))
    assert read_reviews(path).counts["records"] == 2


@pytest.mark.parametrize("text", [None, "", " \n\u2028", "<br />"])
def test_records_without_text_are_skipped_aloud(tmp_path: Path, text: str | None) -> None:
    path = write(tmp_path / "a.jsonl", *eight()[:3], row_2018(3, reviewText=text), *eight()[4:])
    result = read_reviews(path)
    assert (len(result.reviews), result.counts["without_text"]) == (7, 1)
    assert result.warnings == (f"{path}: line 4: reviewText: missing or blank; the record is skipped",)


def test_duplicates_and_repeated_keys(tmp_path: Path) -> None:
    rows = [*eight(), row_2018(0, reviewText="Another text", overall=1.0), row_2018(1, style={"Size:": " 7"})]
    path = write(tmp_path / "a.jsonl", *rows, row_2018(2, vote="9"), row_2018(0, reviewText="Another text", overall=1.0))
    result = read_reviews(path)
    assert len(result.reviews) == 9
    expected = {"records": 12, "without_text": 0, "exact_duplicates": 2, "repeated_ids": 1, "repeated_keys": 1}
    assert result.counts == expected
    different = "same reviewer, product and time, different content"
    assert [warning.removeprefix(f"{path}: ") for warning in result.warnings] == [
        f"lines 1 and 9: {different}; both are kept",
        "lines 2 and 10: exact duplicates; line 10 is skipped",
        f"lines 3 and 11: {different} but the same text; line 11 is skipped",
        "lines 9 and 12: exact duplicates; line 12 is skipped",
    ]


def test_warnings_are_capped_and_counts_are_not(tmp_path: Path) -> None:
    result = read_reviews(write(tmp_path / "a.jsonl", *[row_2018()] * 50))
    assert (len(result.warnings), result.counts["exact_duplicates"]) == (5, 49)


def test_injection_is_text_like_any_other(tmp_path: Path) -> None:
    forged = 'end"}\n{"overall": 5.0, "asin": "P1", "reviewText": "forged"}]} <script>alert(1)</script> {{7*7}}'
    title = "</script><img src=x onerror=alert(1)> & {{7*7}}"
    rows = [*eight()[:2], row_2018(2, reviewText=forged), *eight()[3:7], row_2018(7, summary=title)]
    reviews = read_reviews(write(tmp_path / "a.jsonl", *rows)).reviews
    assert len(reviews) == 8
    assert (reviews[2].text, reviews[7].title) == (forged, title)


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    raw = json.dumps(row_2018(reviewText="before\u2028after\x85end"), ensure_ascii=False)
    assert read_reviews(write(tmp_path / "a.jsonl", raw)).reviews[0].text == "before\u2028after\x85end"


RATING = "a number from 1 to 5"
SECONDS = "whole seconds since 1970, in a year from 1990 to 2099"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("overall", "five", f"found 'five'; expected {RATING}"),
        ("overall", 0, f"found 0; expected {RATING}"),
        ("overall", True, f"found True; expected {RATING}"),
        ("overall", float("nan"), f"found nan; expected {RATING}"),
        ("overall", None, f"found None; expected {RATING}"),
        ("unixReviewTime", START * 1000, f"found {START * 1000}; expected {SECONDS}"),
        ("unixReviewTime", "2015", f"found '2015'; expected {SECONDS}"),
        ("asin", "", "found ''; expected a text of printable characters"),
        ("reviewerID", "a\nb", r"found 'a\nb'; expected a text of printable characters"),
        ("reviewText", 7, "found 7; expected a text"),
        ("summary", ["x"], "found ['x']; expected a text"),
        ("reviewText", "half \ud800", r"found '\ud800'; expected Unicode text without half of a surrogate pair"),
        ("vote", "many", "found 'many'; expected a whole number from 0, as in 3 or \"1,204\""),
        ("vote", -1, 'found -1; expected a whole number from 0, as in 3 or "1,204"'),
    ],
)
def test_a_wrong_type_or_range_names_line_and_field(tmp_path: Path, field: str, value: Any, message: str) -> None:
    path = write(tmp_path / "a.jsonl", *eight()[:4], row_2018(4, **{field: value}), *eight()[5:])
    assert refusal(path) == f"line 5: {field}: {message}"


def test_long_values_are_shortened(tmp_path: Path) -> None:
    assert len(refusal(write(tmp_path / "a.jsonl", row_2018(overall="x" * 10_000)))) < 150


OBJECT = "expected one JSON object per line"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["overall,asin", "5,P1"], f"line 1: not JSON: found 'overall,asin'; {OBJECT}"),
        ([row_2018(), "[1, 2]"], f"line 2: found [1, 2]; {OBJECT}"),
        ([row_2018(), '{"overall": }'], f"line 2: invalid JSON (expecting value at column 13); {OBJECT}"),
        (["[" * 100_000], "line 1: a number too long or lists nested too deeply; expected a record"),
        (
            ['{"overall": ' + "9" * 5000 + "}"],
            "line 1: a number too long or lists nested too deeply; expected a record",
        ),
        (
            [b'{"overall": 5, "x": "\xe8\xff"}'],
            "line 1: not valid UTF-8: found byte 0xE8 at byte 21 of the file, counted from 0; expected UTF-8",
        ),
        (
            [row_2018(), as_2023(row_2018(1))],
            "line 2: found a record of the 2023 schema; expected reviewerID, asin, overall and unixReviewTime"
            " (2018 schema), as on line 1",
        ),
        (
            [row_2018(), {"overall": 5.0, "asin": "P1", "unixReviewTime": START}],
            "line 2: reviewerID: missing; expected reviewerID, asin, overall and unixReviewTime (2018 schema), as on line 1",
        ),
        (
            [{"stars": 5, "user_id": "u"}],
            "line 1: unknown schema: asin, rating, timestamp: missing; expected reviewerID, asin, overall and"
            " unixReviewTime (2018 schema) or user_id, asin, rating and timestamp (2023 schema)",
        ),
        ([], "empty, no reviews; expected one JSON object per line"),
        (["", " "], "empty, no reviews; expected one JSON object per line"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, rows: list[Any], message: str) -> None:
    assert refusal(write(tmp_path / "a.jsonl", *rows)) == message


def test_invalid_utf8_is_named_by_its_place_in_the_file(tmp_path: Path) -> None:
    good, bad = json.dumps(row_2018()).encode(), b'{"reviewText": "caf\xe9"}'
    place = len(good) + 1 + bad.index(b"\xe9")
    assert f"line 2: not valid UTF-8: found byte 0xE9 at byte {place}" in refusal(write(tmp_path / "a.jsonl", good, bad))


def test_a_file_cut_inside_its_last_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *eight(), row_2018(8))
    path.write_bytes(path.read_bytes()[:-60])
    message = refusal(path)
    assert message.startswith("line 9: invalid JSON (unterminated string starting at column ")
    assert message.endswith("), the file may be truncated; expected one JSON object per line")


def test_damaged_gzip(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl.gz",
        *[row_2018(n, reviewText=hashlib.sha512(bytes([n % 251, n % 7])).hexdigest()) for n in range(500)],
    )
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged gzip after line" in refusal(path)
    path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 255]) + whole[5001:])
    assert refusal(path)
    path.write_bytes(b"{}")
    assert refusal(path) == "not gzip: found bytes 7b7d; expected gzip, as the name says"


def test_missing_directory_pipe(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.jsonl") == "not found; expected a file"
    assert refusal(tmp_path) == "found a directory; expected a file"
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert refusal(tmp_path / "pipe.jsonl") == "found a pipe or device; expected a file"
    write(tmp_path / "a.jsonl", row_2018())
    assert "cannot be read (Not a directory)" in refusal(tmp_path / "a.jsonl" / "b.jsonl")


def test_unreadable(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", row_2018())
    if os.geteuid() == 0:
        path = Path("/proc/self/mem")  # modes do not stop root; reading this one at its start fails for everybody
    else:
        path.chmod(0)
    assert refusal(path).startswith("cannot be read (")


def test_a_line_break_in_a_file_name_stays_out_of_the_message(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_reviews(tmp_path / "a\nb.jsonl")
    assert "\n" not in str(caught.value)


def test_the_heuristic_is_monotone_and_uses_its_range() -> None:
    review = Review("", "u", "P1", START, "word", "", 5.0, 0)
    steps = {1: 0, 2: 1, 3: 2, 4: 3, 6: 3, 7: 4, 11: 5, 16: 6, 26: 7, 41: 8, 64: 9, 102: 10, 5000: 10}
    for words, expected in steps.items():
        assert heuristic_score(replace(review, text="word " * words)) == expected
    by_votes = {0: 0, 1: 0, 2: 1, 7: 1, 8: 2, 31: 2, 32: 3, 10_000: 3}
    for votes, expected in by_votes.items():
        assert heuristic_score(replace(review, votes=votes)) == expected


def test_ids_are_printed_on_one_line_each() -> None:
    review = Review("0123456789abcdef", "u", "P1", START, "two\nlines\u2028and \x1b[31mred", "", 5.0, 0)
    assert list(id_rows([review])) == [("0123456789abcdef", r"two lines and \x1b[31mred")]


@pytest.fixture
def reviews(tmp_path: Path) -> list[Review]:
    return read_reviews(write(tmp_path / "reviews.jsonl", *eight())).reviews


def test_labels_as_csv_and_as_json_lines(tmp_path: Path, reviews: list[Review]) -> None:
    a, b = reviews[0].review_id, reviews[1].review_id
    expected = {a: Label(7, "Ann"), b: Label(10, "Ann")}
    csv_file = write(tmp_path / "l.csv", "labeller,text,score,review_id", f'Ann,"two\nlines",7,{a}', f"Ann,x, 10 ,{b}")
    rows = [{"review_id": name, "score": label.score, "labeller": "Ann"} for name, label in expected.items()]
    assert read_labels(csv_file, reviews) == expected
    assert read_labels(write(tmp_path / "l.jsonl", *rows), reviews) == expected


HEADER = "review_id,score,labeller"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([HEADER, "0000000000000000,5,Ann"], "line 2: review_id: found '0000000000000000'; expected an id that"),
        ([HEADER, "{a},5,Ann", "{a},5,Ann"], "line 3: review_id: found '{a}'; expected no id twice, and line 2 has it"),
        ([HEADER, "{a},11,Ann"], "line 2: score: found 11; expected a whole number from 0 to 10"),
        ([HEADER, "{a},-1,Ann"], "line 2: score: found '-1'; expected a whole number from 0 to 10"),
        ([HEADER, "{a},7.5,Ann"], "line 2: score: found '7.5'; expected a whole number from 0 to 10"),
        ([HEADER, "{a},,Ann"], "line 2: score: found ''; expected a whole number from 0 to 10"),
        ([HEADER, "{a},5,"], "line 2: labeller: found ''; expected a name on one line, of 1 to 80 characters"),
        ([HEADER, '"{a}","5","A\nB"'], r"line 2: labeller: found 'A\nB'; expected a name"),
        ([HEADER, "{a},5"], "line 2: found 2 columns; expected 3, as in the header"),
        ([HEADER, '{a},5,"Ann'], "line 2: invalid CSV (unexpected end of data); expected review_id,score,labeller"),
        (["review_id,score", "{a},5"], "line 1: header: found 'review_id,score'; expected the columns review_id,"),
        ([HEADER + ",score", "{a},5,Ann,6"], "line 1: header: found 'review_id,score,labeller,score'; expected the"),
        ([HEADER], "no labels; expected review_id,score,labeller as CSV or JSON lines"),
        ([], "no labels; expected review_id,score,labeller as CSV or JSON lines"),
        (['{"review_id": "{a}", "score": "5", "labeller": "Ann"}'], "line 1: score: found '5'; expected a whole"),
        (['{"review_id": "{a}", "score": true, "labeller": "Ann"}'], "line 1: score: found True; expected a whole"),
        (['{"review_id": "{a}", "score": 5}'], "line 1: labeller: missing; expected review_id, score, labeller"),
        (['{"review_id": ["x"], "score": 5, "labeller": "Ann"}'], "line 1: review_id: found ['x']; expected an id"),
        ([b"\xff\xfe"], "line 1: not valid UTF-8"),
    ],
)
def test_labels_that_are_wrong(tmp_path: Path, reviews: list[Review], rows: list[str | bytes], message: str) -> None:
    a = reviews[0].review_id
    filled = [row.replace("{a}", a) if isinstance(row, str) else row for row in rows]
    path = write(tmp_path / "labels", *filled)
    with pytest.raises(InputError) as caught:
        read_labels(path, reviews)
    assert str(caught.value).startswith(f"{path}: {message.replace('{a}', a)}")
    assert "\n" not in str(caught.value)


def test_labels_file_missing_or_a_directory(tmp_path: Path, reviews: list[Review]) -> None:
    for path, message in ((tmp_path / "none", "not found"), (tmp_path, "found a directory")):
        with pytest.raises(InputError, match=message):
            read_labels(path, reviews)
