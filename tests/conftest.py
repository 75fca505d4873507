"""Shared: a small tree in which the mini profile's data and warm starts were really made."""

import contextlib
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser):
    parser.addoption("--regolden", action="store_true", help="write tests/golden anew instead of comparing with it")


@pytest.fixture(scope="session")
def mini_tree(tmp_path_factory):
    """A folder with dvc.yaml, the mini profile's settings, its data, teacher and students; no cell has run in it."""
    from pipeline import config, prepare, sft

    tree = tmp_path_factory.mktemp("mini")
    for name in ("dvc.yaml", "params.yaml", "pipeline"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree / name)
    with contextlib.chdir(tree):
        settings = config.load("mini")
        prepare.run(settings)
        for model in settings.models_to_train():
            sft.run(settings, model)
    return tree


@pytest.fixture
def mini(mini_tree, tmp_path, monkeypatch):
    """The mini profile's settings, in a copy of `mini_tree` that the test may change."""
    from pipeline import config

    tree = tmp_path / "tree"
    shutil.copytree(mini_tree, tree)
    monkeypatch.chdir(tree)
    return config.load("mini")
