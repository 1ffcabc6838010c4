"""Draws dashboards as Grafana would lay them out, from what a Prometheus gave: one SVG a page.

Pictures for the documentation, near enough to know a panel by; nothing measures with them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import NamedTuple

from grafana.vocabulary import DASHBOARD_COLUMNS, Page, Panel, Unit
from tests.monitoring.stand import Series

WIDTH = 1280
CELL = WIDTH / DASHBOARD_COLUMNS
LINE = 30.0
GAP = 6.0
COLOURS = (
    "#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#6ed0e0", "#8f3bb8",
    "#e0b400", "#37872d", "#c4162a", "#1f60c4",
)  # fmt: skip
TEXT, FAINT, GROUND, CARD = "#ccccdc", "#8e8e9a", "#111217", "#181b1f"
STEP = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2"}
STYLE = "text{font-family:DejaVu Sans,sans-serif} rect{shape-rendering:crispEdges}"
LEGENDS_MAX = 8
BARS_MAX = 7
SLOTS = 48
"""Columns of bars, heat maps and states."""

Drawn = Mapping[str, Sequence[tuple[str, Series]]]
"""What each panel shows, by its title: series with their legends."""


class Box(NamedTuple):
    """Where something is drawn, in pixels."""

    x: float
    y: float
    width: float
    height: float


def svg_of(page: Page, drawn: Drawn) -> str:
    """The whole page; its height follows from its rows."""
    parts = [_text(14, 30, page.title, 18, TEXT)]
    y = 44.0
    for row in page.rows:
        parts.append(_text(14, y + 19, row.title, 14, TEXT))
        y += LINE
        x = tallest = 0.0
        for panel in row.panels:
            box = Box(x * CELL, y, panel.width * CELL, panel.height * LINE)
            parts.append(_card(panel, drawn[panel.title], box))
            x, tallest = x + panel.width, max(tallest, box.height)
            if x >= DASHBOARD_COLUMNS:
                x, y, tallest = 0, y + tallest, 0
    size = f'width="{WIDTH}" height="{y + 8:.0f}"'
    ground = f'<rect {size} fill="{GROUND}"/>'
    style = (
        "<style>text{font-family:DejaVu Sans,sans-serif}rect{shape-rendering:crispEdges}</style>"
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{style}{ground}{"".join(parts)}</svg>'


def legend_of(template: str, labels: Mapping[str, str]) -> str:
    """A legend with its labels filled in."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template)


def shown(value: float, unit: Unit) -> str:
    """A value in the words of its unit."""
    if unit == "on":
        return "yes" if value else "no"
    if unit == "USD":
        return f"${value:,.2f}"
    if unit == "ratio":
        return f"{value * 100:.3g}%"
    if unit == "seconds":
        return _seconds(value)
    base = 1024 if "byte" in unit else 1000
    number = f"{value:.3g}" if abs(value) < 1000 else _short(value, base)
    return number + {"bytes": "B", "bytes/s": "B/s", "per second": "/s"}.get(unit, "")


def _seconds(value: float) -> str:
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if abs(value) >= size:
            return f"{value / size:.3g} {name}"
    return f"{value * 1000:.3g} ms"


def _short(value: float, base: int) -> str:
    power = min(4, int(math.log(abs(value), base)))
    return f"{value / base**power:.3g} {'_kMGT'[power] if power else ''}".replace("_", "")


def _text(x: float, y: float, text: str, size: float, colour: str, *, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )


def _card(panel: Panel, found: Sequence[tuple[str, Series]], box: Box) -> str:
    x, y, width, height = box
    inner = Box(x + 14, y + 34, width - 28 - GAP, height - 44 - GAP)
    card = (
        f'<rect x="{x + GAP / 2:.1f}" y="{y + GAP / 2:.1f}" width="{width - GAP:.1f}" '
        f'height="{height - GAP:.1f}" rx="3" fill="{CARD}" stroke="#2c3235"/>'
    )
    points = [one for _, one in found if one.points]
    draw = _KINDS[panel.kind] if points else _nothing
    return card + _text(x + 14, y + 24, panel.title, 13, TEXT) + draw(panel, found, inner)


def _nothing(_panel: Panel, _found: Sequence[tuple[str, Series]], box: Box) -> str:
    return _text(
        box.x + box.width / 2, box.y + box.height / 2, "No data", 13, FAINT, anchor="middle"
    )


def _colour(panel: Panel, value: float) -> str:
    passed = [step.colour for step in panel.steps if value >= step.value]
    return STEP[passed[-1]] if passed else STEP["green"] if panel.steps else TEXT


def _stat(panel: Panel, found: Sequence[tuple[str, Series]], box: Box) -> str:
    legend, one = next((name, series) for name, series in found if series.points)
    value = one.points[-1][1]
    text = legend if panel.kind == "words" else shown(value, panel.unit)
    middle = box.x + box.width / 2
    return _text(
        middle, box.y + box.height / 2 + 12, text, 30, _colour(panel, value), anchor="middle"
    )


def _ranking(panel: Panel, found: Sequence[tuple[str, Series]], box: Box) -> str:
    last = [(legend, one.points[-1][1]) for legend, one in found if one.points]
    ranked = sorted(last, key=lambda pair: -pair[1])[:BARS_MAX]
    most = panel.maximum or max((value for _, value in ranked), default=0) or 1
    height = min(30.0, box.height / max(1, len(ranked)))
    parts = []
    for number, (legend, value) in enumerate(ranked):
        y = box.y + number * height
        length = max(2.0, min(1.0, value / most) * (box.width - 90))
        colour = _colour(panel, value) if panel.steps else STEP["green"]
        parts.append(_text(box.x, y + 11, legend, 11, FAINT))
        parts.append(
            f'<rect x="{box.x:.1f}" y="{y + 14:.1f}" width="{length:.1f}" '
            f'height="{max(3.0, height - 18):.1f}" fill="{colour}"/>'
        )
        parts.append(
            _text(box.x + box.width, y + 22, shown(value, panel.unit), 12, TEXT, anchor="end")
        )
    return "".join(parts)


def _series(panel: Panel, found: Sequence[tuple[str, Series]], box: Box) -> str:
    named = [(legend, one) for legend, one in found if one.points]
    times = [at for _, one in named for at, _ in one.points]
    start, end = min(times), max(times) + 0.001
    plot = Box(box.x + 52, box.y, box.width - 56, box.height - 40)
    stacks = panel.kind != "lines"
    levels = _stacked(named, start, end) if stacks else [one.points for _, one in named]
    tops = [value for points in levels for _, value in points]
    top = max([*tops, panel.maximum or 0]) * 1.05 or 1
    parts = [_axis(panel, plot, top)]

    def place(at: float, value: float) -> str:
        return (
            f"{plot.x + (at - start) / (end - start) * plot.width:.1f},"
            f"{plot.y + plot.height * (1 - min(max(value, 0), top) / top):.1f}"
        )

    for number in reversed(range(len(levels))):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(place(at, value) for at, value in levels[number])
        if stacks:
            ends = [place(levels[number][-1][0], 0), place(levels[number][0][0], 0)]
            parts.append(f'<polygon points="{line} {" ".join(ends)}" fill="{colour}"/>')
        else:
            parts.append(
                f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
            )
    for step in panel.steps if panel.maximum else ():
        y = plot.y + plot.height * (1 - step.value / top)
        parts.append(
            f'<path d="M{plot.x:.1f} {y:.1f}h{plot.width:.1f}" stroke="{STEP[step.colour]}" '
            'stroke-dasharray="6 4"/>'
        )
    return "".join(parts) + _legend([legend for legend, _ in named], box)


def _stacked(
    named: Sequence[tuple[str, Series]], start: float, end: float
) -> list[list[tuple[float, float]]]:
    """The upper edge of each layer, all over the same moments."""
    moments = [start + (end - start) * slot / (SLOTS * 3) for slot in range(SLOTS * 3)]
    below = [0.0] * len(moments)
    levels = []
    for _, one in named:
        below = [b + _at(one, moment) for b, moment in zip(below, moments, strict=True)]
        levels.append(list(zip(moments, below, strict=True)))
    return levels


def _at(one: Series, moment: float) -> float:
    """The last value before a moment; nothing where it is long gone."""
    value = 0.0
    for at, found in one.points:
        if at > moment + 1:
            break
        value = found if moment - at < 6 else 0.0
    return value


def _axis(panel: Panel, plot: Box, top: float) -> str:
    parts = []
    for part in range(5):
        y = plot.y + plot.height * (1 - part / 4)
        parts.append(f'<path d="M{plot.x:.1f} {y:.1f}h{plot.width:.1f}" stroke="#2c3235"/>')
        parts.append(
            _text(plot.x - 6, y + 4, shown(top * part / 4, panel.unit), 10, FAINT, anchor="end")
        )
    return "".join(parts)


def _legend(names: Sequence[str], box: Box) -> str:
    parts, x, y = [], box.x, box.y + box.height - 16
    for number, name in enumerate(names[:LEGENDS_MAX]):
        width = 24 + 6.3 * len(name)
        if x + width > box.x + box.width and x > box.x:
            x, y = box.x, y + 15
            if y > box.y + box.height:
                break
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<rect x="{x:.1f}" y="{y - 5:.1f}" width="12" height="3" fill="{colour}"/>')
        parts.append(_text(x + 16, y, name, 11, FAINT))
        x += width
    return "".join(parts)


def _heatmap(panel: Panel, found: Sequence[tuple[str, Series]], box: Box) -> str:
    """Buckets from the fastest, below, to the slowest; each less the one before it."""
    order = sorted(found, key=lambda pair: float(pair[0]))
    start = min(at for _, one in order for at, _ in one.points)
    end = max(at for _, one in order for at, _ in one.points)
    moments = [start + (end - start) * (slot + 0.5) / SLOTS for slot in range(SLOTS)]
    sums = [[_at(one, moment) for moment in moments] for _, one in order]
    counts = [
        [max(0.0, here - below) for here, below in zip(row, before, strict=True)]
        for row, before in zip(sums, [[0.0] * SLOTS, *sums], strict=False)
    ]
    most = max(max(row) for row in counts) or 1
    plot = Box(box.x + 52, box.y, box.width - 56, box.height - 8)
    width, height = plot.width / SLOTS, plot.height / len(counts)
    parts = []
    for number, row in enumerate(counts):
        y = plot.y + plot.height - (number + 1) * height
        name = order[number][0]
        bound = "∞" if name == "+Inf" else shown(float(name), panel.unit)
        parts.append(_text(plot.x - 6, y + height / 2 + 4, bound, 9, FAINT, anchor="end"))
        for slot, count in enumerate(row):
            if count:
                opacity = math.ceil(4 * math.sqrt(count / most)) / 4
                parts.append(
                    f'<rect x="{plot.x + slot * width:.1f}" y="{y:.1f}" width="{width - 1:.1f}" '
                    f'height="{height - 1:.1f}" fill="#5794f2" opacity="{opacity}"/>'
                )
    return "".join(parts)


def _states(_panel: Panel, found: Sequence[tuple[str, Series]], box: Box) -> str:
    start = min(at for _, one in found for at, _ in one.points)
    end = max(at for _, one in found for at, _ in one.points)
    height = box.height / len(found)
    width = (box.width - 90) / SLOTS
    parts = []
    for number, (legend, one) in enumerate(found):
        y = box.y + number * height
        parts.append(_text(box.x + 80, y + height / 2 + 4, legend, 11, FAINT, anchor="end"))
        for slot in range(SLOTS):
            moment = start + (end - start) * (slot + 0.5) / SLOTS
            colour = STEP["red" if _at(one, moment) else "green"]
            parts.append(
                f'<rect x="{box.x + 88 + slot * width:.1f}" y="{y + 2:.1f}" '
                f'width="{width + 0.3:.1f}" height="{height - 4:.1f}" fill="{colour}"/>'
            )
    return "".join(parts)


_KINDS: Mapping[str, Callable[[Panel, Sequence[tuple[str, Series]], Box], str]] = {
    "stat": _stat,
    "words": _stat,
    "ranking": _ranking,
    "lines": _series,
    "stacked": _series,
    "bars": _series,
    "heatmap": _heatmap,
    "states": _states,
}
