"""`snippets`: what to paste so that a client of Venice's speaks to this gateway instead."""

from __future__ import annotations

import difflib
import os
from typing import Annotated

import typer

from gateway.cli.reach import WrongUsage
from gateway.cli.show import AsJson, as_table, as_value

KEY = "vgw_…"
"""Stands for the key that `key create` shows."""
_URL, _ORIGIN = "GATEWAY_URL", "GATEWAY_ORIGIN"

_ENVIRONMENT = """\
export VENICE_API_BASE_URL=GATEWAY_URL
export VENICE_API_KEY=vgw_…
"""

_CURL = """\
BASE_URL=GATEWAY_URL
VENICE_API_KEY=vgw_…

ask() {
  curl -sS --fail-with-body "$BASE_URL/video/$1" -H "Authorization: Bearer $VENICE_API_KEY" \\
    -H 'Content-Type: application/json' -d "$2" -o "$3" -w '%{content_type}'
}

MODEL=wan-2.2-a14b-text-to-video
ask queue '{"model":"'$MODEL'","prompt":"a gondola","duration":"5s"}' queued.json || exit 1
QUEUE_ID=$(sed 's/.*"queue_id": *"\\([^"]*\\)".*/\\1/' queued.json)
while TYPE=$(ask retrieve '{"model":"'$MODEL'","queue_id":"'$QUEUE_ID'"}' video.mp4); do
  [ "$TYPE" = video/mp4 ] && echo "saved as video.mp4" && exit 0
  sleep 2
done
cat video.mp4; exit 1
"""

_PYTHON = """\
import json
import time
import urllib.request

BASE_URL = "GATEWAY_URL"
API_KEY = "vgw_…"
HEADERS = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}


def post(path, body):
    request = urllib.request.Request(BASE_URL + path, json.dumps(body).encode(), HEADERS)
    with urllib.request.urlopen(request) as answer:
        return answer.headers["Content-Type"], answer.read()


order = {"model": "wan-2.2-a14b-text-to-video", "duration": "5s"}
print("it will cost", json.loads(post("/video/quote", order)[1])["quote"])
queued = json.loads(post("/video/queue", {**order, "prompt": "a gondola"})[1])
job = {"model": queued["model"], "queue_id": queued["queue_id"]}
while True:
    content_type, content = post("/video/retrieve", job)
    if content_type.startswith("video/mp4"):
        break
    time.sleep(2)
with open("video.mp4", "wb") as file:
    file.write(content)
print("saved as video.mp4")
"""

_NODE = """\
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

const BASE_URL = "GATEWAY_URL";
const API_KEY = "vgw_…";

async function post(path, body) {
  const answer = await fetch(BASE_URL + path, {
    method: "POST",
    headers: { Authorization: `Bearer ${API_KEY}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer;
}

const order = { model: "wan-2.2-a14b-text-to-video", prompt: "a gondola", duration: "5s" };
const { model, queue_id } = await (await post("/video/queue", order)).json();
let answer;
while (true) {
  answer = await post("/video/retrieve", { model, queue_id });
  if (answer.headers.get("content-type").includes("video/mp4")) break;
  await sleep(2000);
}
await writeFile("video.mp4", Buffer.from(await answer.arrayBuffer()));
console.log("saved as video.mp4");
"""

_POWERSHELL = """\
$BaseUrl = "GATEWAY_URL"
$Headers = @{ Authorization = "Bearer vgw_…" }
$Json = @{ Method = "Post"; Headers = $Headers; ContentType = "application/json" }

$Order = @{ model = "wan-2.2-a14b-text-to-video"; prompt = "a gondola"; duration = "5s" }
$Job = Invoke-RestMethod "$BaseUrl/video/queue" @Json -Body ($Order | ConvertTo-Json)
$Body = @{ model = $Job.model; queue_id = $Job.queue_id } | ConvertTo-Json
do {
  Start-Sleep 2
  $Save = @{ OutFile = "video.mp4"; PassThru = $true }
  $Answer = Invoke-WebRequest "$BaseUrl/video/retrieve" @Json @Save -Body $Body
} until ("$($Answer.Headers.'Content-Type')" -like "video/mp4*")
"""

_N8N = """\
Credentials, of type Header Auth:
  Name   Authorization
  Value  Bearer vgw_…

HTTP Request node "queue":
  Method POST, URL GATEWAY_URL/video/queue, body JSON
  {"model": "wan-2.2-a14b-text-to-video", "prompt": "a gondola", "duration": "5s"}

Wait node: 5 seconds.

HTTP Request node "retrieve":
  Method POST, URL GATEWAY_URL/video/retrieve, body JSON
  {"model": "{{ $('queue').item.json.model }}", "queue_id": "{{ $('queue').item.json.queue_id }}"}
  Header X-Gateway-Delivery: json

IF node: while {{ $json.status }} is PROCESSING go back to the Wait node, else fetch
  {{ $json.video_url }}, which needs no key, with Response Format File.
"""

SNIPPETS = {
    "curl": ("a shell, with curl alone", _CURL),
    "python": ("Python, with nothing but its standard library", _PYTHON),
    "node": ("Node 18 or newer, as a module (.mjs)", _NODE),
    "venice-py": (
        "the venice-py package (also venice-ai)",
        _ENVIRONMENT
        + """
# then, in Python, with nothing else changed:
#   from venice_ai import VeniceClient
#   async with VeniceClient() as client: ...
""",
    ),
    "veniceai-cli": (
        "the `venice` command of veniceai-cli",
        _ENVIRONMENT
        + """
venice video generate "a gondola" -m wan-2.2-a14b-text-to-video -d 5s
""",
    ),
    "venice-sdk": (
        "the venice-sdk package",
        """\
export VENICE_BASE_URL=GATEWAY_URL
export VENICE_API_KEY=vgw_…

# then, in Python, with nothing else changed:
#   from venice_sdk import VeniceClient
#   video = VeniceClient().video
""",
    ),
    "venice-video-harness": (
        "the venice-video-harness package; its address has no /api/v1",
        """\
import { VeniceClient } from "venice-video-harness";

const client = new VeniceClient("vgw_…", "GATEWAY_ORIGIN");
""",
    ),
    "mcp": (
        "Venice's MCP server; its address has no /v1",
        """\
Wherever the server is configured, give it

  base URL   GATEWAY_ORIGIN/api
  API key    vgw_…

The address ends in /api: the server adds /v1 itself.
""",
    ),
    "n8n": ("n8n, with HTTP Request nodes", _N8N),
    "powershell": ("PowerShell 7", _POWERSHELL),
}
"""By client: what it is, and what to paste."""


def snippets(
    client: Annotated[
        str | None, typer.Argument(metavar="CLIENT", help="Which client; all are listed without.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print what to paste into a client; the address is VGW_PUBLIC_URL."""
    if client is None:
        rows = [{"client": name, "what": what} for name, (what, _) in SNIPPETS.items()]
        if as_json:
            as_value(rows)
        else:
            as_table(rows, ("client", "what"))
        return
    text = snippet(client, _public_url())
    if as_json:
        as_value({"client": client, "text": text})
    else:
        print(text, end="")


def snippet(client: str, origin: str) -> str:
    """What to paste into a client of the gateway at `origin`; `WrongUsage` for an unknown one."""
    try:
        _, text = SNIPPETS[client]
    except KeyError:
        near = difflib.get_close_matches(client, SNIPPETS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(SNIPPETS)}."
        raise WrongUsage(f"There is no snippet for {client}; {hint}") from None
    return text.replace(_URL, f"{origin}/api/v1").replace(_ORIGIN, origin)


def _public_url() -> str:
    from gateway.settings import load_settings

    return load_settings(os.environ, simulator=True, serves=False).public_url
