"""The report's figures: from ``aggregate.json`` to Vega-Lite specifications (Altair). Pure functions, no files.

Every figure carries what a reader needs without seeing it: a title, a text alternative, a caption with n and the kind of
interval, and the table of the numbers drawn.
"""

from collections import Counter

import altair as alt

from pipeline import charts, heatmap
from pipeline.charts import (
    AMBER,
    BLUE,
    GREY,
    KINDS,
    OK,
    RED,
    VIOLET,
    Aggregate,
    Figure,
    failure_kind,
    frame,
    in_percent,
    named,
    tips,
    x_lambda,
    y_share,
)
from pipeline.words import counted

ONSETS = {
    "crossing": "q crosses q_c",
    "jump": "q jumps",
    "onset": "parse collapses",
    "onset_of_least": "min. parse collapses",
}
MOST_DETAILED = 3
FOUND, NONE = "onset in one seed", "none up to here"
MEASURED, FIXED, ABOVE = "log-odds of q", "log-odds of the fixed point", "share of prompts above q_c"
MEANS = {MEASURED: "q, mean over seeds", FIXED: "fixed point, mean over seeds"}


def figures(aggregate: Aggregate) -> list[Figure]:
    """All figures: each kind for each group of cells at the calibrated rate, the map over rates, the pilot.

    With many groups, the later kinds are drawn for the first ones only: a page must stay readable.
    """
    names = [name for name, group in aggregate["cells"].items() if group["calibrated_rate"]]
    first = [(draw, name) for draw in (onsets, cliff, modal_mass) for name in names]
    rest = [(draw, name) for draw in (training, failures, quality) for name in names[:MOST_DETAILED]]
    drawn = [draw(aggregate, name) for draw, name in [*first, *rest]]
    return [*drawn, *heatmap.phase_maps(aggregate), pilot(aggregate)]


def onsets(aggregate: Aggregate, name: str) -> Figure:
    """Where crossing, jump and collapse begin in each seed, beside the predicted λ*."""
    group, level = aggregate["cells"][name], in_percent(aggregate["confidence"])
    parts = ["median", "low", "high", "beyond", "censored", "n_seeds"]
    medians = frame([{"begins": told, **group[key]} for key, told in ONSETS.items()], ["begins", *parts])
    rows = []
    for key, told in ONSETS.items():
        for seed in group[key]["per_seed"]:
            at, what = (group[key]["beyond"], NONE) if seed["value"] is None else (seed["value"], FOUND)
            rows.append({"begins": told, "seed": seed["seed"], "at": at, "what": what})
    each = frame(rows, ["begins", "seed", "at", "what"])
    y = alt.Y("begins:N", title=None, sort=list(ONSETS.values()), axis=alt.Axis(labelLimit=130))
    points = alt.Chart(each).mark_point(filled=True, size=48, opacity=0.75)
    points = points.encode(
        x_lambda(group, "at"),
        y,
        yOffset=alt.YOffset("seed:N"),
        shape=alt.Shape("what:N", title=None, scale=charts.colours({FOUND: "circle", NONE: "triangle-right"})),
        color=alt.Color("what:N", title=None, scale=charts.colours({FOUND: BLUE, NONE: GREY})),
        tooltip=tips("begins", "seed", "what", at=".3f"),
    )
    middle = alt.Chart(medians.dropna(subset="median")).mark_tick(thickness=3, size=30, color=RED)
    middle = middle.encode(x_lambda(group, "median"), y, tooltip=tips("begins", median=".3f"))
    told = "; ".join(f"{told}: {charts.begun(group[key])}" for key, told in ONSETS.items())
    return Figure(
        f"onsets-{name}",
        "onsets",
        f"Three onsets beside the prediction: {named(name, group)}",
        f"Dot plot over λ: a row for each onset, a dot for each seed. Medians: {told}. {charts.star_in_words(group)}",
        f"Dots: seeds (n = {group['onset']['n_seeds']}); red tick: median; triangle: none up to there, the last "
        f"λ that can show one (a collapse must hold at the next λ too). Violet: λ* with its {level} interval. "
        f"The table adds the {level} bootstrap interval over seeds of each median.",
        medians,
        charts.specification([*charts.prediction(group), points, middle], height=190),
    )


def cliff(aggregate: Aggregate, name: str) -> Figure:
    """Strict parse over λ: a thin line for each seed, the mean over seeds with its interval, and λ*."""
    group, level = aggregate["cells"][name], in_percent(aggregate["confidence"])
    rows = [row for row in group["lambdas"] if row["parse"]]
    parts = ["value", "low", "high", "n_seeds", "n"]
    mean = frame([{"lambda": row["lambda"], **row["parse"]} for row in rows], ["lambda", *parts])
    seeds = frame([{"lambda": r["lambda"], **one} for r in rows for one in r["parse_by_seed"]], ["lambda", "seed", "parse"])
    x, y = x_lambda(group), y_share("value", "strict parse")
    start = aggregate["sft"]["student"]["parse"]["value"]
    thin = alt.Chart(seeds).mark_line(color=GREY, strokeWidth=1, opacity=0.7, point=alt.OverlayMarkDef(size=18, color=GREY))
    thick = alt.Chart(mean).mark_line(color=BLUE, strokeWidth=2.5, point=alt.OverlayMarkDef(size=50, color=BLUE))
    layers = [
        *charts.prediction(group),
        *charts.level(group, y, {"value": start, "label": "SFT warm start"}, AMBER),
        alt.Chart(mean).mark_area(opacity=0.2, color=BLUE).encode(x, y_share("low", "strict parse"), y2="high:Q"),
        thin.encode(x, y_share("parse", "strict parse"), detail="seed:N", tooltip=tips("lambda", "seed", parse=".1%")),
        thick.encode(x, y, tooltip=tips("lambda", "n_seeds", "n", value=".1%", low=".1%", high=".1%")),
    ]
    by_seed = seeds.pivot(index="lambda", columns="seed", values="parse").add_prefix("seed ").reset_index()
    return Figure(
        f"cliff-{name}",
        "cliff",
        f"Strict parse over λ: {named(name, group)}",
        f"Line chart of strict parse over λ. {charts.ends(mean, 'value')} {charts.star_in_words(group)}",
        f"Thick line: mean over {charts.n_seeds(group)} at the end of {counted(group['steps'], 'step')}, "
        f"n = {counted(charts.spread(mean['n']), 'completion')} for each λ; band: {level} hierarchical bootstrap over "
        f"seeds, then prompts; thin lines: seeds. Violet: λ* with its {level} interval.",
        mean.merge(by_seed, on="lambda"),
        charts.specification(layers),
    )


def modal_mass(aggregate: Aggregate, name: str) -> Figure:
    """q's log-odds at the binding position against the flow's fixed point and q_c."""
    group, calibration = aggregate["cells"][name], aggregate["calibration"]
    places = [row["seed"] for row in group["plateau"]]
    fixed = {
        (r["lambda"], seed): x for r in group["fixed_point_logit"] for seed, x in zip(places, r["by_seed"], strict=True)
    }
    rows = [
        (row["lambda"], one["seed"], q, fixed.get((row["lambda"], one["seed"])), above)
        for row in group["lambdas"]
        for one, q, above in zip(row["parse_by_seed"], row["q_logit_by_seed"], row["q_above_by_seed"], strict=True)
    ]
    table = frame(rows, ["lambda", "seed", MEASURED, FIXED, ABOVE])
    table[FIXED] = table[FIXED].astype(float)
    middle = table.groupby("lambda", as_index=False)[[MEASURED, FIXED]].mean().rename(columns=MEANS)
    dots = table[["lambda", "seed", MEASURED]].rename(columns={MEASURED: "log_odds"})
    flow = f"of the reading {group['reading']} at c = {group['clip']}, from the measured p and each seed's b"
    flow = flow if table[FIXED].notna().any() else "none is known for these cells"
    edge = group["clip_threshold_logit"]
    x, y = x_lambda(group), alt.Y("log_odds:Q", title="log-odds of the modal token", scale=alt.Scale(zero=False))
    colour = alt.Color("line:N", title=None, scale=charts.colours({MEANS[MEASURED]: BLUE, MEANS[FIXED]: AMBER}))
    lines = alt.Chart(middle.melt("lambda", var_name="line", value_name="log_odds").dropna())
    layers = [
        *charts.prediction(group),
        *charts.level(group, y, {"log_odds": edge, "label": "q_c"}, RED),
        alt.Chart(dots)
        .mark_point(filled=True, size=26, color=GREY)
        .encode(x, y, tooltip=tips("lambda", "seed", log_odds=".3f")),
        lines.mark_line(point=True, strokeWidth=2.5).encode(x, y, colour, tooltip=tips("lambda", "line", log_odds=".3f")),
    ]
    return Figure(
        f"modal-mass-{name}",
        "modal_mass",
        f"q against the fixed point and q_c: {named(name, group)}",
        f"Log-odds of the student's modal token over λ, with the fixed point of the expected flow and q_c at "
        f"{edge:.2f}. {charts.ends(middle, MEANS[MEASURED], '.2f')} {charts.star_in_words(group)}",
        f"Grey dots: one seed's mean over {counted(calibration['prompts'], 'prompt')} at token position "
        f"{calibration['binding']['position']} after {counted(group['steps'], 'step')}, {charts.n_seeds(group)} for each λ; "
        f"no interval is drawn. Fixed point: {flow}. Dashed red: q_c.",
        table,
        charts.specification(layers),
    )


def training(aggregate: Aggregate, name: str) -> Figure:
    """Strict parse on the validation prompts along training, a line for each λ."""
    group = aggregate["cells"][name]
    rows = [{"lambda": row["lambda"], **point} for row in group["lambdas"] for point in row["training"]]
    table = frame(rows, ["lambda", "step", "parse", "least", "greatest", "n_seeds"])
    prompts = aggregate["data"]["groups"]["validation"]
    lambdas = [str(row["lambda"]) for row in group["lambdas"]]
    scale = charts.colours(dict(zip(lambdas, charts.ramp(len(lambdas)), strict=True)))
    lines = alt.Chart(table.assign(label=table["lambda"].astype(str)))
    lines = lines.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=26)).encode(
        alt.X("step:Q", title="training step"),
        y_share("parse", "strict parse (validation)"),
        alt.Color("label:N", title="λ", sort=lambdas, scale=scale),
        tooltip=tips("lambda", "step", "n_seeds", parse=".1%", least=".1%", greatest=".1%"),
    )
    return Figure(
        f"training-{name}",
        "training",
        f"Parse along training: {named(name, group)}",
        "Line chart of strict parse over training steps, one line for each λ. At the last step: "
        + charts.ends(table[table["step"] == table["step"].max()], "parse"),
        f"Median over {charts.n_seeds(group)} on the validation prompts (n = {prompts} each); "
        "the table adds the least and the greatest seed.",
        table,
        charts.specification([lines], legend_columns=5),
    )


def failures(aggregate: Aggregate, name: str) -> Figure:
    """How completions end, as shares: teacher, warm start, then each λ."""
    group, k, sft = aggregate["cells"][name], aggregate["k"], aggregate["sft"]
    bars = {"teacher": sft["teacher"], "SFT": sft["student"], **{str(row["lambda"]): row for row in group["lambdas"]}}
    n = {at: sum(row["outcomes"].values()) for at, row in bars.items()}
    each = charts.spread(n[str(row["lambda"])] for row in group["lambdas"])
    exact, coarse = [], []
    for at, row in bars.items():
        kinds = Counter[str]()
        for label, count in row["outcomes"].items():
            kind = failure_kind(label, k)
            kinds[kind] += count
            exact.append({"at": at, "outcome": label, "kind": kind, "count": count, "share": count / n[at]})
        coarse += [{"at": at, "kind": kind, "count": count, "share": count / n[at]} for kind, count in kinds.items()]
    drawn = frame(coarse, ["at", "kind", "count", "share"])
    present = [*(kind for kind in KINDS if kind in set(drawn["kind"])), *sorted(set(drawn["kind"]) - set(KINDS))]
    drawn["order"] = [present.index(kind) for kind in drawn["kind"]]
    colours = charts.colours({kind: KINDS.get(kind, GREY) for kind in present})
    axis = alt.Axis(labelAngle=0, labelOverlap=True)
    chart = (
        alt.Chart(drawn)
        .mark_bar()
        .encode(
            alt.X("at:N", title="teacher, warm start (SFT), then λ", sort=list(bars), axis=axis),
            y_share("share", "share of completions"),
            alt.Color("kind:N", title=None, scale=colours, legend=alt.Legend(labelLimit=0)),
            order="order:Q",
            tooltip=tips("at", "kind", "count", share=".1%"),
        )
    )
    worst = drawn[drawn["kind"] != OK].nlargest(1, "share").to_dict("records")
    most = "".join(f"The largest failure is {row['kind']}, {row['share']:.1%} at {row['at']}." for row in worst)
    return Figure(
        f"failures-{name}",
        "failures",
        f"How completions end: {named(name, group)}",
        f"Stacked bars of outcomes for the teacher, the warm start and each λ. {most}",
        f"All sampled held-out completions at the end, seeds together (n = {n['teacher']} for the teacher, "
        f"{n['SFT']} for the warm starts, {each} for each λ); counts, no interval. One id missing of "
        f"K = {k} is shown as its two kinds; the table names every outcome exactly.",
        frame(exact, ["at", "outcome", "kind", "count", "share"]),
        charts.specification([chart], legend_columns=2),
    )


def quality(aggregate: Aggregate, name: str) -> Figure:
    """Score on parsed outputs, and USEFUL (parse × score), over λ."""
    group, level = aggregate["cells"][name], in_percent(aggregate["confidence"])
    rows = []
    for row in group["lambdas"]:
        score = (row["quality_name"] or "score").replace("ndcg_at_", "NDCG@")
        measures = {f"{score} on parsed outputs": row["quality"], "USEFUL": row["useful"]}
        rows += [{"lambda": row["lambda"], "measure": what, **found} for what, found in measures.items() if found]
    table = frame(rows, ["lambda", "measure", "value", "low", "high", "n_seeds", "n"])
    measures = dict(zip(dict.fromkeys(table["measure"]), (BLUE, AMBER, VIOLET), strict=False))
    x = x_lambda(group)
    base = alt.Chart(table).encode(
        x, color=alt.Color("measure:N", title=None, scale=charts.colours(measures), legend=alt.Legend(symbolOpacity=1))
    )
    layers = [
        *charts.prediction(group),
        base.mark_area(opacity=0.18).encode(alt.Y("low:Q").title("score").scale(domain=[0, 1]), y2="high:Q"),
        base.mark_line(point=True, strokeWidth=2.5).encode(
            alt.Y("value:Q").title("score").scale(domain=[0, 1]).axis(tickCount=5),
            tooltip=tips("lambda", "measure", "n_seeds", "n", value=".3f", low=".3f", high=".3f"),
        ),
    ]
    flat = "; ".join(
        f"Flat over λ? Permutation test of {key}: p = {found['p_value']:.3f} "
        f"({counted(found['n_seeds'], 'seed')}, {counted(found['n_lambdas'], 'value')} of λ)."
        for key, found in group["flatness"].items()
        if found
    )
    parsed = ", ".join(f"{row['lambda']}: {row['quality']['n']}" for row in group["lambdas"] if row["quality"])
    return Figure(
        f"quality-{name}",
        "quality",
        f"Score on parsed outputs and USEFUL: {named(name, group)}",
        f"Line chart of the score on parsed outputs and of USEFUL over λ. {flat}",
        f"Means over {charts.n_seeds(group)} with a {level} hierarchical bootstrap. Parsed outputs (n) for each λ: "
        f"{parsed or 'none'}. {flat}",
        table,
        charts.specification(layers),
    )


def pilot(aggregate: Aggregate) -> Figure:
    """The learning-rate pilot at λ = 1 and what its rule chose."""
    rate, level = aggregate["calibration"]["learning_rate"], in_percent(aggregate["calibration"]["confidence"])
    table = frame(rate["pilot"], ["learning_rate", "parse", "low", "high", "n", "status"])
    choice = ["chosen" if value == rate["chosen"] else "candidate" for value in table["learning_rate"]]
    scale, axis = alt.Scale(type="log", nice=False, padding=24), alt.Axis(format=".0e", labelOverlap=True)
    x = alt.X("learning_rate:Q", title="learning rate", scale=scale, axis=axis)
    colour = alt.Color("choice:N", title=None, scale=charts.colours({"chosen": RED, "candidate": BLUE}))
    base = alt.Chart(table.assign(choice=choice)).encode(x, colour)
    tooltip = tips("learning_rate", "status", "n", parse=".1%", low=".1%", high=".1%")
    layers = [
        base.mark_rule(strokeWidth=2).encode(y_share("low", "strict parse"), y2="high:Q"),
        base.mark_point(filled=True, size=80, opacity=1).encode(y_share("parse", "strict parse"), tooltip=tooltip),
    ]
    return Figure(
        "pilot",
        "pilot",
        "Learning-rate pilot",
        f"Held-out strict parse at λ = 1 for each candidate learning rate; chosen: {rate['chosen']:g}.",
        f"Rule, fixed before the sweep: {rate['rule']}. Chosen: {rate['chosen']:g}. Bars: {level} Wilson intervals; "
        f"n = {counted(charts.spread(table['n']), 'completion')} for each candidate, one seed.",
        table,
        charts.specification(layers, height=220),
    )
