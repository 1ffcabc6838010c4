"""Logs as events with fields: lines on a terminal, JSON for machines, secrets nowhere.

What a request turns out to be about, once known, is in every event that comes of it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType

import structlog
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

from gateway.records import Caller, Job

_TRACEBACKS = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
"""Where it happened, without the values of variables: headers with keys are among them."""
_request: ContextVar[Mapping[str, str | None]] = ContextVar("request", default=MappingProxyType({}))
"""What the request turned out to be about, of which everything that happens now comes. One variable
for all of it: it is set several times for each poll."""


def configure(log_format: str | None, level: str) -> None:
    """Set up all logging of this process; `log_format` None follows the terminal."""
    as_json = log_format == "json" or (log_format is None and not sys.stderr.isatty())
    shared: list[Processor] = [
        _add_request,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    ending: list[Processor] = (
        [_TRACEBACKS, structlog.processors.JSONRenderer()]
        if as_json
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(level.upper()),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # What libraries say looks like what we say.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        )
    )
    quiet = logging.WARNING if level != "debug" else logging.INFO
    logging.basicConfig(level=quiet, handlers=[handler], force=True)


def _add_request(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {**_request.get(), **event}


def begin_request(request_id: str) -> None:
    """From here on events are of this request, and of no earlier one on its connection."""
    _request.set({"request": request_id})


def note_caller(caller: Caller) -> None:
    """Events of this request are this user's."""
    _note(user=caller.user.name, team=caller.user.team)


def note_administrator(name: str) -> None:
    """Events of this request are this administrator's doing."""
    _note(administrator=name)


def note_job(job: Job) -> None:
    """Events of this request are about this job."""
    _note(job=job.id)


def _note(**fields: str | None) -> None:
    _request.set({**_request.get(), **fields})


def about(job: Job) -> dict[str, str | None]:
    """The fields by which events about a job name it and whose it is, whoever caused them."""
    return {"job": job.id, "user": job.user, "team": job.team}
