"""Dashboards, rules and runbooks as they are written agree with each other and with the metrics."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.metrics import PREFIX, Metrics
from grafana.pages import ANNOTATIONS, FOLDER, PAGES
from grafana.vocabulary import DASHBOARD_COLUMNS, Page

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "grafana" / "prometheus"
RULES = ("recording.yml", "alerts.yml")
TESTS = ("tests.yml", "tests_of_days.yml")
SEVERITIES = {"critical", "warning"}
SERIES = re.compile(r"\b(venice_gateway[_:][a-z0-9_:]+)(?:\{([^}]*)\})?")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",), "gauge": ("",)}
ALWAYS = {"instance", "job", "le"}


def rules(name: str) -> list[dict[str, Any]]:
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


def known() -> dict[str, set[str]]:
    """Every series that the gateway gives, with its labels."""
    metrics = Metrics()
    labels = {
        getattr(metric, "_name", ""): set(getattr(metric, "_labelnames", ()))
        for metric in vars(metrics).values()
    } | {f"{PREFIX}spend_usd": {"team", "model"}}
    return {
        family.name + suffix: labels.get(family.name, set()) | ALWAYS
        for family in metrics.registry.collect()
        for suffix in SUFFIXES[family.type]
    }


KNOWN = known()


def labels_of(name: str) -> set[str]:
    """The labels of a series, of a recorded one all of those that it was made of."""
    if name in KNOWN:
        return KNOWN[name]
    assert name in RECORDED, f"nobody makes {name}"
    return set().union(*(labels_of(made_of) for made_of, _ in SERIES.findall(RECORDED[name])))


def test_every_query_asks_for_what_there_is() -> None:
    for where, expr in expressions():
        found = SERIES.findall(expr)
        assert found or "up{" in expr, where
        for name, matchers in found:
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            assert asked <= labels_of(name), f"{where} asks {name} for {asked - labels_of(name)}"


def test_every_metric_but_a_few_is_on_a_dashboard() -> None:
    """What is worth measuring is worth seeing."""
    asked = {name for _, expr in expressions() for name, _ in SERIES.findall(expr)}
    unseen = {name for name in KNOWN if not name.endswith(("_sum", "_count", "_bucket"))} - asked
    histograms = {n.removesuffix("_bucket") for n in KNOWN if n.endswith("_bucket")}
    unseen |= {n for n in histograms if not {n + "_bucket", n + "_count"} & asked}
    assert unseen <= {f"{PREFIX}process_virtual_memory_bytes", f"{PREFIX}process_max_fds"}


def test_what_is_committed_is_what_is_generated() -> None:
    pytest.importorskip("grafana_foundation_sdk", reason="the dashboards were NOT generated")
    from grafana.build import written

    files = written()
    assert sorted(FOLDER.iterdir()) == sorted(files)
    for path, text in files.items():
        assert path.read_text("utf-8") == text, "run: make dashboards"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.uid)
def test_every_panel_answers_a_question_and_rows_are_full(page: Page) -> None:
    for row in page.rows:
        width = 0
        for panel in row.panels:
            assert panel.question.endswith(("?", ".")), panel.title
            assert len({query.legend for query in panel.queries}) == len(panel.queries)
            assert "team" not in panel.queries[0].legend or page.variables
            width = (width + panel.width) % DASHBOARD_COLUMNS
        assert width == 0, f"{page.title}, {row.title}: the last line is not full"
    titles = [panel.title for panel in page.panels]
    assert len(set(titles)) == len(titles)


def test_every_alert_says_what_it_means_and_has_its_page() -> None:
    pages = {path.name for path in (ROOT / "docs" / "runbooks").glob("*.md")}
    for rule in ALERTS:
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}, rule["alert"]
        assert rule["labels"]["severity"] in SEVERITIES
        page = ROOT / rule["annotations"]["runbook"]
        text = page.read_text("utf-8")
        assert f"Alert: `{rule['alert']}`" in text
        for part in ("## How to see it", "## What to do"):
            assert part in text, page.name
        pages.discard(page.name)
    assert pages == set(), "a page of no alert"


def test_runbooks_point_at_panels_that_exist() -> None:
    titles = {panel.title for page in PAGES for panel in page.panels}
    boards = {"Spend", "The shared key", "Videos", "Service"}
    for path in (ROOT / "docs" / "runbooks").glob("*.md"):
        named = re.findall(r"(?<!\*)\*([A-Z0-9][^*\n]+)\*", path.read_text("utf-8"))
        assert set(named) <= titles | boards, path.name


def test_every_alert_is_tested_to_fire_and_to_be_silent() -> None:
    cases: dict[str, set[bool]] = {rule["alert"]: set() for rule in ALERTS}
    document = yaml.safe_load((PROMETHEUS / TESTS[0]).read_text("utf-8"))
    for test in document["tests"]:
        for case in test.get("alert_rule_test", ()):
            given = len([s for s in test["input_series"] if "instance" in s["series"]])
            fired = len(case.get("exp_alerts", ()))
            cases[case["alertname"]] |= {fired > 0} | ({False} if 0 < fired < given else set())
    assert {name: found for name, found in cases.items() if found != {True, False}} == {}


@pytest.mark.parametrize(
    "words",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", *RULES),
        ("test", "rules", *TESTS),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_promtool_agrees(words: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: the rules of Prometheus are NOT checked")
    done = subprocess.run(
        [promtool, *words], cwd=PROMETHEUS, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
