"""Which bytes of a representation a request asks for, by RFC 9110 sections 13 and 14.

It knows strong entity tags and no modification dates, and reads the header fields of a GET or
HEAD as text; it never sees the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

CONDITIONAL = frozenset({"GET", "HEAD"})
"""Methods whose header fields can change what is answered; no other's are looked at."""
RANGES_MAX = 10
"""A player asks for one or two; more make one request cost like many (RFC 9110 17.15)."""
RANGE_CHARACTERS_MAX = 1_000
"""Ten ranges with 19-digit positions have 400; no number longer than this is ever converted."""

_RANGE = re.compile(r"([0-9]*)-([0-9]*)")
_ENTITY_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_LIST_SEPARATOR = re.compile(r"[ \t]*(?:,[ \t]*)+")


class Verdict(Enum):
    """What a request for a representation gets."""

    WHOLE = "whole"
    PARTS = "parts"
    UNCHANGED = "unchanged"
    """The client has it already (`If-None-Match`)."""
    CHANGED = "changed"
    """The client wants another version than this one (`If-Match`)."""
    UNSATISFIABLE = "unsatisfiable"
    """Every range lies beyond the end."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `first` to `last`, both included."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Selection:
    """The verdict and, of `WHOLE` and `PARTS`, the bytes to send, in order."""

    verdict: Verdict
    spans: tuple[Span, ...] = ()


def select(method: str, size: int, entity_tag: str, fields: Mapping[str, str]) -> Selection:
    """What to send of `size` bytes (at least one) named by a quoted strong `entity_tag`.

    `fields` are request header fields by lower-case name, repeated ones joined by a comma.
    Conditions count for GET and HEAD, ranges for GET alone (RFC 9110 14.2); the order of
    evaluation is that of section 13.2.2, conditions on dates being ignored for want of a date.
    """
    whole = Selection(Verdict.WHOLE, (Span(0, size - 1),))
    if method not in CONDITIONAL:
        return whole
    if (wanted := fields.get("if-match")) is not None and not _lists(wanted, entity_tag):
        return Selection(Verdict.CHANGED)
    if (known := fields.get("if-none-match")) is not None and _lists(known, entity_tag, weak=True):
        return Selection(Verdict.UNCHANGED)
    asked = fields.get("range")
    if method != "GET" or asked is None or fields.get("if-range", entity_tag) != entity_tag:
        return whole
    ranges = _ranges(asked)
    if ranges is None:
        return whole
    return _selection(ranges, size) or whole


def _lists(field: str, entity_tag: str, *, weak: bool = False) -> bool:
    """Whether a list of entity tags, or `*`, includes this one (RFC 9110 8.8.3.2)."""
    if field.strip(" \t") == "*":
        return True
    return any(
        tag == entity_tag and (weak or not is_weak) for is_weak, tag in _ENTITY_TAG.findall(field)
    )


def _ranges(field: str) -> list[tuple[int | None, int | None]] | None:
    """First and last positions as written; None where the field is to be ignored."""
    unit, separator, text = field.strip(" \t").partition("=")
    if unit.lower() != "bytes" or not separator or len(text) > RANGE_CHARACTERS_MAX:
        return None
    found = []
    for item in _LIST_SEPARATOR.split(text.strip(" \t")):
        match = _RANGE.fullmatch(item)
        if not item:
            continue
        if match is None or not (match[1] or match[2]):
            return None
        first, last = (int(digits) if digits else None for digits in match.groups())
        if first is not None and last is not None and last < first:
            return None
        found.append((first, last))
    return found if 0 < len(found) <= RANGES_MAX else None


def _selection(ranges: list[tuple[int | None, int | None]], size: int) -> Selection | None:
    """The spans that exist, in the order asked for; None where sending everything is cheaper."""
    spans = tuple(span for pair in ranges if (span := _span(*pair, size)) is not None)
    if not spans:
        return Selection(Verdict.UNSATISFIABLE)
    merged = _merged(spans)
    if len(merged) < len(spans):
        spans = merged
    if len(spans) > 1 and sum(map(len, spans)) >= size:
        return None
    return Selection(Verdict.PARTS, spans)


def _span(first: int | None, last: int | None, size: int) -> Span | None:
    if first is None:
        length = last or 0
        return Span(max(0, size - length), size - 1) if length else None
    if first >= size:
        return None
    return Span(first, size - 1 if last is None else min(last, size - 1))


def _merged(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """The same bytes once each, ascending: overlaps would send one byte ten times."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: span.first):
        if merged and span.first <= merged[-1].last + 1:
            merged[-1] = Span(merged[-1].first, max(merged[-1].last, span.last))
        else:
            merged.append(span)
    return tuple(merged)
