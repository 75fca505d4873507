"""What the report's figures share: axes, the λ* marker, colours and the words for n and intervals. Altair, no files.

Colours are mid-tones that stand on white and on black; text, axes and grid take theirs from the page's style sheet.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from pipeline.words import counted

Aggregate = dict[str, Any]
Group = dict[str, Any]

BLUE, RED, GREEN, AMBER, VIOLET, GREY = "#3d84c6", "#d0505f", "#3a9a6e", "#c98a2b", "#8b70c8", "#87919d"
WIDTH, HEIGHT = 560, 300
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"

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


def specification(layers: list[alt.Chart], height: int = HEIGHT, legend_columns: int = 3) -> dict[str, Any]:
    """One Vega-Lite dictionary of fixed size; the page makes it as wide as its column, with one legend column on a phone."""
    chart = alt.layer(*layers) if len(layers) > 1 else layers[0]
    axis = {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "labelColor": GREY, "titleColor": GREY}
    legend = {
        "orient": "bottom",
        "columns": legend_columns,
        "labelFontSize": 12,
        "labelLimit": 240,
        "labelColor": GREY,
        "titleColor": GREY,
    }
    chart = chart.properties(width=WIDTH, height=height).configure(background="transparent", font=FONT)
    chart = chart.configure_axis(**axis, gridColor=GREY, gridOpacity=0.25, domainColor=GREY, tickColor=GREY)
    spec: dict[str, Any] = chart.configure_view(stroke=None).configure_legend(**legend).to_dict()
    del spec["$schema"]
    return spec


def prediction(group: Group) -> list[alt.Chart]:
    """λ* with its interval, as layers; nothing where the closed form gives none or it lies beyond the axis."""
    star, (low, high) = group["lambda_star"], domain(group)
    if star["value"] is None or not low <= star["value"] <= high:
        return []
    base = alt.Chart(frame([{**star, "label": "predicted λ*"}], ["value", "low", "high", "label"]))
    at, tooltip = x_lambda(group, "value"), tips("label", value=".4f", low=".4f", high=".4f")
    return [
        base.mark_rect(opacity=0.22, color=VIOLET, clip=True).encode(x_lambda(group, "low"), x2="high:Q"),
        base.mark_rule(color=VIOLET, strokeDash=[5, 3], strokeWidth=1.5).encode(at, tooltip=tooltip),
        base.mark_text(align="left", dx=5, color=VIOLET, fontWeight="bold").encode(at, y=alt.value(8), text="label:N"),
    ]


def level(group: Group, y: alt.Y, row: dict[str, Any], colour: str) -> list[alt.Chart]:
    """A dashed horizontal line at the one value in ``row``, with the row's ``label`` at the right end."""
    base = alt.Chart(frame([row], list(row))).encode(y)
    words = base.mark_text(align="right", dy=-6, color=colour, fontWeight="bold")
    end = alt.X(datum=domain(group)[1])
    return [base.mark_rule(strokeDash=[6, 3], color=colour, strokeWidth=1.5), words.encode(end, text="label:N")]


def domain(group: Group) -> tuple[float, float]:
    """The λ axis: the grid, stretched to λ* where that is not far away."""
    lambdas = [row["lambda"] for row in group["lambdas"]]
    low, high = min(lambdas), max(lambdas)
    star, width = group["lambda_star"]["high"], high - low
    last = max(high, star) if star is not None and star < high + width / 2 else high
    return low - 0.03 * width, last + 0.03 * width


def x_lambda(group: Group, field: str = "lambda") -> alt.X:
    return alt.X(f"{field}:Q", title="λ", scale=alt.Scale(domain=list(domain(group)), nice=False))


def y_share(field: str, title: str) -> alt.Y:
    """A rate from 0 to 1, labelled in per cent."""
    return alt.Y(f"{field}:Q", title=title, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=5))


def colours(mapping: dict[str, str]) -> alt.Scale:
    return alt.Scale(domain=list(mapping), range=list(mapping.values()))


def tips(*names: str, **formats: str) -> list[alt.Tooltip]:
    """Tooltips: text fields first, then numbers with their format."""
    words = [alt.Tooltip(f"{name}:N") for name in names]
    return words + [alt.Tooltip(f"{name}:Q", format=form) for name, form in formats.items()]


def ramp(n: int) -> list[str]:
    """n colours from blue over violet to red."""
    anchors = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (BLUE, VIOLET, RED)]
    out = []
    for i in range(n):
        place = 2 * i / max(n - 1, 1)
        left = min(int(place), 1)
        mixed = (round(a + (b - a) * (place - left)) for a, b in zip(anchors[left], anchors[left + 1], strict=True))
        out.append("#" + "".join(f"{value:02x}" for value in mixed))
    return out


def frame(rows: Sequence[dict[str, Any] | tuple[Any, ...]], columns: list[str]) -> pd.DataFrame:
    """The rows as a table that has its columns even when it is empty."""
    return pd.DataFrame(rows, columns=columns)


def named(name: str, group: Group) -> str:
    return f"{name} ({method(group)})"


def method(group: Group) -> str:
    """Reading and clip, and what differs from the loss as quoted at the calibrated rate."""
    usual = {"signal": "listopd", "estimator": "sampled", "mean": "token"}
    more = [f"{key} {group[key].replace('_', ' ')}" for key, value in usual.items() if group[key] != value]
    more += [] if group["calibrated_rate"] else [f"learning rate {group['learning_rate']:g}"]
    return ", ".join([f"reading {group['reading']}", f"c = {group['clip']}", *more])


def in_percent(share: float) -> str:
    return f"{100 * share:g}%"


def n_seeds(group: Group) -> str:
    return counted(spread(row["parse"]["n_seeds"] for row in group["lambdas"] if row["parse"]), "seed")


def spread(counts: Any) -> str:
    """One number where all agree, else the least and the greatest."""
    ordered = sorted(counts)
    return "–".join(dict.fromkeys((str(ordered[0]), str(ordered[-1])))) if ordered else "0"


def begun(found: dict[str, Any]) -> str:
    """Where along λ something begins, in words: the median over seeds."""
    return f"none up to λ = {found['beyond']}" if found["median"] is None else f"{found['median']:.3f}"


def ends(table: pd.DataFrame, field: str, form: str = ".1%") -> str:
    """What a line over λ does, in words: its first, least and last value."""
    rows = table.dropna(subset=field).sort_values("lambda")
    if rows.empty:
        return "No finished cell."
    chosen = (rows.iloc[0], rows.loc[rows[field].idxmin()], rows.iloc[-1])
    told = dict.fromkeys(f"{row[field]:{form}} at λ = {row['lambda']:g}" for row in chosen)
    return f"First, least and last: {', '.join(told)}."


def star_in_words(group: Group) -> str:
    star = group["lambda_star"]
    if star["value"] is None:
        return "The closed form gives no λ* here."
    return f"Predicted λ* = {star['value']:.3f} [{star['low']:.3f}, {star['high']:.3f}]."
