"""`openapi.json` says what each answer is made of, and which requests are conditional."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.api.openapi import document
from gateway.api.routes import DOORS

DOCUMENT = document(DOORS.values())
SUCCESS = ("200", "201")
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
TAGGED = {
    "GET /gateway/v1/admin/users/{name}",
    "PATCH /gateway/v1/admin/users/{name}",
    "GET /gateway/v1/admin/keys/{id}",
    "PATCH /gateway/v1/admin/keys/{id}",
    "GET /gateway/v1/videos/{id}",
    "GET /gateway/v1/media/{token}",
}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, or the one that it refers to."""
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][name] if name else schema
    return found


def json_answers(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for status in SUCCESS:
        content = operation["responses"].get(status, {}).get("content", {})
        if "application/json" in content:
            yield resolved(content["application/json"]["schema"])


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_answer_is_just_an_object(name: str) -> None:
    for schema in json_answers(OPERATIONS[name]):
        assert schema["type"] == "object"
        assert schema["properties"], f"{name} does not say what it answers"


def test_no_type_of_an_answer_is_empty() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        if schema["type"] == "object" and name.endswith("Answer"):
            assert schema["properties"], name
            assert set(schema["required"]) <= set(schema["properties"]), name


def test_fields_that_may_be_absent_are_not_required() -> None:
    schema = DOCUMENT["components"]["schemas"]["DryRunAnswer"]
    assert set(schema["properties"]) - set(schema["required"]) == {"rule", "allowed", "message"}


@pytest.mark.parametrize("name", OPERATIONS)
def test_conditions_tags_and_what_becomes_of_them_are_said(name: str) -> None:
    operation = OPERATIONS[name]
    tagged = {
        status
        for status, response in operation["responses"].items()
        if "ETag" in response.get("headers", ())
    }
    assert bool(tagged) == (name in TAGGED)
    asked = {field["name"] for field in operation["parameters"] if field["in"] == "header"}
    assert ("If-Match" in asked) == ("412" in operation["responses"])
    assert ("If-None-Match" in asked) == ("304" in operation["responses"])
    assert ("Range" in asked) == ("416" in operation["responses"])
    if name.startswith("PATCH"):
        assert "If-Match" in asked


def test_every_list_that_is_there_as_csv_says_so() -> None:
    for name, operation in OPERATIONS.items():
        asked = {field["name"] for field in operation["parameters"] if field["in"] == "query"}
        content = operation["responses"].get("200", {}).get("content", {})
        assert ("format" in asked) == ("text/csv" in content), name
