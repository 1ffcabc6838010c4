"""Bodies and queries of the gateway's own doors: strict forms, every mistake named."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from starlette.requests import Request

from gateway.administer.office import Office
from gateway.api.reading import TAGS_MAX, is_bodiless, is_tag, read_object
from gateway.core.errors import InvalidRequest, Issue
from gateway.core.notation import Duration
from gateway.moments import read_moment

FORM_BYTES_MAX = 64 * 1024
"""No form here is longer than a page."""
PAGE_MAX = 1_000
NUMBER_MAX = 2**62
"""A database counts no further than 2**63 - 1."""
F = TypeVar("F", bound="Form")


class Form(BaseModel):
    """What a request says; an unknown field is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


def whole(value: object) -> object:
    """A number written in a query, as the number."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value


def _moment(value: object, info: ValidationInfo) -> int:
    try:
        return read_moment(str(value), info.context or UTC)
    except ValueError as error:
        raise ValueError(f"{value!r} is no date like 2026-12-31 and no time in RFC 3339") from error


def _after_since(until: int, found: ValidationInfo) -> int:
    since = found.data.get("since")
    if since is not None and until <= since:
        raise ValueError("it is not after since")
    return until


def _tag(value: str) -> str:
    if not is_tag(value):
        raise ValueError("a tag is of a-z 0-9 . _ - with up to 64 characters")
    return value


def _said(value: str) -> str:
    if not value.strip():
        raise ValueError("give a reason")
    return value.strip()


def _with_unit(value: object) -> object:
    if isinstance(value, str):
        return value
    raise ValueError("write a duration with its unit, like 90s or 30d")


def _truth(value: object) -> object:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


Truth = Annotated[StrictBool, BeforeValidator(_truth)]
"""True or false as it is written in a query."""
Number = Annotated[int, Field(ge=0, le=NUMBER_MAX), BeforeValidator(whole)]
"""Of a row, as a place to go on from."""
PageSize = Annotated[int, Field(ge=1, le=PAGE_MAX), BeforeValidator(whole)]
Moment = Annotated[
    int,
    BeforeValidator(_moment),
    WithJsonSchema(
        {
            "type": "string",
            "description": "A day of the organization's, or a time in RFC 3339.",
        }
    ),
]
Until = Annotated[Moment, AfterValidator(_after_since)]
"""The end of a period, itself out of it, in a form with a `since` before it."""
Length = Annotated[Duration, BeforeValidator(_with_unit)]
"""A duration in text alone: nobody should find out afterwards what 30 was taken for."""
Tags = Annotated[tuple[Annotated[str, AfterValidator(_tag)], ...], Field(max_length=TAGS_MAX)]
Why = Annotated[str, Field(max_length=1_000), AfterValidator(_said)]


async def read_form(request: Request, form: type[F]) -> F:
    """The body as the form asks for it; `InvalidRequest` with every mistake.

    No body at all is a form with nothing filled in.
    """
    given = {} if is_bodiless(request) else await read_object(request, FORM_BYTES_MAX)
    return _filled(form, given, request)


def may_be_empty(form: type[Form]) -> bool:
    """Whether a form asks for nothing."""
    return not any(field.is_required() for field in form.model_fields.values())


def read_query(request: Request, form: type[F]) -> F:
    """The query as the form asks for it; what is given twice is a mistake."""
    pairs = request.query_params.multi_items()
    given = dict(pairs)
    if len(given) != len(pairs):
        raise InvalidRequest([Issue(("query",), "A parameter is given twice.")])
    return _filled(form, given, request)


def _filled(form: type[F], given: Mapping[str, Any], request: Request) -> F:
    # Days are those of the organization, whether a gateway runs or a command works alone.
    office: Office = request.app.state.office
    timezone = office.rulebook.organization.calendar.timezone
    try:
        return form.model_validate(given, context=timezone)
    except ValidationError as error:
        issues = [
            Issue(tuple(found["loc"]), found["msg"].removeprefix("Value error, "), found["type"])
            for found in error.errors(include_url=False, include_input=False)
        ]
        raise InvalidRequest(issues) from None
