"""Stage `listopd`: one cell of the sweep: on-policy distillation of one warm start at one λ (paper.md §1 and §2).

At each step the student samples completions of a batch of train prompts; teacher, base and student score the sampled
tokens; one AdamW step follows the objective. No KL penalty, no outcome reward, no reuse of rollouts. Reads the teacher,
the seed's warm start (student and base alike) and `calibration.json`, which fixes the learning rate and was written
before. Writes the student under ``runs/<profile>/cells/`` and samples, log and run record under
``reports/<profile>/cells/``. Scoring the samples is left to `evaluate`.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from transformers import Qwen3ForCausalLM

from pipeline.config import TEACHER, Cell, Config, Method
from pipeline.files import read_json, sha256_of, write_json_lines
from pipeline.graph import cell_stage, fingerprint
from pipeline.groups import read_groups
from pipeline.layout import Layout
from pipeline.models import completion_logits, load_model, require_same_tokens, save_model
from pipeline.objective import Rule, exact, objective, sampled, token_logprobs, vocabulary_logprobs
from pipeline.probe import Probe
from pipeline.progress import Progress
from pipeline.record import Recorder, is_finished
from pipeline.rollout import sample
from pipeline.streams import generator, stream_seed
from pipeline.tasks import load_task
from pipeline.terms import Estimator
from pipeline.tokens import CLASSES, Batch, Codec
from pipeline.training import NotFinite, adamw, sample_rows, update

FINISHED = "finished"


@dataclass(frozen=True)
class Recipe:
    """What one run of ListOPD is: λ, the method of its group, the step size and the name of its streams."""

    lam: float
    method: Method
    learning_rate: float
    streams: tuple[object, ...]


@dataclass
class Trace:
    """What a run leaves behind. ``status`` is `FINISHED`, or names the step and the tensor that was not finite."""

    status: str = FINISHED
    resumed_at: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"rollout": 0.0, "score": 0.0, "update": 0.0, "evaluate": 0.0})


def run(config: Config, cell: Cell) -> None:
    """Train one cell, unless its record says that it is finished.

    A loss or gradient that is not finite ends it, recorded as such; other cells go on.
    """
    torch.set_num_threads(config.compute.threads)
    layout, cells = Layout(config.profile), config.cells[cell.group]
    key = fingerprint(config.profile, cell_stage(config, cell))
    record = layout.cell_record(cell)
    if is_finished(record / "run.json", key):
        print(f"{record}: finished before, nothing to do")
        return
    which = f"--cells {cell.group} --lambda {cell.lam} --seed {cell.seed}"
    command = f"python -m pipeline stage listopd --profile {config.profile} {which}"
    recorder = Recorder(command, config.compute.threads, key)
    calibration = read_json(layout.calibration, "calibrate")
    recipe = Recipe(
        lam=cell.lam,
        method=cells.method,
        learning_rate=cells.method.learning_rate or calibration["learning_rate"]["chosen"],
        streams=("listopd", cell.group, cell.lam, cell.seed),
    )
    student, codec = load_model(layout.model(f"student-{cell.seed}"))
    progress = Progress(layout.progress(f"cells/{cell.name}"), key)
    binding = calibration["binding"]["position"]
    trace = distil(config, recipe, student, codec, f"student-{cell.seed}", binding, progress)
    save_model(layout.cell_model(cell), student, codec.tokenizer)
    samples, steps = record / "samples.jsonl.gz", record / "log.jsonl"
    write_json_lines(samples, trace.samples)
    write_json_lines(steps, trace.log)
    recorder.finish(
        record / "run.json",
        [layout.cell_model(cell), samples, steps],
        status=trace.status,
        learning_rate=recipe.learning_rate,
        calibration_sha256=sha256_of(layout.calibration),
        data_sha256=sha256_of(layout.data),
        resumed_at=trace.resumed_at,
        seconds={name: round(value, 2) for name, value in trace.seconds.items()},
    )
    progress.clear()


def distil(
    config: Config,
    recipe: Recipe,
    student: Qwen3ForCausalLM,
    codec: Codec,
    base_name: str,
    binding: int | None,
    progress: Progress | None,
) -> Trace:
    """Train ``student`` in place from the warm start that ``base_name`` names; evaluate along the way.

    ``binding`` is the position at which q is measured; without one (the pilot) it is not.
    """
    layout, task, trace, method = Layout(config.profile), load_task(config.task.module), Trace(), recipe.method
    rule = Rule(recipe.lam, method.clip, method.reading, method.signal, method.mean)
    teacher, teacher_codec = load_model(layout.model(TEACHER))
    require_same_tokens(teacher_codec, codec, ("teacher", base_name))
    base, _ = load_model(layout.model(base_name))
    accelerator = Accelerator()
    for model in (student, teacher, base):
        model.to(accelerator.device)
    probe = None if binding is None else Probe.at(config, codec, teacher, binding, method.clip)
    prompts = {
        split: [task.prompt(g) for g in read_groups(layout.groups(split))] for split in ("train", "validation", "heldout")
    }
    train_NP, train_mask_NP = (x.to(accelerator.device) for x in codec.prompts(prompts["train"]))
    optimizer = adamw(student, recipe.learning_rate, config.opd.weight_decay)
    stream = torch.Generator(accelerator.device).manual_seed(stream_seed(config.seed, *recipe.streams))
    if progress:
        trace.resumed_at, rows = progress.restore(student, optimizer, stream)
        trace.log, trace.samples = rows.get("log", []), rows.get("samples", [])

    for step in range(trace.resumed_at, method.steps):
        clock = time.perf_counter()
        index = _batch_index(config, recipe, step)
        batch = sample(
            student, codec, train_NP[index], train_mask_NP[index], config.opd.max_tokens, config.opd.temperature, stream
        )
        clock = _lap(trace, "rollout", clock)
        with torch.no_grad():
            theirs, before = (_logprobs(model, batch, codec, method.estimator) for model in (teacher, base))
        clock = _lap(trace, "score", clock)
        own = _logprobs(student, batch, codec, method.estimator)
        every = method.estimator == "exact"
        policies = exact(own, theirs, before) if every else sampled(own, theirs, before, batch.sampler_BT)
        result = objective(policies, batch.completion_mask_BT, rule)
        try:
            norm = update(accelerator, student, optimizer, result.loss, config.opd.gradient_clip)
        except NotFinite as problem:
            trace.status = f"not finite: {problem} at step {step + 1}"
            return trace
        row = {
            "step": step + 1,
            "loss": result.loss.item(),
            "gradient_norm": norm,
            "advantage": _by_class(result.advantage_BT, batch, codec),
            "clipped": result.clipped.item(),
            "masked": result.masked.item(),
            "effective": result.effective.item(),
            "tokens": int(batch.completion_mask_BT.sum()),
        }
        clock = _lap(trace, "update", clock)
        final = step + 1 == method.steps
        if final or (step + 1) % config.opd.evaluate_every == 0:
            trace.samples += sample_rows(config, student, codec, step + 1, prompts, stream, final)
            row |= probe.measure(student) if probe else {}
        trace.log.append(row)
        if progress and (step + 1) % config.opd.evaluate_every == 0:
            progress.save(step + 1, student, optimizer, stream, {"log": trace.log, "samples": trace.samples})
        _lap(trace, "evaluate", clock)
    return trace


def _logprobs(model: Qwen3ForCausalLM, batch: Batch, codec: Codec, estimator: Estimator) -> torch.Tensor:
    """Of the drawn tokens [B, T], or of the whole vocabulary at each of their places [B, T, V]."""
    logits_BTV = completion_logits(model, batch)
    if estimator == "exact":
        return vocabulary_logprobs(logits_BTV, codec.vocabulary)
    return token_logprobs(logits_BTV, batch.completion_BT, codec.vocabulary)


def _by_class(advantage_BT: torch.Tensor, batch: Batch, codec: Codec) -> dict[str, float | None]:
    """Mean advantage over all tokens, and over the tokens of each class; None for a class that was not drawn."""
    classes_BT = codec.classes_V.to(advantage_BT.device)[batch.completion_BT]
    wanted = {"all": batch.completion_mask_BT}
    wanted |= {name: batch.completion_mask_BT & (classes_BT == i) for i, name in enumerate(CLASSES)}
    return {name: advantage_BT[mask].mean().item() if bool(mask.any()) else None for name, mask in wanted.items()}


def _batch_index(config: Config, recipe: Recipe, step: int) -> torch.Tensor:
    """Rows of the train prompts at ``step``: each epoch is a fresh permutation, its incomplete last batch dropped."""
    size = recipe.method.batch or config.opd.batch
    per_epoch = config.data.train // size
    epoch, place = divmod(step, per_epoch)
    order = generator(config.seed, *recipe.streams, "epoch", epoch).permutation(config.data.train)
    return torch.from_numpy(np.ascontiguousarray(order[place * size : (place + 1) * size]))


def _lap(trace: Trace, name: str, since: float) -> float:
    now = time.perf_counter()
    trace.seconds[name] += now - since
    return now
