"""The dashboards there are, in the order in which they link to each other."""

from __future__ import annotations

from pathlib import Path

from grafana.pages import service, shared_key, spend, videos
from grafana.vocabulary import Query

FOLDER = Path(__file__).parents[1] / "dashboards"
"""Where they are as JSON."""
PAGES = (spend.PAGE, shared_key.PAGE, videos.PAGE, service.PAGE)

RESTARTS = Query(
    'changes(venice_gateway_process_start_time_seconds{instance=~"$instance"}[2m]) > 0'
)
POLICY_CHANGES = Query(
    'changes(venice_gateway_policies_loaded_timestamp_seconds{instance=~"$instance"}[2m]) > 0'
    ' unless changes(venice_gateway_process_start_time_seconds{instance=~"$instance"}[2m]) > 0'
)
ANNOTATIONS = {"Restarts": RESTARTS, "Policy changes": POLICY_CHANGES}
"""What is marked on every panel: a start reads the policies too, and is only a restart."""
