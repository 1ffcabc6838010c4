"""Traces by OpenTelemetry, where the environment names a collector and `otel` is installed.

Where it does not, nothing of OpenTelemetry is imported. Spans carry names, statuses and outcomes:
no key, prompt, link, user or path as it was asked for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

import gateway
from gateway.core.retry import Endpoint
from gateway.ports import Span

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Either turns traces on, as with any program that OpenTelemetry's own libraries are in."""
FLUSH_SECONDS = 2.0
"""At the stop: what a collector does not take in this time is lost, and the stop goes on."""

_log = structlog.get_logger(__name__)


def open_traces(environ: Mapping[str, str]) -> Traces | None:
    """The traces that the environment asks for; None where it asks for none, or cannot have them.

    The usual `OTEL_*` variables are honoured: sampling, headers, the service's name.
    """
    if not any(environ.get(name) for name in ENDPOINTS):
        return None
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        # A collector may be named for every program of a machine: that is no reason not to start.
        _log.warning("traces.off", why="the extra `otel` is not installed")
        return None
    name = environ.get("OTEL_SERVICE_NAME") or "venice-gateway"
    facts = {"service.name": name, "service.version": gateway.__version__}
    provider = TracerProvider(resource=Resource.create(facts))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _log.info("traces.on")
    return Traces(provider)


class _Span:
    """One of OpenTelemetry's, as the port has them."""

    __slots__ = ("_span",)

    def __init__(self, span: Any) -> None:
        self._span = span

    def note(self, name: str, value: str | int) -> None:
        """Record a fact."""
        self._span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        """Call it by what it turned out to be."""
        self._span.update_name(name)

    def fail(self, why: str) -> None:
        """It did not do what it was for."""
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attribute("error.type", why)
        self._span.set_status(Status(StatusCode.ERROR))


class Traces:
    """The port `Traces` over one provider; it is no global one."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("gateway", gateway.__version__)
        self._context = TraceContextTextMapPropagator()
        self._incoming, self._outgoing = SpanKind.SERVER, SpanKind.CLIENT

    @contextmanager
    def door(self, headers: Mapping[str, str]) -> Iterator[Span]:
        """A request has come in; a client's own trace goes on in ours."""
        with self._span("request", self._incoming, self._context.extract(headers)) as span:
            yield span

    @contextmanager
    def attempt(
        self, endpoint: Endpoint, headers: MutableMapping[str, str] | None
    ) -> Iterator[Span]:
        """A call goes out, and the trace with it, unless there are no headers to carry it."""
        with self._span(f"venice {endpoint}", self._outgoing) as span:
            if headers is not None:
                self._context.inject(headers)
            span.note("venice.endpoint", endpoint)
            yield span

    @contextmanager
    def _span(self, name: str, kind: Any, context: Any = None) -> Iterator[Span]:
        # What an exception says may quote a request, so it is not recorded.
        with self._tracer.start_as_current_span(
            name, context, kind=kind, record_exception=False, set_status_on_exception=False
        ) as inner:
            span = _Span(inner)
            try:
                yield span
            except BaseException as error:
                span.fail(type(error).__name__)
                raise

    async def close(self) -> None:
        """Hand over what is left, for so long as a stop can wait."""
        # A daemon: a collector that hangs must not keep the process.
        flushing = threading.Thread(target=self._provider.shutdown, daemon=True)
        flushing.start()
        await asyncio.to_thread(flushing.join, FLUSH_SECONDS)
