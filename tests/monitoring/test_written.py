"""Dashboards, rules and runbooks as they are written agree with each other and with the metrics."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from grafana.pages import FOLDER, PAGES
from grafana.vocabulary import DASHBOARD_COLUMNS, Page
from tests.missing import missing
from tests.monitoring.asked import (
    ALERTS,
    PROMETHEUS,
    RECORDED,
    SERIES,
    expressions,
    series_of_the_gateway,
)

ROOT = Path(__file__).parents[2]
RULES = ("recording.yml", "alerts.yml")
TESTS = ("tests.yml", "tests_of_days.yml")
SEVERITIES = {"critical", "warning"}
KNOWN = series_of_the_gateway()


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


def test_what_is_committed_is_what_is_generated() -> None:
    if find_spec("grafana_foundation_sdk") is None:
        missing("grafana_foundation_sdk is not installed: the dashboards were NOT generated")
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
        missing("promtool is not installed: the rules of Prometheus are NOT checked")
    done = subprocess.run(
        [promtool, *words], cwd=PROMETHEUS, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
