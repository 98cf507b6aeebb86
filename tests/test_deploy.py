"""The deployment's files: each names existing things, and they agree."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pipecat
import pytest
import yaml
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from bot.call import switchboard
from bot.do_not_call import opt_outs
from bot.programs import hosted, worker
from bot.server import server
from bot.workers import process as opening
from bot.workers.supervisor import GRACE_S, STOP_S
from configuration.environment import Environment
from configuration.loading import load
from operations.after_call import work
from operations.record import record_listener
from scripts.try_image import instructions, stages_of
from tests.kit.haproxy import MACHINES, answers, haproxy
from tests.peers.media_server import documented
from tests.share_servers import free_port

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SIP_IMAGE = (ROOT / "deploy" / "livekit-sip.Dockerfile").read_text(encoding="utf-8")
UNITS = {
    name: (ROOT / "deploy" / f"{name}.service").read_text(encoding="utf-8")
    for name in ("holdline", "livekit-server", "livekit-sip")
}
SECRETS = {
    "HOLDLINE_TOKEN": "a-token-for-nobody-else",
    "POSTGRES_PASSWORD": "p",
    "REDIS_PASSWORD": "r",
    "LIVEKIT_API_KEY": "k",
    "LIVEKIT_API_SECRET": "s" * 32,
    "GRAFANA_PASSWORD": "g",
    "DEEPGRAM_API_KEY": "a",
    "OPENAI_API_KEY": "b",
    "CARTESIA_API_KEY": "c",
    "ELEVENLABS_API_KEY": "d",
}


def filled(value: Any) -> Any:
    """Return a value of compose.yaml with its variables; an undefined one is an error."""
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+):\?\}", lambda found: SECRETS[found[1]], value)
    if isinstance(value, Mapping):
        return {filled(name): filled(item) for name, item in value.items()}
    return [filled(item) for item in value] if isinstance(value, list) else value


def seconds(text: str) -> float:
    return sum(
        int(many) * {"s": 1, "m": 60, "h": 3600}[unit]
        for many, unit in re.findall(r"(\d+)([smh])", text)
    )


def test_the_image_runs_as_the_nobody_user_without_a_shell_and_has_a_health_check() -> None:
    last = stages_of(DOCKERFILE)[-1]

    assert last.user == "10001:10001"
    assert json.loads(last.said["ENTRYPOINT"]) == ["holdline"]
    assert json.loads(last.said["CMD"])[0] == "serve"
    assert json.loads(last.said["HEALTHCHECK"].partition("CMD ")[2])[0] == "python"
    assert [each for name, each in instructions(DOCKERFILE) if name == "VOLUME"] == ["/data"]


def test_files_that_the_image_copies_are_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for stage in (*stages_of(DOCKERFILE), *stages_of(SIP_IMAGE)):
        for name, rest in stage.steps:
            sources = rest.split()[:-1] if name == "COPY" and "--from" not in rest else []
            for source in sources:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in ignored, source


def test_the_drivers_of_both_servers_are_in_the_lock() -> None:
    names = re.findall(r"lock_rows (\S+) ([a-z ]+) >", DOCKERFILE)

    assert names == [("requirements-dev.lock", "asyncpg redis")]
    rows = subprocess.run(  # noqa: S603 - ours
        [ROOT / "scripts" / "lock_rows", ROOT / names[0][0], *names[0][1].split()],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert re.findall(r"^(\w+)==", rows, re.MULTILINE) == ["asyncpg", "redis"]
    assert rows.count("--hash=sha256:") > 2


@pytest.mark.skipif(not shutil.which("hadolint"), reason="hadolint is not here: unproven")
def test_the_linter_of_dockerfiles_finds_nothing() -> None:
    subprocess.run(["hadolint", ROOT / "Dockerfile"], check=True)  # noqa: S603, S607


def test_each_service_has_an_image_and_every_used_folder_and_name_exists() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["image"].partition(":")[2] or service.get("build"), name
        assert "/" not in service["image"].partition("/")[2], name  # no registry's host
        assert "." not in service["image"].partition("/")[0].partition(":")[0], name
        assert set(service.get("depends_on", {})) <= set(COMPOSE["services"])
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
        for item in service.get("volumes", ()):
            source = item.partition(":")[0]
            ours = source == "./data" or (ROOT / source).exists()  # data is the operator's
            assert source in COMPOSE["volumes"] or ours, source


PINNED = re.compile(r"[a-z/-]+:v?\d+\.\d+(\.\d+)?(-(slim-)?bookworm)?@sha256:[0-9a-f]{64}")


def test_every_foreign_image_is_pinned_by_version_and_digest() -> None:
    lines = [*instructions(DOCKERFILE), *instructions(SIP_IMAGE)]
    built_from = [rest.split(" AS ") for name, rest in lines if name == "FROM"]
    ours = {name for _, *names in built_from for name in names}
    images = [image for image, *_ in built_from if image not in ours]
    images += [one["image"] for one in COMPOSE["services"].values() if "build" not in one]

    assert len(images) == 8
    assert built_from[-1] == built_from[0][:1]  # one image less to renew
    assert [image for image in images if not PINNED.fullmatch(image)] == []


LIVEKIT = {"LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"}
GETS = {
    "holdline": {"HOLDLINE_TOKEN", "POSTGRES_PASSWORD", "REDIS_PASSWORD", *LIVEKIT},
    "postgres": {"POSTGRES_PASSWORD"},
    "redis": {"REDIS_PASSWORD"},
    "livekit": {"REDIS_PASSWORD", *LIVEKIT},
    "sip": {"REDIS_PASSWORD", *LIVEKIT},
    "prometheus": set[str](),  # the token is a file of its own
    "grafana": {"GRAFANA_PASSWORD"},
}


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_each_service_gets_its_own_secrets_and_has_limits(name: str) -> None:
    service = COMPOSE["services"][name]

    assert set(re.findall(r"\$\{(\w+):\?\}", json.dumps(service))) == GETS[name]
    assert "env_file" not in service
    assert {"mem_limit", "pids_limit"} <= service.keys()
    assert {"max-size", "max-file"} <= service["logging"]["options"].keys()


def test_packages_missing_from_the_image_are_needed_by_no_running_part() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    (names,) = re.findall(r"pip uninstall .*?ignore([\s\\a-z-]+) &&", DOCKERFILE)
    gone = set(names.replace("\\", "").split())
    needed_by = {
        name: set(re.findall(r"#(?: via|  ) +([a-z][\w-]*)", row))
        for name, row in re.findall(r"^([a-z0-9-]+)(==.*\n(?:    .*\n)*)", lock, re.MULTILINE)
    }

    assert {name.split(">")[0] for name in project["dependency-groups"]["setup"]} < gone
    needing = {other for name in gone & needed_by.keys() for other in needed_by[name]} - gone
    assert needing == {"holdline", "pipecat-ai"}  # the group `setup`; and the resampler


def test_the_resampler_that_the_image_lacks_is_the_only_one_that_needs_its_packages() -> None:
    library = Path(pipecat.__file__).parent
    named = re.compile(r"^\s*(?:import|from) (?:resampy|numba|llvmlite)\b", re.MULTILINE)
    using = [file for file in library.rglob("*.py") if named.search(file.read_text("utf-8"))]
    rooms = ("bot", "transports", "processors", "providers", "operations", "lab", "engines")
    rooms += ("configuration", "runtime")
    ours = "".join(
        file.read_text("utf-8") for room in rooms for file in (ROOT / room).rglob("*.py")
    )

    assert [file.name for file in using] == ["resampy_resampler.py"]
    assert "resampy" not in ours.lower()


def test_only_the_sound_of_calls_is_open_to_others() -> None:
    services = [item for item in COMPOSE["services"].values() if "profiles" not in item]
    opened = [port for service in services for port in service.get("ports", ())]

    assert [line for line in opened if not line.startswith("127.0.0.1:")] == [
        "7881:7881",
        "50000-50100:50000-50100/udp",
    ]


def test_the_container_has_no_rights_and_no_writable_files() -> None:
    holdline = COMPOSE["services"]["holdline"]

    assert holdline["read_only"] is True
    assert holdline["tmpfs"] == ["/tmp"]  # noqa: S108 - of the container
    assert holdline["cap_drop"] == ["ALL"]
    assert holdline["init"] is True  # a first process ignores signals that it has not asked for


def test_compose_and_its_configuration_can_be_served_together(tmp_path: Path) -> None:
    holdline = filled(COMPOSE["services"]["holdline"])
    settings = load(
        ROOT / "deploy" / "compose" / "holdline.yaml",
        flags={"server.host": "0.0.0.0"},  # noqa: S104 - in a container
        variables=Environment(values={**SECRETS, **holdline["environment"]}),
    ).settings

    assert settings.storage.url == "postgresql+asyncpg://holdline:p@postgres/holdline"
    assert settings.resilience.share == "redis://:r@redis:6379/0"
    assert settings.transports.livekit.enabled
    assert seconds(holdline["stop_grace_period"]) >= settings.shutdown.drain_s + GRACE_S


def test_only_the_proxy_on_the_host_is_trusted() -> None:
    (network,) = COMPOSE["networks"]["default"]["ipam"]["config"]
    trusted = COMPOSE["services"]["holdline"]["environment"]["FORWARDED_ALLOW_IPS"].split(",")

    assert ip_address(network["gateway"]) in ip_network(network["subnet"])
    assert trusted == ["127.0.0.1", "::1", network["gateway"]]
    for page in ("deploy.md", "configuration.md"):
        assert "FORWARDED_ALLOW_IPS" in (ROOT / "docs" / page).read_text(encoding="utf-8")


def test_livekit_has_a_configuration_and_the_version_that_the_tests_use() -> None:
    livekit = filled(COMPOSE["services"]["livekit"])
    told = yaml.safe_load(livekit["environment"]["LIVEKIT_CONFIG"])
    (built,) = re.findall(r"^server=(\S+)", (ROOT / "scripts" / "peers").read_text(), re.MULTILINE)

    assert livekit["image"].startswith(f"livekit/livekit-server:{built}@")
    assert told["keys"] == {"k": "s" * 32}
    assert told["webhook"]["urls"] == ["http://holdline:8080/livekit/webhook"]
    assert str(told["rtc"]["tcp_port"]) in livekit["ports"][1]


def test_the_gateway_for_sip_is_opt_in_and_has_the_documented_configuration() -> None:
    sip = filled(COMPOSE["services"]["sip"])
    told = yaml.safe_load(sip["environment"]["SIP_CONFIG_BODY"])
    page = documented("sip.yaml")
    elsewhere = {"api_key", "api_secret", "ws_url", "redis", "rtp_port"}

    assert sip["profiles"] == ["sip"]  # else port 5060 would be open to those who need no SIP
    assert told.keys() == page.keys()
    assert [name for name in told if told[name] != page[name]] == sorted(
        elsewhere, key=[*told].index
    )
    assert f"{told['rtp_port']}:{told['rtp_port']}/udp" in sip["ports"]
    assert {f"{told['sip_port']}:{told['sip_port']}{kind}" for kind in ("", "/udp")} < {
        *sip["ports"]
    }
    assert told["redis"]["password"] == SECRETS["REDIS_PASSWORD"]


def test_the_documented_media_server_listens_on_loopback_only() -> None:
    told = documented("livekit.yaml")

    assert told["bind_addresses"] == ["127.0.0.1"]
    assert told["rtc"]["interfaces"] == {"includes": ["lo"]}
    assert told["rtc"]["tcp_port"] == 0  # it would be open on every interface


def test_redis_keeps_livekits_trunks_through_a_restart() -> None:
    redis = filled(COMPOSE["services"]["redis"])
    words = redis["command"]
    page = (ROOT / "docs" / "sip.md").read_text(encoding="utf-8")

    assert words[words.index("--appendonly") + 1] == "yes"
    assert redis["volumes"] == ["redis:/data"]  # where the image's Redis writes
    assert "appendonly yes" in page  # owners of another Redis are told so


def test_prometheus_scrapes_with_the_token_and_grafana_finds_it() -> None:
    scraping = yaml.safe_load((ROOT / "deploy" / "compose" / "prometheus.yml").read_text())
    source = yaml.safe_load((ROOT / "deploy" / "compose" / "grafana-source.yml").read_text())
    boards = yaml.safe_load((ROOT / "deploy" / "compose" / "grafana-boards.yml").read_text())
    (job,) = scraping["scrape_configs"]
    (provider,) = boards["providers"]
    mounted = " ".join(COMPOSE["services"]["grafana"]["volumes"])

    assert job["authorization"]["credentials_file"] == "/run/secrets/holdline_token"
    assert job["static_configs"][0]["targets"] == ["holdline:8080"]
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    assert f"./deploy/grafana:{provider['options']['path']}:ro" in mounted


def unit(name: str = "holdline") -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", UNITS[name], re.MULTILINE))


def test_the_printed_commands_are_those_of_the_unit() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^holdline\(\) \{ (.*); \}$", page, re.MULTILINE)
    program, _, *options = unit()["ExecStart"].split()

    assert shlex.split(line) == [
        *("sudo", "-u", unit()["User"], "env", "-C", unit()["WorkingDirectory"]),
        *(program, "$@", *options),
    ]


@pytest.mark.parametrize(
    ("got", "begins"),
    [("git pull && sudo make setup", "systemctl reload"), ("docker compose build", "up -d")],
    ids=["systemd", "compose"],
)
def test_a_new_version_has_its_database_before_it_accepts_calls(got: str, begins: str) -> None:
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")

    (recipe,) = (line for line in page.splitlines() if got in line)
    assert recipe.index(got) < recipe.index("holdline db upgrade") < recipe.index(begins)


def test_the_stop_time_is_the_same_everywhere() -> None:
    drain_s = load(variables=Environment(values=SECRETS)).settings.shutdown.drain_s
    told = {
        name: set(re.findall(r"`(?:shutdown\.)?drain_s`\s+plus\s+(\d+) s", text))
        for name, text in {
            "unit": UNITS["holdline"],
            **{
                item: (ROOT / item).read_text(encoding="utf-8")
                for item in ("CHANGELOG.md", "docs/deploy.md")
            },
        }.items()
    }

    assert told == {name: {f"{GRACE_S:g}"} for name in told}
    assert re.findall(r"docker stop -t (\d+)", DOCKERFILE) == [f"{drain_s + GRACE_S:g}"]


def test_a_worker_has_time_for_all_its_waits_after_the_drain() -> None:
    bounds = (switchboard.GOODBYE_S, switchboard.CUT_S, worker.LEAVE_S, worker.BEGIN_S)
    behind = (server.OPEN_CONNECTIONS_S, opening.LAST_WORDS_S, work.LAST_S, opt_outs.LIST_AT_END_S)
    # the batch being written, and those that wait
    record = (record_listener.LAST_S, record_listener.LAST_S)

    assert sum((*bounds, *behind, *record)) <= STOP_S < GRACE_S


def test_calls_of_a_host_application_end_within_the_same_time() -> None:
    calls = (switchboard.GOODBYE_S, switchboard.CUT_S)

    assert sum((*calls, opening.CLOSE_PROCESS_S, hosted.SERVER_CLOSE_S)) < GRACE_S


def test_systemd_gives_calls_their_time_and_does_not_restart_hopeless_cases() -> None:
    variables = Environment(values=SECRETS)
    drain_s = load(variables=variables).settings.shutdown.drain_s

    assert int(unit()["TimeoutStopSec"]) >= drain_s + GRACE_S
    assert unit()["KillMode"] == "mixed"  # the supervisor stops the workers
    assert unit()["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert unit()["RestartPreventExitStatus"] == "2"


def test_livekit_is_always_started_by_the_script() -> None:
    livekit = filled(COMPOSE["services"]["livekit"])
    script = ROOT / "deploy" / "start-livekit"
    (mounted,) = livekit["volumes"]

    assert os.access(script, os.X_OK)
    assert mounted.split(":")[:2] == ["./deploy/start-livekit", livekit["entrypoint"][0]]
    assert livekit["environment"]["REDIS_HOST"] == "redis:6379"
    assert "redis" not in yaml.safe_load(livekit["environment"]["LIVEKIT_CONFIG"])  # said once
    assert unit("livekit-server")["ExecStart"].split()[0] == "/opt/holdline/deploy/start-livekit"
    assert unit("livekit-server")["RestartSec"] == "100ms"


def test_only_livekit_can_read_the_files_with_its_secrets() -> None:
    page = (ROOT / "docs" / "sip.md").read_text(encoding="utf-8")
    (installed,) = re.findall(r"install (.*) livekit\.yaml /etc/livekit/livekit\.yaml", page)

    assert installed == f"-D -g {unit('livekit-server')['Group']} -m 640"
    assert "install -m 600 /dev/null /etc/livekit/env" in page  # systemd reads it, as root


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here: unproven")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_the_unit_and_rates_it_as_hardened(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.service"
    file.write_text(UNITS[name].replace(unit(name)["ExecStart"], f"{sys.executable} -V"))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def analyze(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - systemd's own
            ["systemd-analyze", *words, file],  # noqa: S607
            check=False,
            capture_output=True,
            text=True,
            env=environment,
        )

    verified = analyze("verify")
    assert (verified.returncode, verified.stderr) == (0, "")
    found = analyze("security", "--offline=true").stdout
    (exposure,) = re.findall(rf"exposure level for {name}.service: ([\d.]+)", found)
    assert float(exposure) < 2.5


def test_each_machine_of_the_balancer_is_given_up_when_nothing_is_confirmed() -> None:
    text = (ROOT / "deploy" / "haproxy.cfg").read_text(encoding="utf-8")

    servers = [line for line in text.splitlines() if line.startswith("    server ")]

    assert len(servers) == 8
    assert [
        line for line in servers if "tcp-ut 3500ms" not in line
    ] == []  # no use in `default-server`


@pytest.mark.parametrize(
    ("method", "path", "is_sent_again"),
    [
        ("POST", "/api/dials", False),
        ("POST", "/api/offer", True),
        ("GET", "/api/calls", True),
        ("POST", "/telnyx/voice", True),
    ],
)
async def test_the_balancer_sends_what_orders_a_call_once_also_if_the_machine_dies(
    method: str, path: str, *, is_sent_again: bool
) -> None:
    asked: list[str] = []

    async def die(request: web.Request) -> web.Response:
        asked.append(request.path)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    machine = web.Application()
    machine.router.add_route("*", "/{path:.*}", die)
    async with TestServer(machine) as server:
        ports = dict.fromkeys(MACHINES, server.port or 0)
        with haproxy(ports, dict.fromkeys(MACHINES, free_port())) as url:
            await answers(url)
            asked.clear()
            async with ClientSession() as session, session.request(method, f"{url}{path}"):
                pass

    assert (len(asked) > 1) == is_sent_again
    assert set(asked) == {path}
