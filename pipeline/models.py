"""Qwen3-architecture models trained from scratch, as Hugging Face checkpoints (safetensors only)."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from transformers.utils import logging

from pipeline import config as settings
from pipeline.errors import InputError
from pipeline.tokens import Batch, Codec, load_tokenizer

logging.disable_progress_bar()


def new_model(size: settings.Model, codec: Codec, longest: int, seed: int) -> Qwen3ForCausalLM:
    """A randomly initialised model with tied embeddings; ``longest`` is the greatest number of positions."""
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=codec.vocabulary,
            hidden_size=size.hidden,
            intermediate_size=size.intermediate,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.heads,
            head_dim=size.hidden // size.heads,
            max_position_embeddings=longest,
            tie_word_embeddings=True,
            pad_token_id=codec.pad_id,
            eos_token_id=codec.eos_id,
            bos_token_id=None,
        )
    )


def save_model(folder: Path, model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load_model(folder: Path) -> tuple[Qwen3ForCausalLM, Codec]:
    """A saved model in evaluation mode, and its codec. Raises InputError when files are missing or damaged."""
    try:
        if "hidden_size" not in json.loads((folder / "config.json").read_text(encoding="utf-8")):
            raise ValueError("config.json names no hidden_size")
        model, found = Qwen3ForCausalLM.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
        if found["missing_keys"] or found["unexpected_keys"]:
            raise ValueError(f"weights missing or unknown: {sorted(found['missing_keys'] | found['unexpected_keys'])[:3]}")
        return model.eval(), Codec(load_tokenizer(folder))
    except (OSError, ValueError, RuntimeError, TypeError, SafetensorError) as problem:
        reason = " ".join(str(problem).split())[:200]
        raise InputError(f"{folder}: not a readable model ({reason}); expected the folder that `sft` writes") from None


def require_same_tokens(a: Codec, b: Codec, names: tuple[str, str]) -> None:
    """Raise InputError naming the first token id on which two tokenizers differ."""
    ours, theirs = (codec.tokenizer.convert_ids_to_tokens(range(codec.vocabulary)) for codec in (a, b))
    for index in range(max(len(ours), len(theirs))):
        left, right = (tokens[index] if index < len(tokens) else None for tokens in (ours, theirs))
        if left != right:
            raise InputError(f"token {index}: {names[0]} has {left!r}, {names[1]} has {right!r}; expected the same")
    probe = '{"ranking":["r1","r2"]} "r1":3 ->'
    if a.tokenizer(probe).input_ids != b.tokenizer(probe).input_ids:
        raise InputError(f"{names[0]} and {names[1]} split {probe!r} differently; expected the same token ids")


def completion_logits(model: Qwen3ForCausalLM, batch: Batch) -> torch.Tensor:
    """Logits [B, T, V] that predict each completion token; logits of prompt positions are never made."""
    mask = batch.attention_mask
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    padded = None if bool(batch.prompt_mask_BP.all()) else mask
    width = batch.completion_BT.shape[1]
    output = model(
        input_ids=batch.input_ids[:, :-1],
        attention_mask=None if padded is None else padded[:, :-1],
        position_ids=positions[:, :-1] if padded is not None else None,
        logits_to_keep=width,
        use_cache=False,
    )
    return output.logits
