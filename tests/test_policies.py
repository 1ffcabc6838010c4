"""Policy files become exactly the rules that were written, or a list of what is wrong and where."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.money import Money
from gateway.core.notify import NoticeEvent
from gateway.core.policy import Rulebook
from gateway.policies import (
    EXTENDS_MAX,
    BadPolicy,
    LoadedRules,
    Place,
    load_alone,
    load_rules,
    rules_schema,
)
from gateway.policy_files import FILE_BYTES_MAX

SHIPPED = Path(__file__).parent.parent / "policies"
BASE = "version: 1\npolicies:\n  default: {}\n"
# The example of the policy guide, as it stands there.
EXAMPLE = """\
version: 1
organization: {timezone: Europe/Rome, week_starts: monday, pool: {month: 500}}
venice: {queue_per_minute: auto, retrieve_per_minute: auto, failures_per_30s: 20, hold: 25s, download_hosts: [private-share.venice.ai]}
                                          # Venice's own limits; auto: what it publishes for the key, else 40 and 120. The gateway stays below them
videos: {max_bytes: auto, free_disk: 5GiB, keep: 7d, keep_undelivered: 30d, on_complete: purge, grace: 24h, fetches: 4}   # auto: half of the free disk, at most 50GiB
retry: {attempts: 3, base: 500ms, cap: 20s, share: 10%, queue_on_500: once}   # once | never
quotes: {fresh: 60s, drift: 10%, free_models: []}
in_doubt: {settle_after: 72h, release_after: 1h}   # only where VENICE_BILLING_KEY lets evidence arrive: released once the bill shows
                                          # nothing that long after sending, settled where it shows nothing clear; else held until someone decides
notify: []                                # webhooks, see the administration guide
teams:
  film: {policy: studio, pool: {month: 200}}        # shared by all of its users together
policies:
  default:                                # for users without a policy of their own or by team
    each_user: {day: 5, month: 60}        # each of its users alone
    warn_at: [50%, 80%, 100%]
    models: {allow: ["*"], deny: []}
    job: {usd: 5, seconds: any, resolutions: any, audio: allowed}    # audio: allowed | refused
    per_model: {"seedance-*": {job_usd: 3, each_user: {day: 4}}}
    rate: {requests_per_minute: 600, polls_per_minute: 20000, queue_per_minute: 20, active_jobs: 20, weight: 1}
    observe: []                           # rules listed here (models, job, rate, budgets) only log what they would refuse
  studio: {extends: default, each_user: {day: 50}}
  ci: {extends: default, each_key: {day: 3}}
"""  # noqa: E501 - quoted


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(textwrap.dedent(text))
    return folder


def load(folder: Path, **files: str) -> LoadedRules:
    return load_rules(write(folder, **files))


def problems(folder: Path, **files: str) -> list[str]:
    """What is said against the files, a line for each problem."""
    with pytest.raises(BadPolicy) as caught:
        load(folder, **files)
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return str(caught.value).splitlines()


def dollars(**windows: str) -> dict[str, Money]:
    return {window: Money.from_text(text) for window, text in windows.items()}


def test_the_example_of_the_guide_is_read_as_it_says(tmp_path: Path) -> None:
    book = load(tmp_path, all=EXAMPLE).rulebook
    default, studio, ci = (book.policies[name] for name in ("default", "studio", "ci"))
    assert default.each_user == dollars(day="5", month="60")
    assert studio.each_user == dollars(day="50", month="60")
    assert (ci.each_user, ci.each_key) == (default.each_user, dollars(day="3"))
    assert studio.per_model == default.per_model
    assert default.per_model["seedance-*"].job_usd == Money.from_text("3")
    assert str(book.organization.timezone) == "Europe/Rome"
    assert (book.videos.free_disk, book.videos.keep) == (5 * 2**30, 7 * 86_400_000)
    assert (book.retry.base, book.retry.share, book.quotes.drift) == (500, 10, 10)
    assert book.teams["film"].policy == "studio"


def test_the_shipped_policies_load_without_a_warning() -> None:
    rules = load_rules(SHIPPED, users={(None, None): 10})
    assert rules.warnings == ()
    assert rules.rulebook.policies["default"].each_user


def test_values_are_the_text_that_was_written(tmp_path: Path) -> None:
    book = load(
        tmp_path,
        a="""\
        version: 1
        teams: {on: {}, 0x10: {}, 1e3: {}, 007: {}, 'null': {}}
        policies:
          default: {each_user: {day: 5.10, 24h: 0.1, month: 0.30000000000000004}}
        """,
    ).rulebook
    assert list(book.teams) == ["on", "0x10", "1e3", "007", "null"]
    each_user = book.policies["default"].each_user
    assert each_user == {"day": Money(5_100_000), "24h": Money(100_000), "month": Money(300_001)}


@pytest.mark.parametrize("nothing", ["~", "null", "Null", ""])
def test_null_means_that_nothing_is_said(tmp_path: Path, nothing: str) -> None:
    book = load(
        tmp_path,
        a=f"version: 1\nvenice: {nothing}\nteams:\n  film: {nothing}\n",
        b=f"policies:\n  default: {nothing}\n",
    ).rulebook
    assert book == Rulebook.model_validate(
        {"version": 1, "policies": {"default": {}}, "teams": {"film": {}}}
    )


def test_several_files_are_one_document(tmp_path: Path) -> None:
    book = load(
        tmp_path,
        a=BASE,
        b="policies: {studio: {extends: default}}\nteams: {film: {policy: studio}}\n",
        c="teams: {art: {}}\nvenice: {hold: 10s}\n",
        d="# nothing yet\n",
    ).rulebook
    assert set(book.policies) == {"default", "studio"}
    assert set(book.teams) == {"film", "art"}
    assert book.venice.hold == 10_000


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        (BASE, "version: 1\n", "b.yaml:1: version is already in a.yaml:1"),
        (BASE, "policies:\n  default: {}\n", "b.yaml:2: policies.default is already in a.yaml:3"),
        (BASE + "venice: {}\n", "venice: {}\n", "b.yaml:1: venice is already in a.yaml:4"),
        (BASE + "teams: {x: }\n", "teams: {x: }\n", "b.yaml:1: teams.x is already in a.yaml:4"),
        (BASE, "policies: []\n", "b.yaml:1: policies is already in a.yaml:2"),
    ],
)
def test_a_section_or_name_given_twice_is_refused(
    tmp_path: Path, first: str, second: str, problem: str
) -> None:
    assert problems(tmp_path, a=first, b=second) == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("version: 1\nversion: 1\n", "a.yaml:2: version is given twice"),
        (
            BASE + "  x:\n    job:\n      usd: 1\n      usd: 2\n",
            "a.yaml:7: policies.x.job.usd is given twice",
        ),
        (BASE + "  default: {}\n", "a.yaml:4: policies.default is given twice"),
        (BASE + "teams: {a: {}, 'a': {}}\n", "a.yaml:4: teams.a is given twice"),
    ],
)
def test_a_name_given_twice_in_one_file_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, a=text) == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &a [1]\nb: *a\n", "a.yaml:1: anchors (&) and aliases (*) are not used in policies"),
        ("a: *a\n", "a.yaml:1: anchors (&) and aliases (*) are not used in policies"),
        ("&a a: 1\n", "a.yaml:1: anchors (&) and tags (!) are not used in policies"),
        (
            "a: 1\nb: !!python/object/apply:os.system [x]\n",
            "a.yaml:2: tags (!) are not used in policies; quote a text beginning with !",
        ),
        ("a: 1\n---\nb: 2\n", "a.yaml:2: a second YAML document begins; use a file for each"),
        ("a:\n  - [[[[[[[[[[[[1]]]]]]]]]]]]\n", "a.yaml:2: more than 12 levels"),
        ("- a\n", "a.yaml:1: the file must hold names with values, like version: 1"),
        ("words\n", "a.yaml:1: the file must hold names with values, like version: 1"),
        ("? [a]\n: 1\n", "a.yaml:1: a name must be a plain text"),
        ("'': 1\n", "a.yaml:1: a name must be a plain text"),
        ("a: {b: 1\nc: 2\n", "a.yaml:2: "),
        ("a: 1\n\tb: 2\n", "a.yaml:2: "),
        ("a: 1\n  b: 2\n", "a.yaml:2: "),
        ("a: *\n", "a.yaml:1: "),
        ("a: \x07\n", "a.yaml: it is not YAML: "),
    ],
)
def test_what_policies_have_no_use_for_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (found,) = problems(tmp_path, a=text)
    assert found.startswith(problem)


def test_a_bomb_of_aliases_or_levels_is_refused_at_once(tmp_path: Path) -> None:
    laughs = "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(1_000))
    assert len(problems(tmp_path, a=laughs, b="[" * 100_000, c="{a: " * 100_000)) == 3


def test_a_file_that_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_bytes(b"version: 1\nname: \xff\n")
    found = problems(tmp_path, a=BASE + "#" * FILE_BYTES_MAX)
    assert found == ["a.yaml: it is larger than 1048576 bytes", "b.yaml:2: it is not UTF-8"]


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + BASE.encode())
    assert load_rules(tmp_path).rulebook.version == 1


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "No such file or directory" in problems(tmp_path / "gone")[0]
    assert "there is no policy `default`" in problems(tmp_path)[0]


def test_only_the_folders_own_yaml_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", wrong="nonsense: 1")
    (tmp_path / ".#a.yaml").symlink_to("nobody@nowhere")
    (tmp_path / "README.md").write_text("nonsense: 1")
    (tmp_path / "b.yml").write_text("nonsense: 1")
    rules = load(tmp_path, a=BASE)
    assert rules.warnings == ("b.yml is not read: policies end in .yaml",)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").symlink_to("gone")
    (tmp_path / "c.yaml").mkdir()
    found = problems(tmp_path, a=BASE)
    assert [problem.split(":")[0] for problem in found] == ["b.yaml", "c.yaml"]


MISTAKES: list[tuple[str, str, str]] = [
    (
        "  x: {each_usr: {day: 5}}",
        "a.yaml:4: policies.x.each_usr",
        "there is no such field; did you mean each_user?",
    ),
    (
        "  x:\n    each_user:\n      dya: 5",
        "a.yaml:6: policies.x.each_user.dya",
        "'dya' is no window: use hour, day, week, month, total, or a length like 24h",
    ),
    (
        "  x:\n    job:\n      usd: -5",
        "a.yaml:6: policies.x.job.usd",
        "an amount cannot be negative; 0 forbids; it may also be 'any'",
    ),
    (
        "  x:\n    job:\n      seconds: 10s",
        "a.yaml:6: policies.x.job.seconds",
        "'10s' is not a whole number; it may also be 'any' or a list like [a, b]",
    ),
    (
        "  x:\n    job:\n      resolutions: 720p",
        "a.yaml:6: policies.x.job.resolutions",
        "it must be 'any' or a list like [a, b]",
    ),
    (
        "  x:\n    job:\n      resolutions: [480p,\n        720]",
        "a.yaml:7: policies.x.job.resolutions.1",
        "'720' is no resolution of Venice's, like 720p, 1080p or 4k",
    ),
    (
        "  x:\n    job: {audio: true}",
        "a.yaml:5: policies.x.job.audio",
        "it must be 'allowed' or 'refused'",
    ),
    ("  x:\n    rate: 5", "a.yaml:5: policies.x.rate", "it must hold names with values"),
    ("  x: 5", "a.yaml:4: policies.x", "it must hold names with values"),
    (
        "venice: {failures_per_30s: 2}",
        "a.yaml:4: venice.failures_per_30s",
        "it must be greater than or equal to 4",
    ),
    (
        "organisation: {}",
        "a.yaml:4: organisation",
        "there is no such field; did you mean organization?",
    ),
    ("zzz: {}", "a.yaml:4: zzz", "there is no such field"),
    (
        "teams:\n  film: {policy: studio}",
        "a.yaml:5: teams.film.policy",
        "there is no policy studio",
    ),
]


@pytest.mark.parametrize(("text", "where", "reason"), MISTAKES)
def test_a_mistake_is_told_with_file_line_and_reason(
    tmp_path: Path, text: str, where: str, reason: str
) -> None:
    assert problems(tmp_path, a=BASE + text + "\n") == [f"{where}: {reason}"]


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        a=BASE + "  x:\n    each_user: {dya: 1}\n    warn_at: [80]\n",
        b="videos: {keep: 7}\n",
    )
    assert [problem.split(": ")[0] for problem in found] == ["b.yaml:1", "a.yaml:5", "a.yaml:6"]


def test_without_a_version_or_a_default_policy_nothing_is_in_force(tmp_path: Path) -> None:
    (missing,) = problems(tmp_path, a="policies: {default: {}}\n")
    assert missing.endswith("version is missing")
    (missing,) = problems(tmp_path, a="version: 1\npolicies: {studio: {}}\n")
    assert "the policy `default` is missing" in missing
    assert problems(tmp_path, a="version: 2\npolicies: {default: {}}\n")


def test_extending_joins_maps_replaces_the_rest_and_removes_by_null(tmp_path: Path) -> None:
    book = load(
        tmp_path,
        a="""\
        version: 1
        policies:
          default:
            each_user: {day: 5, month: 60}
            warn_at: [50%, 80%]
            job: {usd: 5, seconds: any, resolutions: [480p, 720p]}
            per_model: {"wan-*": {job_usd: 1, each_user: {day: 2}}}
          studio:
            extends: default
            each_user: {day: 50, month: ~}
            warn_at: [90%]
            job: {seconds: [5, 10], resolutions: null}
            per_model: {"wan-*": {each_user: {week: 9}}, "veo-*": {job_usd: 4}}
          night: {extends: studio, each_user: {total: 100}, per_model: null}
        """,
    ).rulebook
    studio, night = book.policies["studio"], book.policies["night"]
    assert studio.each_user == dollars(day="50")
    assert studio.warn_at == (90,)
    assert (studio.job.usd, studio.job.seconds) == (Money.from_text("5"), (5, 10))
    assert studio.job.resolutions == "any"
    assert studio.per_model["wan-*"].each_user == dollars(day="2", week="9")
    assert studio.per_model["wan-*"].job_usd == Money.from_text("1")
    assert set(studio.per_model) == {"wan-*", "veo-*"}
    assert (night.each_user, night.per_model) == (dollars(day="50", total="100"), {})
    assert book.policies["default"].each_user == dollars(day="5", month="60")


def test_a_policy_may_extend_one_that_stands_later_or_in_another_file(tmp_path: Path) -> None:
    book = load(
        tmp_path,
        a="policies: {a: {extends: b}}\n",
        b="policies: {b: {extends: default}}\n",
        c="version: 1\npolicies: {default: {each_user: {day: 5}}}\n",
    ).rulebook
    assert book.policies["a"].each_user == dollars(day="5")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("  a: {extends: a}", "a.yaml:4: a circle: a extends a"),
        (
            "  a: {extends: b}\n  b: {extends: c}\n  c: {extends: a}",
            "a.yaml:6: a circle: a extends b extends c extends a",
        ),
        ("  a: {extends: gone}", "a.yaml:4: policies.a extends 'gone', which is no policy here"),
        ("  a: {extends: [b]}", "a.yaml:4: policies.a extends ['b'], which is no policy here"),
    ],
)
def test_a_circle_or_an_unknown_parent_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, a=BASE + text + "\n") == [problem]


def test_a_chain_of_policies_is_no_circle_but_has_an_end(tmp_path: Path) -> None:
    for length in (EXTENDS_MAX, EXTENDS_MAX + 1, 10_000):
        chain = "".join(f"  p{n}: {{extends: p{n + 1}}}\n" for n in range(length))
        write(tmp_path, a=BASE + chain + f"  p{length}: {{each_user: {{day: 5}}}}\n")
        if length == EXTENDS_MAX:
            book = load_rules(tmp_path).rulebook
            assert book.policies["p0"].each_user == dollars(day="5")
        else:
            (problem,) = problems(tmp_path)
            assert problem.endswith("more than 20 policies extend each other")


def test_an_inherited_mistake_is_told_once_where_it_was_made(tmp_path: Path) -> None:
    text = "version: 1\npolicies:\n  default:\n    each_user: {dya: 5}\n  x: {extends: default}\n"
    (problem,) = problems(tmp_path, a=text)
    assert problem.startswith("a.yaml:4: policies.default.each_user.dya: ")


def test_each_value_knows_where_it_was_written(tmp_path: Path) -> None:
    sources = load(
        tmp_path,
        a="version: 1\npolicies:\n  default:\n    each_user:\n      day: 5\n",
        b="policies:\n  studio:\n    extends: default\n    warn_at: [80%]\n",
    ).sources
    assert sources["policies", "default", "each_user", "day"] == Place("a.yaml", 5)
    assert sources["policies", "studio", "each_user", "day"] == Place("a.yaml", 5)
    assert sources["policies", "studio", "warn_at"] == Place("b.yaml", 4)


def test_the_version_changes_with_any_content_and_with_nothing_else(tmp_path: Path) -> None:
    first = load(tmp_path, a=BASE).version
    assert load_rules(tmp_path).version == first
    assert len(first) == 12
    second = load(tmp_path, a=BASE + "# a remark\n").version
    third = load(tmp_path, b="teams: {}\n").version
    assert len({first, second, third}) == 3


@pytest.mark.parametrize(
    ("text", "window", "job"),
    [
        ("  x: {each_user: {day: 3}, job: {usd: 5}}", "policies.x.each_user.day", 5),
        (
            "  x: {per_model: {'wan-*': {job_usd: 4, each_key: {day: 3}}}, job: {usd: 5}}",
            "policies.x.per_model.wan-*.each_key.day",
            4,
        ),
        (
            "  x: {job: {usd: 5}}\nteams: {film: {policy: x, pool: {month: 3}}}",
            "teams.film.pool.month",
            5,
        ),
        ("  x: {job: {usd: 5}}\norganization: {pool: {24h: 3}}", "organization.pool.24h", 5),
    ],
)
def test_a_window_too_small_for_one_job_is_warned_of(
    tmp_path: Path, text: str, window: str, job: int
) -> None:
    (warning,) = load(tmp_path, a=BASE + text + "\n").warnings
    assert warning == f"{window} is 3.000000, too small for one job of {job}.000000"


def test_a_window_that_no_video_fits_is_warned_of_whatever_a_job_may_cost(tmp_path: Path) -> None:
    (warning,) = load(tmp_path, a=BASE + "  x: {each_user: {week: 0.01}}\n").warnings
    assert warning == "policies.x.each_user.week is 0.010000, too small for any video"


def test_a_draft_is_read_alone_and_files_beside_it_are_not(tmp_path: Path) -> None:
    write(tmp_path, draft=BASE, other="teams: [nobody]\n")
    assert set(load_alone(tmp_path / "draft.yaml").rulebook.policies) == {"default"}
    with pytest.raises(BadPolicy, match=r"other\.yaml:1"):
        load_rules(tmp_path)


def test_a_list_with_a_mistake_inside_is_told_of_once_and_an_empty_one_as_empty(
    tmp_path: Path,
) -> None:
    notices = "notify: [{url: 'https://example.org/', secret: env:S, events: [%s]}]\n"
    for events, reason in (
        ("nope", "notify.0.events.0: it must be"),
        ("", "it must have at least 1 item"),
    ):
        with pytest.raises(BadPolicy) as refused:
            load(tmp_path, a=BASE + notices % events)
        (problem,) = refused.value.problems
        assert reason in problem.reason


def test_a_window_of_zero_is_no_mistake(tmp_path: Path) -> None:
    assert not load(tmp_path, a=BASE + "  x: {each_user: {day: 0}, job: {usd: 5}}\n").warnings


def test_users_who_may_spend_more_than_their_pool_are_warned_of(tmp_path: Path) -> None:
    write(
        tmp_path,
        a="""\
        version: 1
        organization: {pool: {month: 300, day: 100}}
        teams: {film: {pool: {month: 200}}}
        policies: {default: {each_user: {month: 60, day: 5}}}
        """,
    )
    assert not load_rules(tmp_path).warnings
    assert not load_rules(tmp_path, users={("film", None): 3, (None, None): 2}).warnings
    assert load_rules(tmp_path, users={("film", None): 4, (None, None): 2}).warnings == (
        "teams.film.pool.month is 200.000000, but its users may spend 240.000000 together",
        "organization.pool.month is 300.000000, but its users may spend 360.000000 together",
    )


def test_users_with_a_policy_of_their_own_count_by_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        a="version: 1\norganization: {pool: {day: 10}}\nteams: {film: {pool: {day: 8}}}\n",
        b="policies:\n  default: {each_user: {day: 1}}\n  rich: {each_user: {day: 9}}\n",
    )
    assert not load_rules(tmp_path, users={("film", None): 8, (None, None): 2}).warnings
    assert load_rules(tmp_path, users={("film", "rich"): 1, (None, None): 2}).warnings == (
        "teams.film.pool.day is 8.000000, but its users may spend 9.000000 together",
        "organization.pool.day is 10.000000, but its users may spend 11.000000 together",
    )


def test_the_schema_knows_every_section_and_extends() -> None:
    schema = rules_schema()
    assert set(schema["properties"]) == set(Rulebook.model_fields)
    assert "extends" in schema["$defs"]["Policy"]["properties"]
    assert schema["$defs"]["Policy"]["additionalProperties"] is False


def test_the_schema_beside_the_shipped_files_is_the_one_that_is_printed() -> None:
    printed = json.dumps(rules_schema(), indent=2) + "\n"
    again = "venice-gateway policy schema > policies/schema.json"
    assert (SHIPPED / "schema.json").read_text("utf-8") == printed, f"run: {again}"


def test_every_shipped_file_tells_editors_its_schema() -> None:
    for path in SHIPPED.glob("*.yaml"):
        hint = path.read_text("utf-8").splitlines()[0]
        assert hint == "# yaml-language-server: $schema=schema.json", path.name


def test_the_schema_offers_no_default_that_a_file_could_not_hold() -> None:
    """A default in milliseconds or bytes would be offered by editors and refused by us."""

    def defaults(schema: object) -> list[object]:
        if isinstance(schema, list):
            return [found for each in schema for found in defaults(each)]
        if not isinstance(schema, dict):
            return []
        inside = [found for each in schema.values() for found in defaults(each)]
        return inside + ([schema["default"]] if "type" in schema and "default" in schema else [])

    assert defaults(rules_schema())
    assert [value for value in defaults(rules_schema()) if not isinstance(value, str)] == []


NOTICE = "notify:\n  - url: https://example.org/hook\n    secret: env:NOTICE\n"


def test_a_notice_says_where_which_and_how(tmp_path: Path) -> None:
    book = load(
        tmp_path,
        a=BASE
        + "teams: {film: {}}\n"
        + NOTICE
        + "    events: [budget.threshold]\n    teams: [film]\n"
        + "  - {url: 'file:/run/secrets/slack', format: slack}\n"
        + "  - {url: 'http://127.0.0.1:9/hook', secret: 'file:/run/secrets/notice'}\n",
    ).rulebook
    signed, slack, local = book.notify
    assert (signed.url, str(signed.secret)) == ("https://example.org/hook", "env:NOTICE")
    assert signed.wants(NoticeEvent.BUDGET_THRESHOLD, "film")
    assert not signed.wants(NoticeEvent.BUDGET_THRESHOLD, None)
    assert not signed.wants(NoticeEvent.JOB_FAILED, "film")
    assert (str(slack.url), slack.secret, slack.format) == (
        "file:/run/secrets/slack",
        None,
        "slack",
    )
    assert all(local.wants(event, None) for event in NoticeEvent)


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("secret: whsec_c2VjcmV0", "say where it is kept, as env:NAME or file:/PATH"),
        ("secret: 'env:'", "say where it is kept"),
        ("secret: file:relative", "say where it is kept"),
        ("events: []", "at least 1 item"),
        ("events: [job.done]", "must be 'job.completed', 'job.failed'"),
        ("events: [budget.threshold, 7]", "must be 'job.completed', 'job.failed'"),
        ("teams: [nobody]", "there is no team nobody"),
        ("format: xml", "it must be 'standard' or 'slack'"),
        ("url: http://example.org/hook", "goes to https://, or to http:// on this machine"),
        ("url: https://me:pw@example.org/", "it is no address like"),
        ("url: ftp://example.org/", "a notice goes to https://"),
        ("url: 'https://example.org/ a'", "it is no address like"),
        ("retries: 3", "there is no such field"),
    ],
)
def test_a_notice_that_cannot_be_is_refused_at_its_line(
    tmp_path: Path, field: str, problem: str
) -> None:
    name = field.partition(":")[0]
    own = NOTICE if name not in ("url", "secret") else "notify:\n  - format: standard\n"
    found = problems(tmp_path, a=BASE + own + f"    {field}\n")
    (line,) = [each for each in found if problem in each]
    assert line.startswith("a.yaml:7: " if own == NOTICE else "a.yaml:6: ")


def test_a_secret_in_a_policy_file_is_never_repeated(tmp_path: Path) -> None:
    canary = "whsec_canary"
    text = f"notify: [{{url: 'https://u:{canary}@x.org/', secret: {canary}}}]\n"
    assert canary not in "".join(problems(tmp_path, a=BASE + text))


def test_the_standard_format_needs_a_secret(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, a=BASE + "notify: [{url: 'https://example.org/'}]\n")
    assert "the standard format is signed" in line


words = st.text("abcde:{}[],-# &*!'\"\n\t0123456789.%?|>~", max_size=60)
trees: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(["5", "any", "10%", "25s", "~", "default", "day", "-1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["default", "each_user", "day", "job", "usd", "extends", "policy"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words | st.builds("version: 1\npolicies: {}\nteams: {}\n".format, trees, trees))
def test_no_text_does_more_than_be_refused(tmp_path: Path, text: str) -> None:
    try:
        load(tmp_path, a=text)
    except BadPolicy as refused:
        reasons = [problem.reason for problem in refused.problems]
    else:
        reasons = ["none"]
    assert all(reasons)
    assert reasons
