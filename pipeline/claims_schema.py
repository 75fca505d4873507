"""The JSON Schema (draft 2020-12) of ``bundle/claims.yaml``, made from the model that `check` reads the claims with.

`bundle/claims.schema.json` holds it for editors and for those who write claims without this program; the gate compares.
What no schema can say stays with `check`: ids are unique, sources and conflicts exist, a rule takes its arguments.
"""

from typing import Any

from pydantic import TypeAdapter

from pipeline.check import ROOT, Bundle

SCHEMA = ROOT / "bundle" / "claims.schema.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def claims_schema() -> dict[str, Any]:
    """The schema. pydantic leaves a mapping open to keys that its key type forbids; here it is closed."""
    made = TypeAdapter(Bundle).json_schema()
    made["properties"]["sources"]["additionalProperties"] = False
    return {"$schema": DIALECT, **made, "title": "Claims of the verification bundle"}
