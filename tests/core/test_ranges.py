"""Every way a request can ask for a part of a video, and the bytes it gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.ranges import RANGES_MAX, Selection, Span, Verdict, select

SIZE = 1_000
TAG = '"abc"'

WHOLE = Selection(Verdict.WHOLE, (Span(0, 999),))
UNSATISFIABLE = Selection(Verdict.UNSATISFIABLE)
UNCHANGED = Selection(Verdict.UNCHANGED)
CHANGED = Selection(Verdict.CHANGED)


def parts(*spans: tuple[int, int]) -> Selection:
    return Selection(Verdict.PARTS, tuple(Span(*span) for span in spans))


RANGES = {
    # one range
    "bytes=0-0": parts((0, 0)),
    "bytes=0-499": parts((0, 499)),
    "bytes=500-999": parts((500, 999)),
    "bytes=500-": parts((500, 999)),
    "bytes=0-": parts((0, 999)),
    "bytes=999-": parts((999, 999)),
    "bytes=999-999": parts((999, 999)),
    "bytes=-1": parts((999, 999)),
    "bytes=-500": parts((500, 999)),
    "bytes=-1000": parts((0, 999)),
    "bytes=-5000": parts((0, 999)),
    "bytes=900-5000": parts((900, 999)),
    f"bytes=900-{10**30}": parts((900, 999)),
    "bytes=000-007": parts((0, 7)),
    "BYTES=0-9": parts((0, 9)),
    "Bytes=0-9": parts((0, 9)),
    " bytes=0-9 ": parts((0, 9)),
    "bytes= 0-9": parts((0, 9)),
    # beyond the end
    "bytes=1000-": UNSATISFIABLE,
    "bytes=1000-1001": UNSATISFIABLE,
    f"bytes={10**30}-": UNSATISFIABLE,
    "bytes=-0": UNSATISFIABLE,
    "bytes=5000-,-0": UNSATISFIABLE,
    # several
    "bytes=0-0,-1": parts((0, 0), (999, 999)),
    "bytes=0-9, 20-29": parts((0, 9), (20, 29)),
    "bytes=0-9 ,\t20-29": parts((0, 9), (20, 29)),
    "bytes=20-29,0-9": parts((20, 29), (0, 9)),
    "bytes=0-9,5000-": parts((0, 9)),
    "bytes=-0,0-9": parts((0, 9)),
    ",".join(["bytes=0-0", *(f"{n}-{n}" for n in range(10, 100, 10))]): parts(
        *((n, n) for n in range(0, 100, 10))
    ),
    # lists are to be read generously
    "bytes=0-9,": parts((0, 9)),
    "bytes=,0-9": parts((0, 9)),
    "bytes=0-9,,20-29": parts((0, 9), (20, 29)),
    "bytes=0-9, , ,20-29": parts((0, 9), (20, 29)),
    # the same byte is sent once
    "bytes=0-9,5-14": parts((0, 14)),
    "bytes=0-9,10-19": parts((0, 19)),
    "bytes=5-14,0-9,100-109": parts((0, 14), (100, 109)),
    "bytes=0-9,0-9,0-9,0-9": parts((0, 9)),
    "bytes=0-,-1": parts((0, 999)),
    "bytes=0-499,400-999": parts((0, 999)),
    # more ranges than anybody needs
    ",".join(["bytes=0-0", *(f"{n}-{n}" for n in range(10, 110, 10))]): WHOLE,
    "bytes=" + ",".join(["0-0"] * 11): WHOLE,
    # no ranges at all
    "": WHOLE,
    "bytes": WHOLE,
    "bytes=": WHOLE,
    "bytes=,": WHOLE,
    "bytes=-": WHOLE,
    "bytes=--1": WHOLE,
    "bytes=-1-": WHOLE,
    "bytes=1-0": WHOLE,
    "bytes=9-5,20-29": WHOLE,
    "bytes=a-b": WHOLE,
    "bytes=0x0-0x9": WHOLE,
    "bytes=0-9;20-29": WHOLE,
    "bytes=0-9 20-29": WHOLE,
    "bytes=0 - 9": WHOLE,
    "bytes=+0-9": WHOLE,
    "bytes=0-9.5": WHOLE,
    "bytes=1_0-2_0": WHOLE,
    "bytes=\u0661-\u0669": WHOLE,
    "bytes=0-9\n": WHOLE,
    "bytes = 0-9": WHOLE,
    "bytes:0-9": WHOLE,
    "0-9": WHOLE,
    "items=0-9": WHOLE,
    "bytes=0-9, bytes=20-29": WHOLE,
    "bytes=0-" + "9" * 5_000: WHOLE,
}


@pytest.mark.parametrize(("field", "answer"), RANGES.items(), ids=lambda value: str(value)[:40])
def test_a_range_gets_its_bytes_or_is_ignored(field: str, answer: Selection) -> None:
    assert select("GET", SIZE, TAG, {"range": field}) == answer


ONE = {"range": "bytes=0-9"}
PART = parts((0, 9))
CONDITIONS: list[tuple[str, dict[str, str], Selection]] = [
    ("GET", {}, WHOLE),
    ("HEAD", {}, WHOLE),
    ("POST", {}, WHOLE),
    # a range is for GET alone
    ("HEAD", ONE, WHOLE),
    ("POST", ONE, WHOLE),
    ("HEAD", {"range": "bytes=5000-"}, WHOLE),
    ("POST", {"range": "bytes=5000-"}, WHOLE),
    # If-Range: the part if it is the same version, else everything
    ("GET", {**ONE, "if-range": TAG}, PART),
    ("GET", {**ONE, "if-range": '"other"'}, WHOLE),
    ("GET", {**ONE, "if-range": f"W/{TAG}"}, WHOLE),
    ("GET", {**ONE, "if-range": "abc"}, WHOLE),
    ("GET", {**ONE, "if-range": "*"}, WHOLE),
    ("GET", {**ONE, "if-range": f'{TAG}, "other"'}, WHOLE),
    ("GET", {**ONE, "if-range": "Wed, 21 Oct 2026 07:28:00 GMT"}, WHOLE),
    ("GET", {"range": "bytes=5000-", "if-range": '"other"'}, WHOLE),
    ("GET", {"range": "bytes=5000-", "if-range": TAG}, UNSATISFIABLE),
    ("GET", {"if-range": TAG}, WHOLE),
    # If-None-Match: weak comparison, lists, anything
    ("GET", {"if-none-match": TAG}, UNCHANGED),
    ("HEAD", {"if-none-match": TAG}, UNCHANGED),
    ("POST", {"if-none-match": TAG}, WHOLE),
    ("GET", {"if-none-match": f"W/{TAG}"}, UNCHANGED),
    ("GET", {"if-none-match": f'"x", W/"y" ,{TAG}'}, UNCHANGED),
    ("GET", {"if-none-match": "*"}, UNCHANGED),
    ("GET", {"if-none-match": " * "}, UNCHANGED),
    ("GET", {"if-none-match": '"other"'}, WHOLE),
    ("GET", {"if-none-match": "abc"}, WHOLE),
    ("GET", {"if-none-match": '"ABC"'}, WHOLE),
    ("GET", {"if-none-match": ""}, WHOLE),
    ("GET", {**ONE, "if-none-match": TAG}, UNCHANGED),
    ("GET", {**ONE, "if-none-match": '"other"'}, PART),
    ("GET", {"range": "bytes=5000-", "if-none-match": TAG}, UNCHANGED),
    # If-Match: strong comparison
    ("GET", {"if-match": TAG}, WHOLE),
    ("GET", {"if-match": f'"x", {TAG}'}, WHOLE),
    ("GET", {"if-match": "*"}, WHOLE),
    ("GET", {"if-match": '"other"'}, CHANGED),
    ("GET", {"if-match": f"W/{TAG}"}, CHANGED),
    ("HEAD", {"if-match": '"other"'}, CHANGED),
    ("POST", {"if-match": '"other"'}, WHOLE),
    ("GET", {**ONE, "if-match": TAG}, PART),
    ("GET", {**ONE, "if-match": '"other"'}, CHANGED),
    ("GET", {"if-match": '"other"', "if-none-match": TAG}, CHANGED),
    ("GET", {"if-match": TAG, "if-none-match": TAG}, UNCHANGED),
    # a video has no date, so conditions on dates mean nothing
    ("GET", {"if-modified-since": "Wed, 21 Oct 2026 07:28:00 GMT"}, WHOLE),
    ("GET", {"if-unmodified-since": "Wed, 21 Oct 2015 07:28:00 GMT"}, WHOLE),
]


@pytest.mark.parametrize(("method", "fields", "answer"), CONDITIONS, ids=str)
def test_conditions_count_in_the_order_of_the_standard(
    method: str, fields: dict[str, str], answer: Selection
) -> None:
    assert select(method, SIZE, TAG, fields) == answer


positions = st.one_of(st.none(), st.integers(0, 1_200))


@given(st.lists(st.tuples(positions, positions), min_size=1, max_size=12), st.integers(1, 1_000))
def test_spans_are_inside_the_video_never_overlap_and_hold_what_was_asked(
    pairs: list[tuple[int | None, int | None]], size: int
) -> None:
    def text(position: int | None) -> str:
        return "" if position is None else str(position)

    field = "bytes=" + ",".join(f"{text(first)}-{text(last)}" for first, last in pairs)
    selection = select("GET", size, TAG, {"range": field})
    sent = [at for span in selection.spans for at in range(span.first, span.last + 1)]
    assert len(sent) == len(set(sent))
    assert set(sent) <= set(range(size))
    assert len(selection.spans) <= RANGES_MAX
    if selection.verdict is Verdict.PARTS:
        assert set(sent) == {at for pair in pairs for at in asked_for(*pair, size)}


def asked_for(first: int | None, last: int | None, size: int) -> range:
    if first is None:
        assert last is not None
        return range(max(0, size - last), size)
    return range(first, size if last is None else min(last + 1, size))


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading_of_fields(text: str) -> None:
    for field in ("range", "if-range", "if-match", "if-none-match"):
        assert isinstance(select("GET", SIZE, TAG, {"range": "bytes=0-9", field: text}), Selection)
