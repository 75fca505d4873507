"""The report: complete, self-contained, escaped, the same bytes every time, and careful with the old one."""

import dataclasses
import html.parser
import json
import re
import shutil
from pathlib import Path

import pytest
from report_inputs import aggregate_of, settings, verdicts_of, write_tree

from pipeline import report
from pipeline.charts import REPEATED, SHORTER, failure_kind
from pipeline.errors import InputError
from pipeline.figures import figures
from pipeline.layout import Layout
from pipeline.words import counted

EVIL = "<script>alert(1)</script> {{7*7}} </script> \u2028 <img src=x onerror=alert(1)> \"' & ]]> <!--"
LIMIT = 3_000_000


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
        "none up to λ = 1.3",
        "1.237",
        "the learning rate",
        "c" * 64,
    ):
        assert words in page.shown


def text_of(tree: Path) -> str:
    return (tree / "reports/replica/report.html").read_text(encoding="utf-8")


def test_worst_first(tree: Path) -> None:
    text = text_of(tree)
    assert re.findall(r'data-verdict="([^"]+)"', text) == [
        "not reproduced",
        "inconclusive",
        "cannot compare",
        "not run",
        "reproduced",
    ]


def test_every_figure_has_alternative_text_table_and_download(tree: Path) -> None:
    text = text_of(tree)
    found = re.findall(r'<figure id="figure-.*?</figure>', text, re.DOTALL)
    assert len(found) == len(figures(aggregate_of(settings()))) == 6 * len(settings().cells) + 1 + 2
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


def test_commands_are_those_of_the_graph(tree: Path) -> None:
    shown = Page(text_of(tree)).shown
    assert "${" not in shown.split("Stages")[1].split("Settings")[0]
    assert "--cells main --lambda LAMBDA --seed SEED" in shown and "--cells GROUP --seed SEED" in shown
    assert "--single-item listopd@1.0-0\npython -m pipeline stage of reports/replica/cells/main/0/1.0 " in shown
    rows = dict(re.findall(r'<th scope="row">(\w+)</th><td>(\d+)</td><td>[\d.]+</td><td class="wide">', text_of(tree)))
    config = settings()
    per_group = {name: str(len(cells.lambdas) * len(config.seeds)) for name, cells in config.cells.items()}
    assert (rows["sft_teacher"], rows["sft_student"], rows["listopd"]) == ("1", str(len(config.seeds)), per_group["main"])


@pytest.mark.parametrize(("n", "said"), [(0, "0 seeds"), (1, "1 seed"), (5, "5 seeds"), ("1–2", "1–2 seeds")])
def test_counts_agree_with_their_nouns(n: int | str, said: str) -> None:
    assert counted(n, "seed") == said


def test_one_seed_and_one_thread_are_no_plurals(tree: Path) -> None:
    config = dataclasses.replace(settings(), seeds=(0,))
    aggregate = aggregate_of(config)
    for group in aggregate["cells"].values():
        for row in group["lambdas"]:
            row["parse"]["n_seeds"] = 1
    write_tree(aggregate, verdicts_of(), config)
    report.run(config)
    shown = Page(text_of(tree)).shown
    assert re.findall(r"\b1 (?:seed|thread|fact|check)s", shown) == []
    for words in ("mean over 1 seed at", "to 2.0, 1 seed, 42 steps", "1 thread a run", "paper: 1 fact, not guessed"):
        assert words in shown


def test_captions_and_columns_say_what_is_drawn() -> None:
    aggregate = aggregate_of(settings())
    for row in aggregate["cells"]["main"]["lambdas"][1:]:
        row["outcomes"] = {"ok": 4096}
    aggregate["sft"]["teacher"]["outcomes"] = {"ok": 1024}
    for row in aggregate["cells"]["no_clip"]["fixed_point_logit"]:
        row["by_seed"] = [None] * len(row["by_seed"])
    drawn = {figure.name: figure for figure in figures(aggregate)}
    n = sum(aggregate["sft"]["student"]["outcomes"].values())
    ends = f"n = 1024 for the teacher, {n} for the warm starts, 4096–5120 for each λ"
    assert ends in drawn["failures-main"].caption
    assert "Fixed point: of the reading truncate at c = 5.0, " in drawn["modal-mass-main"].caption
    assert "Fixed point: none is known" in drawn["modal-mass-no_clip"].caption
    assert list(drawn["modal-mass-main"].table)[2:] == [
        "log-odds of q",
        "log-odds of the fixed point",
        "share of prompts above q_c",
    ]
    assert "parse collapses: 1.270; " in drawn["onsets-main"].alt
    assert "parse collapses: none up to λ = 1.3; " in drawn["onsets-no_clip"].alt
    assert "q jumps: none up to λ = 2.0; " in drawn["onsets-no_clip"].alt
    assert not any("  " in figure.caption + figure.alt for figure in drawn.values())


def test_the_parse_of_the_warm_starts_is_the_measured_one(tree: Path) -> None:
    assert "warm starts were then measured to parse at 34.0% [32.0%, 36.0%] (5 seeds)" in Page(text_of(tree)).shown


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
    text = text_of(tree)
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


def test_imported_tables_are_shown_with_their_checksum_and_nothing_in_them_acts(tree: Path) -> None:
    config = settings()
    assert "bundle/imported" not in text_of(tree)
    told = {"reason": f"Imported ({EVIL}): 0.95", "evidence": [f"bundle/imported/{EVIL}"]}
    tables = {"imported": [{"table": EVIL, "sha256": "e" * 64, "evaluations": 60}]}
    write_tree(aggregate_of(config), verdicts_of(**told) | tables, config)
    report.run(config)
    page = Page(text_of(tree))
    assert [tag for tag, _ in page.tags].count("script") == 3 and "img" not in [tag for tag, _ in page.tags]
    assert "The other full-scale checks rest on runs made elsewhere, not on this one" in page.shown
    assert "60 evaluations" in page.shown and "e" * 64 in page.shown and "Imported (<script>alert(1)</script>" in page.shown
    markdown = (tree / "reports/replica/report.md").read_text(encoding="utf-8")
    assert "Tier D is judged on runs made elsewhere" in markdown and "<script" not in markdown


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
        ("cells/main/0/1.0/run.json", None, "run.json"),
        ("cells/main/0/1.0/samples.jsonl.gz", "not gzip", "damaged"),
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
    monkeypatch.setattr(report, "figures", lambda aggregate: [])
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
    empty = dict.fromkeys(("parse", "useful", "quality", "quality_name", "lift")) | {"scores": {}, "outcomes": {}}
    empty |= {key: [] for key in ("parse_by_seed", "training", "q_logit_by_seed", "q_above_by_seed")}
    group["lambdas"] = [{"lambda": row["lambda"], **empty} for row in group["lambdas"]]
    nothing = {"median": None, "low": None, "high": None, "beyond": 2.0, "n_seeds": 0, "censored": 0, "per_seed": []}
    group |= {"plateau": [], "flatness": {}, **dict.fromkeys(("onset", "onset_of_least", "crossing", "jump"), nothing)}
    group["fixed_point_logit"] = [{"lambda": row["lambda"], "by_seed": []} for row in group["lambdas"]]
    group["invalid"] = [{"lambda": 1.0, "seed": 0, "status": "not finite: loss at step 3"}]
    aggregate["calibration"]["lambda_star"] |= {"value": None, "low": None, "high": None}
    write_tree(aggregate, verdicts_of(), config)
    report.run(config)
    shown = Page(text_of(tree)).shown
    assert "main/0/1.0" in shown
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
