"""What the gate found, as JUnit XML and as Markdown: sound whatever the texts hold, differences first."""

import re
from xml.etree import ElementTree

import pytest
from junitparser import JUnitXml

from pipeline import findings
from pipeline.findings import Finding, conclude, told, write_junit, write_markdown

NASTY = "a | b <script>\x00\x1b `` \ud800 ]]> & {{7*7}}\u2028"


def verdict(name, found="reproduced", reason="as published"):
    texts = {"published": {"text": "94.8 %"}, "ours": {"text": "95 %"}}
    return {"id": name, "tier": "C", "verdict": found, "reason": reason, **texts}


@pytest.fixture
def found():
    results = {
        "files": [Finding("metrics.json", ("metrics.json: p: committed 0.9, recomputed 0.8",)), Finding("data.json")],
        "verdicts": [
            Finding("marker/jump"),
            Finding("marker/at_1_22", ("marker/at_1_22: expected not run, found reproduced",)),
            Finding("gone/claim", ("gone/claim: expected not run, found no such check",)),
        ],
    }
    return results, {"profile": "replica", "checks": [verdict("marker/jump"), verdict("marker/at_1_22")]}


def test_junit_has_a_case_for_each_thing_and_its_failure(found, tmp_path):
    path = tmp_path / "junit.xml"
    write_junit(path, *found, 1.234)
    xml = JUnitXml.fromfile(str(path))
    assert (xml.name, xml.tests, xml.failures, xml.errors, xml.skipped, xml.time) == ("gate replica", 5, 3, 0, 0, 1.2)
    suites = {suite.name: suite for suite in xml}
    assert {name: (suite.tests, suite.failures) for name, suite in suites.items()} == {"files": (2, 1), "verdicts": (3, 2)}
    case, passed = suites["files"]
    assert (case.name, case.classname) == ("metrics.json", "replica.files")
    assert case.result[0].message == "metrics.json: p: committed 0.9, recomputed 0.8"
    assert passed.is_passed
    jump, *_ = suites["verdicts"]
    assert jump.system_out.splitlines() == [
        *("tier: C", "claim: marker/jump", "published: 94.8 %", "ours: 95 %", "verdict: reproduced", "reason: as published")
    ]


def test_junit_has_the_structure_that_ci_systems_read(found, tmp_path):
    path = tmp_path / "junit.xml"
    write_junit(path, *found, 1.0)
    root = ElementTree.parse(path).getroot()
    assert root.tag == "testsuites"
    assert {child.tag for child in root} == {"testsuite"}
    for suite in root:
        assert {case.tag for case in suite} == {"testcase"}
        assert int(suite.get("tests")) == len(suite)
        assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
        for case in suite:
            assert case.get("name") and case.get("classname")
            assert {part.tag for part in case} <= {"failure", "system-out"}


def test_junit_is_well_formed_whatever_the_texts_hold(tmp_path):
    path = tmp_path / "junit.xml"
    checks = [verdict("marker/jump", reason=NASTY)]
    write_junit(path, {"verdicts": [Finding("marker/jump", (NASTY,))]}, {"profile": "mini", "checks": checks}, 0.0)
    (case,) = ElementTree.parse(path).getroot().iter("testcase")
    assert case.find("failure").text == "a | b <script>\ufffd\ufffd `` \ufffd ]]> & {{7*7}}\u2028"


def test_markdown_has_differences_first(found, tmp_path):
    path = tmp_path / "gate.md"
    write_markdown(path, *found)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "## Gate of the profile replica: 3 of 5 checks differ"
    assert lines[2:7] == [
        "```text",
        "metrics.json: p: committed 0.9, recomputed 0.8",
        "marker/at_1_22: expected not run, found reproduced",
        "gone/claim: expected not run, found no such check",
        "```",
    ]
    assert lines[8] == "| claim | published | ours | verdict | reason |"
    told = "marker/at_1_22: expected not run, found reproduced; as published"
    assert lines[10] == f"| marker/at_1_22 | 94.8 % | 95 % | reproduced | {told} |"
    assert lines[11] == "| marker/jump | 94.8 % | 95 % | reproduced | as published |"


def test_markdown_of_a_green_gate(found, tmp_path):
    write_markdown(tmp_path / "gate.md", {"verdicts": [Finding("marker/jump")]}, found[1])
    text = (tmp_path / "gate.md").read_text(encoding="utf-8")
    assert text.startswith("## Gate of the profile replica: all 1 checks agree\n\n| claim |")


def test_markdown_cannot_be_broken_by_a_text(tmp_path):
    results = {"files": [Finding("x", ("```\n<img src=x>",))], "verdicts": []}
    checks = [verdict("marker/jump", reason=NASTY.replace("\ud800", ""))]
    write_markdown(tmp_path / "gate.md", results, {"profile": "mini", "checks": checks})
    text = (tmp_path / "gate.md").read_text(encoding="utf-8")
    assert text.count("````") == 2
    assert "<script>" not in text.split("````")[2]
    row = next(line for line in text.splitlines() if line.startswith("| marker/jump"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 6


def test_markdown_fits_into_a_comment(tmp_path):
    checks = [verdict(f"claim/{i}", reason="x" * 1000) for i in range(100)]
    failing = Finding("claim/99", ("claim/99: expected not run, found reproduced",))
    write_markdown(tmp_path / "gate.md", {"verdicts": [failing]}, {"profile": "mini", "checks": checks})
    text = (tmp_path / "gate.md").read_text(encoding="utf-8")
    assert len(text) <= 65_536
    shown = text.count("\n| claim/")
    assert f"... and {100 - shown} more claims" in text
    assert text.index("| claim/99") < text.index("| claim/0")


def test_of_many_differences_the_first_of_each_part_are_told(capsys):
    many = [Finding(str(i), (f"{i}: differs",)) for i in range(findings.SHOWN + 3)]
    results = {"manifest": many, "files": many[:1], "runs": []}
    assert len(list(told(results))) == findings.SHOWN + 2
    assert conclude(results, 0.6) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[findings.SHOWN :] == [
        "... and 3 more differences (manifest)",
        "DIFFERS 0: differs",
        f"0 checks passed, {findings.SHOWN + 4} failed (1 s, nothing trained)",
    ]
