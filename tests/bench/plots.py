"""Draws plots as SVG by hand: lines with axes and a legend, readable on light and on dark.

It knows no figures of its own, and nothing of the gateway.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 44, 56
COLORS = ("#2563eb", "#ea580c", "#059669", "#7c3aed")
INK, FAINT = "#64748b", "#94a3b8"
TICKS = 5


@dataclass(frozen=True)
class Line:
    """A named series of points; dashed where it is a bound and no measurement."""

    name: str
    points: Sequence[tuple[float, float]]
    is_bound: bool = False


def draw(
    title: str, x_name: str, y_name: str, lines: Sequence[Line], *, is_log: bool = False
) -> str:
    """A plot of some lines, from zero upwards; `is_log` spaces the x axis by powers of ten."""
    xs = [x for line in lines for x, _ in line.points]
    top = _round_up(max(y for line in lines for _, y in line.points))
    low, high = min(xs), max(xs)

    def place(x: float, y: float) -> tuple[float, float]:
        if is_log:
            share = math.log10(x / low) / max(math.log10(high / low), 1e-9)
        else:
            share = (x - low) / max(high - low, 1e-9)
        across = LEFT + share * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    parts = [_text(LEFT, 20, title, size=15, weight="600")]
    for step in range(TICKS + 1):
        value = top * step / TICKS
        _, y = place(low, value)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="{FAINT}" stroke-opacity="0.35"/>'
        )
        parts.append(_text(LEFT - 8, y + 4, f"{value:g}", anchor="end"))
    for value in _ticks(low, high, is_log=is_log):
        x, _ = place(value, 0)
        parts.append(_text(x, HEIGHT - BOTTOM + 18, f"{value:,.10g}", anchor="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_text(middle, HEIGHT - BOTTOM + 38, x_name, anchor="middle"))
    parts.append(_text(LEFT - 40, TOP - 8, y_name))
    legend = float(WIDTH - RIGHT)
    for number, line in reversed(list(enumerate(lines))):
        color, dash = COLORS[number % len(COLORS)], ' stroke-dasharray="6 4"' * line.is_bound
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line.points))
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{dash}/>'
        )
        legend -= 7.0 * len(line.name) + 12
        parts.append(_text(legend, TOP - 8, line.name, color=color))
    return _page(title, parts)


def _ticks(low: float, high: float, *, is_log: bool) -> list[float]:
    if is_log:
        first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
        return [10.0**n for n in range(first, last + 1)]
    return [low + (high - low) * n / TICKS for n in range(TICKS + 1)]


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 and 10 times a power of ten: five even steps read well."""
    power = 10.0 ** math.floor(math.log10(max(value, 1e-9)))
    return next(power * n for n in (1, 2, 2.5, 5, 10) if power * n >= value)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int = 12,
    weight: str = "400",
    color: str = INK,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="{color}">{escape(text)}</text>'
    )


def _page(title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui, sans-serif">\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
