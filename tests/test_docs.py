"""What is documented is what there is: each way round, and the printed diagrams as they are."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from docs.print_diagrams import with_diagrams
from gateway.api.respond import TABLE
from gateway.cli.program import app
from gateway.metrics import PREFIX, Metrics
from gateway.settings import VARIABLES

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
DEPENDENCIES_MAX = 16


def rows(page: str) -> list[list[str]]:
    """The cells of every table row whose first cell is a name in code, of a page in docs/."""
    text = (DOCS / page).read_text("utf-8")
    lines = [line for line in text.splitlines() if re.match(r"\| (\d+ \| )?`", line)]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def first_column(page: str, column: int = 0) -> list[str]:
    return [row[column].strip("` ") for row in rows(page)]


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command as it is typed, `user add`."""
    command = command or typer.main.get_command(app)
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(path)
        return
    for name, each in inner.items():
        yield from commands(each, (*path, name))


def test_the_printed_diagrams_are_those_of_the_tables() -> None:
    text = (DOCS / "architecture.md").read_text("utf-8")
    assert with_diagrams(text) == text, "run: python -m docs.print_diagrams"


def test_a_diagram_that_was_edited_by_hand_is_noticed() -> None:
    text = (DOCS / "architecture.md").read_text("utf-8")
    assert with_diagrams(text.replace("sending --> refused", "sending --> lost")) == text


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    assert sorted(first_column("configuration.md")) == sorted(VARIABLES)


def test_every_error_is_documented_with_its_status_and_every_documented_one_exists() -> None:
    documented = [(int(row[0]), row[1].strip("`")) for row in rows("errors.md")]
    assert sorted(documented) == sorted(TABLE.values())


def test_every_metric_is_documented_with_its_type_and_labels_and_every_one_exists() -> None:
    documented = {
        row[0].strip("`"): (row[1], tuple(re.findall(r"`(\w+)`", row[3])))
        for row in rows("metrics.md")
    }
    assert documented == dict(families())


def families() -> Iterator[tuple[str, tuple[str, tuple[str, ...]]]]:
    metrics = Metrics()
    metrics.spend.values = {("film", "wan"): 1.0}
    labels = {
        name: tuple(getattr(metric, "_labelnames", ()))
        for metric in vars(metrics).values()
        for name in [getattr(metric, "_name", "")]
    }
    for family in metrics.registry.collect():
        own = (name for sample in family.samples for name in sample.labels if name != "le")
        known = labels.get(family.name) or tuple(dict.fromkeys(own))
        suffix = "_total" if family.type == "counter" else ""
        yield family.name.removeprefix(PREFIX) + suffix, (family.type, known)


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    assert sorted(first_column("commands.md")) == sorted(commands())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_documentation_exist(page: Path) -> None:
    known = set(commands())
    groups = {name.split()[0] for name in known if " " in name}
    for words in re.findall(r"venice-gateway ([a-z]+(?: [a-z]+)?)", page.read_text("utf-8")):
        first, _, second = words.partition(" ")
        if first in groups:
            assert f"{first} {second}" in known, f"{page.name} names `venice-gateway {words}`"


def test_the_dependencies_are_those_of_the_project_and_few() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = [re.split(r"[<>=~! \[]", name)[0] for name in project["dependencies"]]
    assert sorted(first_column("dependencies.md")) == sorted(declared)
    assert len(declared) <= DEPENDENCIES_MAX


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_documentation_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_the_documentation_names_are_there(page: Path) -> None:
    named = re.findall(r"`((?:gateway|tests|docs|policies)/[\w./-]*\w(?:/)?)`", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_decisions_are_numbered_without_gaps_and_say_all_three_things() -> None:
    records = sorted((DOCS / "decisions").glob("0*.md"))
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        text = record.read_text("utf-8")
        for part in ("**Context.**", "**Choice.**", "**Given up.**"):
            assert part in text, f"{record.name} lacks {part}"
