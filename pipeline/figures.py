"""The report's figures: from ``aggregate.json`` to Vega-Lite specifications (Altair). Pure functions, no files.

Every figure carries what a reader needs without seeing it: a title, a text alternative, a caption with n and the kind of
interval, and the table of the numbers drawn. Colours are mid-tones that stand on white and on black; text, axes and
grid take theirs from the page.
"""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

Aggregate = dict[str, Any]

BLUE, RED, GREEN, AMBER, VIOLET, GREY = "#3d84c6", "#d0505f", "#3a9a6e", "#c98a2b", "#8b70c8", "#87919d"
WIDTH, HEIGHT = 560, 300
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
STAR, FOUND = "predicted λ*", "onset in one seed"
OK, SHORTER, REPEATED = "ok", "one id missing: shorter list", "one id missing: one repeated"
SEVERAL, TOO_MANY = "several ids missing", "too many listed"
KINDS = {
    OK: GREEN,
    SHORTER: RED,
    REPEATED: AMBER,
    SEVERAL: VIOLET,
    TOO_MANY: BLUE,
    "unknown id": "#2f9c9c",
    "malformed": "#b3659b",
    "unterminated": GREY,
}
ONSETS = {
    "crossing": "q crosses q_c",
    "jump": "q jumps",
    "onset": "parse collapses",
    "onset_of_least": "its minimum does",
}


@dataclass(frozen=True)
class Figure:
    """``name`` is unique on the page, figures of one ``kind`` stand side by side, ``table`` holds every number drawn."""

    name: str
    kind: str
    title: str
    alt: str
    caption: str
    table: pd.DataFrame
    spec: dict[str, Any]


def figures(aggregate: Aggregate) -> list[Figure]:
    """All figures: each kind for each group of cells, then the learning-rate pilot."""
    drawn = [
        draw(aggregate, name)
        for draw in (onsets, cliff, modal_mass, training, failures, quality)
        for name in aggregate["cells"]
    ]
    return [*drawn, pilot(aggregate)]


def failure_kind(label: str, k: int) -> str:
    """The kind of an outcome label, coarse enough to colour; the two kinds of "one id missing" stay apart."""
    listing = re.fullmatch(r"listed (\d+), distinct (\d+)", label)
    if not listing:
        return label
    listed, distinct = int(listing[1]), int(listing[2])
    if listed > k:
        return TOO_MANY
    if distinct == k - 1:
        return SHORTER if listed == k - 1 else REPEATED
    return SEVERAL


def onsets(aggregate: Aggregate, name: str) -> Figure:
    """Where crossing, jump and collapse begin in each seed, beside the predicted λ*."""
    group = aggregate["cells"][name]
    seeds, medians = [], []
    for key, label in ONSETS.items():
        found = group[key]
        medians.append({"begins": label, **{part: found[part] for part in ("median", "low", "high", "censored", "n_seeds")}})
        for row in found["per_seed"]:
            none = f"none up to λ = {found['beyond']}" if row["value"] is None else FOUND
            at = found["beyond"] if row["value"] is None else row["value"]
            seeds.append({"begins": label, "seed": str(row["seed"]), "at": at, "what": none})
    order = list(ONSETS.values())
    y = alt.Y("begins:N", title=None, sort=order, axis=alt.Axis(labelLimit=130))
    each = _frame(seeds, ["begins", "seed", "at", "what"])
    marks = sorted(set(each["what"]))
    points = (
        alt.Chart(each)
        .mark_point(filled=True, size=48, opacity=0.75)
        .encode(
            x=_x(group, aggregate, "at"),
            y=y,
            yOffset=alt.YOffset("seed:N"),
            shape=alt.Shape("what:N", title=None, scale=_scale(dict.fromkeys(marks, "triangle-right") | {FOUND: "circle"})),
            color=alt.Color("what:N", title=None, scale=_scale(dict.fromkeys(marks, GREY) | {FOUND: BLUE})),
            tooltip=["begins:N", "seed:N", _tip("at", form=".3f"), "what:N"],
        )
    )
    middle = alt.Chart(_frame(medians, ["begins", "median"]).dropna(subset="median")).mark_tick(
        thickness=3, size=30, color=RED
    )
    layers = [*_prediction(aggregate, group), points, middle.encode(x=_x(group, aggregate, "median"), y=y)]
    level = _percent(aggregate["confidence"])
    told = "; ".join(
        f"{row['begins']}: {_median(row, group[key]['beyond'])}" for key, row in zip(ONSETS, medians, strict=True)
    )
    return Figure(
        f"onsets-{name}",
        "onsets",
        f"Three onsets beside the prediction: {_named(group, name)}",
        f"Dot plot over λ, one row for each onset, one dot for each seed. {told}. {_star_text(aggregate)}",
        f"Dots: seeds (n = {group['onset']['n_seeds']}); red tick: median; triangle: none up to the last λ of the grid. "
        f"Band: λ* with its {level} interval. The table adds the {level} bootstrap interval over seeds of each median.",
        _frame(medians, ["begins", "median", "low", "high", "censored", "n_seeds"]),
        _spec(layers, height=190),
    )


def cliff(aggregate: Aggregate, name: str) -> Figure:
    """Strict parse over λ: a thin line for each seed, the mean over seeds with its interval, and λ*."""
    group, level = aggregate["cells"][name], _percent(aggregate["confidence"])
    rows = [row for row in group["lambdas"] if row["parse"]]
    mean = _frame(
        [{"lambda": row["lambda"], **row["parse"]} for row in rows], ["lambda", "value", "low", "high", "n_seeds", "n"]
    )
    seeds = _frame(
        [{"lambda": row["lambda"], **one} for row in rows for one in row["parse_by_seed"]], ["lambda", "seed", "parse"]
    )
    warm = _frame([{"parse": aggregate["sft"]["student"]["parse"]["value"], "label": "SFT warm start"}], ["parse", "label"])
    x, share = (
        _x(group, aggregate),
        {"title": "strict parse", "scale": alt.Scale(domain=[0, 1]), "axis": alt.Axis(format="%")},
    )
    start = alt.Chart(warm).encode(y=alt.Y("parse:Q", **share))
    layers = [
        *_prediction(aggregate, group),
        start.mark_rule(strokeDash=[2, 3], color=AMBER, strokeWidth=1.5),
        start.mark_text(align="right", dy=-6, color=AMBER).encode(
            x=alt.X(datum=_domain(group, aggregate)[1]), text="label:N"
        ),
        alt.Chart(mean).mark_area(opacity=0.2, color=BLUE).encode(x=x, y=alt.Y("low:Q", **share), y2="high:Q"),
        alt.Chart(seeds)
        .mark_line(point=alt.OverlayMarkDef(size=18, color=GREY), color=GREY, strokeWidth=1, opacity=0.7)
        .encode(x=x, y=alt.Y("parse:Q", **share), detail="seed:N", tooltip=["lambda:Q", "seed:N", _tip("parse")]),
        alt.Chart(mean)
        .mark_line(point=alt.OverlayMarkDef(size=50, color=BLUE), color=BLUE, strokeWidth=2.5)
        .encode(
            x=x,
            y=alt.Y("value:Q", **share),
            tooltip=["lambda:Q", _tip("value", "mean"), _tip("low"), _tip("high"), "n_seeds:Q", "n:Q"],
        ),
    ]
    by_seed = seeds.pivot(index="lambda", columns="seed", values="parse").add_prefix("seed ").reset_index()
    return Figure(
        f"cliff-{name}",
        "cliff",
        f"Strict parse over λ: {_named(group, name)}",
        f"Line chart of strict parse over λ. {_ends(mean, 'value')} {_star_text(aggregate)}",
        f"Thick line: mean over {_n_seeds(rows)} at the end of the budget ({group['steps']} steps), n = {_n(mean)} completions "
        f"for each λ; band: {level} hierarchical bootstrap over seeds, then prompts; thin lines: seeds. "
        f"Dashed vertical: λ* with its {level} interval.",
        mean.merge(by_seed, on="lambda"),
        _spec(layers),
    )


def modal_mass(aggregate: Aggregate, name: str) -> Figure:
    """q's log-odds at the binding position against the flow's fixed point and q_c."""
    group, calibration = aggregate["cells"][name], aggregate["calibration"]
    fixed = {
        (row["lambda"], place["seed"]): value
        for row in group["fixed_point_logit"]
        for place, value in zip(group["plateau"], row["by_seed"], strict=True)
    }
    columns = ["lambda", "seed", "q_log_odds", "share_above_q_c", "fixed_point_log_odds"]
    rows = [
        dict(zip(columns, (row["lambda"], one["seed"], q, above, fixed.get((row["lambda"], one["seed"]))), strict=True))
        for row in group["lambdas"]
        for one, q, above in zip(row["parse_by_seed"], row["q_logit_by_seed"], row["q_above_by_seed"], strict=True)
    ]
    table = _frame(rows, columns)
    middle = table.groupby("lambda", as_index=False)[["q_log_odds", "fixed_point_log_odds"]].mean()
    edge = calibration["clip_threshold_logit"]
    x, y = _x(group, aggregate), {"title": "log-odds of the modal token", "scale": alt.Scale(zero=False)}
    lines = middle.melt("lambda", var_name="line", value_name="log_odds").dropna()
    lines["line"] = lines["line"].map({"q_log_odds": "measured q (mean)", "fixed_point_log_odds": "fixed point of the flow"})
    colours = _scale({"measured q (mean)": BLUE, "fixed point of the flow": AMBER})
    limit = alt.Chart(_frame([{"log_odds": edge, "label": "q_c"}], ["log_odds", "label"])).encode(y=alt.Y("log_odds:Q", **y))
    layers = [
        *_prediction(aggregate, group),
        limit.mark_rule(color=RED, strokeDash=[6, 3], strokeWidth=1.5),
        limit.mark_text(align="left", dx=4, dy=-6, color=RED, fontWeight="bold").encode(
            x=alt.X(datum=_domain(group, aggregate)[0]), text="label"
        ),
        alt.Chart(table)
        .mark_point(filled=True, size=26, color=GREY)
        .encode(
            x=x,
            y=alt.Y("q_log_odds:Q", **y),
            tooltip=["lambda:Q", "seed:N", _tip("q_log_odds", form=".3f"), _tip("share_above_q_c")],
        ),
        alt.Chart(lines)
        .mark_line(point=True, strokeWidth=2.5)
        .encode(
            x=x,
            y=alt.Y("log_odds:Q", **y),
            color=alt.Color("line:N", title=None, scale=colours),
            tooltip=["lambda:Q", "line:N", _tip("log_odds", form=".3f")],
        ),
    ]
    return Figure(
        f"modal-mass-{name}",
        "modal_mass",
        f"q against the fixed point and q_c: {_named(group, name)}",
        f"Log-odds of the student's modal token over λ, with the fixed point of the expected flow and the threshold q_c at "
        f"{edge:.2f}. {_ends(middle, 'q_log_odds', '.2f')} {_star_text(aggregate)}",
        f"Grey dots: seeds, each the mean over prompts at token position {calibration['binding']['position']} at the end of the "
        f"budget ({_n_seeds(group['lambdas'])}); no interval is drawn. Fixed point: of the reading {group['reading']} at c = {group['clip']}, "
        f"from the measured p and each seed's b. Dashed red: q_c.",
        table,
        _spec(layers),
    )


def training(aggregate: Aggregate, name: str) -> Figure:
    """Strict parse on the validation prompts along training, a line for each λ."""
    group = aggregate["cells"][name]
    rows = [{"lambda": row["lambda"], **point} for row in group["lambdas"] for point in row["training"]]
    table = _frame(rows, ["lambda", "step", "parse", "least", "greatest", "n_seeds"])
    lambdas = [str(value) for value in sorted({row["lambda"] for row in group["lambdas"]})]
    drawn = table.assign(label=table["lambda"].astype(str))
    chart = (
        alt.Chart(drawn)
        .mark_line(point=alt.OverlayMarkDef(size=26), strokeWidth=2)
        .encode(
            x=alt.X("step:Q", title="training step"),
            y=alt.Y("parse:Q", title="strict parse (validation)", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%")),
            color=alt.Color(
                "label:O", title="λ", sort=lambdas, scale=_scale(dict(zip(lambdas, _ramp(len(lambdas)), strict=True)))
            ),
            tooltip=["lambda:Q", "step:Q", _tip("parse", "median"), _tip("least"), _tip("greatest"), "n_seeds:Q"],
        )
    )
    last = table[table["step"] == table["step"].max()]
    return Figure(
        f"training-{name}",
        "training",
        f"Parse along training: {_named(group, name)}",
        f"Line chart of strict parse over training steps, one line for each λ. {_ends(last, 'parse')}",
        f"Median over {_n_seeds(group['lambdas'])} on the validation prompts (n = {aggregate['data']['groups']['validation']} "
        f"each); the table adds the least and the greatest seed.",
        table,
        _spec([chart]),
    )


def failures(aggregate: Aggregate, name: str) -> Figure:
    """How completions end, as shares: teacher, warm start, then each λ."""
    group, k = aggregate["cells"][name], aggregate["k"]
    sft = aggregate["sft"]
    columns = {
        "teacher": sft["teacher"],
        "SFT": sft["student"],
        **{str(row["lambda"]): row for row in group["lambdas"]},
    }
    exact, coarse = [], []
    for column, row in columns.items():
        n, kinds = sum(row["outcomes"].values()), Counter[str]()
        for label, count in row["outcomes"].items():
            exact.append(
                {"at": column, "outcome": label, "kind": failure_kind(label, k), "count": count, "share": count / n}
            )
            kinds[failure_kind(label, k)] += count
        coarse += [{"at": column, "kind": kind, "count": count, "share": count / n} for kind, count in kinds.items()]
    table = _frame(exact, ["at", "outcome", "kind", "count", "share"])
    drawn = _frame(coarse, ["at", "kind", "count", "share"])
    present = [kind for kind in KINDS if kind in set(drawn["kind"])] + sorted(set(drawn["kind"]) - set(KINDS))
    drawn["order"] = [present.index(kind) for kind in drawn["kind"]]
    chart = (
        alt.Chart(drawn)
        .mark_bar()
        .encode(
            x=alt.X(
                "at:N",
                title="teacher, warm start (SFT), then λ",
                sort=list(columns),
                axis=alt.Axis(labelAngle=0, labelOverlap=True),
            ),
            y=alt.Y("share:Q", title="share of completions", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%")),
            color=alt.Color("kind:N", title=None, scale=_scale({kind: KINDS.get(kind, GREY) for kind in present})),
            order="order:Q",
            tooltip=["at:N", "kind:N", "count:Q", _tip("share")],
        )
    )
    worst = drawn[drawn["kind"] != OK].sort_values("share", ascending=False).head(1)
    most = "".join(
        f"The largest failure is {row['kind']}, {row['share']:.1%} at {row['at']}." for row in worst.to_dict("records")
    )
    return Figure(
        f"failures-{name}",
        "failures",
        f"How completions end: {_named(group, name)}",
        f"Stacked bars of outcomes for the teacher, the warm start and each λ. {most}",
        f"All sampled held-out completions at the end, seeds together (n = {sum(sft['student']['outcomes'].values())} for SFT); counts, no "
        f"interval. One id missing of K = {k} is shown as its two kinds. The table has every outcome by its exact name.",
        table,
        _spec([chart]),
    )


def quality(aggregate: Aggregate, name: str) -> Figure:
    """Score on parsed outputs, and USEFUL (parse × score), over λ."""
    group, level = aggregate["cells"][name], _percent(aggregate["confidence"])
    rows = []
    for row in group["lambdas"]:
        measures = {f"{_score_name(row)} on parsed outputs": row["quality"], "USEFUL": row["useful"]}
        rows += [{"lambda": row["lambda"], "measure": measure, **found} for measure, found in measures.items() if found]
    table = _frame(rows, ["lambda", "measure", "value", "low", "high", "n_seeds", "n"])
    colour = alt.Color(
        "measure:N", title=None, scale=alt.Scale(range=[BLUE, AMBER]), sort=list(dict.fromkeys(table["measure"]))
    )
    x, y = _x(group, aggregate), {"title": "score", "scale": alt.Scale(domain=[0, 1])}
    base = alt.Chart(table).encode(x=x, color=colour)
    tips = [
        "lambda",
        "measure",
        *(alt.Tooltip(part, format=".3f") for part in ("value", "low", "high")),
        "n_seeds",
        "n",
    ]
    layers = [
        *_prediction(aggregate, group),
        base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", **y), y2="high:Q"),
        base.mark_line(point=True, strokeWidth=2.5).encode(y=alt.Y("value:Q", **y), tooltip=tips),
    ]
    flat = "; ".join(
        f"flatness of {key} over λ: permutation p = {found['p_value']:.3f} ({found['n_seeds']} seeds, {found['n_lambdas']} values of λ)"
        for key, found in group["flatness"].items()
        if found
    )
    parsed = ", ".join(f"{row['lambda']}: {row['quality']['n']}" for row in group["lambdas"] if row["quality"])
    return Figure(
        f"quality-{name}",
        "quality",
        f"Score on parsed outputs and USEFUL: {_named(group, name)}",
        f"Line chart of the score on parsed outputs and of USEFUL over λ. {flat}",
        f"Means over {_n_seeds(group['lambdas'])} with a {level} hierarchical bootstrap. n parsed for each λ: {parsed or 'none'}. {flat}",
        table,
        _spec(layers),
    )


def pilot(aggregate: Aggregate) -> Figure:
    """The learning-rate pilot at λ = 1 and what its rule chose."""
    rate, level = aggregate["calibration"]["learning_rate"], _percent(aggregate["calibration"]["confidence"])
    table = _frame(rate["pilot"], ["learning_rate", "parse", "low", "high", "n", "status"])
    drawn = table.assign(choice=["chosen" if value == rate["chosen"] else "candidate" for value in table["learning_rate"]])
    x = alt.X(
        "learning_rate:Q",
        title="learning rate",
        scale=alt.Scale(type="log", nice=False, padding=24),
        axis=alt.Axis(format=".0e", labelOverlap=True),
    )
    y = {"title": "strict parse", "scale": alt.Scale(domain=[0, 1]), "axis": alt.Axis(format="%")}
    colour = alt.Color("choice:N", title=None, scale=_scale({"chosen": RED, "candidate": BLUE}))
    base = alt.Chart(drawn).encode(x=x, color=colour)
    layers = [
        base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", **y), y2="high:Q"),
        base.mark_point(filled=True, size=80, opacity=1).encode(
            y=alt.Y("parse:Q", **y), tooltip=["learning_rate:Q", _tip("parse"), _tip("low"), _tip("high"), "n:Q", "status:N"]
        ),
    ]
    return Figure(
        "pilot",
        "pilot",
        "Learning-rate pilot",
        f"Held-out strict parse at λ = 1 for each candidate learning rate; chosen: {rate['chosen']:g}.",
        f"Rule, fixed before the sweep: {rate['rule']}. Chosen: {rate['chosen']:g}. Bars: {level} Wilson intervals; n = {_n(table)} "
        f"completions for each candidate, one seed.",
        table,
        _spec(layers, height=220),
    )


def _frame(rows: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns)


def _spec(layers: list[alt.Chart], height: int = HEIGHT) -> dict[str, Any]:
    """One Vega-Lite dictionary of fixed size; the page makes it as wide as its column."""
    chart = (alt.layer(*layers) if len(layers) > 1 else layers[0]).properties(width=WIDTH, height=height)
    chart = chart.configure(background="transparent", font=FONT).configure_view(stroke=None)
    chart = chart.configure_axis(
        labelFontSize=12, titleFontSize=12, titleFontWeight="normal", labelColor=GREY, titleColor=GREY
    )
    chart = chart.configure_axis(gridColor=GREY, gridOpacity=0.25, domainColor=GREY, tickColor=GREY)
    legend = {
        "orient": "bottom",
        "columns": 3,
        "labelFontSize": 12,
        "labelLimit": 240,
        "labelColor": GREY,
        "titleColor": GREY,
    }
    spec: dict[str, Any] = chart.configure_legend(**legend).to_dict()
    del spec["$schema"]
    return spec


def _prediction(aggregate: Aggregate, group: dict[str, Any]) -> list[alt.Chart]:
    """λ* with its interval, as layers; nothing where the closed form gives none or it lies beyond the axis."""
    star, (low, high) = aggregate["calibration"]["lambda_star"], _domain(group, aggregate)
    if star["value"] is None or not low <= star["value"] <= high:
        return []
    base = alt.Chart(_frame([{**star, "label": STAR}], ["value", "low", "high", "label"]))
    return [
        base.mark_rect(opacity=0.22, color=VIOLET, clip=True).encode(x=_x(group, aggregate, "low"), x2="high:Q"),
        base.mark_rule(color=VIOLET, strokeDash=[5, 3], strokeWidth=1.5).encode(
            x=_x(group, aggregate, "value"),
            tooltip=["label:N", *(_tip(part, form=".4f") for part in ("value", "low", "high"))],
        ),
        base.mark_text(align="left", dx=5, color=VIOLET, fontWeight="bold").encode(
            x=_x(group, aggregate, "value"), y=alt.value(8), text="label:N"
        ),
    ]


def _domain(group: dict[str, Any], aggregate: Aggregate) -> tuple[float, float]:
    """The λ axis: the grid, stretched to λ* where that is not far away."""
    lambdas = [row["lambda"] for row in group["lambdas"]]
    low, high = min(lambdas), max(lambdas)
    star = aggregate["calibration"]["lambda_star"]["high"]
    margin = 0.03 * (high - low)
    return low - margin, (max(high, star) if star is not None and star < high + (high - low) / 2 else high) + margin


def _x(group: dict[str, Any], aggregate: Aggregate, field: str = "lambda") -> alt.X:
    return alt.X(f"{field}:Q", title="λ", scale=alt.Scale(domain=list(_domain(group, aggregate)), nice=False))


def _scale(colours: dict[str, str]) -> alt.Scale:
    return alt.Scale(domain=list(colours), range=list(colours.values()))


def _tip(field: str, title: str | None = None, form: str = ".1%") -> alt.Tooltip:
    return alt.Tooltip(f"{field}:Q", title=title or field, format=form)


def _ramp(n: int) -> list[str]:
    """n colours from blue over violet to red."""
    anchors = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (BLUE, VIOLET, RED)]
    out = []
    for i in range(n):
        place = 2 * i / max(n - 1, 1)
        left = min(int(place), 1)
        mixed = (round(a + (b - a) * (place - left)) for a, b in zip(anchors[left], anchors[left + 1], strict=True))
        out.append("#" + "".join(f"{value:02x}" for value in mixed))
    return out


def _named(group: dict[str, Any], name: str) -> str:
    return f"{name} (reading {group['reading']}, c = {group['clip']})"


def _percent(share: float) -> str:
    return f"{100 * share:g}%"


def _n_seeds(rows: list[dict[str, Any]]) -> str:
    counts = sorted({row["parse"]["n_seeds"] for row in rows if row["parse"]})
    return f"{'–'.join(dict.fromkeys((str(counts[0]), str(counts[-1]))))} seeds" if counts else "no seeds"


def _n(table: pd.DataFrame) -> str:
    counts = sorted(set(table["n"]))
    return "–".join(dict.fromkeys((str(counts[0]), str(counts[-1])))) if counts else "0"


def _ends(table: pd.DataFrame, field: str, form: str = ".1%") -> str:
    """What the line does, in words: first value, least and last."""
    rows = table.dropna(subset=field).sort_values("lambda")
    if rows.empty:
        return "No finished cell."
    first, last, least = rows.iloc[0], rows.iloc[-1], rows.loc[rows[field].idxmin()]
    told = {f"{row[field]:{form}} at λ = {row['lambda']:g}": None for row in (first, least, last)}
    return "First, least and last: " + ", ".join(told) + "."


def _median(row: dict[str, Any], beyond: float) -> str:
    return f"none up to λ = {beyond}" if row["median"] is None else f"λ = {row['median']:.3f}"


def _star_text(aggregate: Aggregate) -> str:
    star = aggregate["calibration"]["lambda_star"]
    if star["value"] is None:
        return "The closed form gives no λ* here."
    return f"Predicted λ* = {star['value']:.3f} [{star['low']:.3f}, {star['high']:.3f}]."


def _score_name(row: dict[str, Any]) -> str:
    return (row["quality_name"] or "score").replace("ndcg_at_", "NDCG@")
