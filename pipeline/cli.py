"""``python -m pipeline``: the front door beside DVC. Heavy imports happen inside the commands, so that --help is quick."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer._click.exceptions import ClickException

from pipeline import config as settings
from pipeline.errors import InputError

app = typer.Typer(
    help="Check the claims of 'The Extrapolation Cliff' (ListOPD): run the pipeline, ask the theory, judge, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Profile = Annotated[str, typer.Option("--profile", help="Which settings: replica, or a folder of pipeline/profiles.")]


class StageName(StrEnum):
    prepare = "prepare"
    sft = "sft"
    calibrate = "calibrate"
    listopd = "listopd"
    evaluate = "evaluate"
    aggregate = "aggregate"
    check = "check"
    report = "report"


class Reading(StrEnum):
    none = "none"
    truncate = "truncate"
    mask = "mask"
    rollout = "rollout"


@app.command()
def run(
    profile: Profile = settings.DEFAULT_PROFILE,
    jobs: Annotated[int | None, typer.Option(min=1, help="Cells side by side; by default one for each core.")] = None,
    reviews: Annotated[Path | None, typer.Option(help="An Amazon Reviews file (2018 or 2023; .jsonl, .jsonl.gz).")] = None,
    labels: Annotated[Path | None, typer.Option(help="Scores 0-10 for the reviews: review_id, score, labeller.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Validate settings and input in full; train nothing.")] = False,
) -> None:
    """Run the whole pipeline of a profile, cells in parallel; the last line is the path of the report."""
    from pipeline import run as runner

    runner.run(profile, jobs, reviews, labels, dry_run)


@app.command()
def theory(
    p: Annotated[float, typer.Option(help="The teacher's modal probability, in (0, 1).")],
    b: Annotated[float, typer.Option(help="The base's mass on the same class, in (0, 1); 0.5 is base-neutral.")] = 0.5,
    c: Annotated[float, typer.Option(help="The clip, above 1.")] = 5.0,
    reading: Annotated[Reading, typer.Option(help="How the clip acts.")] = Reading.truncate,
    lam: Annotated[float | None, typer.Option("--lambda", help="Also the fixed points at this lambda.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What the closed form and the expected flow say: lambda*, q_c, and where the reading's own flow crosses it."""
    from pipeline import theory as science

    try:
        facts = science.summary(p, b, c, reading.value, lam)
    except science.DomainError as problem:
        raise InputError(f"theory: {problem}") from None
    if as_json:
        print(json.dumps(facts, indent=1, allow_nan=False))
    else:
        for name, value in facts.items():
            print(f"{name:24} {value:.6g}" if isinstance(value, float) else f"{name:24} {value}")


@app.command()
def advise(
    teacher: Annotated[Path, typer.Option(help="Folder of a Hugging Face causal model.")],
    base: Annotated[Path, typer.Option(help="Folder of the warm start, with the same tokenizer.")],
    prompts: Annotated[Path, typer.Option(help="One prompt a line, or .jsonl with the key prompt; taken as they are.")],
    c: Annotated[float, typer.Option(help="The clip, above 1.")] = 5.0,
    reading: Annotated[Reading, typer.Option(help="How the clip acts.")] = Reading.truncate,
    pattern: Annotated[str | None, typer.Option(help="The contract as a regular expression; without it, JSON.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many prompts.")] = 256,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer of the teacher.")] = 256,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Lambda* at each structural position of your own models' answers, the lambda to use, and what supports it."""
    from pipeline import advise as advisor
    from pipeline import theory as science

    question = advisor.Question(teacher, base, prompts, c, reading.value, pattern, limit, max_tokens)
    try:
        found = advisor.advise(question)
    except science.DomainError as problem:
        raise InputError(f"advise: {problem}") from None
    print(json.dumps(found, indent=1, allow_nan=False) if as_json else advisor.told(found))


@app.command()
def ids(file: Annotated[Path, typer.Argument(help="An Amazon Reviews file.")]) -> None:
    """Print the id and the text of each usable review, so that labels can be made."""
    from pipeline import reviews

    found = reviews.read_reviews(file)
    for review_id, text in reviews.id_rows(found.reviews):
        print(f"{review_id}\t{text}")
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    counted = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in found.counts.items())
    print(f"{file}: {counted}; {len(found.reviews)} ids printed", file=sys.stderr)


@app.command("import")
def import_(
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE...", help="Tables of metrics: .csv or .json.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Take out an imported table of that name.")] = None,
) -> None:
    """Bring metrics made elsewhere (columns: bundle/imported/README.md); `stage check` then judges tier D on them."""
    from pipeline import tables

    for line in tables.store(files or [], remove or []):
        print(line)


@app.command()
def check(
    profile: Profile = settings.DEFAULT_PROFILE,
    against: Annotated[str | None, typer.Option(help="A commit, to compare a tree that was run again with.")] = None,
    junit: Annotated[Path | None, typer.Option(dir_okay=False, help="Write what was found there as JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option(dir_okay=False, help="The same as Markdown, for a pull request.")] = None,
) -> None:
    """The gate: `verify`, and compare the verdicts with the expected ones. Trains nothing."""
    from pipeline import gate

    raise typer.Exit(gate.run(settings.load(profile), against, gate.Outputs(junit, markdown)))


@app.command()
def verify(
    profile: Profile = settings.DEFAULT_PROFILE,
    update_manifest: Annotated[
        bool, typer.Option("--update-manifest", help="If all else agrees, write the manifest for the tree as it stands.")
    ] = False,
) -> None:
    """Recompute all that follows from the samples, compare it with what is committed, and that with the manifest."""
    from pipeline import verify as verifying

    raise typer.Exit(verifying.run(settings.load(profile), update_manifest))


@app.command()
def report(profile: Profile = settings.DEFAULT_PROFILE) -> None:
    """Render the report again from the committed aggregate and verdicts; prints its path."""
    from pipeline import report as reporting
    from pipeline.layout import Layout

    reporting.run(settings.load(profile))
    print(Layout(profile).html)


@app.command()
def doctor(profile: Profile = settings.DEFAULT_PROFILE) -> None:
    """What is installed here, cores, memory, GPU, and whether the profile is feasible."""
    from pipeline import doctor as examination

    raise typer.Exit(examination.run(settings.load(profile)))


@app.command()
def stage(
    name: Annotated[StageName, typer.Argument(help="The stage, as in dvc.yaml.")],
    profile: Profile = settings.DEFAULT_PROFILE,
    model: Annotated[str, typer.Option(help="sft: teacher, student-pilot or student-SEED.")] = settings.TEACHER,
    cells: Annotated[str, typer.Option(help="listopd: the group of cells.")] = settings.MAIN,
    lam: Annotated[float | None, typer.Option("--lambda", help="listopd: one of the group's lambdas; else all.")] = None,
    seed: Annotated[int, typer.Option(help="listopd: one of the profile's seeds.")] = 0,
) -> None:
    """Run one stage by itself, as DVC does."""
    from pipeline import stages

    config = settings.load(profile)
    if name is StageName.sft:
        stages.sft(config, model)
    elif name is StageName.listopd:
        stages.listopd(config, cells, seed, lam)
    else:
        stages.plain(config, name.value)


def main() -> None:
    """Run the command line: bad input is one line and exit code 2."""
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except InputError as problem:
        print(f"error: {problem}", file=sys.stderr)
    except ClickException as problem:
        if said := " ".join(problem.format_message().split()):
            print(f"error: {said} (--help lists what there is)", file=sys.stderr)
    sys.exit(2)
