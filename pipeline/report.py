"""Stage `report`: one self-contained HTML page and a Markdown digest, from what the other stages wrote.

Reads ``aggregate.json``, ``verdicts.json``, run records and final samples, ``params.yaml`` and ``dvc.yaml``; writes
``report.html`` and ``report.md``. Judges nothing and computes no result: verdicts come from `check`, figures from
`aggregate`. The same inputs give the same bytes. The page makes no request: its content security policy forbids any,
and the charting library, the pictures and the data stand inside it. Prompts are never shown.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd
import vl_convert
import yaml
from markupsafe import Markup

from pipeline.charts import KINDS, OK, Figure, failure_kind, method
from pipeline.config import MAIN, Cell, Config, dvc_file, params_file
from pipeline.errors import InputError
from pipeline.figures import figures
from pipeline.files import read_json, read_json_lines, write_atomically
from pipeline.graph import address, cell_stage, model_stage
from pipeline.groups import Group
from pipeline.layout import Layout
from pipeline.onsets import JUMP
from pipeline.tasks import load_task
from pipeline.words import counted

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "reports/templates"
WORST_FIRST = ("invalid", "not reproduced", "inconclusive", "cannot compare", "not run", "reproduced")
HEADLINES = ("marker", "parse_shift")
SAMPLES_PER_KIND, SAMPLE_CHARACTERS = 2, 400
OPTIONAL_KEYS = (
    *("id", "title", "wording", "statement", "source", "rule", "arguments", "tolerance"),
    *("would_change", "conflicts_with", "evidence"),
)
CHECK_KEYS = frozenset({"claim", "tier", "grade", "verdict", "reason"})


def run(config: Config) -> None:
    """Render both reports; raises InputError, and leaves the old ones as they are, when an input is missing or damaged."""
    layout = Layout(config.profile)
    aggregate = read_json(layout.aggregate, "aggregate")
    verdicts = _read_verdicts(layout.verdicts)
    try:
        page = page_of(config, layout, aggregate, verdicts)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as problem:
        raise InputError(
            f"{layout.aggregate}, {layout.verdicts} or a run record: incomplete ({problem!r}); "
            "expected what `aggregate`, `check` and the training stages write"
        ) from None
    html, markdown = render(page, "report.html.j2"), render(page, "report.md.j2")
    write_atomically(layout.html, html.encode("utf-8", "backslashreplace"))
    write_atomically(layout.reports / "report.md", markdown.encode("utf-8", "backslashreplace"))


def _read_verdicts(path: Path) -> dict[str, Any]:
    verdicts = read_json(path, "check")
    checks = verdicts.get("checks") if isinstance(verdicts, dict) else None
    if not isinstance(checks, list):
        raise InputError(f"{path}: checks: found {type(checks).__name__}; expected the list that `check` writes")
    for number, check in enumerate(checks):
        missing = sorted(CHECK_KEYS - set(check)) if isinstance(check, dict) else sorted(CHECK_KEYS)
        if missing:
            raise InputError(f"{path}: checks[{number}]: {', '.join(missing)} missing; expected what `check` writes")
        if check["verdict"] not in WORST_FIRST:
            raise InputError(
                f"{path}: checks[{number}]: verdict {check['verdict']!r}; expected one of {', '.join(WORST_FIRST)}"
            )
    return verdicts


def page_of(config: Config, layout: Layout, aggregate: dict[str, Any], verdicts: dict[str, Any]) -> dict[str, Any]:
    """Everything the templates show, by name."""
    ordered = sorted(verdicts["checks"], key=lambda check: (WORST_FIRST.index(check["verdict"]), check["tier"]))
    checks = [_complete(number, check) for number, check in enumerate(ordered)]
    tiers = sorted({check["tier"] for check in checks} | set("ABCD"))
    records = _records(config, layout)
    samples, stages = _samples(config, layout), _stages(config, records)
    drawn = figures(aggregate)
    return {
        "profile": config.profile,
        "config": config,
        "aggregate": aggregate,
        "calibration": aggregate["calibration"],
        "verdicts": verdicts,
        "checks": checks,
        "worst_first": [verdict for verdict in WORST_FIRST if any(check["verdict"] == verdict for check in checks)],
        "score": {tier: _counts([check for check in checks if check["tier"] == tier]) for tier in tiers},
        "headlines": [[check for check in checks if check["claim"] == name] for name in HEADLINES],
        "jump": JUMP,
        "paper": _paper(),
        "n_cells": len(list(config.all_cells())),
        "faults": [
            {"group": name, "invalid": group["invalid"], "stale": group["not_of_this_calibration"]}
            for name, group in aggregate["cells"].items()
            if group["invalid"] or group["not_of_this_calibration"]
        ],
        "figures": [_picture(figure) for figure in drawn],
        "specs": {figure.name: figure.spec for figure in drawn},
        "samples": samples,
        "records": records,
        "one_cell": _one_cell(config, records),
        "environments": _environments(records),
        "stages": stages,
        "dvc_file": dvc_file(config.profile).as_posix(),
        "params_file": params_file(config.profile).as_posix(),
        "params_text": _text_of(params_file(config.profile)),
    }


def render(page: dict[str, Any], template: str) -> str:
    """One template filled in. HTML escapes every value; Markdown goes through the filter `cell`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: tuple[Callable[..., str], ...] = (number, percent, counted, cell, data_script, method)
    environment.filters |= {one.__name__: one for one in filters}
    if template.endswith(".html.j2"):
        page = page | {"vega": _charting_library()}
    try:
        return environment.get_template(template).render(page)
    except jinja2.TemplateNotFound as problem:
        raise InputError(f"{TEMPLATES / str(problem.name)}: not found; expected the report's template") from None
    except jinja2.TemplateError as problem:
        raise InputError(f"{TEMPLATES / template}: {problem}; expected a template that fits the data") from None


@cache
def _charting_library() -> Markup:
    """Vega, Vega-Lite and Vega-Embed as one script, from vl-convert."""
    return Markup(vl_convert.javascript_bundle("window.vegaEmbed=vegaEmbed;").replace("</script", "<\\/script"))


def number(value: Any, digits: int = 3) -> str:
    """A number as a reader wants it; an em dash for none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "—" if value is None else str(value)
    return (
        f"{value:,}"
        if isinstance(value, int)
        else f"{value:.{digits}f}"
        if abs(value) >= 10**-digits or not value
        else f"{value:.2g}"
    )


def percent(value: float | None, digits: int = 1) -> str:
    """A share in per cent; an em dash for none."""
    return "—" if value is None else f"{100 * value:.{digits}f}%"


def cell(value: Any) -> str:
    """Text for one cell of a Markdown table: one line, nothing in it acts as markup."""
    text = " ".join(str(value).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|{}!])", r"\\\1", text)


def data_script(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def visible(text: str) -> str:
    """A model's output with control, format and separator characters spelled out, cut at `SAMPLE_CHARACTERS`."""
    spelled = "".join(
        c if c == " " or unicodedata.category(c)[0] not in "CZ" else c.encode("unicode_escape").decode() for c in text
    )
    return spelled if len(spelled) <= SAMPLE_CHARACTERS else spelled[:SAMPLE_CHARACTERS] + " …"


def _picture(figure: Figure) -> dict[str, Any]:
    """What the page needs of a figure: its words, its table, a CSV link and a static picture with ids of its own."""
    svg = vl_convert.vegalite_to_svg(figure.spec)
    for place, name in enumerate(re.findall(r'<clipPath id="(\w+)"', svg)):
        svg = re.sub(rf'((?:id="|url\(#){name})\b', f"\\g<1>-{figure.name}", svg).replace(f"{name}-", f"clip-{place}-")
    rows = figure.table.astype(object).where(figure.table.notna(), None).values.tolist()
    csv = "data:text/csv;charset=utf-8," + quote(figure.table.to_csv(index=False))
    words = {key: getattr(figure, key) for key in ("name", "kind", "title", "alt", "caption")}
    return {**words, "svg": Markup(svg), "columns": list(figure.table.columns), "rows": rows, "csv": csv}


def _samples(config: Config, layout: Layout) -> list[dict[str, Any]]:
    """A few sampled held-out completions for each kind of outcome, before (warm start) and after (main cells), one seed.

    A stand-in group is enough to name an outcome: the ids are r1 to rK in every group, and scores play no part.
    """
    task, seed, k = load_task(config.task.module), config.seeds[0], config.task.k
    group = Group(("",) * k, (0,) * k)
    sources = [("before", f"student-{seed}, SFT", layout.sft_record(f"student-{seed}"))]
    for lam in sorted(config.cells[MAIN].lambdas):
        sources.append(("after", f"λ = {lam}, seed {seed}", layout.cell_record(Cell(MAIN, lam, seed))))
    kinds: dict[str, dict[str, Any]] = {}
    for when, name, folder in sources:
        taken = Counter[str]()
        for row in read_json_lines(folder / "samples.jsonl.gz", "the training stages"):
            if (row["split"], row["decoding"]) != ("heldout", "sampled"):
                continue
            unterminated = set(row["unterminated"])
            for i, text in enumerate(row["completions"]):
                label = task.parse(text, i not in unterminated, group).label
                kind = failure_kind(label, k)
                found = kinds.setdefault(kind, {"kind": kind, "before": [], "after": []})
                if len(found[when]) < SAMPLES_PER_KIND and taken[kind] < (SAMPLES_PER_KIND if when == "before" else 1):
                    taken[kind] += 1
                    found[when].append({"source": f"{name}, prompt {i}", "label": label, "text": visible(text)})
    order = [*(kind for kind in KINDS if kind != OK), *sorted(set(kinds) - set(KINDS)), OK]
    return [kinds[kind] for kind in order if kind in kinds]


def _records(config: Config, layout: Layout) -> list[dict[str, Any]]:
    """The run record of every SFT run and cell, in the order of the graph, with the stage that made it."""
    places = [(model_stage(config, name), f"sft/{name}", layout.sft_record(name)) for name in config.models_to_train()]
    places += [(cell_stage(config, cell), cell.name, layout.cell_record(cell)) for cell in config.all_cells()]
    return [
        {"status": "finished", **read_json(folder / "run.json", "the training stages"), "stage": stage.name, "name": name}
        for stage, name, folder in places
    ]


def _one_cell(config: Config, records: list[dict[str, Any]]) -> dict[str, str]:
    """The first cell of the main sweep, which is a stage of its own: as DVC names it, and the command of its record."""
    cell = Cell(MAIN, config.cells[MAIN].lambdas[0], config.seeds[0])
    record = next(record for record in records if record["name"] == cell.name)
    return {"address": address(config, cell_stage(config, cell)), "command": record["command"]}


def _environments(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The different machines and versions that took part, with the number of runs on each."""
    keys = ("processor", "cores", "threads", "platform", "python", "packages")
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        facts = {key: record[key] for key in keys}
        entry = found.setdefault(json.dumps(facts, sort_keys=True), {**facts, "runs": 0})
        entry["runs"] += 1
    return list(found.values())


def _stages(config: Config, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The stages of the profile's dvc.yaml in order, with runs and wall time where a run record tells."""
    definition = yaml.safe_load(_text_of(dvc_file(config.profile)))["stages"]
    stage = [record["stage"].split("@")[0] for record in records]
    told = pd.DataFrame(records).groupby(stage)["wall_seconds"].agg(runs="count", seconds="sum").to_dict("index")

    def command(text: str) -> str:
        return re.sub(r"\$\{item\.(\w+)\}", lambda item: item[1].upper(), text.replace("${profile}", config.profile))

    none = {"runs": None, "seconds": None}
    return [{"name": name, "command": command(one["cmd"]), **told.get(name, none)} for name, one in definition.items()]


def _complete(number: int, check: dict[str, Any]) -> dict[str, Any]:
    """The check with an anchor, and None for each optional key it lacks."""
    parts = dict.fromkeys(("text", "value", "low", "high", "unit", "n_seeds", "n"))
    numbers = {key: parts | check[key] if check.get(key) else None for key in ("published", "ours")}
    return dict.fromkeys(OPTIONAL_KEYS) | check | numbers | {"anchor": f"check-{number}-{_slug(check['claim'])}"}


def _counts(checks: list[dict[str, Any]]) -> dict[str, int]:
    verdicts = [check["verdict"] for check in checks]
    return {verdict: verdicts.count(verdict) for verdict in WORST_FIRST if verdict in verdicts}


def _paper() -> dict[str, Any]:
    """What CITATION.cff says of the paper."""
    reference: dict[str, Any] = yaml.safe_load(_text_of(Path("CITATION.cff")))["references"][0]
    return reference


def _text_of(relative: Path) -> str:
    try:
        return (ROOT / relative).read_text(encoding="utf-8")
    except OSError as problem:
        raise InputError(f"{relative}: {problem.strerror}; expected a file of the checkout") from None


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", str(text).lower()).strip("-")
