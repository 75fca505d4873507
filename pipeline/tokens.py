"""Text to tokens and back: a tokenizer built for the profile, and batches of padded token ids.

``pieces`` gives each match of a pattern one token (the toy vocabulary); ``bpe`` is byte-level BPE. Both are `tokenizers`
models, saved and loaded through transformers, so a trained model is an ordinary Hugging Face checkpoint.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from pipeline import config as settings

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # cells run side by side, one thread each
PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
SPECIAL = [PAD, BOS, EOS]
CLASSES = ("structure", "value", "end")


def build_tokenizer(config: settings.Tokenizer, texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer over ``texts``, which starts every prompt with a start token."""
    if config.kind == "pieces":
        assert config.pattern is not None
        splitter = pre_tokenizers.Split(Regex(config.pattern), behavior="isolated")
        pieces = sorted({piece for text in texts for piece, _ in splitter.pre_tokenize_str(text)})
        assert not set(pieces) & set(SPECIAL), "a text of the toy vocabulary spells a special token"
        inner = Tokenizer(models.WordLevel({token: i for i, token in enumerate(SPECIAL + pieces)}, unk_token=PAD))
        inner.pre_tokenizer = splitter
        inner.decoder = decoders.Fuse()
    else:
        assert config.vocab_size is not None
        inner = Tokenizer(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        inner.train_from_iterator(
            texts,
            trainers.BpeTrainer(
                vocab_size=config.vocab_size, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
            ),
        )
    inner.add_special_tokens(SPECIAL)
    inner.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, inner.token_to_id(BOS))])
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token=PAD, bos_token=BOS, eos_token=EOS)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(folder)


@dataclass(frozen=True)
class Batch:
    """Prompts padded on the left and completions padded on the right. Legend: B rows, P prompt, T completion tokens.

    ``prompt_BP``, ``prompt_mask_BP``; ``completion_BT`` holds each completion with its end token (where it has one),
    ``completion_mask_BT`` marks its tokens. Masks are boolean. ``sampler_BT``: log-probability of each completion token
    under the policy that drew it, where one did.
    """

    prompt_BP: torch.Tensor
    prompt_mask_BP: torch.Tensor
    completion_BT: torch.Tensor
    completion_mask_BT: torch.Tensor
    sampler_BT: torch.Tensor | None = None

    @property
    def input_ids(self) -> torch.Tensor:
        return torch.cat([self.prompt_BP, self.completion_BT], dim=1)

    @property
    def attention_mask(self) -> torch.Tensor:
        return torch.cat([self.prompt_mask_BP, self.completion_mask_BT], dim=1).long()

    def to(self, device: torch.device) -> "Batch":
        return self._each(lambda x: x.to(device))

    def rows(self, index: slice | torch.Tensor) -> "Batch":
        return self._each(lambda x: x[index])

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Batch":
        return Batch(
            change(self.prompt_BP),
            change(self.prompt_mask_BP),
            change(self.completion_BT),
            change(self.completion_mask_BT),
            None if self.sampler_BT is None else change(self.sampler_BT),
        )


class Codec:
    """Encodes prompts and completions of one tokenizer as padded tensors, and decodes completions.

    ``classes_V``: index in `CLASSES` of each token: the end token, a token with a digit in it (of an id or a value), or
    the format's own.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        tokenizer.backend_tokenizer.encode_special_tokens = True  # a text that spells a special token does not become one
        self.pad_id = int(tokenizer.convert_tokens_to_ids(PAD))
        self.eos_id = int(tokenizer.convert_tokens_to_ids(EOS))
        self.vocabulary = len(tokenizer)
        valued = [any(c.isdigit() for c in tokenizer.decode([token])) for token in range(self.vocabulary)]
        self.classes_V = torch.tensor(valued).long()
        self.classes_V[self.eos_id] = CLASSES.index("end")

    def prompts(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and mask, both [B, P], padded on the left."""
        return self._pad(self._encode(texts, start=True), left=True)

    def completions(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids with the end token, and mask, both [B, T], padded on the right."""
        return self._pad([[*ids, self.eos_id] for ids in self._encode(texts, start=False)], left=False)

    def batch(self, prompts: Sequence[str], completions: Sequence[str]) -> Batch:
        return Batch(*self.prompts(prompts), *self.completions(completions))

    def texts(self, batch: Batch) -> list[tuple[str, bool]]:
        """Each completion's text up to its end token, and whether it has one."""
        rows = [ids[mask].tolist() for ids, mask in zip(batch.completion_BT, batch.completion_mask_BT, strict=True)]
        ended = [bool(ids) and ids[-1] == self.eos_id for ids in rows]
        bare = [ids[:-1] if end else ids for ids, end in zip(rows, ended, strict=True)]
        return list(zip(self.tokenizer.batch_decode(bare, clean_up_tokenization_spaces=False), ended, strict=True))

    def _encode(self, texts: Sequence[str], start: bool) -> list[list[int]]:
        encoded = self.tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=start)
        return [row.ids for row in encoded]

    def _pad(self, rows: list[list[int]], left: bool) -> tuple[torch.Tensor, torch.Tensor]:
        lengths = np.array([len(row) for row in rows])
        width = int(lengths.max())
        places = np.arange(width)
        mask = places >= width - lengths[:, None] if left else places < lengths[:, None]
        ids = np.full(mask.shape, self.pad_id, dtype=np.int64)
        ids[mask] = np.concatenate([np.array(row, dtype=np.int64) for row in rows])
        return torch.from_numpy(ids), torch.from_numpy(mask)
