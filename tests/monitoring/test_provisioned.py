"""What compose.yaml sets up for watching finds the gateway, the rules and the dashboards."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from gateway.demo.stage import stage
from gateway.settings import Settings
from grafana.pages import FOLDER

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "grafana"
PORT = Settings.model_fields["port"].default


def document(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


COMPOSE = document(ROOT / "compose.yaml")
SERVICES = COMPOSE["services"]


def mounts(service: str) -> dict[str, str]:
    """Where each folder or volume is seen inside, by what it is outside."""
    return dict(volume.split(":")[:2] for volume in SERVICES[service]["volumes"])


def test_nothing_of_it_starts_unless_it_is_asked_for() -> None:
    profiles = {name: service.get("profiles") for name, service in SERVICES.items()}
    assert profiles == {
        "gateway": None,
        "demo": ["demo"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }


def test_all_ports_are_on_loopback_and_all_volumes_are_there() -> None:
    for name, service in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        assert service["cap_drop"] == ["ALL"]
        for source in mounts(name):
            assert (
                (ROOT / source).is_dir() if source.startswith(".") else source in COMPOSE["volumes"]
            )


def test_prometheus_scrapes_the_gateway_or_the_demonstration_in_its_place() -> None:
    config = document(GRAFANA / "prometheus" / "prometheus.yml")
    (target,) = config["scrape_configs"][0]["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert host in SERVICES
    assert SERVICES["demo"]["networks"]["default"]["aliases"] == [host]
    assert int(port) == PORT
    assert SERVICES["prometheus"]["command"][0] == (
        f"--config.file={mounts('prometheus')['./grafana/prometheus']}/prometheus.yml"
    )
    for name in config["rule_files"]:
        assert (GRAFANA / "prometheus" / name).is_file()


def test_grafana_finds_its_source_and_its_dashboards() -> None:
    inside = mounts("grafana")
    provider = document(GRAFANA / "provisioning" / "dashboards" / "venice-gateway.yaml")
    assert provider["providers"][0]["options"]["path"] == inside["./grafana/dashboards"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (FOLDER / Path(home).name).is_file()
    source = document(GRAFANA / "provisioning" / "datasources" / "prometheus.yaml")
    host = re.fullmatch(r"http://(\w+):9090", source["datasources"][0]["url"])
    assert host is not None
    assert host[1] in SERVICES


def test_grafana_is_of_the_line_that_the_dashboards_are_made_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (sdk,) = [n for n in project["dependency-groups"]["dev"] if n.startswith("grafana")]
    assert sdk.rpartition("!")[2] == SERVICES["grafana"]["image"].rpartition(":")[2]


def test_the_demonstration_can_be_reached_from_beside_its_container() -> None:
    """Of the environment it takes its address, and nothing that could be a key."""
    environ = {"VGW_HOST": "0.0.0.0", "VGW_PORT": "8080", "VENICE_API_KEY": "vk-real"}
    with stage(environ, chaos=False) as here:
        assert here.settings.host == "0.0.0.0"
        assert here.settings.public_url == "http://localhost:8080"
        assert here.settings.venice_api_key is None
