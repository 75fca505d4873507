"""`check`, `verify` and the gate: the bundle's claims are sound, verdicts have their shape, a changed digit is named.

The results are invented: the mini profile's groups are real, its samples are written here and no model is trained.
"""

import dataclasses
import gzip
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from pipeline import (
    aggregate,
    check,
    claims_schema,
    config,
    contract,
    evaluate,
    findings,
    gate,
    manifest,
    prepare,
    tables,
    verify,
)
from pipeline.config import Config
from pipeline.differences import differences, first_difference
from pipeline.errors import InputError
from pipeline.files import read_json, sha256_of, write_json, write_json_lines
from pipeline.groups import Group, read_groups
from pipeline.layout import Layout
from pipeline.rerun import moved
from pipeline.rules import RULES
from pipeline.streams import generator
from pipeline.verdicts import VERDICTS

RAW = yaml.safe_load(check.CLAIMS.read_text(encoding="utf-8"))
ENTRY = {
    *("id", "claim", "title", "wording", "statement", "tier", "grade", "source", "published", "ours", "verdict", "reason"),
    *("rule", "arguments", "tolerance", "would_change", "conflicts_with", "evidence"),
}


# The bundle


def test_every_claim_has_a_rule_and_every_rule_a_claim() -> None:
    bundle = check.load_claims(check.CLAIMS)
    used = {one.rule for claim in bundle.claims for one in claim.checks}
    assert used == set(RULES)


def test_paper_scale_is_judged_on_imported_rows_only_and_every_published_row_has_a_tier_d_check() -> None:
    bundle = check.load_claims(check.CLAIMS)
    assert all(one.rule.startswith("imported_") == (one.tier == "D") for claim in bundle.claims for one in claim.checks)
    derived_or_theory = {"closed_form", "fixed_point", "cost"}
    for claim in bundle.claims:
        has_d = any(one.tier == "D" for one in claim.checks)
        assert has_d == (claim.grade != "derived" and claim.id not in derived_or_theory), claim.id


def test_every_row_of_the_published_numbers_is_there() -> None:
    rows = "marker onset parse_shift parity band above failure parse_shift_bench useful_listopd useful_8b_sft ndcg_flat"
    more = "ablation_continued_sft ablation_forward_kl ablation_lambda_one ablation_constrained ablation_seed_selection"
    rest = "ablation_teacher_sft ablation_listopd budget clip15 aspo nobase scope variance"
    assert set(f"{rows} {more} {rest}".split()) <= {claim["id"] for claim in RAW["claims"]}


def test_conflicting_figures_point_at_each_other() -> None:
    conflicts = {claim["id"]: set(claim.get("conflicts_with", [])) for claim in RAW["claims"]}
    assert "parse_shift_bench" in conflicts["parse_shift"]
    assert "parse_shift" in conflicts["parse_shift_bench"]
    assert "ablation_listopd" in conflicts["useful_listopd"]
    assert "useful_listopd" in conflicts["ablation_listopd"]
    assert conflicts["variance"]


def change(**at: Any) -> Any:
    """The claims with keys of the first one's first check, or of the claim itself (``claim_...``), replaced."""
    raw = json.loads(json.dumps(RAW))
    for key, value in at.items():
        target = raw["claims"][0] if key.startswith("claim_") else raw["claims"][0]["checks"][0]
        target[key.removeprefix("claim_")] = value
    return raw


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (change(claim_checks=[]), ["claims.marker.checks"]),
        (change(rule="guess"), ["claim marker: check implied_p: rule", "'guess'", "begins_at_prediction"]),
        (change(rule=""), ["claims.marker.checks.0.rule"]),
        (change(arguments={"marker": 1.22}), ["marker", "arguments: clip"]),
        (change(arguments={"marker": "x", "clip": 5.0, "base": 0.5}), ["arguments: marker", "'x'"]),
        (change(arguments={"marker": 1.22, "clip": 5.0, "base": 0.5, "q": 1}), ["arguments: q"]),
        (change(tolerance={"value": 0.1}), ["claims.marker", "reason", "missing"]),
        (change(tolerance={"value": -0.1, "reason": "x"}), ["claims.marker", "tolerance.value", "-0.1"]),
        (change(tier="E"), ["claims.marker", "tier", "'E'"]),
        (change(claim_grade="sure"), ["claims.marker.grade", "'sure'"]),
        (change(claim_colour="red"), ["claims.marker.colour", "unknown key"]),
        (change(claim_source={"of": "rumour", "where": "x"}), ["claim marker: source.of", "'rumour'"]),
        (change(claim_conflicts_with=["nothing"]), ["claim marker: conflicts_with", "'nothing'"]),
        (change(claim_id="onset"), ["claim onset", "found 2 times"]),
        (change(claim_checks=RAW["claims"][0]["checks"][:1] * 2), ["check implied_p: found 2 times"]),
        ([1], ["found [1]"]),
        (None, ["expected"]),
    ],
)
def test_bad_claims_are_one_line_that_names_the_place(tmp_path: Path, raw: Any, words: list[str]) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(InputError) as problem:
        check.load_claims(path)
    message = str(problem.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize("content", [b"claims: [", b"\xff\xfe\x00", None])
def test_unreadable_claims(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "claims.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"claims\.yaml"):
        check.load_claims(path)


# Results to judge


def completion(group: Group, number: int, failing: int) -> str:
    """One of every ``failing`` completions lacks an id."""
    return contract.render_ranking(group, "truncate" if number % failing == 0 else "none", generator(0))


def write_run(folder: Path, layout: Layout, failing: int, step: int, **facts: Any) -> None:
    rows = [
        {
            "step": step,
            "split": split,
            "decoding": decoding,
            "completions": [completion(g, i, failing) for i, g in enumerate(read_groups(layout.groups(split)))],
            "unterminated": [],
        }
        for split, decoding in (("validation", "sampled"), ("heldout", "sampled"), ("heldout", "greedy"))
    ]
    write_json_lines(folder / "samples.jsonl.gz", rows)
    write_json_lines(folder / "log.jsonl", [{"step": step, "loss": 0.1, "q_logit": 0.5, "q_above": 0.0}])
    write_json(folder / "run.json", facts | {"outputs": {str(path): sha256_of(path) for path in folder.iterdir()}})


def invented_calibration(mini: Config) -> dict[str, Any]:
    star = {"value": 1.3, "low": 1.28, "high": 1.32, "n_seeds": 2, "n": 32}
    return {
        "profile": "mini",
        "clip": 5.0,
        "precondition": {"modal_threshold": 0.9, "holds": True},
        "p": {"value": 0.996, "log_odds": 5.5, "low": 0.995, "high": 0.997, "n_seeds": 1, "n": 32},
        "b": {"value": 0.5, "log_odds": 0.0, "low": 0.4, "high": 0.6, "n_seeds": 2, "n": 32},
        "lambda_star": star,
        "per_seed": [{"seed": seed, "b": {"log_odds": 0.1 * seed}, "lambda_star": star} for seed in mini.seeds],
        "learning_rate": {"chosen": 1e-3},
    }


@pytest.fixture(scope="module")
def mini() -> Config:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(check.ROOT)
        return dataclasses.replace(config.load("mini"), statistics=config.Statistics(0.95, 20))


@pytest.fixture(scope="module", autouse=True)
def bundle_is_listed_with_mini() -> Iterator[None]:
    """As it is with the default profile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "DEFAULT_PROFILE", "mini")
        yield


@pytest.fixture(scope="module")
def finished(mini: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree in which every stage but the training ones has run."""
    folder, layout = tmp_path_factory.mktemp("tree"), Layout("mini")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        prepare.run(mini)
        write_json(layout.calibration, invented_calibration(mini))
        for name in mini.models_to_train():
            write_run(layout.sft_record(name), layout, failing=2, step=0)
        for cell in mini.all_cells():
            facts = {"status": "finished", "learning_rate": 1e-3, "calibration_sha256": sha256_of(layout.calibration)}
            failing, steps = 20 if cell.lam < 1.5 else 3, mini.cells[cell.group].method.steps
            write_run(layout.cell_record(cell), layout, failing=failing, step=steps, **facts)
        for stage in (evaluate, aggregate, check):
            stage.run(mini)
        (layout.reports / "report.html").write_text(rendered())
        (layout.reports / "report.md").write_text(rendered())
    shutil.rmtree(folder / "runs")
    return folder


def rendered() -> str:
    return f"aggregate {sha256_of(Layout('mini').aggregate)}\nverdicts {sha256_of(Layout('mini').verdicts)}\n"


@pytest.fixture
def tree(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    """A copy of the finished tree as working directory, with a report that is quick to render and no expectations."""
    shutil.copytree(finished, tmp_path / "tree")
    monkeypatch.chdir(tmp_path / "tree")
    bundle = tmp_path / "tree" / "bundle"
    shutil.copytree(check.ROOT / "bundle", bundle)
    (bundle / "expected.yaml").write_text("{}\n")
    monkeypatch.setattr(gate, "EXPECTED", bundle / "expected.yaml")
    monkeypatch.setattr(check, "CLAIMS", bundle / "claims.yaml")
    monkeypatch.setattr(claims_schema, "SCHEMA", bundle / "claims.schema.json")
    quick = ModuleType("pipeline.report")

    def run(settings: Config) -> None:
        for name in ("report.html", "report.md"):
            (Layout(settings.profile).reports / name).write_text(rendered())

    quick.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pipeline.report", quick)
    monkeypatch.setattr("pipeline.report", quick, raising=False)
    manifest.write(Layout("mini"))
    yield Layout("mini")


def test_verdicts_have_their_shape(tree: Layout) -> None:
    verdicts = read_json(tree.verdicts, "check")
    assert [c["id"] for c in verdicts["checks"]] == [f"{c['id']}/{k['id']}" for c in RAW["claims"] for k in c["checks"]]
    for entry in verdicts["checks"]:
        assert set(entry) == ENTRY
        assert entry["verdict"] in VERDICTS
        assert set(entry["published"]) == {"text", "value", "low", "high", "unit"}
        assert set(entry["ours"]) == {"text", "value", "low", "high", "n_seeds", "n"}
        assert all(path.startswith("reports/mini/") and Path(path).exists() for path in entry["evidence"])
        assert entry["reason"].startswith("Profile mini: ") == (entry["tier"] == "C")
        assert entry["tier"] != "D" or entry["verdict"] == "not run"
    assert verdicts["aggregate_sha256"] == sha256_of(tree.aggregate)
    assert verdicts["calibration_sha256"] == sha256_of(tree.calibration)
    assert verdicts["claims_sha256"] == sha256_of(check.CLAIMS)
    assert sum(n for counts in verdicts["summary"].values() for n in counts.values()) == len(verdicts["checks"])
    assert (list(verdicts["summary"]), verdicts["unknown"]) == (["A", "B", "C", "D"], RAW["unknown"])
    assert verdicts["sources"] == RAW["sources"]


def test_imported_rows_are_judged_in_tier_d_and_shown_with_their_provenance(
    tree: Layout, mini: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {c["id"]: c for c in read_json(tree.verdicts, "check")["checks"]}
    folder = tmp_path / "imported"
    text = Path(__file__).with_name("invented_metrics.csv").read_text(encoding="utf-8")
    (tmp_path / "t.csv").write_text(text.replace("INVENTED", "<script>INVENTED\u2028{{7*7}}"), encoding="utf-8")
    tables.store([tmp_path / "t.csv"], [], folder)
    monkeypatch.setattr(check, "IMPORTED", folder)
    check.run(mini)
    verdicts = read_json(tree.verdicts, "check")
    found = {c["id"]: c for c in verdicts["checks"]}
    assert {name: c for name, c in found.items() if c["tier"] != "D"} == {
        name: c for name, c in before.items() if c["tier"] != "D"
    }
    for name, verdict in (("onset", "reproduced"), ("parse_shift", "reproduced"), ("parity", "not run")):
        one = found[f"{name}/full_scale"]
        assert one["verdict"] == verdict
        about = "Imported (<script>INVENTED\\u2028{{7*7}} for the tests; there is no run behind it; "
        assert one["reason"].startswith(about) == (verdict != "not run")
        assert one["evidence"] == ([] if verdict == "not run" else ["bundle/imported/t.csv"])
    assert found["aspo/full_scale"]["reason"].startswith("no imported row has reading aspo (found truncate); it takes")
    assert verdicts["imported"] == [{"table": "t.csv", "sha256": sha256_of(folder / "t.csv"), "evaluations": 60}]
    edit(folder / "t.csv", "948", "949")
    with pytest.raises(InputError, match=r"t\.csv: found SHA-256"):
        check.run(mini)
    assert read_json(tree.verdicts, "check") == verdicts


def test_two_seeds_are_too_few_for_a_verdict_of_tier_c(tree: Layout) -> None:
    found = {c["verdict"] for c in read_json(tree.verdicts, "check")["checks"] if c["tier"] == "C"}
    assert found == {"inconclusive", "not run"}


def test_the_table_holds_every_check_and_cannot_be_broken(tree: Layout) -> None:
    verdicts = read_json(tree.verdicts, "check")
    verdicts["checks"][0]["ours"]["text"] = "a | b\n<script>"
    lines = findings.markdown_table(findings.HEAD, findings.table_rows(verdicts)).splitlines()
    assert len(lines) == 2 + len(verdicts["checks"])
    assert "a \\| b &lt;script>" in lines[2]
    assert {line.replace("\\|", "").count("|") for line in lines} == {7}


@pytest.mark.parametrize("content", ["{", "[]", '{"k": 3}'])
def test_a_damaged_aggregate_is_one_line_and_leaves_the_verdicts(tree: Layout, mini: Config, content: str) -> None:
    before = tree.verdicts.read_bytes()
    tree.aggregate.write_text(content)
    with pytest.raises(InputError, match=r"aggregate\.json"):
        check.run(mini)
    assert tree.verdicts.read_bytes() == before


# The gate


def ask(mini: Config, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    where = Path.cwd()
    status = gate.run(mini)
    assert Path.cwd() == where
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    return status, capsys.readouterr().out


def edit(path: Path, old: str, new: str) -> None:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    assert old in text
    changed = text.replace(old, new, 1).encode()
    path.write_bytes(gzip.compress(changed) if path.suffix == ".gz" else changed)


def test_an_untouched_tree_is_green(tree: Layout, mini: Config, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = ask(mini, capsys)
    assert (status, "DIFFERS" in said, ", 0 failed" in said) == (0, False, True)
    assert "no expectation committed for mini" in said
    assert "| A | marker/implied_p |" in said


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        (
            "metrics/main/1/1.1.json",
            '"parsed": 60',
            '"parsed": 61',
            ["evaluations[1].parsed", "committed 61", "recomputed 60"],
        ),
        ("aggregate.json", '"k": 3', '"k": 4', ["aggregate.json: k: committed 4, recomputed 3"]),
        ("metrics.json", '"p": 0.996', '"p": 0.997', ["metrics.json: p: committed 0.997, recomputed 0.996"]),
        ("verdicts.json", '"value": 1.22', '"value": 1.21', ["checks[0].published.value: committed 1.21, recomputed 1.22"]),
        ("verdicts.json", '"verdict": "cannot', '"verdict": "can', ["checks[0].verdict"]),
        ("data.json", '"vocabulary": ', '"vocabulary": 1', ["data.json: vocabulary"]),
        ("plots/parse.csv", "main,truncate,1.0,0.9", "main,truncate,1.0,0.8", ["plots/parse.csv: [0].parse: committed 0.8"]),
        ("report.html", "aggregate", "aggregatE", ["report.html: differs", "line 1: committed 'aggregatE"]),
        (
            "calibration.json",
            '"value": 0.996',
            '"value": 0.995',
            ["saw another calibration", "aggregate.json: calibration.p"],
        ),
        (
            "cells/main/0/1.0/samples.jsonl.gz",
            '["{',
            '["',
            [
                "metrics/main/0/1.0.json: evaluations[0]",
                "samples.jsonl.gz: not as the run wrote it",
                "samples.jsonl.gz: not as reports/mini/MANIFEST.sha256 lists it",
            ],
        ),
        (
            "../../bundle/claims.yaml",
            "λ* = 1.22",
            "λ* = 1.21",
            ["claims.yaml: not as", "checks[0].title: committed", "1.22", "recomputed", "1.21"],
        ),
        (
            "../../bundle/claims.yaml",
            "value: 1.22,",
            "value: 1.23,",
            ["checks[0].published.value: committed 1.22, recomputed 1.23"],
        ),
        ("../../bundle/claims.yaml", "low: 1.204, high", "low: 1.203, high", ["committed 1.204, recomputed 1.203"]),
        (
            "../../bundle/claims.schema.json",
            '"minItems": 1',
            '"minItems": 2',
            ["claims.schema.json: $defs.Claim.properties.checks"],
        ),
        ("../../bundle/NOTES.md", "1", "2", ["bundle/NOTES.md: not as reports/mini/MANIFEST.sha256 lists it: listed"]),
        ("sft/teacher/log.jsonl", "0.1", "0.2", ["sft/teacher/log.jsonl: not as the run wrote it"]),
        ("cells/main/0/1.0/run.json", '"finished"', '"not finite"', ["cells main: 1.0-0 is not finite"]),
    ],
)
def test_a_changed_digit_is_red_and_named(
    tree: Layout, mini: Config, capsys: pytest.CaptureFixture[str], name: str, old: str, new: str, words: list[str]
) -> None:
    edit((tree.reports / name).resolve(), old, new)
    status, said = ask(mini, capsys)
    assert status == 1
    assert all(word in said for word in words), said[said.find("DIFFERS") :]


def test_a_digit_too_small_for_the_tolerance_is_named_too(
    tree: Layout, mini: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(tree)
    text = tree.aggregate.read_text()
    number = max(re.findall(r"\d\.\d{14,}", text), key=len)
    edit(tree.aggregate, number, f"{number[:-1]}{(int(number[-1]) + 1) % 10}")
    status, said = ask(mini, capsys)
    assert status == 1
    assert "aggregate.json: not as reports/mini/MANIFEST.sha256 lists it: line " in said
    assert number in said


def test_a_changed_figure_is_caught_though_the_manifest_was_written_for_it(
    tree: Layout, mini: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(tree.summary, '"p": 0.996', '"p": 0.997')
    manifest.write(tree)
    status, said = ask(mini, capsys)
    assert (status, ", 1 failed" in said) == (1, True)
    assert "metrics.json: p: committed 0.997, recomputed 0.996" in said


def test_the_manifest_is_written_only_where_all_else_agrees(
    tree: Layout, mini: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree.manifest.read_bytes()
    edit(tree.summary, '"p": 0.996', '"p": 0.997')
    assert verify.run(mini, update_manifest=True) == 1
    assert tree.manifest.read_bytes() == before
    edit(tree.summary, '"p": 0.997', '"p": 0.996')
    tree.manifest.write_text("<<<<<<< HEAD\n")
    with pytest.raises(InputError, match=r"MANIFEST\.sha256: line 1: found '<<<<<<< HEAD'"):
        verify.run(mini, update_manifest=False)
    tree.manifest.unlink()
    assert verify.run(mini, update_manifest=False) == 1
    assert "MANIFEST.sha256: not found; expected the file that `python -m pipeline run` writes" in capsys.readouterr().out
    for content in (None, "<<<<<<< HEAD\n"):
        if content:
            tree.manifest.write_text(content)
        assert verify.run(mini, update_manifest=True) == 0
        assert tree.manifest.read_bytes() == before


def test_the_gate_writes_what_it_found(tree: Layout, mini: Config, tmp_path: Path) -> None:
    outputs = gate.Outputs(tmp_path / "a/junit.xml", tmp_path / "a/gate.md")
    edit(tree.summary, '"p": 0.996', '"p": 0.997')
    assert gate.run(mini, None, outputs) == 1
    assert "metrics.json: p: committed 0.997, recomputed 0.996" in (tmp_path / "a/junit.xml").read_text(encoding="utf-8")
    assert "metrics.json: p: committed 0.997, recomputed 0.996" in (tmp_path / "a/gate.md").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="cannot be written"):
        gate.run(mini, None, gate.Outputs(junit=tree.summary / "junit.xml"))


def test_files_too_many_or_missing_are_named(tree: Layout, mini: Config, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copyfile(tree.metrics / "main/0/1.0.json", tree.metrics / "main/0/9.9.json")
    (tree.metrics / "main/1/1.0.json").unlink()
    shutil.copytree(tree.reports / "cells/main/0/1.0", tree.reports / "cells/main/0/9.9")
    status, said = ask(mini, capsys)
    assert status == 1
    assert "0/9.9.json: not listed in reports/mini/MANIFEST.sha256" in said
    assert "1/1.0.json: listed in reports/mini/MANIFEST.sha256, but not found" in said
    assert "cells/main/0/9.9/samples.jsonl.gz: no run of the settings makes it" in said
    assert "0/9.9.json: committed, but nothing makes it" in said
    assert "1/1.0.json: not committed" in said


def test_the_last_bits_may_differ_and_no_more(tree: Layout, mini: Config, capsys: pytest.CaptureFixture[str]) -> None:
    committed = read_json(tree.aggregate, "aggregate")
    committed["cells"]["main"]["lambdas"][0]["parse"]["value"] *= 1 + 1e-12
    write_json(tree.aggregate, committed)
    check.run(mini)
    for name in ("report.html", "report.md"):
        (tree.reports / name).write_text(rendered())
    manifest.write(tree)
    status, said = ask(mini, capsys)
    assert (status, "not to the last bit" in said) == (0, True), said[said.find("DIFFERS") :]


def test_many_differences_are_counted(tree: Layout, mini: Config, capsys: pytest.CaptureFixture[str]) -> None:
    for path in tree.metrics.rglob("*.json"):
        edit(path, '"parse": ', '"parse": 1')
        edit(path, '"n": ', '"n": 1')
    status, said = ask(mini, capsys)
    assert (status, said.count("DIFFERS")) == (1, len(list(tree.metrics.rglob("*.json"))) + findings.SHOWN)
    assert "more differences (files)" in said


def test_expectations(tree: Layout, mini: Config, capsys: pytest.CaptureFixture[str]) -> None:
    expected = {c["id"]: c["verdict"] for c in read_json(tree.verdicts, "check")["checks"]}
    gate.EXPECTED.write_text(yaml.safe_dump({"mini": expected}))
    manifest.write(tree)
    assert ask(mini, capsys)[0] == 0
    changed = expected | {"onset/collapse": "reproduced", "no/such": "not run"}
    del changed["marker/jump"]
    gate.EXPECTED.write_text(yaml.safe_dump({"mini": changed}))
    manifest.write(tree)
    status, said = ask(mini, capsys)
    assert (status, ", 3 failed" in said) == (1, True)
    assert "onset/collapse: expected reproduced, found inconclusive" in said
    assert "no/such: expected not run, found no such check" in said
    assert "marker/jump: expected nothing, found inconclusive" in said


@pytest.mark.parametrize("content", ["mini: [1]", "mini: {a: {b: c}}", "[", ""])
def test_damaged_expectations_are_refused(tree: Layout, content: str) -> None:
    gate.EXPECTED.write_text(content)
    with pytest.raises(InputError, match=r"expected\.yaml"):
        list(gate._expectations("mini", {"checks": []}))


def test_only_the_default_profile_must_have_expectations_once_there_are_some() -> None:
    verdicts = {"checks": [], "profile": "replica"}
    with pytest.MonkeyPatch.context() as patch:
        for content, red in (({}, False), ({"mini": {}}, True)):
            found = Path("expected.yaml")
            patch.setattr(gate.Path, "read_text", lambda *_, content=content, **__: yaml.safe_dump(content))
            patch.setattr(gate, "EXPECTED", found)
            assert bool(next(gate._expectations("replica", verdicts)).problems) == red
            assert not [f for f in gate._expectations("fashion", verdicts) if f.problems]


def test_without_results_or_with_bad_claims_the_gate_refuses(
    tree: Layout, mini: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(check, "CLAIMS", tmp_path / "none.yaml")
    with pytest.raises(InputError, match=r"none\.yaml: not found"):
        gate.run(mini)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"reports/mini/sft: not found"):
        gate.run(mini)


def test_texts_that_are_not_here_are_said(tree: Layout, mini: Config, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = dataclasses.replace(mini, reviews=config.Reviews("runs/mini/input/reviews", None, 8, True, 0.2))
    status, said = ask(elsewhere, capsys)
    assert (status, "starting from the committed metrics" in said) == (0, True), said[said.find("DIFFERS") :]


@pytest.mark.parametrize(
    ("committed", "recomputed", "said"),
    [
        ({"a": [1, 2]}, {"a": [1, 3]}, ["a[1]: committed 2, recomputed 3"]),
        ({"a": 1}, {}, ["a: not recomputed"]),
        ({}, {"a": 1}, ["a: not committed"]),
        ({"a": [1]}, {"a": [1, 2]}, ["a: committed [1], recomputed [1, 2]"]),
        ({"a": 1.0}, {"a": 1.0 + 1e-10}, []),
        ({"a": 1.0}, {"a": 1.0 + 1e-8}, ["a: committed 1.0, recomputed 1.00000001"]),
        ({"a": True}, {"a": 1}, ["a: committed true, recomputed 1"]),
        ({"a": None}, {"a": 0}, ["a: committed null, recomputed 0"]),
        ({"a": "x" * 100}, {"a": "x"}, [f'a: committed "{"x" * 79}..., recomputed "x"']),
        ({"a": "x" * 99 + "1"}, {"a": "x" * 99 + "2"}, [f'a: committed ...{"x" * 20}1", recomputed ...{"x" * 20}2"']),
    ],
)
def test_differences(committed: Any, recomputed: Any, said: list[str]) -> None:
    assert list(differences(committed, recomputed)) == said


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (b"a\nb1\n", b"a\nb2\n", "line 2: committed 'b1', recomputed 'b2'"),
        (b"a\n", b"a\nb\n", "line 2: committed '', recomputed 'b'"),
        (b"a\n", b"a\r\n", "committed 2 bytes, recomputed 3"),
        (b"x" * 200 + b"1", b"x" * 200 + b"2", f"line 1: committed '...{'x' * 20}1', recomputed '...{'x' * 20}2'"),
        (b"\xff", b"\xfe", "line 1: committed '\ufffd', recomputed '\ufffd'"),
    ],
)
def test_first_difference(a: bytes, b: bytes, said: str) -> None:
    assert first_difference(a, b) == said


# A tree that was run again


def commit(tree: Layout) -> None:
    for arguments in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@e.org", "commit", "-qm", "t"],
    ):
        subprocess.run(["git", *arguments], check=True)


def test_an_equal_tree_has_not_moved(tree: Layout, mini: Config, capsys: pytest.CaptureFixture[str]) -> None:
    commit(tree)
    assert gate.run(mini, "HEAD") == 0
    found = list(moved(mini, "HEAD"))
    assert {problem for _, problem in found} == {""}
    names = {what for what, _ in found}
    assert {"p against HEAD", "b against HEAD", "parse of main at lambda 1.5 against HEAD"} <= names
    assert len([name for name in names if name.startswith("verdict")]) == sum(
        len(claim["checks"]) for claim in RAW["claims"]
    )


def test_what_moved_further_than_its_noise_is_named(tree: Layout, mini: Config) -> None:
    commit(tree)
    calibration = read_json(tree.calibration, "calibrate")
    error = (calibration["b"]["high"] - calibration["b"]["low"]) / 3.92
    calibration["b"]["value"] += 3.5 * error
    calibration["p"]["value"] += 5 * 0.002 / 3.92
    write_json(tree.calibration, calibration)
    for seed in mini.seeds:
        path = tree.cell_metrics(config.Cell("main", 1.5, seed))
        cell = read_json(path, "evaluate")
        for row in cell["evaluations"]:
            if row["split"] == "heldout":
                row["parsed_prompts"] = "0" * row["n"]
        write_json(path, cell)
    edit(tree.verdicts, '"verdict": "cannot compare"', '"verdict": "reproduced"')
    problems = [problem for _, problem in moved(mini, "HEAD") if problem]
    assert len(problems) == 3
    assert problems[0].startswith("p: 0.996 became 0.998551, 3.5 standard errors")
    assert problems[1].startswith("parse of main at lambda 1.5: 99 % intervals apart: HEAD 0.65")
    assert problems[2] == "marker/implied_p: HEAD cannot compare, here reproduced"


def test_an_unknown_commit_is_one_line(tree: Layout, mini: Config) -> None:
    commit(tree)
    with pytest.raises(
        InputError, match=r"nothing: reports/mini/calibration\.json: .*expected a commit that holds the file"
    ):
        list(moved(mini, "nothing"))
