"""A receiver of notices on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook

SECRET = "whsec_c29tZXRoaW5nIHRoYXQgbm9ib2R5IGtub3dz"
SECONDS_MAX = 20.0


class Listener:
    """A receiver that verifies everything signed that it is sent; it can be made to fail."""

    def __init__(self, port: int = 0) -> None:
        self.heard: list[dict[str, Any]] = []
        self.arrived: list[bytes] = []
        """Header fields and bodies as they came, whatever was answered."""
        self.status = 204
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                head = f"{self.requestline}\n{self.headers}"
                listener.arrived.append(head.encode() + body)
                if listener.status == 204 and listener.url.endswith(self.path):
                    listener.heard.append(Webhook(SECRET).verify(body, dict(self.headers)))
                self.send_response(listener.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self.unsigned_url = f"http://127.0.0.1:{self._server.server_port}/unsigned"
        """For formats without a signature: what comes there is kept as it arrived, no more."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def subjects(self, event: str) -> list[str]:
        """What was told of an event, in order."""
        return [said["data"]["subject"] for said in self.heard if said["type"] == event]

    def told_of(self, event: str, subject: str) -> list[dict[str, Any]]:
        """What was told of an event of a subject, in order."""
        found = (said["data"] for said in self.heard if said["type"] == event)
        return [data for data in found if data["subject"] == subject]

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


def until(is_so: Callable[[], Any]) -> None:
    """Return once something is so."""
    deadline = time.monotonic() + SECONDS_MAX
    while not is_so():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.05)
