"""Administration prints and does the same whether the gateway runs or not."""

from __future__ import annotations

import csv
import io
import json
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

from gateway.core.keys import parse
from gateway.storage.database import FileLock
from tests.cli.conftest import BILLED, DOUBTED, Place


def test_a_user_and_a_key_print_what_was_promised(place: Place) -> None:
    added = place.value("user", "add", "bo", "--team", "film", "--email", "bo@example.org")
    assert added == {"name": "bo", "team": "film", "policy": None}
    words = ("--models", "wan-*", "kling-*", "--tag", "ci", "--budget", "2.50", "--per", "24h")
    made = place.value("key", "create", "bo", *words, "--expires", "30d")
    assert set(made) == {"id", "key", "user"}
    parsed = parse(made["key"])
    assert parsed is not None
    assert parsed.id == made["id"]
    shown = place.value("key", "show", made["id"])
    assert (shown["models"], shown["tags"]) == (["wan-*", "kling-*"], ["ci"])
    assert (shown["budget_usd"], shown["budget_window"]) == ("2.500000", "24h")


def test_an_unknown_team_is_refused_and_the_known_ones_are_named(place: Place) -> None:
    done = place.run("user", "add", "cy", "--team", "flim", "--json")
    assert (done.status, done.out) == (1, "")
    assert "There is no team flim" in done.error
    assert "film" in done.error


def test_the_rules_of_a_user_are_shown_with_their_lines_and_every_window(place: Place) -> None:
    shown = place.value("policy", "show", "anna")
    assert shown["written_in"]["each_user.day"] == "rules.yaml:1"
    assert shown["shared_written_in"] == {
        "organization.timezone": "rules.yaml:1",
        "organization.pool.month": "rules.yaml:1",
    }
    windows = [(w["scope"], w["window"], w["used_percent"]) for w in shown["windows"]]
    # 0.25 settled and 0.25 in doubt, of 5 and of 1000 dollars.
    assert windows == [("user", "day", 10), ("organization", "month", 0)]
    assert "used_percent" in place.run("policy", "show", "anna").out


def test_a_job_shows_where_its_money_is_by_either_id(place: Place) -> None:
    job = place.value("job", "show", f"queue-of-{BILLED}")
    assert (job["job"], job["state"]) == (BILLED, "failed_billed")
    amounts = {name: job[name] for name in job if name.endswith("_usd")}
    assert amounts == {
        "quote_usd": "0.250000",
        "reserved_usd": "0.000000",
        "in_doubt_usd": "0.000000",
        "settled_usd": "0.250000",
        "released_usd": "0.000000",
    }
    assert [entry["kind"] for entry in job["entries"]] == ["reserve", "settle"]


def test_a_job_in_doubt_is_decided_and_by_whom_is_kept(place: Place) -> None:
    (found,) = place.value("job", "list", "--state", "in_doubt")
    named = ("--user", found["user"], "--model", found["model"], "--key", found["key"])
    assert found in place.value("job", "list", *named, "--since", "2020-01-01")
    assert place.value("job", "list", "--until", "2020-01-01") == []
    assert (found["job"], found["in_doubt_usd"]) == (DOUBTED, "0.250000")
    why = "Venice's bill shows nothing"
    decided = place.value("job", "resolve", DOUBTED, "--release", "--why", why)
    assert (decided["state"], decided["released_usd"]) == ("released_in_doubt", "0.250000")
    assert decided["entries"][-1]["by"] == "admin"
    assert "job.resolve" in place.acts()


def test_doubts_are_listed_with_their_age_and_why(alone: Place) -> None:
    (found,) = alone.value("job", "list", "--state", "in_doubt")
    assert found["in_doubt_since"] == found["created_at"]
    heading, line = alone.run("job", "list", "--state", "in_doubt").out.splitlines()
    assert heading.split() == [
        "job", "user", "model", "in_doubt_usd", "in_doubt_since", "age", "reason",
    ]  # fmt: skip
    assert "0h 0m" in line
    assert alone.value("job", "show", BILLED)["in_doubt_since"] is None


def test_spending_and_its_proof_print_what_was_promised(place: Place) -> None:
    (row,) = place.value("spend", "--by", "tag")
    assert list(row) == ["tag", "settled_usd", "reserved_usd", "in_doubt_usd", "jobs"]
    assert (row["tag"], row["settled_usd"]) == ("trailer", "0.250000")
    table = list(csv.DictReader(io.StringIO(place.run("spend", "--by", "tag", "--csv").out)))
    assert table == [{name: str(value) for name, value in row.items()}]
    proof = place.value("ledger", "verify")
    assert set(proof) == {"ok", "entries", "drift_usd"}
    assert (proof["ok"], proof["drift_usd"]) == (True, "0.000000")


def test_the_whole_ledger_is_one_array_with_json_and_lines_without(alone: Place) -> None:
    array = alone.value("ledger", "export")
    assert [entry["kind"] for entry in array[:3]] == ["reserve", "doubt", "reserve"]
    lines = alone.run("ledger", "export").out.splitlines()
    assert len(lines) == len(array)


def test_entries_are_exported_by_job_and_kind(place: Place) -> None:
    ours = place.value("job", "show", BILLED)["entries"]
    assert place.value("ledger", "export", "--job", f"queue-of-{BILLED}") == ours
    words = ("ledger", "export", "--job", BILLED, "--kind", "settle")
    assert place.value(*words) == ours[1:]
    assert json.loads(place.run(*words).out) == ours[1]
    assert {entry["kind"] for entry in place.value("ledger", "export", "--kind", "doubt")} == {
        "doubt"
    }
    assert place.run("ledger", "export", "--job", "nobodys").status == 1
    assert place.run("ledger", "export", "--kind", "gift").status == 2


def test_what_administration_did_is_listed_by_who_did_what_to_whom_and_when(place: Place) -> None:
    place.value("user", "add", "dora")
    for act in ("disable", "enable"):
        place.value("user", act, "dora")

    def acts(*words: str) -> list[str]:
        return [row["act"] for row in place.value("audit", "list", *words)]

    of_dora = ["user.enable", "user.disable", "user.add"]
    assert acts("--target", "dora") == of_dora
    assert acts("--target", "dora", "--by", "admin", "--since", "2020-01-01") == of_dora
    assert acts("--target", "dora", "--limit", "1") == of_dora[:1]
    assert acts("--act", "user.disable") == ["user.disable"]
    assert acts("--by", "nobody") == acts("--until", "2020-01-01") == []
    heading, line = place.run("audit", "list", "--act", "user.disable").out.splitlines()
    assert heading.split() == ["at", "by", "act", "target", "detail"]
    assert line.split()[1:5] == ["admin", "user.disable", "dora", "disabled_at"]


def test_people_and_what_opens_doors_to_them_are_listed_by_what_is_asked(place: Place) -> None:
    place.value("user", "add", "gerd", "--team", "film")
    place.value("user", "add", "hanna")
    place.value("user", "disable", "hanna")
    ended, kept = (place.value("key", "create", "gerd", *words) for words in ((), ("--service",)))
    place.value("key", "revoke", ended["id"])
    grant = ("grant", "add", "user:gerd", "1", "--window", "day", "--until", "2999-01-01")
    given = place.value(*grant, "--why", "a film")
    place.value("admin-key", "create", "reader", "--role", "viewer")

    def found(field: str, *words: str) -> list[str]:
        return [row[field] for row in place.value(*words)]

    of_film = found("name", "user", "list", "--team", "film", "--enabled")
    assert ("gerd" in of_film, "hanna" in of_film) == (True, False)
    assert found("name", "user", "list", "--disabled") == ["hanna"]
    assert found("id", "key", "list", "--user", "gerd", "--revoked") == [ended["id"]]
    assert found("id", "key", "list", "--service") == [kept["id"]]
    assert found("id", "grant", "list", "--to", "user:gerd", "--active") == [given["id"]]
    assert found("id", "grant", "list", "--ended") == []
    assert found("name", "admin-key", "list", "--role", "viewer", "--no-revoked") == ["reader"]
    assert found("name", "admin-key", "list", "--role", "admin") == []
    assert found("name", "team", "list", "--policy", "default") == []


def test_a_job_that_is_not_in_doubt_cannot_be_decided(alone: Place) -> None:
    done = alone.run("job", "resolve", BILLED, "--release", "--why", "a wish", "--json")
    assert (done.status, done.out) == (1, "")
    assert "failed_billed" in done.error


def test_an_altered_ledger_does_not_verify(alone: Place) -> None:
    with closing(sqlite3.connect(alone.process.data_dir / "gateway.db")) as database, database:
        database.execute("UPDATE jobs SET settled = settled + 5 WHERE id = ?", (BILLED,))
    done = alone.run("ledger", "verify", "--json")
    assert done.status == 1
    assert (done.value["ok"], done.value["drift_usd"]) == (False, "0.000005")
    assert BILLED in done.error


def test_sums_that_were_altered_are_repaired_and_spending_waits_until_resumed(alone: Place) -> None:
    nothing = alone.run("ledger", "verify", "--repair", "--why", "to be sure")
    assert (nothing.status, "nothing to repair" in nothing.error) == (1, True)
    with closing(sqlite3.connect(alone.process.data_dir / "gateway.db")) as database, database:
        database.execute("UPDATE tallies SET settled = settled + 5")
    assert alone.run("ledger", "verify", "--repair").status == 2
    repaired = alone.value("ledger", "verify", "--repair", "--why", "a bit fell over")
    assert (repaired["ok"], repaired["drift_usd"]) == (True, "0.000000")
    assert alone.value("spending", "show")["stopped"]
    alone.value("spending", "resume", "--why", "repaired")
    assert alone.acts()[-2:] == ["ledger.repair", "spending.resume"]
    assert alone.value("ledger", "verify")["ok"]


def test_entries_are_evidence_that_no_repair_changes(alone: Place) -> None:
    with closing(sqlite3.connect(alone.process.data_dir / "gateway.db")) as database, database:
        database.execute("UPDATE jobs SET settled = settled + 5 WHERE id = ?", (BILLED,))
    refused = alone.run("ledger", "verify", "--repair", "--why", "hope", "--json")
    assert (refused.status, refused.out) == (1, "")
    assert "Nothing was repaired" in refused.error
    assert BILLED in refused.error


def test_wrong_usage_ends_with_status_two(alone: Place) -> None:
    done = alone.run("key", "create", "anna", "--budget", "5")
    assert (done.status, done.out) == (2, "")
    assert "--per" in done.error


def test_a_broken_policy_is_named_with_file_and_line_before_it_is_in_force(alone: Place) -> None:
    alone.process.write_policies("version: 1\npolicies:\n  default:\n    each_user: {dya: 5}\n")
    done = alone.run("policy", "check", "--json")
    assert done.status == 1
    (problem,) = done.value["problems"]
    assert (problem["file"], problem["line"]) == ("rules.yaml", 4)
    assert "rules.yaml:4" in done.error


def test_a_file_of_the_rules_in_force_is_checked_with_the_others_and_a_draft_alone(
    alone: Place,
) -> None:
    folder = alone.process.folder / "policies"
    (folder / "more.yaml").write_text("policies:\n  film: {extends: default, job: {usd: many}}\n")
    (problem,) = alone.run("policy", "check", str(folder / "rules.yaml"), "--json").value[
        "problems"
    ]
    assert (problem["file"], problem["line"]) == ("more.yaml", 2)
    draft = alone.process.folder / "draft.yaml"
    draft.write_text("version: 1\npolicies: {default: {each_user: {day: 5}}}\n")
    assert alone.run("policy", "check", str(draft)).status == 0
    draft.write_text("version: 1\npolicies: {default: {each_user: {day: -5}}}\n")
    refused = alone.run("policy", "check", str(draft))
    assert (refused.status, refused.error[:20]) == (1, "error: draft.yaml:2:")


def test_a_period_that_ends_before_it_begins_is_wrong_usage(place: Place) -> None:
    done = place.run("spend", "--since", "2026-11-22", "--until", "2026-11-22", "--json")
    assert (done.status, done.out) == (2, "")
    assert "until: it is not after since" in done.error


def test_a_database_that_is_made_by_a_command_is_said_so(alone: Place, tmp_path: Path) -> None:
    first, second = (
        alone.run("user", "list", "--json", VGW_DATA_DIR=str(tmp_path / "mistyped")) for _ in "ab"
    )
    assert (first.value, second.value) == ([], [])
    assert (str(tmp_path / "mistyped") in first.error, second.error) == (True, "")


def test_a_gateway_that_holds_the_database_but_does_not_answer_is_said_so(alone: Place) -> None:
    lock = FileLock(alone.process.data_dir / "gateway.db")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        lock.say(f"http://127.0.0.1:{closed.getsockname()[1]}")
        (alone.process.data_dir / "admin.key").write_text("an-admin-key-of-a-sane-length")
        done = alone.run("user", "list")
    lock.release()
    assert done.status == 1
    assert "does not answer" in done.error
    assert "VGW_URL" in done.error


def test_the_address_left_behind_by_a_crash_is_not_trusted(alone: Place) -> None:
    lock = alone.process.data_dir / "gateway.db.lock"
    lock.write_text("http://127.0.0.1:9")
    assert [user["name"] for user in alone.value("user", "list")] == ["anna"]
