"""The words that dashboards are written in: panels with their question, queries with their legend.

They say what is asked and how it is shown; how Grafana spells that is `sdk.py`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PREFIX = "venice_gateway_"
RULE_PREFIX = "venice_gateway:"
INSTANCE = 'instance=~"$instance"'
RATE = "$__rate_interval"
"""Grafana's own: long enough for four scrapes."""
RANGE = "$__range"
DASHBOARD_COLUMNS = 24

Kind = Literal["stat", "words", "lines", "stacked", "bars", "ranking", "heatmap", "states"]
Unit = Literal["USD", "seconds", "bytes", "bytes/s", "ratio", "calls", "per second", "count", "on"]
Colour = Literal["green", "orange", "red", "blue"]


def metric(name: str, *matchers: str) -> str:
    """A series of the chosen instances: `metric("jobs", 'state="stored"')`."""
    return f"{PREFIX}{name}{{{', '.join((INSTANCE, *matchers))}}}"


def rule(name: str, *matchers: str) -> str:
    """A series that a recording rule keeps."""
    return f"{RULE_PREFIX}{name}{{{', '.join((INSTANCE, *matchers))}}}"


def rate(name: str, *matchers: str) -> str:
    """How much a counter grows in a second."""
    return f"rate({metric(name, *matchers)}[{RATE}])"


def quantile(share: float, name: str, by: str = "", *matchers: str) -> str:
    """That share of what a histogram saw took no longer than this."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) ({rate(f'{name}_bucket', *matchers)}))"


@dataclass(frozen=True)
class Query:
    """One question to Prometheus; `legend` names its series by their labels, `{{door}}`."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Step:
    """From this value on, this colour."""

    colour: Colour
    value: float


@dataclass(frozen=True)
class Panel:
    """One picture. `question` is what somebody looks here for, in words."""

    title: str
    question: str
    kind: Kind
    unit: Unit
    queries: Sequence[Query]
    width: int = 8
    height: int = 8
    steps: Sequence[Step] = ()
    maximum: float | None = None
    interval: str | None = None
    """The shortest distance of two points; a day for bars of days."""


@dataclass(frozen=True)
class Row:
    """Panels that belong together."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Variable:
    """What the reader of a dashboard chooses: the values of a label."""

    name: str
    title: str
    values: str
    """As Grafana asks Prometheus: `label_values(series, label)`."""


@dataclass(frozen=True)
class Page:
    """One dashboard."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[Variable] = ()
    span: str = "6h"
    """How far back it looks unless somebody wants otherwise."""

    @property
    def panels(self) -> list[Panel]:
        """Every panel, from the top."""
        return [panel for row in self.rows for panel in row.panels]
