"""The sampler against a loop without a cache, and against the softmax that it should follow."""

from pathlib import Path

import pytest
import torch
import yaml
from scipy.stats import chi2

from pipeline import config as settings
from pipeline.models import new_model
from pipeline.rollout import completions, sample
from pipeline.tokens import Codec, build_tokenizer

ROOT = Path(__file__).resolve().parents[1]
PATTERN = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["tokenizer"]["pattern"]
LONG, SHORT = '"r1":3 "r2":10 ->', '"r1":7 ->'


@pytest.fixture(scope="module")
def codec():
    return Codec(build_tokenizer(settings.Tokenizer("pieces", PATTERN), [LONG, SHORT, '{"ranking":["r2","r1"]}']))


@pytest.fixture(scope="module")
def model(codec):
    torch.set_num_threads(1)
    model = new_model(settings.Model(16, 2, 2, 32), codec, 40, seed=3).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model


@torch.no_grad()
def naive_greedy(model, codec, prompt, limit):
    """One row, the whole text through the model for each token."""
    ids = codec.prompts([prompt])[0]
    chosen = []
    while len(chosen) < limit and chosen[-1:] != [codec.eos_id]:
        token = int(model(input_ids=ids, use_cache=False).logits[0, -1].argmax())
        chosen.append(token)
        ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
    return chosen


def draw(model, codec, prompts, limit, temperature=1.0, seed=0):
    return sample(model, codec, *codec.prompts(prompts), limit, temperature, torch.Generator().manual_seed(seed))


def rows(batch):
    return [ids[mask].tolist() for ids, mask in zip(batch.completion_BT, batch.completion_mask_BT, strict=True)]


@pytest.mark.parametrize("prompts", [[LONG, LONG], [LONG, SHORT, "->"], [SHORT]], ids=["no padding", "padding", "one"])
def test_greedy_is_the_argmax_without_a_cache(model, codec, prompts):
    batch = sample(model, codec, *codec.prompts(prompts), 12, 0.0, None)
    assert rows(batch) == [naive_greedy(model, codec, prompt, 12) for prompt in prompts]


def test_greedy_depends_on_the_prompt(model, codec):
    assert naive_greedy(model, codec, LONG, 12) != naive_greedy(model, codec, SHORT, 12)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("prompts", [[LONG], [SHORT, LONG]], ids=["no padding", "padding"])
def test_frequencies_follow_the_softmax(model, codec, prompts, temperature):
    n = 8000
    batch = draw(model, codec, (prompts * n)[:n], 1, temperature, seed=11)
    with torch.no_grad():
        logits = model(input_ids=codec.prompts(prompts[:1])[0]).logits[0, -1]
    expected = (logits / temperature).softmax(dim=-1) * len(batch.completion_BT[:: len(prompts)])
    counts = torch.bincount(batch.completion_BT[:: len(prompts), 0], minlength=codec.vocabulary)
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert expected.min() > 5
    assert statistic < chi2.ppf(0.9999, codec.vocabulary - 1)


def test_after_the_end_token_there_is_only_padding(model, codec):
    batch = draw(model, codec, [LONG, SHORT] * 30, 10)
    ended = 0
    for ids, mask in zip(batch.completion_BT.tolist(), batch.completion_mask_BT.tolist(), strict=True):
        length = ids.index(codec.eos_id) + 1 if codec.eos_id in ids else len(ids)
        assert mask == [True] * length + [False] * (len(ids) - length)
        assert ids[length:] == [codec.pad_id] * (len(ids) - length)
        ended += codec.eos_id in ids
    assert 0 < ended < 60


def test_it_stops_when_every_row_has_ended(model, codec):
    batch = draw(model, codec, [LONG, SHORT], 1000)
    assert batch.completion_BT.shape[1] < 1000
    assert batch.completion_BT.shape[1] == max(map(len, rows(batch)))
    assert all(row[-1] == codec.eos_id for row in rows(batch))


def test_the_limit_leaves_a_completion_unterminated(model, codec):
    found = completions(model, codec, [LONG, SHORT] * 10, 2, 1.0, torch.Generator().manual_seed(0))
    batch = draw(model, codec, [LONG, SHORT] * 10, 2)
    open_rows = [i for i, row in enumerate(rows(batch)) if row[-1] != codec.eos_id]
    assert found["unterminated"] == open_rows != []
    assert found["completions"] == [text for text, _ in codec.texts(batch)]
    assert all(len(row) <= 2 for row in rows(batch))


def test_the_prompt_is_kept(model, codec):
    prompts = codec.prompts([LONG, SHORT])
    batch = draw(model, codec, [LONG, SHORT], 3)
    assert torch.equal(batch.prompt_BP, prompts[0])
    assert torch.equal(batch.prompt_mask_BP, prompts[1])


def test_same_seed_same_samples(model, codec):
    prompts = [LONG, SHORT] * 10
    assert rows(draw(model, codec, prompts, 8, seed=5)) == rows(draw(model, codec, prompts, 8, seed=5))
    assert rows(draw(model, codec, prompts, 8, seed=5)) != rows(draw(model, codec, prompts, 8, seed=6))


def test_completions_work_through_all_prompts_in_pieces(model, codec):
    prompts = [LONG, SHORT, "->", SHORT, LONG]
    found = completions(model, codec, prompts, 6, 0.0, None, batch=2)
    whole = completions(model, codec, prompts, 6, 0.0, None)
    assert found == whole
    assert found["decoding"] == "greedy"
    assert len(found["completions"]) == 5


def test_sampling_leaves_no_gradient(model, codec):
    assert not draw(model, codec, [LONG], 3).completion_BT.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
