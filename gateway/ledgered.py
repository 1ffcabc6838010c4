"""A metric of thousands of series, of which few change from one scrape to the next: the library
takes long over a line, so each is kept until its value is another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.core.money import Money

Labels = tuple[str, str]


def dollars(money: Money) -> float:
    """An amount as Prometheus takes it: the nearest double to its six places."""
    return float(str(money))


class LedgeredCounter(Collector):
    """A counter of dollars that is read from the ledger: it survives restarts and equals it."""

    def __init__(self, name: str, text: str, labels: Labels) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._micros: Mapping[Labels, int] = {}
        self._rendered: Mapping[Labels, int] = {}
        self._lines: dict[Labels, str] = {}
        """Of what was rendered last."""

    def show(self, micros: Mapping[Labels, int]) -> None:
        """From now on these are its series, in micro-dollars, and no others."""
        self._micros = micros

    def collect(self) -> Iterator[Metric]:
        """The family with every sample."""
        yield self._family(self._micros)

    def text(self) -> bytes:
        """The family in Prometheus's format."""
        shown, before = self._micros, self._rendered
        changed = {labels: value for labels, value in shown.items() if before.get(labels) != value}
        # No line feed stands within a line: in values of labels it is escaped.
        help_line, type_line, *lines = _text_of(self._family(changed)).split("\n")[:-1]
        known = self._lines | dict(zip(changed, lines, strict=True))
        self._lines = {labels: known[labels] for labels in shown}
        self._rendered = shown
        return "\n".join((help_line, type_line, *self._lines.values(), "")).encode()

    def _family(self, micros: Mapping[Labels, int]) -> Metric:
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in micros.items():
            family.add_metric(labels, dollars(Money(value)))
        return family


class _Only(Collector):
    """Some samples of a family, for the library to render."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family


def _text_of(family: Metric) -> str:
    return generate_latest(_Only(family)).decode()
