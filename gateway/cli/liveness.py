"""`doctor --live`: whether the gateway of these settings answers, and nothing more.

Whoever watches a container asks this every few seconds, so it reads two settings, imports nothing
that takes long, and speaks to nobody but the gateway itself.
"""

from __future__ import annotations

import http.client
import tomllib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

LIVE_SECONDS_MAX = 2.0
"""Less than the three seconds after which a container's health check counts as failed."""
COMMAND = ("doctor", "--live")
"""What is typed; any other spelling of it does the same, only not as soon."""
_HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked up, not bound
_SETTINGS_FILE = "gateway.toml"


def main(environ: Mapping[str, str]) -> int:
    """Print what was found as `doctor` prints its checks; the exit status."""
    is_well, message = found(environ)
    print(f"{'ok' if is_well else 'problem':8} {'gateway':16} {message}")
    return 0 if is_well else 1


def found(environ: Mapping[str, str]) -> tuple[bool, str]:
    """Whether the gateway of these settings answers, and that in words."""
    url = listening_url(environ)
    if is_live(url):
        return True, f"it answers at {url}"
    return False, f"nothing answers at {url}/livez. Start it: serve."


def is_live(url: str) -> bool:
    """Whether a gateway answers there, through no proxy; nothing else of it is asked."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port, timeout=LIVE_SECONDS_MAX
    )
    try:
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        return answer.status == 200 and answer.read(16) == b"ok\n"
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


def listening_url(environ: Mapping[str, str], cwd: Path = Path()) -> str:
    """Where a gateway with these settings listens, as `Settings.listening_url` has it.

    What cannot be used as a setting is no matter here: no gateway has started with it.
    """
    file = _file(cwd / _SETTINGS_FILE)
    host = environ.get("VGW_HOST") or file.get("VGW_HOST") or "127.0.0.1"
    port = environ.get("VGW_PORT") or ""
    # Kubernetes puts `tcp://…` there where a service is called `vgw`.
    port = port if port.isdecimal() else file.get("VGW_PORT") or "8080"
    host = _HERE.get(host, host).strip("[]")
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _file(path: Path) -> dict[str, str]:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {name.upper(): str(value) for name, value in document.items()}
