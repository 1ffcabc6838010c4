"""Traces show where a request's time goes, carry no secret, and are not there unless asked for."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.core.retry import Endpoint
from gateway.traces import Traces, open_traces
from gateway.upstream.client import VeniceClient
from tests.gateway_process import ORGANIZATION_KEY, ROOT, GatewayProcess
from tests.missing import missing
from tests.promises.asking import MODEL, Client, order
from tests.simulator_process import SimulatorProcess
from tests.upstream.clients import OK_JSON
from tests.upstream.raw_server import raw_server, saying

service: Any = None
with suppress(ImportError):
    service = import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
PROMPT = "CANARY-prompt-of-a-traced-film"
SPANS_SECONDS_MAX = 20.0


@pytest.fixture(autouse=True)
def the_extra() -> None:
    """Everything here needs it."""
    if service is None:
        missing("the extra `otel` is not installed: traces are NOT tested")


class Collector:
    """Takes what is exported over HTTP, and keeps it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        collector = self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.bodies.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def spans(self) -> list[Any]:
        found = []
        for body in list(self.bodies):
            request = service.ExportTraceServiceRequest.FromString(body)
            found += [
                span
                for resource in request.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            ]
        return found

    def wait_for(self, *names: str) -> dict[str, Any]:
        """The spans of these names, once all are here."""
        deadline = time.monotonic() + SPANS_SECONDS_MAX
        while True:
            found = {span.name: span for span in self.spans()}
            if set(names) <= set(found):
                return found
            assert time.monotonic() < deadline, f"only {sorted(found)}"
            time.sleep(0.05)


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    with found.running():
        yield found


@pytest.fixture
def traced(collector: Collector, tmp_path: Path) -> Iterator[GatewayProcess]:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with (
        SimulatorProcess(speed=300, seed=1, no_limits=True) as simulator,
        GatewayProcess(tmp_path, simulator, settings=settings) as running,
    ):
        yield running


async def test_an_order_is_one_trace_from_the_client_to_venice(
    traced: GatewayProcess, collector: Collector
) -> None:
    async with Client(traced) as client:
        answer = await client.queue(order(PROMPT), traceparent=f"00-{TRACE}-{PARENT}-01")
        assert answer.status_code == 200
        await client.finished(answer.json()["queue_id"])
        await client.get(f"/api/v1/{traced.user_key}")
    spans = collector.wait_for("queue", "venice queue", "venice quote", "venice retrieve", "other")
    door = spans["queue"]
    assert (door.trace_id.hex(), door.parent_span_id.hex()) == (TRACE, PARENT)
    for name in ("venice quote", "venice queue"):
        assert spans[name].trace_id == door.trace_id, name
        assert spans[name].parent_span_id == door.span_id, name
    # The tracker looks by itself, whoever ordered.
    assert spans["venice retrieve"].trace_id != door.trace_id
    facts = {fact.key: fact.value for fact in door.attributes}
    assert facts["gateway.request"].string_value == answer.headers["x-request-id"]
    assert facts["http.response.status_code"].int_value == 200
    traced.terminate()
    told = b"".join(collector.bodies)
    secrets = (PROMPT, ORGANIZATION_KEY, traced.user_key, MODEL, "anna")
    assert [text for text in secrets if text.encode() in told] == []


@pytest.mark.parametrize(
    ("fault", "status", "why"),
    [({"status": 503}, 503, ""), ({"drop": True}, 0, "lost")],
    ids=["refused", "lost"],
)
async def test_each_attempt_of_a_call_that_is_sent_again_is_a_span_of_its_door(
    traced: GatewayProcess, collector: Collector, fault: dict[str, Any], status: int, why: str
) -> None:
    traced.simulator.faults([{"endpoint": "quote", "action": fault, "times": 1}])
    priced = {"model": MODEL, "duration": "5s", "resolution": "480p"}
    async with Client(traced) as client:
        answer = await client.post("quote", priced, traceparent=f"00-{TRACE}-{PARENT}-01")
    assert answer.status_code == 200
    door = collector.wait_for("quote")["quote"]
    attempts = [span for span in collector.spans() if span.name == "venice quote"]
    attempts.sort(key=lambda span: span.start_time_unix_nano)
    whose = [(span.trace_id, span.parent_span_id) for span in attempts]
    assert whose == [(door.trace_id, door.span_id)] * 2
    assert door.trace_id.hex() == TRACE
    told = [_facts(span) for span in [*attempts, door]]
    statuses = [facts["http.response.status_code"].int_value for facts in told]
    assert statuses == [status, 200, 200]
    assert [facts["error.type"].string_value for facts in told] == [why, "", ""]


def _facts(span: Any) -> defaultdict[str, Any]:
    """What is noted of a span; nothing for a fact that is not."""
    nothing = import_module("opentelemetry.proto.common.v1.common_pb2").AnyValue
    return defaultdict(nothing, {fact.key: fact.value for fact in span.attributes})


async def test_the_trace_goes_on_in_the_call_to_venice_and_not_to_anybody_else(
    collector: Collector,
) -> None:
    traces = _open(collector)
    headers: dict[str, str] = {}
    async with raw_server(saying(OK_JSON)) as server:
        client = VeniceClient(server.url, SecretStr("a-key"), traces=traces)
        with traces.door({"traceparent": f"00-{TRACE}-{PARENT}-01"}):
            await client.send(Endpoint.QUOTE, "POST", "/video/quote", {"model": MODEL})
            with traces.attempt(Endpoint.DOWNLOAD, None), traces.attempt(Endpoint.QUOTE, headers):
                pass
        await client.close()
    carried = re.search(rb"traceparent: 00-(\w{32})-(\w{16})-01", server.requests[0])
    assert carried is not None
    assert carried[1].decode() == TRACE
    await traces.close()
    (first, *_) = [span for span in collector.spans() if span.name == "venice quote"]
    assert carried[2].decode() == first.span_id.hex()
    assert headers["traceparent"].startswith(f"00-{TRACE}-")


async def test_what_fails_is_told_by_its_kind_and_not_by_its_words(collector: Collector) -> None:
    traces = _open(collector)
    with pytest.raises(ValueError, match=PROMPT), traces.door({}):
        raise ValueError(PROMPT)
    await traces.close()
    (span,) = collector.spans()
    assert [fact.value.string_value for fact in span.attributes] == ["ValueError"]
    assert PROMPT.encode() not in b"".join(collector.bodies)


def _open(collector: Collector) -> Traces:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    provider = TracerProvider()
    exporter = OTLPSpanExporter(endpoint=f"{collector.url}/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Traces(provider)


def test_nothing_of_it_is_imported_unless_it_is_on() -> None:
    program = (
        "import sys, gateway.server, gateway.traces as traces; traces.open_traces({}); "
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"


def test_the_usual_switch_of_opentelemetry_turns_it_off() -> None:
    there = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    assert open_traces({**there, "OTEL_SDK_DISABLED": "true"}) is None


def test_a_collector_that_is_gone_holds_up_neither_requests_nor_the_stop(
    tmp_path: Path,
) -> None:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    with (
        SimulatorProcess(speed=300, seed=1, no_limits=True) as simulator,
        GatewayProcess(tmp_path, simulator, settings=settings) as running,
    ):
        assert running.metrics()
        assert running.terminate() < 8.0
