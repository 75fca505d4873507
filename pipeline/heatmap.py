"""The report's map of collapse over λ and learning rate. Altair, no files; what a `Figure` carries stands in `charts`."""

import altair as alt
import pandas as pd

from pipeline import charts
from pipeline.charts import AMBER, BLUE, RED, VIOLET, Aggregate, Figure, frame, tips


def phase_maps(aggregate: Aggregate) -> list[Figure]:
    """Median parse and number of collapsed seeds over λ and learning rate, for each reading of the clip."""
    columns = ["reading", "learning_rate", "lambda", "parse", "collapsed", "diverged", "n_seeds", "cells"]
    table = frame(aggregate["phase_map"], columns)
    return [_phase_map(reading, table[table["reading"] == reading]) for reading in table["reading"].unique()]


def _phase_map(reading: str, table: pd.DataFrame) -> Figure:
    rates = [f"{value:g}" for value in sorted(table["learning_rate"].unique(), reverse=True)]
    x, y = alt.X("lambda:O", title="λ", axis=alt.Axis(labelAngle=0)), alt.Y("rate:O", title="learning rate", sort=rates)
    base = alt.Chart(table.assign(rate=[f"{value:g}" for value in table["learning_rate"]])).encode(
        x, y, tooltip=tips("cells", "collapsed", "diverged", "n_seeds", parse=".1%")
    )
    scale = alt.Scale(type="threshold", domain=[0.1, 0.5, 0.8], range=[RED, AMBER, VIOLET, BLUE])
    colour = alt.Color("parse:Q", title="median parse", scale=scale, legend=alt.Legend(format=".0%"))
    counts = base.mark_text(fontWeight="bold", fontSize=13).encode(alt.Text("collapsed:Q"))
    worst = table.sort_values(["collapsed", "parse"], ascending=[True, False]).iloc[-1]
    return Figure(
        f"phase-map-{reading}",
        "phase_map",
        f"Collapse over λ and learning rate: reading {reading}",
        f"Heat map of median strict parse. Most seeds collapsed: {worst['collapsed']} of {worst['n_seeds']}, at learning "
        f"rate {worst['learning_rate']:g} and λ = {worst['lambda']:g}, where the median is {worst['parse']:.1%}.",
        f"Colour: median held-out strict parse over seeds (n = {charts.spread(table['n_seeds'])}) at the end; number: "
        "seeds that ended below half of their own plateau under the same reading at the calibrated rate, or diverged. "
        "Counts, no interval.",
        table,
        charts.specification([base.mark_rect(opacity=0.6).encode(colour), counts], height=200),
    )
