"""What `snippets` prints works when it is pasted, with a key in the place that is left for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.snippets import KEY, SNIPPETS
from tests.gateway_process import GatewayProcess

CLIENTS = """venice-py veniceai-cli venice-sdk venice-video-harness mcp python node curl n8n
powershell""".split()
PROGRAMS = {
    "curl": ("sh", "sh"),
    "python": (sys.executable, "py"),
    "node": ("node", "mjs"),
}


@pytest.mark.parametrize("client", PROGRAMS)
def test_a_pasted_snippet_gets_a_whole_video(
    client: str, gateway_server: GatewayProcess, tmp_path: Path
) -> None:
    program, ending = PROGRAMS[client]
    if any(
        shutil.which(needed) is None for needed in {program, "curl" if ending == "sh" else program}
    ):
        pytest.skip(f"{client} is not on this machine")
    text = gateway_server.cli("snippets", client)["text"]
    assert text.count(KEY) == 1
    script = tmp_path / f"pasted.{ending}"
    script.write_text(text.replace(KEY, gateway_server.user_key))
    done = subprocess.run(
        [program, script.name],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "video.mp4").read_bytes()[4:8] == b"ftyp"


def test_there_is_one_for_every_client_with_the_address_of_the_settings(
    gateway_server: GatewayProcess,
) -> None:
    assert sorted(SNIPPETS) == sorted(CLIENTS)
    assert [row["client"] for row in gateway_server.cli("snippets")] == list(SNIPPETS)
    for client in CLIENTS:
        text = gateway_server.cli("snippets", client)["text"]
        assert gateway_server.url in text
        assert KEY in text
        assert "GATEWAY_" not in text


def test_addresses_end_as_each_client_wants_them(gateway_server: GatewayProcess) -> None:
    url = gateway_server.url
    assert f"{url}/api\n" in gateway_server.cli("snippets", "mcp")["text"]
    assert f'"{url}"' in gateway_server.cli("snippets", "venice-video-harness")["text"]
    assert f"{url}/api/v1\n" in gateway_server.cli("snippets", "venice-sdk")["text"]
