"""codecheck.yml against the rules of CODECHECK's specification 2.0 (rules-2.0.yml of its register): which hold, which wait.

The names are the rules'. Those that wait need a human checker or the authors; the file and the README list them.
"""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "codecheck.yml"
TEXT = FILE.read_text(encoding="utf-8")
CONFIG = yaml.safe_load(TEXT)
LEFT_TO_HUMANS = ["name", "ORCID", "codechecker", "summary", "repository", "check_time", "certificate", "report"]


def test_explicit_document_and_version_known():
    assert TEXT.startswith("---\n")
    assert CONFIG["version"] == "https://codecheck.org.uk/spec/config/2.0/"


def test_no_node_twice():
    assert len(re.findall(r"^\w+:", TEXT, flags=re.MULTILINE)) == len(CONFIG)


def test_manifest_present():
    files = [entry["file"] for entry in CONFIG["manifest"]]
    assert files
    assert len(set(files)) == len(files)


@pytest.mark.parametrize("entry", CONFIG["manifest"], ids=lambda entry: entry["file"])
def test_manifest_files_exist_are_relative_and_have_a_comment(entry):
    path = Path(entry["file"])
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert (ROOT / path).is_file()
    assert len(entry["comment"]) > 20
    assert set(entry) == {"file", "comment"}


def test_every_manifest_file_is_made_by_the_pipeline():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].values()
    outs = {next(iter(out)) if isinstance(out, dict) else out for stage in stages for out in stage.get("outs", [])}
    outs |= {next(iter(out)) for stage in stages for out in stage.get("metrics", [])}
    made = {Path(out.replace("${profile}", "replica")) for out in outs}
    assert [entry["file"] for entry in CONFIG["manifest"] if made.isdisjoint([p := Path(entry["file"]), *p.parents])] == []


def test_paper_is_the_one_that_the_citation_names():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["references"][0]
    paper = CONFIG["paper"]
    assert paper["title"] == citation["title"]
    assert [author["name"] for author in paper["authors"]] == [author["family-names"] for author in citation["authors"]]
    assert paper["reference"] == citation["url"]
    assert not paper["reference"].endswith(".pdf")


def test_no_placeholder_values():
    assert re.search(r"FIXME|TODO|XXX|0000-000|YYYY", yaml.safe_dump(CONFIG)) is None


def test_what_only_humans_can_supply_is_absent_and_listed():
    """A checker who adds one of them takes its line out of the list."""
    listed = re.findall(r"^#   (?:paper\.authors\[\]\.)?(\w+) ", TEXT, flags=re.MULTILINE)
    assert listed == LEFT_TO_HUMANS
    assert set(LEFT_TO_HUMANS).isdisjoint(CONFIG)
    assert all(set(author) == {"name"} for author in CONFIG["paper"]["authors"])
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    (said,) = re.findall(r"\[codecheck\.yml\]\(codecheck\.yml\)[^|]*?\.(?= [A-Z]|$)", readme)
    assert all(
        word in said for word in ("ORCID", "codechecker", "summary", "repository", "check_time", "certificate", "report")
    )
