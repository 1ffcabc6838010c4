"""What is asked of Prometheus, by whom, and what there is to be asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from gateway.metrics import PREFIX, Metrics
from grafana.pages import ANNOTATIONS, PAGES

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "grafana" / "prometheus"
SERIES = re.compile(r"\b(venice_gateway[_:][a-z0-9_:]+)(?:\{([^}]*)\})?")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",), "gauge": ("",)}
ALWAYS = {"instance", "job", "le"}


def rules(name: str) -> list[dict[str, Any]]:
    """The rules of one file."""
    document = yaml.safe_load((PROMETHEUS / name).read_text("utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


ALERTS = rules("alerts.yml")
RECORDED = {rule["record"]: rule["expr"] for rule in rules("recording.yml")}


def expressions() -> Iterator[tuple[str, str]]:
    """Every query there is, by where it is."""
    for page in PAGES:
        for panel in page.panels:
            for query in panel.queries:
                yield f"{page.title}: {panel.title}", query.expr
        for variable in page.variables:
            yield f"{page.title}: ${variable.name}", variable.values
    for name, query in ANNOTATIONS.items():
        yield f"annotation: {name}", query.expr
    for rule in ALERTS:
        yield f"alert: {rule['alert']}", rule["expr"]
    for record, expr in RECORDED.items():
        yield f"rule: {record}", expr


def series_of_the_gateway() -> dict[str, set[str]]:
    """Every series that the gateway gives, with its labels."""
    metrics = Metrics()
    labels = {
        getattr(metric, "_name", ""): set(getattr(metric, "_labelnames", ()))
        for metric in vars(metrics).values()
    } | {f"{PREFIX}spend_usd": {"team", "model"}}
    return {
        family.name + suffix: labels.get(family.name, set()) | ALWAYS
        for family in metrics.families()
        for suffix in SUFFIXES[family.type]
    }


def unseen() -> set[str]:
    """Metrics that no dashboard, alert or rule asks for."""
    asked = {name for _, expr in expressions() for name, _ in SERIES.findall(expr)}
    parts = ("_bucket", "_sum", "_count")
    known = series_of_the_gateway()
    plain = {name for name in known if not name.endswith(parts)}
    histograms = {name.removesuffix("_bucket") for name in known if name.endswith("_bucket")}
    seen = {name.removesuffix(part) for name in asked for part in parts}
    return (plain - asked) | (histograms - seen)
