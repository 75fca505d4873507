"""``python -m pipeline advise``: λ* for a user's own teacher and base, at each near-deterministic structural position.

Works on two Hugging Face causal models with one tokenizer: the teacher answers the user's prompts greedily, the answers
that keep the contract (JSON, or a regular expression) are scored by both models, and p, b and λ* are measured at every
structural position with intervals over prompts. Claim `operating rule` of paper.md §5. Prompts are taken as they are: a
chat template, where one is wanted, has to be in the file. Not here: sampling, a budget (the paper's formula is unknown).
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline import theory
from pipeline.calibrate import pooled_log_odds
from pipeline.errors import InputError
from pipeline.files import read_json
from pipeline.statistics import Array, percentiles, resample
from pipeline.structure import END, Position, agreed, json_structure, positions

LEAST_SHARE = 0.9
CONFIDENCE, RESAMPLES = 0.95, 2000
PAPER_MARGIN = (1.15 - 1.0) / (1.22 - 1.0)
EVIDENCE = ("marker/crossing", "onset/collapse", "parse_shift/lift")


@dataclass(frozen=True)
class Question:
    """What is asked: ``pattern`` None stands for JSON; ``threshold`` is τ of paper.md §1."""

    teacher: Path
    base: Path
    prompts: Path
    clip: float
    reading: str
    pattern: str | None
    limit: int
    max_tokens: int
    threshold: float = 0.9


def advise(asked: Question) -> dict[str, Any]:
    """Everything that is found, as plain JSON values.

    Raises InputError where models, prompts or contract do not fit, DomainError for a clip outside the theory's domain.
    """
    theory.clip_threshold(0.5, asked.clip)
    keeps = _contract(asked.pattern)
    prompts = _prompts(asked.prompts)[: asked.limit]
    tokenizer, teacher = _load(asked.teacher)
    other, base = _load(asked.base)
    if tokenizer.get_vocab() != other.get_vocab() or any(tokenizer(x).input_ids != other(x).input_ids for x in prompts):
        raise InputError(f"{asked.base}: its tokenizer differs from that of {asked.teacher}; expected the same token ids")
    answers = [(ids, _answer(teacher, ids, asked.max_tokens)) for ids in (tokenizer(x).input_ids for x in prompts)]
    texts = [_pieces(tokenizer, teacher, answer) for _, answer in answers]
    kept = [row for row, pieces in enumerate(texts) if pieces[-1] == END and keeps("".join(pieces[:-1]))]
    if not kept:
        raise InputError(f"{asked.prompts}: none of the teacher's {len(prompts)} answers keeps the contract; expected some")
    texts, answers = [texts[row] for row in kept], [answers[row] for row in kept]
    if asked.pattern is None:
        found = positions(texts, [json_structure("".join(pieces[:-1])) for pieces in texts], LEAST_SHARE)
    else:
        found = agreed(texts, LEAST_SHARE)
    p_NT, b_NT = (_log_odds(model, answers) for model in (teacher, base))
    rows = [_measured(asked, position, p_NT, b_NT) for position in found]
    modal = [row for row in rows if row["p"]["value"] >= asked.threshold and row["lambda_star"]]
    binding = min(modal, key=lambda row: row["b"]["value"], default=None)
    return {
        "teacher": str(asked.teacher),
        "base": str(asked.base),
        "prompts": len(prompts),
        "kept": len(kept),
        "clip": asked.clip,
        "reading": asked.reading,
        "modal_threshold": asked.threshold,
        "precondition": binding is not None,
        "binding": binding and binding["position"],
        "below": binding and binding["lambda_star"]["low"],
        "with_paper_margin": binding and 1.0 + PAPER_MARGIN * (binding["lambda_star"]["low"] - 1.0),
        "evidence": evidence(),
        "positions": rows,
    }


def told(found: dict[str, Any]) -> str:
    """The findings as lines for a terminal."""

    def span(value: dict[str, float] | None, digits: int) -> str:
        return "-" if value is None else "{value:.{d}f} [{low:.{d}f}, {high:.{d}f}]".format(d=digits, **value)

    tau = f"{found['modal_threshold']:g}"
    lines = [f"{found['kept']} of {found['prompts']} answers of the teacher keep the contract; clip {found['clip']:g}", ""]
    lines.append(f"{'position':24} {'n':>4}  {'p':30} {'b':26} lambda*")
    for row in found["positions"]:
        spans = f"{span(row['p'], 5):30} {span(row['b'], 4):26} {span(row['lambda_star'], 3)}"
        lines.append(f"{row['position'][:24]:24} {row['n']:4}  {spans}")
    lines.append("")
    if found["precondition"]:
        lines += [
            f"binding: {found['binding']} (of the positions with p at or above {tau}, the one with the least b)",
            f"lambda to use: below {found['below']:.3f}; with the paper's margin (1.15 where it says 1.22) "
            f"{found['with_paper_margin']:.3f}",
        ]
    else:
        lines.append(f"no structural position has p at or above {tau} and above b: the rule says nothing")
    return "\n".join([*lines, "", "what our own results say of this rule:", *(f"  {line}" for line in found["evidence"])])


def evidence() -> list[str]:
    """What the committed verdicts of each profile say of the rule: how far our own results support it."""
    said = []
    for path in sorted(Path("reports").glob("*/verdicts.json")):
        verdicts = {check["id"]: check for check in read_json(path, "check")["checks"]}
        told = [f"{name}: {verdicts[name]['verdict']}" for name in EVIDENCE if name in verdicts]
        said.append(f"profile {path.parent.name}: {', '.join(told)}")
    return said or ["no verdicts here: run from the root of the checkout"]


def _contract(pattern: str | None) -> Callable[[str], bool]:
    if pattern is not None:
        try:
            compiled = re.compile(pattern, re.DOTALL)
        except re.error as problem:
            raise InputError(f"--pattern: found {pattern!r} ({problem}); expected a regular expression") from None
        return lambda text: compiled.fullmatch(text) is not None

    def is_json(text: str) -> bool:
        try:
            json.loads(text)
        except ValueError:
            return False
        return True

    return is_json


def _prompts(path: Path) -> list[str]:
    """One prompt a line, or in a .jsonl file one object with the key ``prompt`` a line."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"{path}: not readable ({problem}); expected a text file of prompts") from None
    if path.suffix == ".jsonl":
        for number, line in enumerate(lines, 1):
            try:
                lines[number - 1] = str(json.loads(line)["prompt"])
            except (ValueError, KeyError, TypeError):
                raise InputError(f"{path}: line {number}: expected a JSON object with the key prompt") from None
    if not lines:
        raise InputError(f"{path}: no prompt in it; expected one a line")
    return lines


def _load(folder: Path) -> tuple[Any, Any]:
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no config.json; expected the folder of a Hugging Face causal model")
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, local_files_only=True)
        return AutoTokenizer.from_pretrained(folder, local_files_only=True), model.eval()
    except (OSError, ValueError, RuntimeError, KeyError) as problem:
        raise InputError(f"{folder}: not a readable causal model ({' '.join(str(problem).split())[:200]})") from None


def _ends(model: Any) -> set[int]:
    end = model.generation_config.eos_token_id
    return set(end) if isinstance(end, list) else {end}


@torch.no_grad()
def _answer(model: Any, ids: list[int], limit: int) -> list[int]:
    """The greedy completion, with its end token where it has one. One prompt at a time: nothing is padded."""
    prompt = torch.tensor([ids])
    whole = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=limit, do_sample=False, pad_token_id=min(_ends(model))
    )
    return [int(token) for token in whole[0, len(ids) :]]


def _pieces(tokenizer: Any, model: Any, answer: list[int]) -> list[str]:
    """The text that each token adds; a token that ends inside a character adds nothing, the next one all of it."""
    out, done = [], ""
    for place, token in enumerate(answer, 1):
        text = done if token in _ends(model) else tokenizer.decode(answer[:place], clean_up_tokenization_spaces=False)
        whole = not text.endswith("\N{REPLACEMENT CHARACTER}")
        out.append(END if token in _ends(model) else text[len(done) :] if whole else "")
        done = text if whole else done
    return out or [""]


@torch.no_grad()
def _log_odds(model: Any, answers: list[tuple[list[int], list[int]]]) -> Array:
    """Log-odds [N, T], float64, of each answer's own tokens; NaN beyond its end."""
    out = np.full((len(answers), max(len(answer) for _, answer in answers)), np.nan)
    for row, (prompt, answer) in enumerate(answers):
        logits_TV = model(torch.tensor([prompt + answer[:-1]])).logits[0, len(prompt) - 1 :].double()
        token_T1 = torch.tensor(answer)[:, None]
        others_T = logits_TV.scatter(-1, token_T1, -torch.inf).logsumexp(dim=-1)
        out[row, : len(answer)] = (logits_TV.gather(-1, token_T1).squeeze(-1) - others_T).numpy()
    return out


def _measured(asked: Question, position: Position, p_NT: Array, b_NT: Array) -> dict[str, Any]:
    """p, b and λ* at one position; λ* is None where p does not exceed b."""
    pairs = np.stack([position.of(p_NT), position.of(b_NT)], axis=1)

    def star(parts: list[Array]) -> float:
        p, b = (pooled_log_odds(np.concatenate(parts)[:, i]) for i in (0, 1))
        try:
            return theory.lambda_star(p, b, asked.clip)
        except theory.DomainError:
            return float("nan")

    def interval(statistic: Callable[[list[Array]], float]) -> dict[str, float] | None:
        value = statistic([pairs])
        if np.isnan(value):
            return None
        low, high = percentiles(resample([pairs], statistic, RESAMPLES, np.random.default_rng(0)), CONFIDENCE)
        return {"value": value, "low": low, "high": high}

    found = interval(star)
    crossing = None
    if found:
        p, b = (pooled_log_odds(pairs[:, i]) for i in (0, 1))
        crossing = theory.lambda_star_reading(p, b, asked.clip, asked.reading)
    return {
        "position": position.name,
        "n": len(pairs),
        "p": interval(lambda parts: float(expit(np.concatenate(parts)[:, 0]).mean())),
        "b": interval(lambda parts: float(expit(np.concatenate(parts)[:, 1]).mean())),
        "lambda_star": found,
        "crossing": crossing,
    }
