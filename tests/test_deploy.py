"""What is shipped to run the gateway elsewhere agrees with the gateway: image, compose, systemd,
Kubernetes. Where a tool that can judge a file is missing, that file's test says so.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.api.routes import DOORS
from gateway.cli import liveness
from gateway.policies import load_rules
from gateway.server import DRAIN_SECONDS
from gateway.setting_values import check_venice_key
from gateway.settings import KNOWN, Settings, load_settings

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
UNIT = DEPLOY / "systemd" / "venice-gateway.service"
USER = 10001
PORT = Settings.model_fields["port"].default
PROBES = {path for path in (route.path for route in DOORS.values()) if path.endswith("z")}
INSTALL_SECONDS_MAX = 600
MANIFESTS = sorted(KUBERNETES.glob("*.yaml"))
REFUSE_EXEC_GAIN = """
import ctypes, os, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""
"""What MemoryDenyWriteExecute= does, as far as the kernel offers it to anybody."""
Instruction = tuple[str, str]


def instructions(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile in order, continued lines joined, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = (line.strip().partition(" ") for line in joined.splitlines() if line.strip())
    return [(name.upper(), rest.strip()) for name, _, rest in found]


DOCKERFILE = instructions((ROOT / "Dockerfile").read_text("utf-8"))


def of(name: str, among: list[Instruction] | None = None) -> list[str]:
    return [rest for found, rest in (DOCKERFILE if among is None else among) if found == name]


def last_stage() -> list[Instruction]:
    start = max(n for n, (name, _) in enumerate(DOCKERFILE) if name == "FROM")
    return DOCKERFILE[start:]


def image_environment() -> dict[str, str]:
    pairs = (pair for rest in of("ENV", last_stage()) for pair in rest.split())
    return dict(pair.split("=", 1) for pair in pairs)


def document(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def manifest(kind: str) -> Any:
    return next(found for found in map(document, MANIFESTS) if found["kind"] == kind)


def pod() -> Any:
    return manifest("Deployment")["spec"]["template"]["spec"]


def container() -> Any:
    (only,) = pod()["containers"]
    return only


def unit() -> dict[str, list[str]]:
    """Every value of the service section, by name."""
    text = UNIT.read_text("utf-8").partition("[Service]")[2].partition("[Install]")[0]
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def unknown(names: Iterator[str] | list[str]) -> list[str]:
    return [name for name in names if name.startswith(("VGW_", "VENICE_")) and name not in KNOWN]


# the image


def test_the_image_is_made_in_two_stages_of_the_same_interpreter() -> None:
    first, last = of("FROM")
    assert first == f"{last} AS build"
    assert last == "python:${PYTHON}-slim"


def test_the_image_fetches_nothing_but_hashed_requirements() -> None:
    assert not of("ADD"), "ADD unpacks and downloads; COPY does neither"
    assert not [rest for rest in of("RUN") if re.search(r"https?://|\b(curl|wget|git|apt)\b", rest)]
    installs = [step for rest in of("RUN") for step in rest.split("&&") if "pip install" in step]
    for step in installs:
        assert "--require-hashes -r requirements.txt" in step or "--no-deps" in step
    assert len(installs) == 2


def test_what_the_image_copies_exists_and_gets_past_the_ignore_file() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    sources = [
        source
        for rest in of("COPY")
        if not rest.startswith("--from=")
        for source in rest.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in let_in, source
    assert let_in == set(sources), "nothing else needs to be let in"


def test_the_image_runs_as_nobody_in_particular_on_a_root_that_may_be_read_only() -> None:
    assert of("USER", last_stage()) == [f"{USER}:{USER}"]
    assert of("VOLUME") == ["/data"]
    environment = image_environment()
    written = {name: environment[name] for name in ("VGW_DATA_DIR", "HOME", "TMPDIR")}
    assert set(written.values()) == {"/data"}
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert re.search(r"install -d -o gateway .*-m 0700 /data", " ".join(of("RUN", last_stage())))


def test_no_tool_that_builds_is_left_in_the_image() -> None:
    runs = {stage: " ".join(of("RUN", part)) for stage, part in _stages().items()}
    for run in runs.values():
        assert re.search(r"pip uninstall --yes .*\bsetuptools\b", run), run
        assert re.search(r"pip uninstall --yes .*\bpip\b", run), run


def _stages() -> dict[str, list[Instruction]]:
    last = last_stage()
    return {"build": DOCKERFILE[: -len(last)], "run": last}


def test_the_image_speaks_settings_that_exist_and_stops_by_draining() -> None:
    environment = image_environment()
    assert not unknown(list(environment))
    assert environment["VGW_PORT"] == str(PORT) == of("EXPOSE")[0]
    assert of("STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(of("ENTRYPOINT")[0]) == ["venice-gateway"]
    assert json.loads(of("CMD")[0]) == ["serve"]


def test_the_health_check_is_the_program_itself_and_needs_no_shell() -> None:
    (check,) = of("HEALTHCHECK")
    assert tuple(json.loads(check.partition("CMD ")[2])) == ("venice-gateway", *liveness.COMMAND)
    (seconds,) = re.findall(r"--timeout=(\d+)s", check)
    assert int(seconds) > liveness.LIVE_SECONDS_MAX


# compose


def test_compose_gives_nothing_away() -> None:
    service = document(ROOT / "compose.yaml")["services"]["gateway"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert not [name for name in service["environment"] if name == "VENICE_API_KEY"]


def test_compose_agrees_with_the_image() -> None:
    whole = document(ROOT / "compose.yaml")
    service = whole["services"]["gateway"]
    assert not unknown(list(service["environment"]))
    assert service["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    mounted = dict(volume.split(":")[:2] for volume in service["volumes"])
    assert mounted == {"data": "/data", "./policies": image_environment()["VGW_POLICIES"]}
    assert "data" in whole["volumes"]
    (secret,) = service["secrets"]
    assert service["environment"]["VENICE_API_KEY_FILE"] == f"/run/secrets/{secret}"
    assert secret in whole["secrets"]
    (check,) = of("HEALTHCHECK")
    assert service["healthcheck"]["test"] == ["CMD", *json.loads(check.partition("CMD ")[2])]
    assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN_SECONDS


def test_the_key_beside_compose_is_never_committed() -> None:
    file = Path(document(ROOT / "compose.yaml")["secrets"]["venice_api_key"]["file"]).name
    patterns = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert any(Path(file).match(pattern) for pattern in patterns if "*" in pattern)


# systemd


def test_the_unit_keeps_the_gateway_in_its_place() -> None:
    service = unit()
    wanted = {
        "User": "venice-gateway",
        "NoNewPrivileges": "true",
        "ProtectSystem": "strict",
        "ProtectHome": "true",
        "PrivateTmp": "true",
        "CapabilityBoundingSet": "",
        "MemoryDenyWriteExecute": "true",
        "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
        "StateDirectory": "venice-gateway",
        "KillSignal": "SIGTERM",
    }
    assert {name: service[name] for name in wanted} == {n: [v] for n, v in wanted.items()}
    assert service["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert int(service["TimeoutStopSec"][0]) > DRAIN_SECONDS
    names = (UNIT.parent / "venice-gateway.sysusers").read_text("utf-8")
    assert f"u {service['User'][0]} " in names


def test_the_unit_gives_the_key_as_a_credential_and_only_known_settings() -> None:
    service = unit()
    environment = dict(pair.split("=", 1) for pair in service["Environment"])
    assert not unknown(list(environment))
    credential = service["LoadCredential"][0].partition(":")[0]
    assert environment["VENICE_API_KEY_FILE"] == f"%d/{credential}"
    assert environment["VGW_DATA_DIR"] == f"%S/{service['StateDirectory'][0]}"
    # Its default is the folder `policies` in the working directory.
    assert "VGW_POLICIES" not in environment
    assert service["WorkingDirectory"] == ["/etc/venice-gateway"]


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    # It looks whether the program is there; it is not, on the machine that tests.
    text = UNIT.read_text("utf-8").replace("/opt/venice-gateway/bin/venice-gateway", "/bin/true")
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace("WorkingDirectory=/etc/venice-gateway", "WorkingDirectory=/"))
    done = subprocess.run(
        [program, "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_gateway_runs_where_memory_is_never_writable_and_executable() -> None:
    """MemoryDenyWriteExecute, with the interpreter and every library that is loaded."""
    work = "import asyncio, gateway.server, uvloop; uvloop.run(asyncio.sleep(0)); print('runs')"
    done = subprocess.run(
        [sys.executable, "-c", REFUSE_EXEC_GAIN, work],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode == 77:
        pytest.skip("this kernel cannot refuse executable memory (PR_SET_MDWE, Linux 6.3)")
    assert done.stdout == "runs\n", done.stderr


# Kubernetes


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_every_manifest_names_its_kind_and_belongs_to_the_gateway(path: Path) -> None:
    found = document(path)
    assert found["apiVersion"]
    assert found["metadata"]["labels"] == {"app.kubernetes.io/name": "venice-gateway"}
    assert found["kind"] != "Secret", "an applied folder must not replace the true secret"


def test_one_pod_at_a_time_owns_the_ledger() -> None:
    spec = manifest("Deployment")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}
    assert manifest("PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert pod()["terminationGracePeriodSeconds"] > 2 * DRAIN_SECONDS


def test_the_pod_has_no_privilege_and_writes_only_to_its_volume() -> None:
    security = pod()["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == security["runAsGroup"] == security["fsGroup"] == USER
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod()["automountServiceAccountToken"] is False
    own = container()["securityContext"]
    assert own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    writable = [m["mountPath"] for m in container()["volumeMounts"] if not m.get("readOnly")]
    assert writable == [image_environment()["VGW_DATA_DIR"]]


def test_the_probes_ask_doors_that_exist_on_the_port_that_is_open() -> None:
    asked = {
        name: container()[name]["httpGet"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert {name: probe["path"] for name, probe in asked.items()} == {
        "startupProbe": "/livez",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    assert {probe["path"] for probe in asked.values()} <= PROBES
    (port,) = container()["ports"]
    assert port["containerPort"] == PORT
    names = [probe["port"] for probe in asked.values()]
    names += [door["targetPort"] for door in manifest("Service")["spec"]["ports"]]
    names += [door["port"] for door in manifest("NetworkPolicy")["spec"]["ingress"][0]["ports"]]
    assert set(names) == {port["name"]}


def test_what_the_manifests_call_each_other_exists() -> None:
    labels = manifest("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert manifest("Service")["spec"]["selector"] == labels
    assert manifest("Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    assert {mount["name"] for mount in container()["volumeMounts"]} == set(volumes)
    claim = manifest("PersistentVolumeClaim")["metadata"]["name"]
    assert volumes["data"]["persistentVolumeClaim"] == {"claimName": claim}
    assert volumes["policies"]["configMap"]["name"] == manifest("ConfigMap")["metadata"]["name"]
    secret = document(KUBERNETES / "secret.yaml.example")
    assert volumes["secret"]["secret"]["secretName"] == secret["metadata"]["name"]


def test_the_pods_settings_are_ones_the_gateway_starts_with(tmp_path: Path) -> None:
    environment = {each["name"]: each["value"] for each in container()["env"]}
    assert not unknown(list(environment))
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    (key,) = document(KUBERNETES / "secret.yaml.example")["stringData"]
    assert environment["VENICE_API_KEY_FILE"] == f"{mounts['secret']}/{key}"
    (tmp_path / "key").write_text("vk-0123456789abcdef0123456789abcdef\n")
    settings = load_settings(
        {
            **{n: v for n, v in image_environment().items() if n.startswith("VGW_")},
            **environment,
            "VENICE_API_KEY_FILE": str(tmp_path / "key"),
        },
        cwd=tmp_path,
    )
    assert str(settings.policies) == mounts["policies"]
    assert str(settings.data_dir) == mounts["data"]


def test_the_example_secret_holds_none_and_is_refused_as_it_stands() -> None:
    for value in document(KUBERNETES / "secret.yaml.example")["stringData"].values():
        with pytest.raises(ValueError, match="placeholder"):
            check_venice_key(value)


def test_the_policies_of_the_cluster_load_from_a_folder_as_kubernetes_lays_it_out(
    tmp_path: Path,
) -> None:
    """Links to a hidden folder, which is exchanged when the map changes."""
    hidden = tmp_path / "..2026_01_01_00_00_00.1"
    hidden.mkdir()
    (tmp_path / "..data").symlink_to(hidden.name)
    for name, text in manifest("ConfigMap")["data"].items():
        (hidden / name).write_text(text)
        (tmp_path / name).symlink_to(f"..data/{name}")
    assert "default" in load_rules(tmp_path).rulebook.policies


def test_the_pod_reaches_nothing_but_names_and_https_elsewhere() -> None:
    names, https = manifest("NetworkPolicy")["spec"]["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    assert [port["port"] for port in https["ports"]] == [443]
    kept_out = [net for to in https["to"] for net in to["ipBlock"]["except"]]
    assert {"10.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16", "fc00::/7"} <= set(kept_out)


# by hand


@pytest.mark.torture
def test_the_image_is_installed_by_its_own_steps(tmp_path: Path) -> None:
    """The build stage's steps in order, in a folder that holds only what gets past the ignores."""
    source, target = tmp_path / "src", tmp_path / "gateway"
    source.mkdir()
    stage = _stages()["build"]
    for name, rest in stage:
        if name == "COPY":
            *sources, _ = rest.split()
            for each in sources:
                _copy(ROOT / each, source / each)
        elif name == "RUN":
            command = rest.replace("/opt/gateway", str(target))
            command = command.replace("python -m venv", f"{sys.executable} -m venv")
            environment = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"}
            subprocess.run(
                command, shell=True, cwd=source, env=environment, check=True,
                timeout=INSTALL_SECONDS_MAX, stdout=subprocess.DEVNULL,
            )  # fmt: skip
    shutil.rmtree(source)
    left = {path.name for path in (target / "bin").iterdir()}
    assert not [name for name in left if name.startswith(("pip", "easy_install"))]
    done = subprocess.run(
        [target / "bin" / "venice-gateway", "--help"],
        cwd=tmp_path,
        env={"PATH": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "serve" in done.stdout
    for needed in ("storage/schema/*.sql", "simulator/*.yaml"):
        assert list(target.glob(f"lib/python*/site-packages/gateway/{needed}")), needed


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", "*.py[cod]")
        shutil.copytree(source, target, ignore=ignored)
    else:
        shutil.copy2(source, target)
