"""The files of `policies/` as one document, every value the text that was written.

YAML's own typing is not used (`16:9`, `5.10` and `on` stay what they are), and neither are its
aliases, anchors and tags. Each value's file and line are kept; nothing here knows what it means.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

FILE_BYTES_MAX = 2**20
"""A file of rules has a few kilobytes; a larger one is something else by mistake."""
FILES_MAX = 100
DEPTH_MAX = 12
"""The deepest rule is six levels down."""
SHARED_SECTIONS = frozenset({"policies", "teams"})
"""Sections that several files may add names to; any other belongs to one file."""

Value = str | None | list["Value"] | dict[str, "Value"]
Path_ = tuple[str | int, ...]
_Loader: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something is written: a file's name, and a line, counted from 1."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the policies; `line` is None where no single line is at fault."""

    file: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.reason}"


class BadPolicy(Exception):
    """The policies cannot be used; `problems` has every reason found."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


@dataclass
class Document:
    """All files together."""

    sections: dict[str, Value] = field(default_factory=dict)
    places: dict[Path_, Place] = field(default_factory=dict)
    version: str = ""
    """The beginning of the SHA-256 over all names and contents."""
    unread: tuple[str, ...] = ()
    """Files that look like policies but are not read: those called `*.yml`."""


def read_folder(folder: Path) -> Document:
    """Everything in the folder's `*.yaml`; `BadPolicy` with every problem found."""
    return _joined(_files(folder), sorted(path.name for path in folder.glob("*.yml")))


def read_alone(file: Path) -> Document:
    """One file as if it were all there is; `BadPolicy` with every problem found."""
    return _joined([file])


def _joined(paths: Iterable[Path], unread: Iterable[str] = ()) -> Document:
    document = Document(unread=tuple(unread))
    digest = hashlib.sha256()
    problems: list[Problem] = []
    for path in paths:
        try:
            content = _content(path)
            digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
            _add(document, *_read(path.name, content))
        except BadPolicy as error:
            problems += error.problems
    if problems:
        raise BadPolicy(problems)
    document.version = digest.hexdigest()[:12]
    return document


def _files(folder: Path) -> list[Path]:
    """The files to read, by name. Hidden ones belong to editors."""
    try:
        paths = sorted(p for p in folder.iterdir() if p.suffix == ".yaml" and p.name[0] != ".")
    except OSError as error:
        raise _bad(str(folder), None, f"this folder cannot be read: {error.strerror}") from None
    if not paths:
        raise _bad(str(folder), None, "no *.yaml file is here, so there is no policy `default`")
    if len(paths) > FILES_MAX:
        raise _bad(str(folder), None, f"more than {FILES_MAX} files are here")
    return paths


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise _bad(path.name, None, f"it cannot be read: {error.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise _bad(path.name, None, f"it is larger than {FILE_BYTES_MAX} bytes")
    return content


def _read(file: str, content: bytes) -> tuple[dict[str, Value], dict[Path_, Place]]:
    """The sections of one file and where each of their values is."""
    try:
        events = yaml.parse(content.decode("utf-8-sig"), Loader=_Loader)
        return _Builder(file, events).document()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _bad(file, line, "it is not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "it is not YAML"
        raise _bad(file, mark.line + 1 if mark else None, reason) from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise _bad(file, None, f"it is not YAML: {reason}") from None


def _add(document: Document, found: Mapping[str, Value], places: Mapping[Path_, Place]) -> None:
    """Put one file's sections to the others'; what is given twice is a problem."""
    problems = []
    for section, value in found.items():
        present = document.sections.get(section)
        if section not in document.sections:
            document.sections[section] = value
        elif section in SHARED_SECTIONS and isinstance(present, dict) and isinstance(value, dict):
            problems += [
                _twice((section, name), document.places, places)
                for name in value
                if name in present
            ]
            present.update(value)
        else:
            problems.append(_twice((section,), document.places, places))
    if problems:
        raise BadPolicy(problems)
    for path, place in places.items():
        document.places.setdefault(path, place)


def _twice(path: Path_, before: Mapping[Path_, Place], now: Mapping[Path_, Place]) -> Problem:
    first, second = before[path], now[path]
    name = ".".join(map(str, path))
    return Problem(second.file, second.line, f"{name} is already in {first.file}:{first.line}")


def _bad(file: str, line: int | None, reason: str) -> BadPolicy:
    return BadPolicy([Problem(file, line, reason)])


class _Builder:
    """Turns the parser's events into values, refusing what policies have no use for."""

    def __init__(self, file: str, events: Iterator[Event]) -> None:
        self._file = file
        self._events = events
        self._places: dict[Path_, Place] = {}

    def document(self) -> tuple[dict[str, Value], dict[Path_, Place]]:
        """The one document of the file; none at all where there are only comments."""
        root: dict[str, Value] = {}
        documents = 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._bad(event, "a second YAML document begins; use a file for each")
                first = next(self._events)
                value = self._value(first, ())
                if not isinstance(value, dict):
                    raise self._bad(first, "the file must hold names with values, like version: 1")
                root = value
        return root, self._places

    def _value(self, event: Event, path: Path_) -> Value:
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
            raise self._bad(event, "anchors (&) and aliases (*) are not used in policies")
        if getattr(event, "tag", None) is not None:
            raise self._bad(
                event, "tags (!) are not used in policies; quote a text beginning with !"
            )
        if len(path) > DEPTH_MAX:
            raise self._bad(event, f"more than {DEPTH_MAX} levels")
        self._places.setdefault(path, self._place(event))
        if isinstance(event, ScalarEvent):
            is_null = event.implicit[0] and event.value in ("", "~", "null", "Null", "NULL")
            return None if is_null else str(event.value)
        if isinstance(event, SequenceStartEvent):
            return self._list(path)
        assert isinstance(event, MappingStartEvent)
        return self._mapping(path)

    def _list(self, path: Path_) -> list[Value]:
        items: list[Value] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path_) -> dict[str, Value]:
        fields: dict[str, Value] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            name = self._name(event)
            if name in fields:
                raise self._bad(event, f"{'.'.join(map(str, (*path, name)))} is given twice")
            # A problem with a value is looked for where its name stands.
            self._places[*path, name] = self._place(event)
            fields[name] = self._value(next(self._events), (*path, name))
        return fields

    def _name(self, event: Event) -> str:
        if not isinstance(event, ScalarEvent) or not event.value:
            raise self._bad(event, "a name must be a plain text")
        if event.anchor is not None or event.tag is not None:
            raise self._bad(event, "anchors (&) and tags (!) are not used in policies")
        return str(event.value)

    def _place(self, event: Event) -> Place:
        mark = event.start_mark
        assert mark is not None
        return Place(self._file, mark.line + 1)

    def _bad(self, event: Event, reason: str) -> BadPolicy:
        place = self._place(event)
        return _bad(place.file, place.line, reason)
