"""Text to tokens and back, with padding, end tokens and texts that spell special tokens."""

from pathlib import Path

import pytest
import torch
import yaml

from pipeline.config import Tokenizer
from pipeline.tokens import SPECIAL, Batch, Codec, build_tokenizer, load_tokenizer

ROOT = Path(__file__).resolve().parents[1]
PATTERN = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["tokenizer"]["pattern"]
PROMPTS = ['"r1":3 "r2":10 ->', '"r1":7 ->']
TARGETS = ['{"ranking":["r2","r1"]}', '{"ranking":["r1"]}']
TEXTS = [
    "the coat is warm",
    "été 🧵 \u2028 line\r\n\ttab",
    "<eos> and <bos><pad>",
    "  two  spaces ",
    "don't , stop .",
    '{"a":"b"}',
]


@pytest.fixture(scope="module")
def pieces():
    return Codec(build_tokenizer(Tokenizer("pieces", PATTERN), PROMPTS + TARGETS))


@pytest.fixture(scope="module")
def bpe():
    return Codec(build_tokenizer(Tokenizer("bpe", vocab_size=320), ["the coat is warm and the shoes are warm"] * 3))


def decoded(codec, texts):
    ids, mask = codec.completions(texts)
    return codec.texts(Batch(*codec.prompts(["->"] * len(texts)), ids, mask))


def test_pieces_round_trip(pieces):
    assert decoded(pieces, TARGETS) == [(text, True) for text in TARGETS]
    assert decoded(pieces, PROMPTS) == [(text, True) for text in PROMPTS]


def test_bpe_round_trip(bpe):
    assert decoded(bpe, TEXTS) == [(text, True) for text in TEXTS]


@pytest.mark.parametrize("text", [*SPECIAL, "a<eos>b", "<eos> <eos>", " <pad>"])
def test_a_text_that_spells_a_special_token_does_not_become_one(bpe, text):
    special = set(bpe.tokenizer.convert_tokens_to_ids(SPECIAL))
    ids, mask = bpe.completions([text])
    assert special.isdisjoint(ids[mask].tolist()[:-1])
    assert decoded(bpe, [text]) == [(text, True)]


def test_training_texts_that_spell_special_tokens_do_not_move_them():
    codec = Codec(build_tokenizer(Tokenizer("bpe", vocab_size=300), ["<eos><bos> <pad> <eos>"] * 50))
    assert codec.tokenizer.convert_tokens_to_ids(SPECIAL) == [0, 1, 2]
    assert codec.eos_id not in codec.prompts(["x <eos><eos>"])[0]


def test_a_toy_vocabulary_that_spells_a_special_token_is_refused():
    with pytest.raises(AssertionError, match="spells a special token"):
        build_tokenizer(Tokenizer("pieces", PATTERN), [*PROMPTS, "->,<eos>,"])


def test_prompts_are_padded_on_the_left_and_start_with_the_start_token(pieces):
    ids, mask = pieces.prompts(PROMPTS)
    assert mask.tolist() == [[True] * 6, [False] * 2 + [True] * 4]
    assert ids[1, :2].tolist() == [pieces.pad_id] * 2
    assert ids[0, 0] == ids[1, 2] == pieces.tokenizer.bos_token_id
    assert pieces.pad_id not in ids[mask]


def test_completions_are_padded_on_the_right_and_end_with_the_end_token(pieces):
    ids, mask = pieces.completions(TARGETS)
    assert mask.tolist() == [[True] * 6, [True] * 4 + [False] * 2]
    assert ids[0, 5] == ids[1, 3] == pieces.eos_id
    assert ids[1, 4:].tolist() == [pieces.pad_id] * 2
    assert pieces.tokenizer.bos_token_id not in ids


def test_batch_joins_prompt_and_completion(pieces):
    batch = pieces.batch(PROMPTS, TARGETS)
    assert torch.equal(batch.input_ids[:, :6], batch.prompt_BP)
    assert torch.equal(batch.input_ids[:, 6:], batch.completion_BT)
    assert batch.attention_mask.tolist() == [[1] * 12, [0, 0] + [1] * 8 + [0, 0]]


@pytest.mark.parametrize(
    "index", [slice(1, 2), torch.tensor([1]), torch.tensor([False, True])], ids=["slice", "places", "mask"]
)
def test_rows(pieces, index):
    batch = pieces.batch(PROMPTS, TARGETS)
    part = batch.rows(index)
    for name in ("prompt_BP", "prompt_mask_BP", "completion_BT", "completion_mask_BT"):
        assert torch.equal(getattr(part, name), getattr(batch, name)[1:])


def test_unterminated_completions(pieces):
    ids, _ = pieces.completions(TARGETS[:1])
    cut = ids[:, :-1]
    prompt = pieces.prompts(PROMPTS[:1])
    assert pieces.texts(Batch(*prompt, cut, torch.ones_like(cut, dtype=torch.bool))) == [(TARGETS[0], False)]
    assert pieces.texts(Batch(*prompt, ids, torch.zeros_like(ids, dtype=torch.bool))) == [("", False)]


def test_end_token_alone_is_an_empty_text(pieces):
    assert decoded(pieces, ["", TARGETS[0]]) == [("", True), (TARGETS[0], True)]


def test_saved_tokenizer_gives_the_same_ids(bpe, tmp_path):
    bpe.tokenizer.save_pretrained(tmp_path)
    again = Codec(load_tokenizer(tmp_path))
    assert (again.pad_id, again.eos_id, again.vocabulary) == (bpe.pad_id, bpe.eos_id, bpe.vocabulary)
    assert torch.equal(again.prompts(TEXTS)[0], bpe.prompts(TEXTS)[0])
