"""The stand-in on a port of its own, with hands on its connections so that it can cut them."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.simulator.app import PREFIX, create_app
from gateway.simulator.delivery import CONNECTION_EXTENSION
from gateway.simulator.settings import SimulatorSettings

LOOPBACK = "127.0.0.1"
# Closing with a linger time of zero makes the kernel send a reset instead of an end.
_RESET = struct.pack("ii", 1, 0)
SHUTDOWN_SECONDS_MAX = 1
BACKLOG = 2048

Started = Callable[[str], None]


class _Connection:
    """What the application may do to the connection it answers on."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self, is_reset: bool) -> None:
        """Write what is still to be written, then end; a reset throws it away."""
        if is_reset:
            connection = self._transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()
        else:
            self._transport.close()


class _Protocol(HttpToolsProtocol):
    """uvicorn's own protocol, which hands the connection down with each request."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        extensions: dict[str, Any] = {CONNECTION_EXTENSION: _Connection(self.transport)}
        self.scope["extensions"] = extensions


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals alone and says when it listens."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started_callback = started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started_callback()


async def run_server(
    settings: SimulatorSettings,
    host: str = LOOPBACK,
    port: int = 0,
    started: Started | None = None,
) -> None:
    """Serve until cancelled. ``started`` is told the base URL, ending in ``/api/v1``.

    Raises OSError if the port cannot be had.
    """
    listener = _listener(host, port)
    origin = f"http://{host}:{listener.getsockname()[1]}"
    server = _Server(_configuration(settings), lambda: started and started(origin + PREFIX))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
    finally:
        listener.close()


def _listener(host: str, port: int) -> socket.socket:
    # With the protocol named, asyncio turns Nagle's delay off on every accepted connection.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _configuration(settings: SimulatorSettings) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(settings),
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS_MAX,
    )
