"""JSON Schema of what doors take and answer: of forms as pydantic tells it, of the types that
answers are held to by their annotations. Each is kept once, under its name.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from pydantic import BaseModel

from gateway.api.described import Said

REF = "#/components/schemas/{model}"
Schema = dict[str, Any]
CONDITIONS = {
    "If-Match": "Tags as `ETag` gave them, or `*`; for another state or version, 412.",
    "If-None-Match": "Tags of what is known already; then 304.",
    "If-Range": "The tag of what a part is there of; of another version all is sent.",
    "Range": "Which bytes: `bytes=0-1023`.",
}
"""Header fields that make a request conditional (RFC 9110, sections 13 and 14)."""
_PLAIN = {str: "string", int: "integer", bool: "boolean", NoneType: "null"}


class Schemas:
    """The schemas that operations refer to."""

    def __init__(self) -> None:
        self._found: Schema = {}

    def all(self) -> Schema:
        """Every schema that was asked for, by name."""
        return dict(sorted(self._found.items()))

    def fixed(self, name: str, schema: Mapping[str, Any]) -> Schema:
        """A schema under a name; one name never means two."""
        known = self._found.setdefault(name, schema)
        assert known == schema, f"two schemas are called {name}"
        return {"$ref": REF.format(model=name)}

    def of_body(self, body: type[BaseModel] | Mapping[str, Any]) -> Schema:
        """What a door takes."""
        if isinstance(body, Mapping):
            return dict(body)
        schema = _written(body.model_json_schema(mode="validation", ref_template=REF))
        self._take_definitions(schema)
        return self.fixed(body.__name__, schema)

    def parameters(self, said: Said) -> list[Schema]:
        """The fields of a query and the conditions in the head, each as a parameter."""
        return [*self._query(said), *(_condition(name) for name in said.conditions)]

    def _query(self, said: Said) -> list[Schema]:
        if said.query is None:
            return []
        schema = _written(said.query.model_json_schema(mode="validation", ref_template=REF))
        self._take_definitions(schema)
        required = schema.get("required", [])
        return [
            {"name": name, "in": "query", "required": name in required, "schema": field}
            for name, field in schema["properties"].items()
        ]

    def _take_definitions(self, schema: Schema) -> None:
        for name, definition in schema.pop("$defs", {}).items():
            self.fixed(name, definition)

    def of_answer(self, answer: Any) -> Schema:
        """What a door answers: a type, or its schema."""
        assert answer is not None, "what is answered in JSON is said"
        return dict(answer) if isinstance(answer, Mapping) else self._of(answer)

    def _of(self, hint: Any) -> Schema:
        origin, inner = get_origin(hint), get_args(hint)
        if hint is Any:
            return {}
        if hint in _PLAIN:
            return {"type": _PLAIN[hint]}
        if origin is list:
            return {"type": "array", "items": self._of(inner[0])}
        if origin is dict:
            return {"type": "object", "additionalProperties": self._of(inner[1])}
        if origin in (Union, UnionType):
            return {"anyOf": [self._of(each) for each in inner]}
        if is_typeddict(hint):
            return self._of_fields(hint)
        assert issubclass(hint, Enum), f"no schema for {hint}"
        return {"type": "string", "enum": [each.value for each in hint]}

    def _of_fields(self, answer: Any) -> Schema:
        fields = {name: self._of(hint) for name, hint in get_type_hints(answer).items()}
        return self.fixed(
            answer.__name__,
            {
                "type": "object",
                "description": inspect.getdoc(answer),
                "properties": fields,
                "required": [name for name in fields if name in answer.__required_keys__],
            },
        )


def _condition(name: str) -> Schema:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": CONDITIONS[name],
        "schema": {"type": "string"},
    }


def _written(schema: Any) -> Any:
    """A form's schema with each length of time as it is written, also where it is a default."""
    if isinstance(schema, list):
        return [_written(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _written(each) for name, each in schema.items()}
    default = found.get("default")
    if type(default) is int and found.get("type") == ["string"]:
        found["default"] = f"{default // 1000}s"
    return found
