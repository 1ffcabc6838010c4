"""What the demonstration prints: who takes part, and lines to paste. Never the admin key."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.demo.people import ANNA, BO, Part
from gateway.demo.stage import Stage

STORM = (
    "The storm begins: 500s, 429s, connections cut after an order was accepted, truncated and\n"
    "cut videos, clients that hang up and order again."
)

_WELCOME = """
  THE DEMONSTRATION: a simulated Venice, play money, and data that is removed at the end.

  gateway    {url}
  Venice     {venice}   (simulated: the truth at {origin}/_truth, mishaps at {origin}/_faults)
  data       {folder}   (rules to edit: policies/demo.yaml)

  Users and their keys:

{people}

  Order a video as anna:

    export VENICE_API_BASE_URL={url}/api/v1
    export VENICE_API_KEY={anna}
    curl -s $VENICE_API_BASE_URL/video/queue -H "Authorization: Bearer $VENICE_API_KEY" \\
      -H 'Content-Type: application/json' \\
      -d '{{"model":"wan-2.2-a14b-text-to-video","prompt":"a gondola","duration":"5s"}}'

  Be refused as bo, with a 402 that says which budget, and what would still fit:

    curl -s {url}/api/v1/video/queue -H "Authorization: Bearer {bo}" \\
      -H 'Content-Type: application/json' \\
      -d '{{"model":"kling-2.5-turbo-pro-text-to-video","prompt":"a storm","duration":"10s"}}'

  Administer, in another terminal:

    export VGW_URL={url} VGW_ADMIN_KEY_FILE={admin_key_file}
    venice-gateway spend --by user
    venice-gateway job list --limit 20
    venice-gateway job list --state in_doubt
    venice-gateway policy show bo
    venice-gateway grant add user:bo 5 --window day --until 2099-01-01 --why "a longer film"
    venice-gateway ledger verify

  Metrics are at {url}/metrics. Ctrl-C ends everything.
"""

_FIRST = """
  The first video was here {seconds:.1f} s after the start. Open it in a browser:

    {link}

  or get it as its owner (VENICE_API_KEY as above):

    curl -s {url}/gateway/v1/videos/{queue_id} -o video.mp4 \\
      -H "Authorization: Bearer $VENICE_API_KEY"
"""


def welcome(url: str, simulator_url: str, stage: Stage, keys: Mapping[Part, str]) -> str:
    """Everything there is to know at the start."""
    named = {part.name: key for part, key in keys.items()}
    width = max(map(len, named))
    people = "\n".join(
        f"    {part.name.ljust(width)}  {key}\n    {' ' * width}  {part.told}"
        for part, key in keys.items()
    )
    return _WELCOME.format(
        url=url,
        venice=f"{simulator_url}/api/v1",
        origin=simulator_url,
        folder=stage.folder,
        people=people,
        anna=named[ANNA.name],
        bo=named[BO.name],
        admin_key_file=stage.admin_key_file,
    )


def first_video(seconds: float, link: str, url: str, queue_id: str) -> str:
    """Where the first video is to be seen."""
    return _FIRST.format(seconds=seconds, link=link, url=url, queue_id=queue_id)
