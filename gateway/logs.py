"""Logs as events with fields: lines on a terminal, JSON for machines, secrets nowhere."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

_TRACEBACKS = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
"""Where it happened, without the values of variables: headers with keys are among them."""


def configure(log_format: str | None, level: str) -> None:
    """Set up all logging of this process; `log_format` None follows the terminal."""
    as_json = log_format == "json" or (log_format is None and not sys.stderr.isatty())
    shared: list[Processor] = [
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
    logging.basicConfig(
        level=logging.WARNING if level != "debug" else logging.INFO,
        stream=sys.stderr,
        format="%(levelname)s %(name)s %(message)s",
        force=True,
    )
