"""Settings: what ships is valid, and what is wrong is one line that names file, key, found and allowed."""

import copy
import datetime
import math
import re
from pathlib import Path

import pytest
import yaml

from pipeline import config as settings
from pipeline.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = [ROOT / "params.yaml", *sorted((ROOT / "pipeline/profiles").glob("*/params.yaml"))]
MINI = yaml.safe_load((ROOT / "pipeline/profiles/mini/params.yaml").read_text(encoding="utf-8"))
CITATION = re.compile(r"#.*?\bclaim ([a-z]\w*)")


def changed(key, value):
    """The mini settings with the value at a dotted key replaced or added."""
    raw = copy.deepcopy(MINI)
    *folders, last = key.split(".")
    place = raw
    for folder in folders:
        place = place[folder]
    place[last] = value
    return raw


def refusal(raw):
    with pytest.raises(InputError) as caught:
        settings.parse(raw, Path("p.yaml"))
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert text.startswith("p.yaml: ")
    return text


def tree(folder, params, profile="replica"):
    """A checkout that has nothing but settings."""
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / "params.yaml").write_text("profile: replica\n")
    path = folder / "params.yaml" if profile == "replica" else folder / f"pipeline/profiles/{profile}/params.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(params, encoding="utf-8")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_shipped_settings_load(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    name = settings.DEFAULT_PROFILE if path.parent == ROOT else path.parent.name
    config = settings.load(name)
    assert config.profile == name
    assert name in settings.known_profiles()
    assert len(set(config.all_cells())) == sum(len(c.lambdas) * len(config.seeds) for c in config.cells.values())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_cited_claims_exist(path):
    text = path.read_text(encoding="utf-8")
    cited = set(CITATION.findall(text))
    known = {claim["id"] for claim in yaml.safe_load((ROOT / "bundle/claims.yaml").read_text(encoding="utf-8"))["claims"]}
    assert cited <= known
    assert cited or "claim" not in text


def test_settings_cannot_be_changed():
    config = settings.parse(MINI, Path("p.yaml"))
    with pytest.raises(AttributeError):
        config.seed = 2
    assert isinstance(config.cells["main"].lambdas, tuple)


def test_names_of_models_and_cells():
    config = settings.parse(MINI, Path("p.yaml"))
    assert config.models_to_train() == ("teacher", "student-pilot", "student-0", "student-1")
    assert [cell.name for cell in config.all_cells()][:2] == ["main/0/1.0", "main/1/1.0"]


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("seed", -1, "greater than or equal to 0"),
        ("seed", True, "integer"),
        ("seed", "7", "integer"),
        ("sft.steps", 2.5, "integer"),
        ("sft.steps", 0, "greater than or equal to 1"),
        ("sft.learning_rate", 0.0, "greater than 0"),
        ("sft.learning_rate", math.nan, "finite"),
        ("sft.learning_rate", math.inf, "finite"),
        ("opd.weight_decay", math.inf, "finite"),
        ("task.k", 1, "greater than or equal to 2"),
        ("task.k", 65, "less than or equal to 64"),
        ("task.module", "../items", "pattern"),
        ("task.distinct_scores", "yes", "boolean"),
        ("defect.kind", "swap", "'truncate'"),
        ("defect.student", 1.01, "less than or equal to 1"),
        ("defect.student", math.nan, "less than or equal to 1"),
        ("calibrate.modal_threshold", 1.0, "less than 1"),
        ("calibrate.learning_rates", [], "at least 1"),
        ("cells.main.method.reading", "clamp", "'none', 'truncate', 'mask', 'rollout' or 'aspo'"),
        ("cells.main.method.clip", 1.0, "greater than 1"),
        ("cells.main.lambdas", [1.0], "at least 2"),
        ("compute.threads", 10**10, "less than or equal to 1024"),
        ("data.train", 10**11, "less than or equal to 10000000"),
        ("cells.main.method.learning_rate", 0.0, "greater than 0"),
        ("seeds", 0, "array"),
        ("statistics.confidence", 95, "less than 1"),
        ("tokenizer.kind", "words", "'pieces' or 'bpe'"),
        ("data", [1, 2], "object"),
    ],
)
def test_wrong_value(key, value, allowed):
    text = refusal(changed(key, value))
    assert key in text
    assert f"found {value!r}" in text
    assert allowed in text.split("expected", 1)[1]


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("seeds", [0, 0], "no value twice"),
        ("cells.main.lambdas", [1.0, 1.5, 1.5], "no value twice"),
        ("groups", [], "the groups of cells but main, each once: ['no_clip']"),
        ("tokenizer.pattern", None, "regular expression"),
        ("models.teacher.hidden", 34, "multiple of 2 × heads = 4"),
        ("opd.batch", 65, "at most data.train = 64"),
        ("calibrate.prompts", 65, "at most data.heldout = 64"),
        ("sft.warmup", 150, "less than sft.steps = 150"),
        ("tokenizer.pattern", "(?P<a>r)", "a regular expression"),
        ("cells.main.method.batch", 65, "at most data.train = 64"),
    ],
)
def test_values_that_do_not_fit_together(key, value, allowed):
    text = refusal(changed(key, value))
    assert f"{key}: found {value!r}; expected" in text
    assert allowed in text


def test_bpe_needs_a_vocabulary():
    text = refusal(changed("tokenizer", {"kind": "bpe"}))
    assert "tokenizer.vocab_size: found None; expected at least 300" in text


def test_whole_lambda_needs_a_decimal_point():
    text = refusal(changed("cells.main.lambdas", [1.0, 1.1, 2]))
    assert "cells.main.lambdas: found 2; expected a decimal point (2.0)" in text


def test_main_cells_are_required():
    raw = changed("cells.other", MINI["cells"]["main"])
    del raw["cells"]["main"]
    assert "cells: found ['no_clip', 'other']; expected a group called main" in refusal(raw)


def test_missing_key():
    raw = copy.deepcopy(MINI)
    del raw["sft"]["steps"]
    assert "sft.steps: missing" in refusal(raw)


@pytest.mark.parametrize("key", ["sfft", "sft.step", "cells.main.lamdas"])
def test_unknown_key(key):
    assert f"{key}: unknown key" in refusal(changed(key, 1))


@pytest.mark.parametrize("name", ["Main", "a-b", "../x", "", "1"])
def test_bad_name_of_cells(name):
    raw = copy.deepcopy(MINI)
    raw["cells"][name] = raw["cells"]["main"]
    assert "cells" in refusal(raw)


@pytest.mark.parametrize("name", [True, None], ids=["yes", "null"])
def test_key_that_yaml_does_not_read_as_text(name):
    raw = copy.deepcopy(MINI)
    raw["cells"][name] = raw["cells"]["main"]
    assert "cells" in refusal(raw)


def test_line_break_in_a_key_stays_in_one_line():
    assert "expected a name" in refusal(changed("a\nb", 1))


def test_several_faults_are_counted():
    raw = changed("sft.steps", 0)
    raw["opd"]["batch"] = 0
    assert "(and 1 more)" in refusal(raw)


def test_date_is_named_with_its_key():
    text = refusal(changed("seed", datetime.date(2026, 5, 9)))
    assert "seed: found" in text
    assert "expected" in text


@pytest.mark.parametrize("raw", [[1], "text", 3, None])
def test_not_a_mapping(raw):
    assert f"the file: found {raw!r}; expected: an object" in refusal(raw)


def test_grid_without_a_plateau_is_refused():
    assert "cells.main.lambdas" in refusal(changed("cells.main.lambdas", [1.2, 1.5]))


def test_pattern_that_is_no_regular_expression():
    assert "tokenizer.pattern" in refusal(changed("tokenizer.pattern", "("))


@pytest.mark.parametrize("content", ["a: [1", "a: b: c", "\ttab: 1", "%", "!!python/object/new:os.system [true]"])
def test_not_yaml(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree(tmp_path, content)
    with pytest.raises(InputError, match=r"^params\.yaml: not valid YAML: .+$") as caught:
        settings.load()
    assert "\n" not in str(caught.value)


def test_key_given_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree(tmp_path, yaml.safe_dump(MINI) + "seed: 3\n", "mini")
    with pytest.raises(InputError, match="seed"):
        settings.load("mini")


def test_not_utf8(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree(tmp_path, "")
    Path("params.yaml").write_bytes(b"profile: \xff\n")
    with pytest.raises(InputError, match=r"^params\.yaml: not valid YAML"):
        settings.load()


@pytest.mark.parametrize("name", ["nope", "../mini", "", "Mini"])
def test_unknown_profile(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError, match=rf"^profile: found '{re.escape(name)}'; expected one of replica, .*mini"):
        settings.load(name)


def test_profile_in_the_wrong_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree(tmp_path, yaml.safe_dump(MINI), "other")
    with pytest.raises(InputError, match=r"other/params\.yaml: profile: found 'mini'; expected 'other'"):
        settings.load("other")


def test_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no dvc\.yaml here; run from the root"):
        settings.load()


def test_missing_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("stages: {}\n")
    with pytest.raises(InputError, match=r"params\.yaml: not found"):
        settings.load()


def test_the_main_sweep_is_one_that_the_theory_speaks_of():
    for key, value in (("signal", "no_base"), ("reading", "aspo")):
        assert "a reading and a signal that the theory speaks of" in refusal(changed(f"cells.main.method.{key}", value))
