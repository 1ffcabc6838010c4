"""`doctor` finds what keeps a gateway from working, and says it without a secret."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.cli.doctor import check_clock
from gateway.cli.examination import check_database, file_system
from tests.cli.conftest import Done, Place
from tests.gateway_process import ORGANIZATION_KEY, with_rules
from tests.simulator_process import SimulatorProcess

REFUSED_KEY = "vk-refused-0123456789"
MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
31 22 0:41 / /srv/team\\040share rw,relatime shared:9 - nfs4 filer:/share rw,vers=4.2
32 22 0:42 / /mnt/windows rw,relatime - 9p drvfs rw
"""


@pytest.fixture(scope="module")
def refusing() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(seed=2, refused_key=[REFUSED_KEY]) as running:
        yield running


def found(done: Done, name: str) -> tuple[str, str]:
    """Status and message of one check; nothing that is secret is in any of them."""
    assert ORGANIZATION_KEY not in done.out + done.error
    assert done.value["ok"] is (done.status == 0)
    (check,) = [check for check in done.value["checks"] if check["name"] == name]
    return check["status"], check["message"]


def test_a_gateway_that_can_run_has_no_problem(alone: Place) -> None:
    done = alone.run("doctor", "--json")
    assert done.status == 0, done.out
    statuses = {check["name"]: check["status"] for check in done.value["checks"]}
    assert set(statuses.values()) == {"ok"}
    assert {"venice address", "venice key", "clock", "disk", "database", "policies"} < set(statuses)
    lines = alone.run("doctor").out.splitlines()
    assert len(lines) == len(statuses)


def test_an_address_that_is_not_venices_is_named(alone: Place, simulator: SimulatorProcess) -> None:
    done = alone.run("doctor", "--json", VGW_UPSTREAM_URL=f"{simulator.origin}/api")
    status, message = found(done, "venice address")
    assert (done.status, status) == (1, "problem")
    assert "/api/v1" in message


def test_an_address_where_nobody_answers_is_named(alone: Place) -> None:
    done = alone.run("doctor", "--json", VGW_UPSTREAM_URL="http://127.0.0.1:9/api/v1")
    status, message = found(done, "venice address")
    assert (done.status, status) == (1, "problem")
    assert "does not answer" in message


@pytest.mark.parametrize("value", ["", "your-api-key-here"])
def test_a_key_that_is_none_is_said_and_the_rest_is_still_looked_at(
    alone: Place, value: str
) -> None:
    done = alone.run("doctor", "--json", VENICE_API_KEY=value)
    status, _ = found(done, "venice key")
    assert (done.status, status) == (1, "problem")
    assert found(done, "disk")[0] == "ok"


def test_a_missing_key_is_said_with_both_ways_on(alone: Place) -> None:
    del alone.process._environment["VENICE_API_KEY"]
    status, message = found(alone.run("doctor", "--json"), "venice key")
    assert status == "problem"
    assert "VENICE_API_KEY" in message
    assert "--simulator" in message


def test_a_key_that_venice_refuses_is_told_from_a_wrong_address(
    alone: Place, refusing: SimulatorProcess
) -> None:
    settings = {"VENICE_API_KEY": REFUSED_KEY, "VGW_UPSTREAM_URL": refusing.url}
    done = alone.run("doctor", "--json", **settings)
    assert found(done, "venice address")[0] == "ok"
    assert found(done, "venice key")[0] == "problem"
    assert REFUSED_KEY not in done.out


def test_a_clock_that_is_off_by_more_than_half_a_minute_is_a_problem() -> None:
    venice = datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert check_clock(venice, venice + timedelta(seconds=30)).status == "ok"
    ahead = check_clock(venice, venice + timedelta(seconds=31))
    assert ahead.status == "problem"
    assert "31 s ahead" in ahead.message
    assert "31 s behind" in check_clock(venice, venice - timedelta(seconds=31)).message


def test_a_database_on_a_network_file_system_is_a_problem(tmp_path: Path) -> None:
    assert check_database(tmp_path / "gateway.db", MOUNTS).status == "ok"
    over_nfs = MOUNTS + f"40 22 0:50 / {tmp_path} rw - nfs4 filer:/share rw\n"
    assert check_database(tmp_path / "gateway.db", over_nfs).status == "problem"


def test_the_innermost_mount_holds_a_path() -> None:
    assert file_system(MOUNTS, Path("/srv/team share/data")) == "nfs4"
    assert file_system(MOUNTS, Path("/mnt/windows/c")) == "9p"
    assert file_system(MOUNTS, Path("/srv/team")) == "ext4"


def test_unusable_policies_are_named_with_file_and_line(alone: Place) -> None:
    alone.process.write_policies("version: 1\npolicies:\n  default:\n    each_user: {dya: 5}\n")
    status, message = found(alone.run("doctor", "--json"), "policies")
    assert status == "problem"
    assert "rules.yaml:4" in message


def test_too_little_disk_is_a_problem(alone: Place) -> None:
    alone.process.write_policies(with_rules(videos={"free_disk": "1000000GiB"}))
    assert found(alone.run("doctor", "--json"), "disk")[0] == "problem"


def test_a_port_taken_by_another_program_is_a_problem(alone: Place) -> None:
    with socket.create_server(("127.0.0.1", alone.process.port)):
        status, message = found(alone.run("doctor", "--json"), "port")
    assert status == "problem"
    assert "another program" in message


def test_a_port_taken_by_this_gateway_is_none(alone: Place) -> None:
    assert alone.run("doctor", "--live").status == 1
    alone.process.start()
    try:
        status, message = found(alone.run("doctor", "--json"), "port")
        live = alone.run("doctor", "--live")
    finally:
        alone.process.terminate()
    assert status == "ok", message
    assert "this gateway" in message
    assert live.status == 0


def test_a_missing_public_address_is_said_and_the_rest_is_still_looked_at(alone: Place) -> None:
    done = alone.run("doctor", "--json", VGW_HOST="0.0.0.0")
    problems = [c["name"] for c in done.value["checks"] if c["status"] == "problem"]
    assert problems == ["public url"]
    assert found(done, "public url")[0] == "problem"


def test_a_data_directory_that_cannot_be_written_is_a_problem(alone: Place, tmp_path: Path) -> None:
    in_the_way = tmp_path / "a-file"
    in_the_way.touch()
    done = alone.run("doctor", "--json", VGW_DATA_DIR=str(in_the_way / "data"))
    assert found(done, "data directory")[0] == "problem"


def test_an_admin_key_that_others_can_read_is_a_problem(alone: Place) -> None:
    path = alone.process.data_dir / "admin.key"
    path.write_text("an-admin-key-of-a-sane-length")
    path.chmod(0o644)
    done = alone.run("doctor", "--json")
    status, message = found(done, "admin key")
    assert (status, "chmod 600" in message) == ("problem", True)
    assert "sane-length" not in json.dumps(done.value)
