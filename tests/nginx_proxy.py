"""nginx between clients and a gateway, as many an organization has it, and as unkind as it can be
set: it waits little for an answer, and then sends the order again by itself.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS_MAX = 10.0
READ_SECONDS = 1
"""What it waits for an answer: less than an order may take."""
PROGRAM = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
_CONFIG = """
daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    upstream gateway {{
        # The same one twice, so that there is a next one to try.
        server 127.0.0.1:{to} max_fails=0;
        server 127.0.0.1:{to} max_fails=0;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://gateway;
            proxy_set_header Host $host;
            proxy_read_timeout {seconds}s;
            proxy_next_upstream error timeout http_500 http_502 http_503 http_504 non_idempotent;
            proxy_next_upstream_tries 2;
        }}
    }}
}}
"""


@contextmanager
def nginx_before(port_of_gateway: int, folder: Path) -> Iterator[str]:
    """The URL of an nginx before a gateway; only where nginx is installed."""
    assert PROGRAM is not None, "asked for only where nginx is installed"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folder.mkdir()
    folder.chmod(0o755)
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(port=port, to=port_of_gateway, seconds=READ_SECONDS))
    command = [PROGRAM, "-p", str(folder), "-c", str(config), "-e", "stderr"]
    process = subprocess.Popen(command, cwd=folder)
    try:
        _await_listener(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _await_listener(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise TimeoutError("nginx did not listen; its reason is on stderr")
