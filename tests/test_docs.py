"""What is documented is what there is: each way round, and the printed diagrams as they are."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args

import pytest
import typer
import yaml
from pydantic import BaseModel

from docs.print_diagrams import with_diagrams
from docs.print_screens import SCREENS
from gateway.api.respond import TABLE
from gateway.api.routes import DOORS
from gateway.cli.adoption import COLUMNS
from gateway.cli.program import app
from gateway.cli.snippets import SNIPPETS
from gateway.core.policy import Rulebook
from gateway.metrics import PREFIX, Metrics
from gateway.policies import load_rules
from gateway.settings import VARIABLES, load_settings
from tests.monitoring.asked import unseen

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
DEPENDENCIES_MAX = 16
PICTURE_CHARACTERS_MAX = 60_000
POLICY_SECTIONS = {"version", "organization", "teams", "policies"}
UNSEEN = {f"{PREFIX}process_virtual_memory_bytes", f"{PREFIX}process_max_fds"}
"""Metrics that need no panel: nobody ever looks for these two, which come with their neighbours."""
COMMAND = re.compile(r"venice-gateway ((?:[a-z]|[^\S\n])(?:[^\n`#|)]|\\\n)*)")


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


def test_every_door_is_documented_with_its_methods_and_every_documented_one_exists() -> None:
    there = {(method, door.path) for door in DOORS.values() for method in door.methods or ()}
    documented = [door.split() for door in first_column("doors.md")]
    told = {(method, path) for *methods, path in documented for method in methods}
    told |= {("HEAD", path) for method, path in told if method == "GET"}
    assert told == there


def test_every_picture_is_of_a_command_that_exists_small_and_on_a_page() -> None:
    known = set(commands())
    for words in SCREENS.values():
        assert " ".join(words[:2]) in known or words[0] in known, words
    pictures = sorted((DOCS / "images").glob("*.svg"))
    assert [picture.name for picture in pictures] == sorted(f"{name}.svg" for name in SCREENS)
    shown = {
        name for page in PAGES for name in re.findall(r"images/([\w-]+\.svg)", page.read_text())
    }
    assert shown == {picture.name for picture in pictures}
    for picture in pictures:
        text = picture.read_text("utf-8")
        assert len(text) < PICTURE_CHARACTERS_MAX
        assert "venice-gateway&#160;" in text
        assert re.findall(r"url\((?!#)|@import|vgw_\w{10}_|vga_", text) == []


def policy_fields(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Every field of policy files as it is documented, `teams.NAME.pool`."""
    for name, field in model.model_fields.items():
        inner = next(iter(_inner(field.annotation)), None)
        if inner is None:
            yield path + name
        else:
            between = {"teams": "NAME.", "policies": "NAME.", "per_model": "PATTERN."}
            yield from policy_fields(inner, f"{path}{name}.{between.get(name, '')}")


def _inner(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _inner(part)


def test_every_field_of_the_policies_is_documented_and_every_documented_one_exists() -> None:
    known = {*policy_fields(Rulebook), "policies.NAME.extends"}
    assert sorted(first_column("policies.md")) == sorted(known)


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
    metrics.spend.show({("film", "wan"): 1_000_000})
    labels = {
        name: tuple(getattr(metric, "_labelnames", ()))
        for metric in vars(metrics).values()
        for name in [getattr(metric, "_name", "")]
    }
    for family in metrics.families():
        own = (name for sample in family.samples for name in sample.labels if name != "le")
        known = labels.get(family.name) or tuple(dict.fromkeys(own))
        suffix = "_total" if family.type == "counter" else ""
        yield family.name.removeprefix(PREFIX) + suffix, (family.type, known)


def test_every_metric_is_asked_for_by_a_dashboard_or_an_alert() -> None:
    """What is worth measuring is worth seeing: give it a panel in `grafana/pages/`."""
    assert unseen() <= UNSEEN


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


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    found = re.findall(
        rf"^( *)```{language}\n(.*?)^ *```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return [dedent(text) for _, text in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_of_commands_in_the_documentation_exist(page: Path) -> None:
    known = options()
    for line in COMMAND.findall(page.read_text("utf-8")):
        words = line.split()
        name = next((n for n in (" ".join(words[:2]), words[0]) if n in known), None)
        for option in re.findall(r"(?<=\s)--[a-z-]+", line) if name else ():
            assert option in known[str(name)], f"{page.name} gives `{name}` an option {option}"


def options(command: Any = None, path: tuple[str, ...] = ()) -> dict[str, set[str]]:
    """The options of every command, by the command as it is typed."""
    command = command or typer.main.get_command(app)
    inner = getattr(command, "commands", None)
    if inner is None:
        return {" ".join(path): {"--help"} | {o for p in command.params for o in p.opts}}
    found: dict[str, set[str]] = {}
    for name, each in inner.items():
        found |= options(each, (*path, name))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_policies_and_settings_in_the_documentation_can_be_used(page: Path, tmp_path: Path) -> None:
    for text in blocks(page, "yaml"):
        document = yaml.safe_load(text)
        if not set(document) <= POLICY_SECTIONS:
            continue
        if "default" not in document.get("policies", {}):
            shutil.copy(ROOT / "policies" / "default.yaml", tmp_path)
        (tmp_path / "page.yaml").write_text(text)
        load_rules(tmp_path)
    for text in blocks(page, "toml"):
        (tmp_path / "gateway.toml").write_text(text)
        load_settings({}, simulator=True, cwd=tmp_path)


def test_every_page_is_in_the_navigation_once_and_every_entry_is_a_page() -> None:
    document = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    listed = list(entries(document["nav"]))
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def entries(navigation: Any) -> Iterator[str]:
    """The pages of a navigation, however deep."""
    if isinstance(navigation, str):
        yield navigation
        return
    for inner in navigation.values() if isinstance(navigation, dict) else navigation:
        yield from entries(inner)


def test_the_first_page_leads_to_every_page_but_single_decisions() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", (DOCS / "index.md").read_text("utf-8"))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert set(linked) == {p for p in pages if not re.match(r"decisions/\d", p)} - {"index.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_heading_that_the_documentation_links_to_is_there(page: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text("utf-8")):
        text = (page.parent / target).read_text("utf-8") if target else page.read_text("utf-8")
        titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        slugs = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
        assert heading in slugs, f"{page.name} links to {target}#{heading}"


def test_every_client_with_a_snippet_is_on_the_users_page() -> None:
    text = (DOCS / "start" / "user.md").read_text("utf-8")
    assert [client for client in SNIPPETS if f"`{client}`" not in text] == []


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
    named = re.findall(
        r"`((?:gateway|tests|docs|policies|deploy)/[\w./-]*\w(?:/)?)`", page.read_text()
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_decisions_are_numbered_without_gaps_and_say_all_three_things() -> None:
    records = sorted((DOCS / "decisions").glob("0*.md"))
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        text = record.read_text("utf-8")
        for part in ("**Context.**", "**Choice.**", "**Given up.**"):
            assert part in text, f"{record.name} lacks {part}"


def test_the_columns_of_an_adopted_file_are_documented_and_its_sample_has_no_others() -> None:
    page = DOCS / "how-to" / "move-from-direct-use.md"
    cells = [name for row in rows("how-to/move-from-direct-use.md") for name in row[0].split(", ")]
    assert sorted(name.strip("`") for name in cells) == sorted(COLUMNS)
    (sample,) = blocks(page, "csv")
    head, *lines = sample.splitlines()
    assert set(head.split(",")) <= set(COLUMNS)
    assert {line.count(",") for line in lines} == {head.count(",")}
