"""Stage `sft`: one supervised warm start from scratch: the teacher, the pilot student, or the student of a seed.

Reads the groups and the tokenizer; a share of the targets carries the format defect (`params.yaml`, ``defect``), which is
how p (teacher) and b (student) are put where the theory needs them. Writes the model under ``runs/<profile>/sft/`` and
samples, log and run record under ``reports/<profile>/sft/``. The trained student is the warm start S and the base B.
"""

import math
from typing import Any

import torch
from accelerate import Accelerator

from pipeline.config import TEACHER, Config
from pipeline.files import sha256_of, write_json_lines
from pipeline.graph import fingerprint, model_stage
from pipeline.groups import read_groups
from pipeline.layout import Layout
from pipeline.models import completion_logits, new_model, save_model
from pipeline.objective import token_logprobs
from pipeline.progress import Progress
from pipeline.record import Recorder, is_finished
from pipeline.streams import generator, stream_seed
from pipeline.tasks import load_task
from pipeline.tokens import Batch, Codec, load_tokenizer
from pipeline.training import adamw, sample_rows, update

GRADIENT_CLIP = 1.0
CHECKPOINT_EVERY = 100
LOG_EVERY = 10


def run(config: Config, name: str) -> None:
    """Train the model called ``name`` (one of `Config.models_to_train`)."""
    torch.set_num_threads(config.compute.threads)
    layout, task = Layout(config.profile), load_task(config.task.module)
    key = fingerprint(config.profile, model_stage(config, name))
    record = layout.sft_record(name)
    if is_finished(record / "run.json", key):
        print(f"{record}: finished before, nothing to do")
        return
    recorder = Recorder(
        f"python -m pipeline stage sft --profile {config.profile} --model {name}", config.compute.threads, key
    )
    prompts = {split: [task.prompt(g) for g in read_groups(layout.groups(split))] for split in ("validation", "heldout")}
    tokenizer = load_tokenizer(layout.tokenizer)
    codec = Codec(tokenizer)
    targets = _targets(config, name, codec)

    accelerator = Accelerator()
    size = config.models.teacher if name == TEACHER else config.models.student
    longest = codec.prompts(prompts["heldout"] + prompts["validation"])[0].shape[1]
    longest = max(longest, targets.prompt_BP.shape[1]) + max(config.opd.max_tokens, targets.completion_BT.shape[1])
    model = new_model(size, codec, longest, stream_seed(config.seed, "init", name)).to(accelerator.device)
    optimizer = adamw(model, config.sft.learning_rate, weight_decay=0.0)
    sampler = torch.Generator(accelerator.device).manual_seed(stream_seed(config.seed, "sft samples", name))
    progress = Progress(layout.progress(f"sft/{name}"), key)
    done, rows = progress.restore(model, optimizer, sampler)
    log: list[dict[str, Any]] = rows.get("log", [])
    for step in range(done, config.sft.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.sft.learning_rate * schedule(step, config.sft.warmup, config.sft.steps)
        batch = _cycle(targets, step, config.sft.batch).to(accelerator.device)
        logp_BT = token_logprobs(completion_logits(model, batch), batch.completion_BT, codec.vocabulary)
        mask_BT = batch.completion_mask_BT
        loss = -logp_BT.masked_fill(~mask_BT, 0.0).sum() / mask_BT.sum()
        norm = update(accelerator, model, optimizer, loss, GRADIENT_CLIP)
        log.append({"step": step + 1, "loss": loss.item(), "gradient_norm": norm})
        if (step + 1) % CHECKPOINT_EVERY == 0:
            progress.save(step + 1, model, optimizer, sampler, {"log": log})

    save_model(layout.model(name), model, tokenizer)
    samples, steps = record / "samples.jsonl.gz", record / "log.jsonl"
    write_json_lines(samples, sample_rows(config, model, codec, 0, prompts, sampler, final=True))
    write_json_lines(steps, log[LOG_EVERY - 1 :: LOG_EVERY])
    recorder.finish(
        record / "run.json",
        [layout.model(name), samples, steps],
        steps=config.sft.steps,
        resumed_at=done,
        data_sha256=sha256_of(layout.data),
    )
    progress.clear()


def schedule(step: int, warmup: int, steps: int) -> float:
    """The factor on the learning rate: linear warm-up, then a cosine to zero."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def _targets(config: Config, name: str, codec: Codec) -> Batch:
    """Every SFT group once, in this model's order, each target defective with the role's probability."""
    task = load_task(config.task.module)
    rng = generator(config.seed, "sft targets", name)
    groups = read_groups(Layout(config.profile).groups("sft"))
    rate = config.defect.teacher if name == TEACHER else config.defect.student
    order = rng.permutation(len(groups))
    defective = rng.random(len(groups)) < rate
    pairs = [
        (task.prompt(groups[i]), task.complete(groups[i], config.defect.kind if broken else "none", rng))
        for i, broken in zip(order, defective, strict=True)
    ]
    return codec.batch([prompt for prompt, _ in pairs], [target for _, target in pairs])


def _cycle(targets: Batch, step: int, size: int) -> Batch:
    """The ``step``-th batch of ``size`` rows, starting over at the end."""
    rows = len(targets.prompt_BP)
    return targets.rows(torch.arange(step * size, (step + 1) * size) % rows)
