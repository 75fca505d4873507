"""bundle/claims.schema.json is made from the model that `check` reads the claims with, and says of them what that says."""

import json

import pytest
import yaml
from jsonschema import Draft202012Validator

from pipeline import check
from pipeline.claims_schema import SCHEMA, claims_schema
from pipeline.errors import InputError
from pipeline.files import write_json

RAW = json.loads(json.dumps(yaml.safe_load(check.CLAIMS.read_text(encoding="utf-8"))))


@pytest.fixture(scope="module")
def validator():
    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_the_file_is_the_models_schema(pytestconfig):
    if pytestconfig.getoption("--regolden"):
        write_json(SCHEMA, claims_schema())
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == claims_schema(), "pytest tests/test_claims_schema.py --regolden"


def test_it_is_a_schema_of_its_dialect(validator):
    Draft202012Validator.check_schema(validator.schema)
    assert validator.schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


def test_the_claims_are_valid(validator):
    assert [error.json_path for error in validator.iter_errors(RAW)] == []


def set_at(path, value):
    """The claims with the value at ``path`` replaced, or taken away."""
    raw = json.loads(json.dumps(RAW))
    *parents, key = path
    target = raw
    for parent in parents:
        target = target[parent]
    if value is None:
        del target[key]
    else:
        target[key] = value
    return raw


CHECK = ("claims", 0, "checks", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("claims",), []),
        (("claims", 0, "checks"), []),
        (("claims", 0, "grade"), "sure"),
        (("claims", 0, "colour"), "red"),
        (("claims", 0, "id"), "Marker 1"),
        (("claims", 0, "published", "value"), "1.22"),
        (("claims", 0, "published", "text"), None),
        (("claims", 0, "conflicts_with"), "onset"),
        (("sources", "A b"), {"title": "x", "where": "y"}),
        (("sources", "page", "title"), ""),
        (("unknown",), None),
        ((*CHECK, "tier"), "E"),
        ((*CHECK, "rule"), ""),
        ((*CHECK, "arguments"), [1]),
        ((*CHECK, "tolerance", "value"), -0.1),
        ((*CHECK, "tolerance", "reason"), None),
    ],
)
def test_schema_and_check_refuse_the_same(validator, tmp_path, path, value):
    raw = set_at(path, value)
    assert not validator.is_valid(raw)
    file = tmp_path / "claims.yaml"
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(InputError):
        check.load_claims(file)
