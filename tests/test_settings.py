"""Settings are read once, from the right place, and what cannot be right stops the start in words
that name the variable and never a secret."""

from __future__ import annotations

import hashlib
import re
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway.settings import (
    KNOWN,
    SECRETS,
    VARIABLES,
    Settings,
    SettingsRefused,
    fingerprint,
    load_settings,
    read_secret_file,
)

KEY = "VENICE-INFERENCE-KEY-7f3a9c"
VARIABLES_OF_THE_CONTRACT = {
    "VENICE_API_KEY", "VENICE_API_KEY_PREVIOUS", "VENICE_BILLING_KEY", "VGW_UPSTREAM_URL",
    "VGW_HOST", "VGW_PORT", "VGW_URL", "VGW_PUBLIC_URL", "VGW_TRUSTED_PROXIES", "VGW_DATA_DIR",
    "VGW_DATABASE_URL", "VGW_VIDEO_STORE", "VGW_POLICIES", "VGW_ADMIN_KEY", "VGW_BODY_MAX",
    "VGW_METRICS_PORT", "VGW_LOG_FORMAT", "VGW_LOG_LEVEL",
}  # fmt: skip
BEYOND_THE_CONTRACT = {"VGW_ACCESS_LOG"}


def load(cwd: Path, **environ: str) -> Settings:
    return load_settings(environ, cwd=cwd)


def refusal(cwd: Path, **environ: str) -> str:
    """The sentence with which a start is refused."""
    with pytest.raises(SettingsRefused) as caught:
        load(cwd, **environ)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_every_variable_of_the_contract_is_known() -> None:
    assert set(VARIABLES) == VARIABLES_OF_THE_CONTRACT | BEYOND_THE_CONTRACT
    assert set(VARIABLES) | {f"{name}_FILE" for name in SECRETS} == KNOWN


def test_without_any_setting_the_defaults_are_the_contracts(tmp_path: Path) -> None:
    settings = load(tmp_path)
    data = tmp_path / "data"
    assert settings.upstream_url == "https://api.venice.ai/api/v1"
    assert (settings.host, settings.port, settings.metrics_port) == ("127.0.0.1", 8080, None)
    assert settings.public_url == settings.administration_url == "http://127.0.0.1:8080"
    assert settings.database_url == f"sqlite:///{data}/gateway.db"
    assert (settings.data_dir, settings.database_path) == (data, data / "gateway.db")
    assert (settings.video_store, settings.video_dir) == (f"file://{data}/videos", data / "videos")
    assert settings.policies == tmp_path / "policies"
    assert settings.body_bytes_max == 64 * 2**20
    assert (settings.log_format, settings.log_level) == (None, "info")
    assert settings.trusted_proxies == ()
    assert settings.venice_api_key is settings.venice_billing_key is settings.admin_key is None


def test_the_environment_comes_before_the_file_and_the_file_before_the_defaults(
    tmp_path: Path,
) -> None:
    (tmp_path / "gateway.toml").write_text('vgw_port = 9000\nVGW_LOG_LEVEL = "debug"\n')
    settings = load(tmp_path, VGW_PORT="9001")
    assert (settings.port, settings.log_level, settings.host) == (9001, "debug", "127.0.0.1")


def test_the_file_may_give_lists_and_secrets(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(
        f'vgw_trusted_proxies = ["10.0.0.0/8", "::1"]\nvenice_api_key = "{KEY}"\n'
    )
    settings = load(tmp_path)
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert settings.require_api_key().get_secret_value() == KEY


def test_a_secret_of_the_environment_hides_the_files_in_either_form(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text('venice_api_key_file = "gone"\n')
    assert load(tmp_path, VENICE_API_KEY=KEY).require_api_key().get_secret_value() == KEY


def test_an_empty_value_counts_as_unset_where_it_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("vgw_port = 9000\n")
    assert load(tmp_path, VGW_PORT="", VGW_PUBLIC_URL="").port == 9000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("vgw_prot = 1", "vgw_prot is no setting of this gateway; the nearest one is VGW_PORT"),
        ("vgw_port = 1\nVGW_PORT = 2", "VGW_PORT is set twice"),
        ("[vgw_port]\na = 1", "VGW_PORT must be a text or a whole number"),
        ("vgw_port = true", "VGW_PORT must be a text or a whole number"),
        ("vgw_port = 80.5", "VGW_PORT must be a text or a whole number"),
        ("vgw_port = ", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "gateway.toml").write_text(text)
    message = refusal(tmp_path)
    assert words in message
    assert "gateway.toml" in message


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("VGW_PRT", "VGW_PORT"),
        ("VGW_DATABSE_URL", "VGW_DATABASE_URL"),
        ("VGW_POLICY", "VGW_POLICIES"),
        ("VGW_BODYMAX", "VGW_BODY_MAX"),
        ("VGW_PORTS", "VGW_PORT"),
        ("VGW_ADMIN_KEY_FIL", "VGW_ADMIN_KEY_FILE"),
    ],
)
def test_an_unknown_variable_stops_the_start_and_names_the_nearest(
    tmp_path: Path, name: str, nearest: str
) -> None:
    assert refusal(tmp_path, **{name: "1"}).endswith(f"the nearest one is {nearest}.")


def test_what_kubernetes_injects_is_left_alone(tmp_path: Path) -> None:
    injected = {
        "VGW_SERVICE_HOST": "10.0.0.1",
        "VGW_SERVICE_PORT_HTTP": "80",
        "VGW_REDIS_PORT": "tcp://10.0.0.2:6379",
        "VGW_REDIS_PORT_6379_TCP_ADDR": "10.0.0.2",
        "VGW_PORT": "tcp://10.0.0.1:8080",
        "VGW_PORT_8080_TCP_PROTO": "tcp",
        "VGW_METRICS_PORT": "tcp://10.0.0.1:9090",
        "HOME": "/root",
    }
    settings = load(tmp_path, **injected)
    assert (settings.port, settings.metrics_port) == (8080, None)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize(
    "value",
    [
        "your-key", "YOUR_VENICE_API_KEY", "your-venice-api-key-here", "changeme", "change-me",
        "xxx", "xxxxxxxxxxxxxxxx", "sk-xxxx", "sk-...", "<your key>", "<VENICE_API_KEY>",
        "${VENICE_API_KEY}", "...", "placeholder", "api-key", "****",
    ],
)  # fmt: skip
def test_a_placeholder_is_refused(tmp_path: Path, name: str, value: str) -> None:
    message = refusal(tmp_path, **{name: value})
    assert message.startswith(f"{name}: it still holds a placeholder")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "abc\n",
        " abc",
        "abc def",
        "abc\tdef",
        "a\nb",
        "abc\x00",
        "abc\x7f",
        "schlüssel",
        "a" * 5_000,
    ],
    ids=lambda value: repr(value)[:12],
)
@pytest.mark.parametrize("name", SECRETS)
def test_what_cannot_be_a_key_is_refused_without_being_shown(
    tmp_path: Path, name: str, value: str
) -> None:
    message = refusal(tmp_path, **{name: value})
    assert message.startswith(f"{name}: it ")
    assert "abc" not in message


@pytest.mark.parametrize(
    "value", [KEY, "abc123", "sk-4f8e", "xK9" * 20, "test-key-one", "a.b-c_d~e"]
)
def test_a_real_key_is_taken_as_it_is(tmp_path: Path, value: str) -> None:
    assert load(tmp_path, VENICE_API_KEY=value).require_api_key().get_secret_value() == value


@pytest.mark.parametrize(
    "name", ["VENICE_API_KEY", "VENICE_API_KEY_PREVIOUS", "VENICE_BILLING_KEY"]
)
@pytest.mark.parametrize("kind", ["vgw", "vga"])
def test_a_key_of_the_gateway_itself_is_no_key_of_venices(
    tmp_path: Path, name: str, kind: str
) -> None:
    message = refusal(tmp_path, **{name: f"{kind}_0123456789_secret"})
    assert "opens the gateway, not Venice" in message
    assert "secret" not in message


def test_an_admin_key_is_neither_a_users_key_nor_short(tmp_path: Path) -> None:
    assert "user's key" in refusal(tmp_path, VGW_ADMIN_KEY="vgw_0123456789_abcdef")
    assert "shorter" in refusal(tmp_path, VGW_ADMIN_KEY="admin")
    assert load(tmp_path, VGW_ADMIN_KEY="vga_0123456789_abcdef").admin_key is not None


def test_the_simulator_looks_at_no_key_of_venices(tmp_path: Path) -> None:
    environ = {"VENICE_API_KEY": "", "VENICE_BILLING_KEY_FILE": "/gone"}
    settings = load_settings(environ, simulator=True, cwd=tmp_path)
    assert settings.venice_api_key is settings.venice_billing_key is None
    assert settings.secret_files == {}


def test_without_a_key_both_ways_on_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match=r"VENICE_API_KEY .*--simulator"):
        load(tmp_path).require_api_key()


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_in_a_file_loses_the_newline_that_ends_it(tmp_path: Path, ending: str) -> None:
    (tmp_path / "key").write_bytes(KEY.encode() + ending.encode())
    settings = load(tmp_path, VENICE_API_KEY_FILE="key")
    assert settings.require_api_key().get_secret_value() == KEY
    assert settings.secret_files == {"VENICE_API_KEY": tmp_path / "key"}


def test_a_secret_file_is_read_again_by_whoever_sees_it_change(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    settings = load(tmp_path, VENICE_API_KEY_FILE=str(path))
    path.write_text("another-one\n")
    secret = read_secret_file("VENICE_API_KEY", settings.secret_files["VENICE_API_KEY"])
    assert secret.get_secret_value() == "another-one"


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"one\ntwo\n", b"\xff\xfe\n", b"changeme\n", b"a" * 10_000, b"abc\n\n"]
)
def test_a_secret_file_without_one_good_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    message = refusal(tmp_path, VENICE_API_KEY_FILE="key")
    assert message.startswith("VENICE_API_KEY")
    assert "two" not in message


def test_a_secret_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, VENICE_API_KEY_FILE="gone")
    assert "VENICE_API_KEY_FILE" in message
    assert "No such file" in message


def test_a_secret_given_in_both_forms_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    message = refusal(tmp_path, VENICE_API_KEY=KEY, VENICE_API_KEY_FILE="key")
    assert "both set" in message


def test_no_secret_is_shown_by_printing_the_settings(tmp_path: Path) -> None:
    database = "sqlite:///canary-path/gateway.db"
    settings = load(
        tmp_path, VENICE_API_KEY=KEY, VGW_ADMIN_KEY="canary-admin", VGW_DATABASE_URL=database
    )
    shown = f"{settings!r} {settings} {settings.model_dump()}"
    assert KEY not in shown
    assert "canary-admin" not in shown


def test_a_fingerprint_is_the_beginning_of_the_sha_256() -> None:
    assert fingerprint(SecretStr(KEY)) == hashlib.sha256(KEY.encode()).hexdigest()[:12]
    assert re.fullmatch("[0-9a-f]{12}", fingerprint(SecretStr(KEY)))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gateway.example.org"])
def test_beyond_loopback_a_public_address_must_be_set(tmp_path: Path, host: str) -> None:
    assert refusal(tmp_path, VGW_HOST=host).startswith("VGW_PUBLIC_URL must be set")
    settings = load(tmp_path, VGW_HOST=host, VGW_PUBLIC_URL="https://videos.example.org/")
    assert settings.public_url == "https://videos.example.org"


def test_commands_that_only_administer_need_no_public_address(tmp_path: Path) -> None:
    environ = {"VGW_HOST": "0.0.0.0", "VGW_PORT": "9000"}
    settings = load_settings(environ, serves=False, cwd=tmp_path)
    assert settings.administration_url == settings.public_url == "http://127.0.0.1:9000"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("localhost", "http://localhost:8080"),
        ("::1", "http://[::1]:8080"),
        ("[::1]", "http://[::1]:8080"),
        ("127.0.0.9", "http://127.0.0.9:8080"),
    ],
)
def test_on_loopback_links_are_made_from_host_and_port(tmp_path: Path, host: str, url: str) -> None:
    assert load(tmp_path, VGW_HOST=host).public_url == url


def test_administration_goes_where_it_is_told(tmp_path: Path) -> None:
    assert (
        load(tmp_path, VGW_URL="https://gw.example.org/").administration_url
        == "https://gw.example.org"
    )
    everywhere = load(tmp_path, VGW_HOST="::", VGW_PUBLIC_URL="https://gw.example.org")
    assert everywhere.administration_url == "http://[::1]:8080"


@pytest.mark.parametrize(
    "url",
    [
        "https://api.venice.ai/api/v1",
        "https://venice.example.org:8443/api/v1/",
        "http://127.0.0.1:9000/api/v1",
        "http://[::1]:9000/api/v1",
        "http://localhost:9000/api/v1",
        "http://simulator:9000/api/v1",
        "http://10.1.2.3/api/v1",
        "http://venice.internal/api/v1",
    ],
)
def test_these_are_upstreams(tmp_path: Path, url: str) -> None:
    assert load(tmp_path, VGW_UPSTREAM_URL=url).upstream_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "api.venice.ai",
        "ftp://api.venice.ai",
        "https://",
        "https:///api",
        "https://user:canary@api.venice.ai/",
        "https://api.venice.ai/?key=canary",
        "https://api.venice.ai/#x",
        "https://api.venice.ai:99999/",
        "https://api venice.ai/",
        "https://api.venice.ai\\@example.org/",
        "http://api.venice.ai/api/v1",
        "http://93.184.215.14/api/v1",
    ],
)
def test_these_are_no_upstreams(tmp_path: Path, url: str) -> None:
    message = refusal(tmp_path, VGW_UPSTREAM_URL=url)
    assert message.startswith("VGW_UPSTREAM_URL: ")
    assert "canary" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VGW_PORT", "http"),
        ("VGW_PORT", "-1"),
        ("VGW_PORT", "65536"),
        ("VGW_METRICS_PORT", "1e3"),
        ("VGW_METRICS_PORT", "8080"),
        ("VGW_HOST", "http://localhost"),
        ("VGW_HOST", "256.0.0.1"),
        ("VGW_HOST", "a b"),
        ("VGW_URL", "localhost:8080"),
        ("VGW_PUBLIC_URL", "videos.example.org"),
        ("VGW_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("VGW_TRUSTED_PROXIES", "proxy"),
        ("VGW_BODY_MAX", "64MB"),
        ("VGW_BODY_MAX", "0"),
        ("VGW_BODY_MAX", "2TiB"),
        ("VGW_LOG_LEVEL", "loud"),
        ("VGW_LOG_FORMAT", "xml"),
        ("VGW_DATABASE_URL", "gateway.db"),
        ("VGW_DATABASE_URL", "sqlite://gateway.db"),
        ("VGW_DATABASE_URL", "sqlite:///:memory:"),
        ("VGW_DATABASE_URL", "sqlite:///a.db?mode=ro"),
        ("VGW_DATABASE_URL", "mysql://h/d"),
        ("VGW_VIDEO_STORE", "/srv/videos"),
        ("VGW_VIDEO_STORE", "file://"),
        ("VGW_DATA_DIR", "~nobody-has-this-name/data"),
        ("VGW_POLICIES", "a\0b"),
    ],
)
def test_an_impossible_value_is_refused_by_its_variables_name(
    tmp_path: Path, name: str, value: str
) -> None:
    assert refusal(tmp_path, **{name: value}).startswith(name)


@pytest.mark.parametrize(
    "url", ["postgresql://user:canary@host/db", "postgres://user:canary@host/db"]
)
def test_postgresql_is_refused_until_it_is_built_in(tmp_path: Path, url: str) -> None:
    message = refusal(tmp_path, VGW_DATABASE_URL=url)
    assert "PostgreSQL store is not built in yet" in message
    assert "canary" not in message


def test_s3_is_refused_until_it_is_built_in(tmp_path: Path) -> None:
    assert "S3 store is not built in yet" in refusal(tmp_path, VGW_VIDEO_STORE="s3://bucket/prefix")


@pytest.mark.parametrize(
    ("url", "path"),
    [("sqlite:///here.db", "{cwd}/here.db"), ("sqlite:////srv/gateway.db", "/srv/gateway.db")],
)
def test_a_database_path_is_relative_to_where_the_gateway_starts_or_absolute(
    tmp_path: Path, url: str, path: str
) -> None:
    settings = load(tmp_path, VGW_DATABASE_URL=url)
    assert settings.database_path == Path(path.format(cwd=tmp_path))


def test_the_data_directory_moves_database_and_videos(tmp_path: Path) -> None:
    settings = load(tmp_path, VGW_DATA_DIR="/srv/gateway data")
    assert settings.database_path == Path("/srv/gateway data/gateway.db")
    assert settings.video_dir == Path("/srv/gateway data/videos")


def test_words_are_read_in_either_case(tmp_path: Path) -> None:
    settings = load(tmp_path, VGW_LOG_LEVEL="DEBUG", VGW_LOG_FORMAT="JSON")
    assert (settings.log_level, settings.log_format) == ("debug", "json")


@given(st.sampled_from(sorted(KNOWN)), st.text(max_size=30))
def test_any_value_either_works_or_is_refused_in_a_sentence(name: str, value: str) -> None:
    try:
        load_settings({name: value}, cwd=Path("/nowhere"))
    except SettingsRefused as refused:
        message = str(refused)
    else:
        message = f"{name} works."
    assert name.removesuffix("_FILE") in message
    assert message.endswith(".")
