"""The baseline for polls: a Starlette application that answers a constant, served as we serve."""

from __future__ import annotations

import socket

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_ANSWER = '{"status":"PROCESSING","average_execution_time":115000,"execution_duration":53200}'


async def _retrieve(request: Request) -> Response:
    return Response(_ANSWER, media_type="application/json")


def main() -> None:
    """Serve on a free loopback port and print it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(listener.getsockname()[1], flush=True)
    app = Starlette(routes=[Route("/api/v1/video/retrieve", _retrieve, methods=["POST"])])
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
