"""A real LiveKit on loopback: Redis, livekit-server and livekit-sip, on free ports."""

import contextlib
import json
import re
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from livekit import api

from tests.peers.children import (
    Child,
    UnprovenError,
    free_ports,
    peer,
    port_range,
    program,
    running,
)

KEY: Final = "peerkey"
SECRET: Final = "peer-secret-of-at-least-thirty-two-characters"
NUMBER: Final = "+15550100"
SIP_RTP_PORTS: Final = 200  # one stays taken for 30 s and longer after its call
SIP_RTP_FROM: Final = 20_000
START: Final = Path(__file__).parents[2] / "deploy" / "start-livekit"  # as operators start it
SIP_PAGE: Final = Path(__file__).parents[2] / "docs" / "sip.md"
TRIES: Final = 3  # another program may take a port between our check and the program's


@dataclass(kw_only=True)
class MediaServer:
    """LiveKit with its SIP service.

    Attributes:
        url: Of its API and of its websockets.
        sip_port: The UDP port on 127.0.0.1 on which livekit-sip accepts INVITEs.
        webhook_port: The port to which webhooks go, at `/livekit/webhook`.
        server: livekit-server's process; `start_server` replaces it.
        sip: livekit-sip's process.
        redis: Host and port of what the two share.
    """

    url: str
    sip_port: int
    webhook_port: int
    folder: Path
    server: Child
    sip: Child
    redis: str
    _command: Sequence[str]
    _environment: Mapping[str, str]

    key: str = KEY
    secret: str = SECRET

    @property
    def program(self) -> str:
        """The address of livekit-server itself."""
        return self._command[1]

    @property
    def websocket_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    def api(self) -> api.LiveKitAPI:
        """Return a client, to be used as `async with`."""
        return api.LiveKitAPI(self.url, self.key, self.secret)

    def token(self, room: str, identity: str = "agent") -> str:
        """Return an agent's credentials for a room."""
        grants = api.VideoGrants(room_join=True, room=room, agent=True)
        token = api.AccessToken(self.key, self.secret).with_identity(identity).with_kind("agent")
        return token.with_grants(grants).to_jwt()

    def uri(self, number: str = NUMBER) -> str:
        """Return the SIP address of a number here."""
        return f"sip:{number}@127.0.0.1:{self.sip_port}"

    async def add_number(self, number: str = NUMBER) -> str:
        """Accept calls to a number, each in a room of its own; return the trunk's id."""
        async with self.api() as lk:
            trunk = await lk.sip.create_inbound_trunk(
                api.CreateSIPInboundTrunkRequest(
                    trunk=api.SIPInboundTrunkInfo(
                        name=f"in {number}", numbers=[number], allowed_addresses=["127.0.0.1/32"]
                    )
                )
            )
            each = api.SIPDispatchRule(
                dispatch_rule_individual=api.SIPDispatchRuleIndividual(room_prefix="call-")
            )
            await lk.sip.create_dispatch_rule(
                api.CreateSIPDispatchRuleRequest(
                    dispatch_rule=api.SIPDispatchRuleInfo(
                        name=f"calls {number}", trunk_ids=[trunk.sip_trunk_id], rule=each
                    )
                )
            )
            return trunk.sip_trunk_id

    async def remove_all(self) -> None:
        """Delete every trunk and rule, and close every room."""
        async with self.api() as lk:
            rules = await lk.sip.list_dispatch_rule(api.ListSIPDispatchRuleRequest())
            for rule in rules.items:
                await lk.sip.delete_dispatch_rule(
                    api.DeleteSIPDispatchRuleRequest(sip_dispatch_rule_id=rule.sip_dispatch_rule_id)
                )
            inbound = await lk.sip.list_inbound_trunk(api.ListSIPInboundTrunkRequest())
            outbound = await lk.sip.list_outbound_trunk(api.ListSIPOutboundTrunkRequest())
            for trunk in [*inbound.items, *outbound.items]:
                await lk.sip.delete_trunk(
                    api.DeleteSIPTrunkRequest(sip_trunk_id=trunk.sip_trunk_id)
                )
            rooms = await lk.room.list_rooms(api.ListRoomsRequest())
            for room in rooms.rooms:
                await lk.room.delete_room(api.DeleteRoomRequest(room=room.name))

    def end_server(self) -> None:
        """Stop livekit-server, whichever process runs by now."""
        self.server.end()

    def stop_server(self) -> None:
        """Stop livekit-server during its calls: asked once, it waits for them to end."""
        for _ in range(2):
            self.server.signal(signal.SIGTERM)
            time.sleep(0.05)
        self.server.end()

    def kill_server(self) -> None:
        """Kill livekit-server, as in a crash."""
        self.server.kill()

    def start_server(self, *, bare: bool = False) -> None:
        """Start livekit-server again where it was.

        Args:
            bare: Without `deploy/start-livekit`, which removes a dead server from Redis's list.
        """
        self.server = Child(
            self._command[1:] if bare else self._command,
            log=self.server.log,
            environment=self._environment,
        )
        self.server.until_listening(int(self.url.rpartition(":")[2]))


@contextlib.contextmanager
def running_media_server(folder: Path, *, media_timeout_s: float = 15.0) -> Iterator[MediaServer]:
    """Run a LiveKit until the block ends.

    Args:
        folder: For its configuration and its logs.
        media_timeout_s: Seconds without RTP of the caller after which livekit-sip hangs up.

    Raises:
        UnprovenError: Something of it is not here, or does not start.
    """
    programs = (
        program("redis-server", "redis-server"),
        peer("livekit-server"),
        peer("livekit-sip"),
    )
    with contextlib.ExitStack() as stack:
        yield _start(stack, programs, folder, media_timeout_s, tries=TRIES)


def _start(
    stack: contextlib.ExitStack,
    programs: tuple[str, str, str],
    folder: Path,
    media_timeout_s: float,
    *,
    tries: int,
) -> MediaServer:
    with contextlib.ExitStack() as started:
        try:
            server = _start_once(started, programs, folder, media_timeout_s)
        except UnprovenError:
            if tries == 1:
                raise
        else:
            stack.enter_context(started.pop_all())
            return server
    return _start(stack, programs, folder, media_timeout_s, tries=tries - 1)


def _start_once(
    stack: contextlib.ExitStack,
    programs: tuple[str, str, str],
    folder: Path,
    media_timeout_s: float,
) -> MediaServer:
    redis, server, sip = programs
    ports = _free()
    configs = {
        "livekit.yaml": _server_config(ports),
        "sip.yaml": _sip_config(ports, media_timeout_s),
    }
    for name, content in configs.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    keep_nothing = ["--save", "", "--appendonly", "no", "--dir", str(folder)]
    memory = [redis, "--port", str(ports.redis), "--bind", "127.0.0.1", *keep_nothing]
    command = [str(START), server, "--config", str(folder / "livekit.yaml")]
    environment = {"REDIS_HOST": f"127.0.0.1:{ports.redis}", "STATE_DIRECTORY": str(folder)}
    exchange = [sip, "--config", str(folder / "sip.yaml")]
    stack.enter_context(running("redis", memory, folder=folder, port=ports.redis))
    media_server = MediaServer(
        url=ports.url,
        sip_port=ports.sip,
        webhook_port=ports.webhook,
        folder=folder,
        server=stack.enter_context(
            running(
                "livekit-server",
                command,
                folder=folder,
                port=ports.api,
                environment=environment,
            )
        ),
        sip=stack.enter_context(running("livekit-sip", exchange, folder=folder, port=ports.health)),
        redis=environment["REDIS_HOST"],
        _command=command,
        _environment=environment,
    )
    stack.callback(media_server.end_server)
    return media_server


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ports:
    redis: int
    api: int
    webhook: int
    health: int
    udp: int
    sip: int
    stun: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api}"


def _free() -> _Ports:
    redis, port, webhook, health = free_ports(4)
    udp, sip, stun = free_ports(3, kind=socket.SOCK_DGRAM)
    return _Ports(
        redis=redis, api=port, webhook=webhook, health=health, udp=udp, sip=sip, stun=stun
    )


def documented(name: str) -> dict[str, Any]:
    """Return a configuration of docs/sip.md."""
    page = SIP_PAGE.read_text(encoding="utf-8")
    (found,) = re.findall(rf"```yaml\n(# {name}.*?)```", page, re.DOTALL)
    return yaml.safe_load(found)


def _server_config(ports: _Ports) -> dict[str, Any]:
    told = documented("livekit.yaml")
    return told | {
        "port": ports.api,
        "rtc": told["rtc"]
        | {
            "udp_port": ports.udp,
            # A closed port: unset, clients are given a public one.
            "stun_servers": [f"127.0.0.1:{ports.stun}"],
        },
        "keys": {KEY: SECRET},
        "webhook": {
            "api_key": KEY,
            "urls": [f"http://127.0.0.1:{ports.webhook}/livekit/webhook"],
        },
    }


def _sip_config(ports: _Ports, media_timeout_s: float) -> dict[str, Any]:
    return documented("sip.yaml") | {
        "api_key": KEY,
        "api_secret": SECRET,
        "ws_url": ports.url.replace("http", "ws"),
        "redis": {"address": f"127.0.0.1:{ports.redis}"},
        "sip_port": ports.sip,
        "listen_ip": "127.0.0.1",
        "use_external_ip": False,
        "nat_1_to_1_ip": "127.0.0.1",
        "rtp_port": "{}-{}".format(*port_range(SIP_RTP_FROM, SIP_RTP_PORTS)),
        "health_port": ports.health,
        "max_cpu_utilization": 1.0,  # at the default 0.9 a busy machine has no room for a call
        "media_timeout": f"{media_timeout_s:g}s",
    }
