"""Checkpoints: a run that goes on from one is bit for bit the run that was never stopped."""

import pytest
import torch

from pipeline.progress import Progress
from pipeline.training import adamw


class Run:
    """A toy training run whose every step draws from its generator."""

    def __init__(self, seed=0):
        torch.manual_seed(seed)
        self.model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        self.optimizer = adamw(self.model, 0.05, weight_decay=0.1)
        self.generator = torch.Generator().manual_seed(7)
        self.losses = []

    def train(self, steps):
        for _ in range(steps):
            x = torch.randn(16, 4, generator=self.generator)
            loss = (self.model(x) - x.sum(dim=1, keepdim=True)).square().mean()
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.losses.append(loss.item())
        return self

    def save(self, progress, step, rows=None):
        progress.save(step, self.model, self.optimizer, self.generator, rows or {})

    def restore(self, progress):
        return progress.restore(self.model, self.optimizer, self.generator)

    def state(self):
        moments = [value for state in self.optimizer.state.values() for value in state.values()]
        return [*self.model.state_dict().values(), *moments, self.generator.get_state()]


def equal(a, b):
    return len(a.state()) == len(b.state()) and all(map(torch.equal, a.state(), b.state()))


@pytest.fixture
def progress(tmp_path):
    return Progress(tmp_path / "run", "settings and inputs")


def checkpoint(progress):
    (path,) = progress.folder.iterdir()
    return path


def test_resumed_run_is_the_undisturbed_one(progress):
    whole = Run().train(4)
    Run().train(2).save(progress, 2)
    resumed = Run(seed=1)
    assert not equal(resumed, Run())
    assert resumed.restore(progress) == (2, {})
    resumed.train(2)
    assert resumed.losses == whole.losses[2:]
    assert equal(resumed, whole)
    assert torch.equal(torch.rand(3, generator=resumed.generator), torch.rand(3, generator=whole.generator))


def test_saving_does_not_disturb(progress):
    run = Run().train(2)
    run.save(progress, 2)
    assert equal(run.train(2), Run().train(4))


def test_rows_come_back(progress):
    rows = {"log": [{"step": 1, "loss": 0.1 + 0.2, "text": "λ\u2028"}], "samples": []}
    Run().train(1).save(progress, 1, rows)
    assert Run().restore(progress) == (1, rows)


def test_nothing_saved(progress):
    run = Run()
    assert run.restore(progress) == (0, {})
    assert equal(run, Run())


def test_older_checkpoint_is_removed(progress):
    run = Run()
    for step in (1, 2, 10):
        run.train(1).save(progress, step)
    assert checkpoint(progress).name.startswith("10-")


def test_newest_checkpoint_is_taken(progress, tmp_path):
    progress.folder.mkdir()
    for step in (9, 10):
        one = Progress(tmp_path / str(step), progress.fingerprint)
        Run().train(step).save(one, step)
        checkpoint(one).rename(progress.folder / checkpoint(one).name)
    run = Run()
    assert run.restore(progress)[0] == 10
    assert equal(run, Run().train(10))


@pytest.mark.parametrize("place", [0, 12, 300, -1])
def test_flipped_byte_is_not_used_and_said(place, progress, capsys):
    Run().train(2).save(progress, 2)
    path = checkpoint(progress)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    run = Run()
    assert run.restore(progress) == (0, {})
    assert equal(run, Run())
    assert f"{path}: damaged" in capsys.readouterr().err


@pytest.mark.parametrize("length", [0, 5, 500])
def test_cut_checkpoint_is_not_used(length, progress, capsys):
    Run().train(2).save(progress, 2)
    path = checkpoint(progress)
    path.write_bytes(path.read_bytes()[:length])
    assert Run().restore(progress) == (0, {})
    assert "damaged" in capsys.readouterr().err


def test_sound_older_checkpoint_is_used_when_the_newest_is_damaged(progress, capsys):
    Run().train(2).save(progress, 2)
    (progress.folder / f"3-{'0' * 64}.safetensors").write_bytes(b"torn")
    run = Run()
    assert run.restore(progress)[0] == 2
    assert equal(run, Run().train(2))
    assert "3-0000" in capsys.readouterr().err


def test_checkpoint_of_other_settings_is_not_used(progress, capsys):
    Run().train(2).save(progress, 2)
    run = Run()
    assert run.restore(Progress(progress.folder, "other settings")) == (0, {})
    assert equal(run, Run())
    assert "from other settings or inputs; not used" in capsys.readouterr().err


def test_half_written_file_does_no_harm(progress):
    Run().train(2).save(progress, 2)
    (progress.folder / ".2-abc.safetensors.x1y2").write_bytes(b"half written")
    assert Run().restore(progress)[0] == 2


def test_clear(progress):
    Run().train(1).save(progress, 1)
    progress.clear()
    progress.clear()
    assert not progress.folder.exists()
