"""The report: complete, self-contained, escaped, the same bytes every time, and careful with the old one."""

import copy
import html.parser
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import report
from pipeline.charts import REPEATED, SHORTER, failure_kind
from pipeline.config import Config, parse
from pipeline.errors import InputError
from pipeline.figures import figures
from pipeline.files import write_json, write_json_lines
from pipeline.layout import Layout

ROOT = Path(__file__).resolve().parent.parent
EVIL = "<script>alert(1)</script> {{7*7}} </script> \u2028 <img src=x onerror=alert(1)> \"' & ]]> <!--"
LIMIT = 3_000_000


def settings() -> Config:
    path = ROOT / "params.yaml"
    return parse(yaml.safe_load(path.read_text(encoding="utf-8")), path)


def estimate(value: float, spread: float = 0.02, **more: Any) -> dict[str, Any]:
    return {
        "value": value,
        "low": max(value - spread, 0.0),
        "high": min(value + spread, 1.0),
        "n_seeds": 5,
        "n": 5120,
        **more,
    }


def aggregate_of(config: Config, labeller: str = "invented grades") -> dict[str, Any]:
    """Invented figures of the right shape: parse collapses past λ = 1.25 where the clip acts, nowhere else."""
    star = {"value": 1.237, "low": 1.229, "high": 1.244, "n_seeds": 5, "n": 512}
    b = {"value": 0.42, "log_odds": -0.32, "low": 0.4, "high": 0.44, "n_seeds": 5, "n": 512}
    pilot = [
        {"learning_rate": rate, "parse": 0.6 + 40 * rate, "low": 0.55, "high": 0.8, "n": 1024, "status": "finished"}
        for rate in config.calibrate.learning_rates
    ]
    calibration = {
        "profile": config.profile, "prompts": 512, "clip": 5.0, "confidence": 0.95,
        "binding": {"position": 16, "token": ",", "rule": "where the base puts the least mass"},
        "precondition": {"modal_threshold": 0.9, "holds": True},
        "p": {"value": 0.99912, "log_odds": 7.03, "low": 0.999, "high": 0.9993, "n_seeds": 1, "n": 512}, "b": b,
        "lambda_star": star, "lambda_star_base_neutral": 1.229, "clip_threshold_logit": 8.64,
        "per_seed": [{"seed": seed, "b": b, "lambda_star": star, "lambda_star_of_prompts": {"q05": 1.21, "median": 1.23, "q95": 1.26, "n": 512, "defined": 512}} for seed in config.seeds],
        "positions": [{"position": t, "token": token, "p": 0.999, "b": 0.99 if t < 16 else 0.42, "p_logit_mean": 7.0, "b_logit_mean": 4.0, "lambda_star": None if t == 2 else 1.24} for t, token in ((0, '{"ranking":['), (2, ","), (16, ","), (17, "]}"))],
        "learning_rate": {"rule": "the smallest within one standard error", "chosen": config.calibrate.learning_rates[2], "pilot": pilot},
        "models_sha256": {"teacher": "a" * 64},
    }  # fmt: skip
    sft = {"parse": estimate(0.34), "useful": estimate(0.3), "quality": estimate(0.9, n=1740), "quality_name": "ndcg_at_1", "scores": {"ndcg_at_1": 0.9}, "outcomes": {"ok": 1740, "listed 7, distinct 7": 3200, "listed 8, distinct 7": 150, "malformed": 30}}  # fmt: skip
    return {
        "profile": config.profile, "command": f"python -m pipeline stage aggregate --profile {config.profile}", "confidence": 0.95,
        "data": {"labeller": labeller, "groups": {"sft": 102400, "train": 1795, "validation": 212, "heldout": 1024}, "vocabulary": 26, "sha256": {"train": "b" * 64}},
        "k": 8, "calibration": calibration, "calibration_sha256": "c" * 64, "sft": {"teacher": copy.deepcopy(sft), "student": sft},
        "cells": {name: group_of(name, config) for name in config.cells},
    }  # fmt: skip


def group_of(name: str, config: Config) -> dict[str, Any]:
    cells = config.cells[name]
    rows = []
    for lam in sorted(cells.lambdas):
        gone = name == "main" and lam > 1.25
        parse = 0.05 if gone else 0.93
        rows.append({
            "lambda": lam, "parse": estimate(parse), "parse_greedy": estimate(parse), "useful": estimate(0.9 * parse),
            "quality": estimate(0.9, n=int(5120 * parse)), "quality_name": "ndcg_at_1", "scores": {"ndcg_at_1": 0.9},
            "outcomes": {"ok": int(5120 * parse), "listed 7, distinct 7": 5120 - int(5120 * parse)}, "lift": estimate(0.5),
            "parse_by_seed": [{"seed": seed, "parse": min(parse + 0.01 * seed, 1.0)} for seed in cells.seeds],
            "training": [{"step": step, "parse": 0.34 + (parse - 0.34) * step / 42, "least": 0.0, "greatest": 1.0, "n_seeds": 5} for step in range(7, 43, 7)],
            "q_logit_by_seed": [7.0 + 3 * (lam - 1) + 0.1 * seed for seed in cells.seeds], "q_above_by_seed": [float(gone)] * len(cells.seeds),
        })  # fmt: skip
    found = {"median": 1.27, "low": 1.26, "high": None, "beyond": 2.0, "n_seeds": 5, "censored": 1, "per_seed": [{"seed": seed, "value": None if seed == 4 else 1.27} for seed in cells.seeds]}  # fmt: skip
    none = {"median": None, "low": None, "high": None, "beyond": 2.0, "n_seeds": 5, "censored": 5, "per_seed": [{"seed": seed, "value": None} for seed in cells.seeds]}  # fmt: skip
    return {
        "reading": cells.reading, "clip": cells.clip, "steps": cells.steps, "learning_rate": 2e-4, "invalid": [], "not_of_this_calibration": [],
        "lambdas": rows, "plateau": [{"seed": seed, "parse": 0.93} for seed in cells.seeds],
        "fixed_point_logit": [{"lambda": row["lambda"], "by_seed": [7.0 + 7 * (row["lambda"] - 1)] * len(cells.seeds)} for row in rows],
        "onset": found if name == "main" else none, "onset_of_least": found, "crossing": none, "jump": none,
        "flatness": {"ndcg_at_1": {"range": 0.01, "p_value": 0.4, "permutations": 2000, "n_seeds": 5, "n_lambdas": len(rows)}},
    }  # fmt: skip


def check(claim: str, tier: str, verdict: str, **more: Any) -> dict[str, Any]:
    return {
        "claim": claim, "title": f"Title of {claim}", "statement": f"What {claim} says", "tier": tier, "grade": "page", "source": "the authors' page",
        "published": {"text": "33.5% to 94.8%", "value": None, "low": None, "high": None, "unit": None},
        "ours": {"text": None, "value": 0.61, "low": 0.58, "high": 0.64, "n_seeds": 5, "n": 5120},
        "verdict": verdict, "reason": f"why {claim} is {verdict}", "rule": "overlap", "arguments": {"margin": 0.05}, "tolerance": {"value": 0.05, "reason": "the grid's step"},
        "would_change": "a finer grid", "conflicts_with": None, "evidence": ["reports/replica/aggregate.json"], **more,
    }  # fmt: skip


def verdicts_of(**more: Any) -> dict[str, Any]:
    checks = [
        check(
            "marker", "A", "reproduced", published={"text": "1.22", "value": 1.22, "low": None, "high": None, "unit": None}
        ),
        check("parse_shift", "C", "not reproduced"),
        check("useful", "B", "inconclusive", grade="secondary", conflicts_with=["useful_ablation"]),
        check("onset", "D", "not run", ours=None),
        check("failure", "C", "cannot compare", grade="secondary", **more),
    ]
    return {"profile": "replica", "command": "python -m pipeline stage check --profile replica", "aggregate_sha256": "d" * 64, "checks": checks, "unknown": ["the learning rate"], "sources": {}}  # fmt: skip


def write_tree(
    aggregate: dict[str, Any], verdicts: dict[str, Any], config: Config, completion: str = '{"ranking":["r1"]}'
) -> None:
    """Everything the stage reads, below the working directory."""
    layout = Layout(config.profile)
    write_json(layout.aggregate, aggregate)
    write_json(layout.verdicts, verdicts)
    good = json.dumps({"ranking": [f"r{i + 1}" for i in range(8)]})
    sample = {
        "step": 42,
        "split": "heldout",
        "decoding": "sampled",
        "completions": [completion, good, good.replace(',"r8"', "")],
        "unterminated": [],
    }
    record = {"command": "python -m pipeline stage", "commit": "0" * 40, "dirty": False, "python": "3.11", "packages": {"torch": "1"}, "platform": "Linux", "processor": "a CPU", "cores": 2, "threads": 1, "started": "2026-01-01T00:00:00Z", "wall_seconds": 8.1, "peak_memory_mib": 400}  # fmt: skip
    folders = [layout.sft_record(name) for name in config.models_to_train()] + [
        layout.cell_record(cell) for cell in config.all_cells()
    ]
    for folder in folders:
        write_json(folder / "run.json", record)
        write_json_lines(folder / "samples.jsonl.gz", [sample])


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a rendered report in it."""
    config, folder = settings(), tmp_path_factory.mktemp("rendered")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_tree(aggregate_of(config), verdicts_of(), config)
        report.run(config)
    return folder


@pytest.fixture
def tree(rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in."""
    shutil.copytree(rendered, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and the text that a reader sees, element by element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.shown = ""
        self.hidden = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.hidden = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.hidden = False

    def handle_data(self, data: str) -> None:
        self.shown += "" if self.hidden else data


def test_the_page_is_whole_small_and_offline(tree: Path) -> None:
    path = tree / "reports/replica/report.html"
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < LIMIT
    assert text.rstrip().endswith("</html>")
    page = Page(text)
    for tag, attributes in page.tags:
        for key in ("src", "srcset", "data", "poster", "action", "xlink:href"):
            assert key not in attributes, f"<{tag} {key}={attributes.get(key)}> loads something"
        if "href" in attributes and tag != "a":
            assert (attributes["href"] or "").startswith("data:"), f"<{tag} href={attributes['href']}>"
    styles = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert styles and "url(" not in styles[1] and "@import" not in styles[1]
    assert "default-src 'none'" in text
    for words in (
        "What this run cannot show",
        "Title of marker",
        "none up to λ = 2.0",
        "1.237",
        "the learning rate",
        "c" * 64,
    ):
        assert words in page.shown


def test_worst_first(tree: Path) -> None:
    text = (tree / "reports/replica/report.html").read_text(encoding="utf-8")
    assert re.findall(r'data-verdict="([^"]+)"', text) == [
        "not reproduced",
        "inconclusive",
        "cannot compare",
        "not run",
        "reproduced",
    ]


def test_every_figure_has_alternative_text_table_and_download(tree: Path) -> None:
    text = (tree / "reports/replica/report.html").read_text(encoding="utf-8")
    found = re.findall(r'<figure id="figure-.*?</figure>', text, re.DOTALL)
    assert len(found) == len(figures(aggregate_of(settings()))) == 13
    for one in found:
        assert re.search(r'role="img" aria-label="[^"]{40,}"', one), one[:200]
        assert one.count("<tr>") > 1
        assert 'href="data:text/csv' in one
        assert "<svg" in one
        assert "invented grades" in one and "pipeline stage aggregate" in one
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids)), "an id stands twice"


def test_markdown_has_the_same_verdicts(tree: Path) -> None:
    text = (tree / "reports/replica/report.md").read_text(encoding="utf-8")
    for one in verdicts_of()["checks"]:
        assert any(
            f"| {one['verdict']} |" in line and f"Title of {one['claim']}" in line.replace("\\", "")
            for line in text.splitlines()
        )


def test_same_inputs_give_the_same_bytes(tree: Path) -> None:
    paths = [tree / "reports/replica" / name for name in ("report.html", "report.md")]
    before = [path.read_bytes() for path in paths]
    report.run(settings())
    assert [path.read_bytes() for path in paths] == before


def test_what_others_wrote_is_shown_and_not_run(tree: Path) -> None:
    config = settings()
    aggregate = aggregate_of(config, labeller=EVIL)
    aggregate["cells"]["main"]["lambdas"][0]["outcomes"][EVIL] = 3
    told = {
        "title": EVIL,
        "statement": EVIL,
        "reason": EVIL,
        "evidence": [EVIL],
        "source": {"where": EVIL},
        "would_change": EVIL,
    }
    write_tree(aggregate, verdicts_of(**told) | {"unknown": [EVIL]}, config, completion=EVIL + "\x00\u202e")
    with Layout(config.profile).verdicts.open("r+", encoding="utf-8") as file:
        damaged = file.read().replace("why marker", "\\ud800 why marker")
        file.seek(0)
        file.write(damaged)
    report.run(config)
    text = (tree / "reports/replica/report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "\\ud800 why marker" in page.shown
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert "img" not in [tag for tag, _ in page.tags]
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert page.shown.count("<script>alert(1)</script> {{7*7}} </script>") >= 8
    assert "\\u2028" in page.shown and "\\x00\\u202e" in page.shown
    specs = re.search(r'<script type="application/json" id="specs">(.*?)</script>', text, re.DOTALL)
    assert specs and not set("<>&\u2028\u2029") & set(specs[1])
    assert json.loads(specs[1])
    markdown = (tree / "reports/replica/report.md").read_text(encoding="utf-8")
    assert "<script" not in markdown and "<img" not in markdown


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("verdicts.json", None, "not found"),
        ("verdicts.json", "{", "not valid JSON"),
        ("verdicts.json", "[]", "checks"),
        ("verdicts.json", '{"checks": [{"claim": "marker"}]}', "missing"),
        (
            "verdicts.json",
            '{"checks": [{"claim": "m", "tier": "A", "grade": "page", "verdict": "fine", "reason": ""}]}',
            "fine",
        ),
        ("aggregate.json", None, "not found"),
        ("aggregate.json", "{}", "incomplete"),
        ("cells/main/1.0-0/run.json", None, "run.json"),
        ("cells/main/1.0-0/samples.jsonl.gz", "not gzip", "damaged"),
        ("sft/student-0/samples.jsonl.gz", None, "not found"),
    ],
)
def test_bad_input_is_one_line_and_keeps_the_old_report(tree: Path, name: str, content: str | None, said: str) -> None:
    folder = tree / "reports/replica"
    before = {kind: (folder / kind).read_bytes() for kind in ("report.html", "report.md")}
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        report.run(settings())
    assert said in str(raised.value) and "\n" not in str(raised.value)
    assert {kind: (folder / kind).read_bytes() for kind in before} == before
    assert not list(folder.glob(".report*"))


def test_a_missing_or_damaged_template_is_one_line(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (tree / "reports/replica/report.html").read_bytes()
    monkeypatch.setattr(report, "TEMPLATES", tree / "templates")
    with pytest.raises(InputError, match=r"report\.html\.j2: not found"):
        report.run(settings())
    (tree / "templates").mkdir()
    (tree / "templates/report.html.j2").write_text("{% if %}")
    with pytest.raises(InputError, match=r"report\.html\.j2: Expected an expression"):
        report.run(settings())
    assert (tree / "reports/replica/report.html").read_bytes() == before


def test_a_run_without_a_finished_cell_is_reported(tree: Path) -> None:
    config = settings()
    aggregate = aggregate_of(config)
    group = aggregate["cells"]["main"]
    empty = {"parse": None, "useful": None, "quality": None, "quality_name": None, "scores": {}, "outcomes": {}, "lift": None, "parse_by_seed": [], "training": [], "q_logit_by_seed": [], "q_above_by_seed": []}  # fmt: skip
    group["lambdas"] = [{"lambda": row["lambda"], **empty} for row in group["lambdas"]]
    nothing = {"median": None, "low": None, "high": None, "beyond": 2.0, "n_seeds": 0, "censored": 0, "per_seed": []}
    group |= {"plateau": [], "flatness": {}, **dict.fromkeys(("onset", "onset_of_least", "crossing", "jump"), nothing)}
    group["fixed_point_logit"] = [{"lambda": row["lambda"], "by_seed": []} for row in group["lambdas"]]
    group["invalid"] = [{"lambda": 1.0, "seed": 0, "status": "not finite: loss at step 3"}]
    aggregate["calibration"]["lambda_star"] |= {"value": None, "low": None, "high": None}
    write_tree(aggregate, verdicts_of(), config)
    report.run(config)
    shown = Page((tree / "reports/replica/report.html").read_text(encoding="utf-8")).shown
    assert "not finite: loss at step 3" in shown and "there is no λ*" in shown


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("listed 7, distinct 7", SHORTER),
        ("listed 8, distinct 7", REPEATED),
        ("listed 7, distinct 6", "several ids missing"),
        ("listed 9, distinct 8", "too many listed"),
        ("listed 9, distinct 7", "too many listed"),
        ("malformed", "malformed"),
    ],
)
def test_the_two_kinds_of_one_id_missing_stay_apart(label: str, kind: str) -> None:
    assert failure_kind(label, 8) == kind
