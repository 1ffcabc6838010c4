"""Runs a gateway on its port until it is told to stop, with the stand-in beside it if wanted."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from pydantic import SecretStr
from starlette.types import ASGIApp

from gateway.app import Gateway
from gateway.protocol import CarefulProtocol, close_late
from gateway.settings import Settings, SettingsRefused
from gateway.simulator.server import run_server
from gateway.simulator.settings import DEFAULT_BILLING_KEY, SimulatorSettings

DRAIN_SECONDS = 10
"""From the signal to the end: what is sent is finished, what waits is let go at once."""
BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 s of common proxies in front, so that they close first."""
LOOK_TICKS = 5
"""Twice a second slow connections are looked for."""
SIMULATOR_STAMP = "simulator"
_log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """A uvicorn server that closes slow connections, and leaves signals to us: its own way ends
    the process before we have.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Called every tenth of a second."""
        if counter % LOOK_TICKS == 0:
            close_late(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)


def _obey_signals(server: uvicorn.Server, gateway: Gateway) -> None:
    """Drain and stop on SIGTERM and SIGINT, at once on the second; reload rules on SIGHUP."""
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        gateway.drain()
        server.handle_exit(number, None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    loop.add_signal_handler(signal.SIGHUP, gateway.reload_rules)


def listen(host: str, port: int) -> socket.socket:
    """The listening socket; `SettingsRefused` where the address cannot be had."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        # The protocol is named so that answers are not held back by Nagle's algorithm.
        listener = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        raise SettingsRefused(
            f"Cannot listen on {host} port {port}: {error.strerror or error}. Set VGW_PORT to a "
            "free port, or stop what uses this one."
        ) from error
    listener.setblocking(False)
    return listener


async def serve(
    settings: Settings,
    *,
    simulator: SimulatorSettings | None,
    ready: Callable[[Gateway, str], Awaitable[None]],
) -> None:
    """Serve until a signal; `ready` is awaited, with gateway and address, before it answers."""
    async with contextlib.AsyncExitStack() as stack:
        url, stamp, key = settings.upstream_url, settings.upstream_url, settings.venice_api_key
        if simulator is not None:
            url = await stack.enter_async_context(_simulating(simulator))
            stamp, key = SIMULATOR_STAMP, SecretStr("simulated-organization-key")
            billing = {"venice_billing_key": SecretStr(DEFAULT_BILLING_KEY)}
            settings = settings.model_copy(update=billing)
        listener = listen(settings.host, settings.port)
        stack.callback(listener.close)
        settings = _with_port(settings, listener.getsockname()[1])
        gateway = await stack.enter_async_context(
            Gateway(settings, url, stamp, key or settings.require_api_key())
        )
        own = settings.listening_url
        gateway.announce(own)
        server = _Server(_config(gateway.asgi))
        _obey_signals(server, gateway)
        await stack.enter_async_context(_metrics_apart(gateway))
        await ready(gateway, own)
        # What was read at the start stays: the search for garbage, in which nobody is answered, is
        # short where it leaves that out.
        gc.freeze()
        _log.info("service.ready", url=own, upstream=stamp)
        await server.serve(sockets=[listener])
        await gateway.finish_orders(DRAIN_SECONDS)
        _log.info("service.stopped")


@asynccontextmanager
async def _metrics_apart(gateway: Gateway) -> AsyncIterator[None]:
    """Metrics and probes on a port of their own, where the settings want one."""
    port = gateway.settings.metrics_port
    if port is None:
        yield
        return
    listener = listen(gateway.settings.host, port)
    server = _Server(_config(gateway.watched))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
        listener.close()


def _with_port(settings: Settings, port: int) -> Settings:
    """The settings with the port that was really given, where any free one was asked for."""
    if settings.port:
        return settings
    public_url = settings.public_url.removesuffix(":0") + f":{port}"
    is_own = settings.public_url.endswith(":0")
    changes = {"port": port, **({"public_url": public_url} if is_own else {})}
    return settings.model_copy(update=changes)


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=CarefulProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        backlog=BACKLOG,
    )


@asynccontextmanager
async def _simulating(settings: SimulatorSettings) -> AsyncIterator[str]:
    """The stand-in on a loopback port, the same one as last time where it is still free.

    Its links name its port, and they outlive a restart of both.
    """
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    last = settings.data_dir / "port" if settings.data_dir is not None else None
    task = asyncio.create_task(_run_simulator(settings, last, started.set_result))
    waited: set[asyncio.Future[Any]] = {task, started}
    try:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            await task
        yield started.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _run_simulator(
    settings: SimulatorSettings, last: Path | None, started: Callable[[str], None]
) -> None:
    def remember(url: str) -> None:
        if last is not None:
            last.parent.mkdir(parents=True, exist_ok=True)
            last.write_text(url.rsplit(":", 1)[1].split("/", 1)[0], "ascii")
        started(url)

    try:
        await run_server(settings, port=_last_port(last), started=remember)
    except OSError:
        await run_server(settings, port=0, started=remember)


def _last_port(last: Path | None) -> int:
    try:
        return int(last.read_text("ascii")) if last is not None else 0
    except (OSError, ValueError):
        return 0
