"""Lists at the gateway's own doors: a page of rows as JSON, or as CSV where that is asked for, each
with how to go on.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.forms import PAGE_MAX, Form, PageSize
from gateway.api.respond import json_response
from gateway.core.errors import InvalidRequest, Issue

T = TypeVar("T")
FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class Listing(Form):
    """How a list is asked for; `Accept: text/csv` means the same as `format=csv`."""

    format: Literal["json", "csv"] | None = None


class Paged(Listing):
    """A list that is short enough to be whole on one page, mostly."""

    after: str | None = None
    """`next` of the page before."""
    limit: PageSize = PAGE_MAX


def page_of(
    items: Sequence[T], name_of: Callable[[T], str], asked: Paged
) -> tuple[Sequence[T], str | None]:
    """The items after the one that the page before ended with, and how to go on."""
    begin = 0
    if asked.after is not None:
        names = [name_of(item) for item in items]
        if asked.after not in names:
            raise InvalidRequest([Issue(("after",), "It is no `next` of this list.")])
        begin = names.index(asked.after) + 1
    page = items[begin : begin + asked.limit]
    goes_on = begin + len(page) < len(items)
    return page, name_of(page[-1]) if goes_on else None


def answer_list(
    request: Request,
    asked: Listing,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    columns: Sequence[str],
    following: str | int | None = None,
    cursor: str = "before",
    beside: Mapping[str, Any] | None = None,
) -> Response:
    """A page of rows under their name, with `next`, or as CSV; `cursor` is what takes `next`.

    What is said `beside` them stands in JSON alone.
    """
    headers = {"vary": "Accept"}
    if following is not None:
        query = {**request.query_params, cursor: str(following)}
        headers["link"] = f'<?{urlencode(query)}>; rel="next"'
    if not _wants_csv(request, asked):
        return json_response(
            {**(beside or {}), name: list(rows), "next": following}, headers=headers
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    headers["content-disposition"] = f'attachment; filename="{name}.csv"'
    return Response(text.getvalue(), headers=headers, media_type="text/csv")


def _wants_csv(request: Request, asked: Listing) -> bool:
    if asked.format is not None:
        return asked.format == "csv"
    accepted = request.headers.get("accept", "")
    return "text/csv" in accepted and "json" not in accepted


def _cell(value: Any) -> str:
    """A value as text; what a spreadsheet would take for a formula is kept from it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = " ".join(value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    text = str(value)
    looks_like_a_formula = text.startswith(FORMULA_BEGINNINGS) and not _NUMBER.fullmatch(text)
    return f"'{text}" if looks_like_a_formula else text
