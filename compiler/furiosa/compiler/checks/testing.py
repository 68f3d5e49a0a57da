"""What SARIF 2.1.0 requires of the objects that we write; for tests."""

from __future__ import annotations

import re
from typing import Any

LEVELS = ("none", "note", "warning", "error")


def assert_sarif(log: dict[str, Any]) -> None:
    """Asserts the required properties, and the references between objects (sections in brackets)."""
    assert log["version"] == "2.1.0"  # 3.13.2
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")  # 3.13.3
    assert log["runs"]  # 3.13.4
    for run in log["runs"]:
        driver = run["tool"]["driver"]  # 3.14.6, 3.18.2
        assert driver["name"]  # 3.19.8
        ids = [rule["id"] for rule in driver["rules"]]  # 3.49.3
        assert len(ids) == len(set(ids))
        for rule in driver["rules"]:
            _assert_message(rule["shortDescription"])
            assert rule["defaultConfiguration"]["level"] in LEVELS
        artifacts = [artifact["location"] for artifact in run["artifacts"]]
        for artifact in run["artifacts"]:
            assert re.fullmatch("[0-9a-f]{64}", artifact["hashes"]["sha-256"])  # 3.24.11
        for location in artifacts:
            _assert_uri(location["uri"])
        for result in run["results"]:
            _assert_message(result["message"])  # 3.27.11
            assert ids[result["ruleIndex"]] == result["ruleId"]  # 3.27.5, 3.27.6
            assert result["level"] in LEVELS  # 3.27.10
            assert all(type(v) is str for v in result["partialFingerprints"].values())  # 3.27.17
            for place in result["locations"]:
                at = place["physicalLocation"]
                _assert_uri(at["artifactLocation"]["uri"])
                assert (
                    artifacts[at["artifactLocation"]["index"]]["uri"] == at["artifactLocation"]["uri"]
                )  # 3.4.5
                assert at["region"]["startLine"] >= 1  # 3.30.5
                assert all(logical["name"] for logical in place["logicalLocations"])


def _assert_message(message: dict[str, Any]) -> None:
    assert type(message["text"]) is str and message["text"]  # 3.11.8


def _assert_uri(uri: str) -> None:
    """A relative reference of RFC 3986, from the root of the repository."""
    assert re.fullmatch(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-F]{2})+", uri)
    assert not uri.startswith("/") and ".." not in uri.split("/")
