"""Two real livekit-servers on one Redis: a start removes only its own dead one."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from livekit import api

from tests.kit.waiting import until
from tests.peers.children import Child, free_ports, running
from tests.peers.media_server import START, MediaServer

ROOM = "call-of-nobody"


def on_the_list(server: MediaServer) -> set[str]:
    with redis.Redis.from_url(f"redis://{server.redis}", decode_responses=True) as client:
        return set(client.hkeys("nodes"))


@pytest.fixture
def second(media_server: MediaServer, tmp_path: Path) -> Iterator[Child]:
    """Run another livekit-server, as on another host, on the first one's Redis."""
    config = json.loads((media_server.folder / "livekit.yaml").read_text(encoding="utf-8"))
    config["port"], config["rtc"]["tcp_port"], config["rtc"]["udp_port"] = free_ports(3)
    path = tmp_path / "livekit.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    with running(
        "second",
        [str(START), media_server.program, "--config", str(path)],
        folder=tmp_path,
        port=config["port"],
        environment={"REDIS_HOST": media_server.redis, "STATE_DIRECTORY": str(tmp_path / "state")},
    ) as child:
        yield child


async def test_a_start_removes_only_its_own_dead_server(
    media_server: MediaServer, second: Child, tmp_path: Path
) -> None:
    noted, other = media_server.folder / "nodes", tmp_path / "state" / "nodes"
    await until(lambda: bool(noted.read_text() and other.read_text()))
    # The other may be noted, too, because both started at the same time. It lives, which decides.
    first_id, both = noted.read_text().split()[0], on_the_list(media_server)

    media_server.kill_server()
    await asyncio.to_thread(media_server.start_server)

    after = on_the_list(media_server)
    assert first_id not in after
    assert both - {first_id} < after
    assert len(after) == 2
    assert second.running
    async with media_server.api() as lk:  # the server that opens it lives
        assert (await lk.room.create_room(api.CreateRoomRequest(name=ROOM))).name == ROOM


async def test_a_living_server_of_the_same_host_stays_on_the_list(
    media_server: MediaServer, second: Child, tmp_path: Path
) -> None:
    """Two of one host may write their start to the same file: the living one stays."""
    other = tmp_path / "state" / "nodes"
    await until(lambda: bool(other.read_text()))
    second_id = other.read_text().split()[-1]
    with (media_server.folder / "nodes").open("a", encoding="utf-8") as file:
        file.write(f"{second_id}\n")

    media_server.kill_server()
    await asyncio.to_thread(media_server.start_server)

    assert second_id in on_the_list(media_server)
