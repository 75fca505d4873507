"""Models: the logits of completions, checkpoints that come back exactly, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers.models.qwen3 import modeling_qwen3

from pipeline import config as settings
from pipeline.errors import InputError
from pipeline.models import completion_logits, load_model, new_model, require_same_tokens, save_model
from pipeline.objective import token_logprobs
from pipeline.tokens import Batch, Codec, build_tokenizer

ROOT = Path(__file__).resolve().parents[1]
PATTERN = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["tokenizer"]["pattern"]
PROMPTS = ['"r1":3 "r2":10 ->', '"r1":7 ->']
TARGETS = ['{"ranking":["r2","r1"]}', '{"ranking":["r1"]}']
SIZE = settings.Model(16, 2, 2, 32)


@pytest.fixture(scope="module")
def codec():
    return codec_of(PROMPTS + TARGETS)


def codec_of(texts):
    return Codec(build_tokenizer(settings.Tokenizer("pieces", PATTERN), texts))


@pytest.fixture(scope="module")
def model(codec):
    torch.set_num_threads(1)
    return new_model(SIZE, codec, 40, seed=3).eval()


@pytest.fixture
def folder(model, codec, tmp_path):
    save_model(tmp_path / "model", model, codec.tokenizer)
    return tmp_path / "model"


def with_left_padding(batch, width, pad_id):
    pad = torch.full((len(batch.prompt_BP), width), pad_id)
    return Batch(
        torch.cat([pad, batch.prompt_BP], dim=1),
        torch.cat([torch.zeros_like(pad, dtype=torch.bool), batch.prompt_mask_BP], dim=1),
        batch.completion_BT,
        batch.completion_mask_BT,
    )


@torch.no_grad()
def test_completion_logits_are_those_of_the_whole_text(model, codec):
    batch = codec.batch(PROMPTS[:1] * 2, TARGETS)
    start = batch.prompt_BP.shape[1]
    whole = model(input_ids=batch.input_ids, use_cache=False).logits[:, start - 1 : -1]
    found = completion_logits(model, batch)
    assert found.shape == (*batch.completion_BT.shape, codec.vocabulary)
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("width", [1, 5])
def test_left_padding_does_not_change_log_probs(model, codec, width):
    for prompt, target in zip(PROMPTS, TARGETS, strict=True):
        batch = codec.batch([prompt], [target])
        padded = with_left_padding(batch, width, codec.pad_id)
        bare, other = (
            token_logprobs(completion_logits(model, b), b.completion_BT, codec.vocabulary) for b in (batch, padded)
        )
        torch.testing.assert_close(other, bare, atol=1e-5, rtol=0)


@torch.no_grad()
def test_rows_of_different_lengths_do_not_touch_each_other(model, codec):
    batch = codec.batch(PROMPTS, TARGETS)
    together = completion_logits(model, batch)
    for row, (prompt, target) in enumerate(zip(PROMPTS, TARGETS, strict=True)):
        alone = completion_logits(model, codec.batch([prompt], [target]))
        torch.testing.assert_close(together[row, : alone.shape[1]], alone[0], atol=1e-5, rtol=0)


def test_gradients_are_finite_with_padding(codec):
    model = new_model(SIZE, codec, 40, seed=4)
    batch = codec.batch(PROMPTS, TARGETS)
    logprobs = token_logprobs(completion_logits(model, batch), batch.completion_BT, codec.vocabulary)
    logprobs[batch.completion_mask_BT].mean().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    assert any(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_the_seed_decides_the_weights(model, codec):
    same, other = (new_model(SIZE, codec, 40, seed=seed).state_dict() for seed in (3, 4))
    assert all(torch.equal(value, same[name]) for name, value in model.state_dict().items())
    assert not all(torch.equal(value, other[name]) for name, value in model.state_dict().items())


@torch.no_grad()
def test_saved_model_comes_back_exactly(model, codec, folder):
    again, again_codec = load_model(folder)
    assert not again.training
    assert model.state_dict().keys() == again.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    batch, again_batch = (one.batch(PROMPTS, TARGETS) for one in (codec, again_codec))
    assert torch.equal(completion_logits(model, batch), completion_logits(again, again_batch))
    require_same_tokens(codec, again_codec, ("a", "b"))


def test_weights_are_safetensors_only(folder):
    assert not [path.name for path in folder.iterdir() if path.suffix not in (".safetensors", ".json")]


def without_a_weight(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.self_attn.q_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def with_a_narrow_weight(folder):
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.self_attn.q_proj.weight"] = weights["model.layers.1.self_attn.q_proj.weight"][:4].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-50])


def pickled(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


DAMAGE = {
    "no folder": shutil.rmtree,
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "empty weights": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "cut weights": cut,
    "no header": lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 500),
    "a weight missing": without_a_weight,
    "a weight of another shape": with_a_narrow_weight,
    "pickle instead": pickled,
    "no config": lambda folder: (folder / "config.json").unlink(),
    "broken config": lambda folder: (folder / "config.json").write_text("{"),
    "empty config": lambda folder: (folder / "config.json").write_text("{}"),
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "broken tokenizer": lambda folder: (folder / "tokenizer.json").write_text("{"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_model_is_refused(damage, folder, monkeypatch):
    build = modeling_qwen3.Qwen3Model.__init__

    def small_only(self, config):
        assert config.hidden_size == SIZE.hidden, "a model of another size would be built, which could fill the memory"
        build(self, config)

    monkeypatch.setattr(modeling_qwen3.Qwen3Model, "__init__", small_only)
    damage(folder)
    with pytest.raises(
        InputError, match=r"model: not a readable model \(.+\); expected the folder that `sft` writes"
    ) as caught:
        load_model(folder)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([*PROMPTS, *TARGETS, '"r0":1 ->'], """token 3: teacher has '"r1"', student has '"r0"'"""),
        ([*PROMPTS, *TARGETS, "~"], "teacher has None, student has '~'"),
    ],
    ids=["another token", "one more"],
)
def test_first_different_token_is_named(codec, texts, message):
    with pytest.raises(InputError) as caught:
        require_same_tokens(codec, codec_of(texts), ("teacher", "student"))
    assert message in str(caught.value)


def test_same_tokens_split_otherwise_are_refused(codec, folder):
    state = json.loads((folder / "tokenizer.json").read_text())
    state["pre_tokenizer"]["pattern"] = {"Regex": "."}
    (folder / "tokenizer.json").write_text(json.dumps(state))
    _, other = load_model(folder)
    with pytest.raises(InputError, match=r"a and b split .* differently"):
        require_same_tokens(codec, other, ("a", "b"))
