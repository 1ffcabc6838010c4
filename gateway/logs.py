"""Logs as events with fields: lines on a terminal, JSON for machines, secrets nowhere.

What a request turns out to be about, once known, is in every event that comes of it.
"""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, merge_contextvars
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

from gateway.records import Caller, Job

_TRACEBACKS = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
"""Where it happened, without the values of variables: headers with keys are among them."""


def configure(log_format: str | None, level: str) -> None:
    """Set up all logging of this process; `log_format` None follows the terminal."""
    as_json = log_format == "json" or (log_format is None and not sys.stderr.isatty())
    shared: list[Processor] = [
        merge_contextvars,
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


def begin_request(request_id: str) -> None:
    """From here on events are of this request, and of no earlier one on its connection."""
    clear_contextvars()
    bind_contextvars(request=request_id)


def note_caller(caller: Caller) -> None:
    """Events of this request are this user's."""
    bind_contextvars(user=caller.user.name, team=caller.user.team)


def note_administrator(name: str) -> None:
    """Events of this request are this administrator's doing."""
    bind_contextvars(administrator=name)


def note_job(job: Job) -> None:
    """Events of this request are about this job."""
    bind_contextvars(job=job.id)


def about(job: Job) -> dict[str, str | None]:
    """The fields by which events about a job name it and whose it is, whoever caused them."""
    return {"job": job.id, "user": job.user, "team": job.team}
