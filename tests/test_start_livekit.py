"""`deploy/start-livekit` at a real Redis: which servers it removes, and that it always starts."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.absent import report_absent
from tests.share_servers import PASSWORD, Server, running_redis

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "deploy" / "start-livekit"
GUARD_S = 60
NEEDED = "dirname grep mkdir nc printf sleep timeout touch tr wc"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_redis() as running:
        yield running


@pytest.fixture
def memory(server: Server) -> Iterator[Any]:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        yield client
        client.flushall()


@pytest.fixture
def living(memory: Any) -> Iterator[Callable[[str], None]]:
    """Return a subscription that makes a server listen at Redis, as a living one does."""
    ears: list[Any] = []

    def listen(node: str) -> None:
        memory.hset("nodes", node, "what it is")
        ears.append(memory.pubsub())
        ears[-1].subscribe(f"Keepalive|Ping|{node}|REQ")
        ears[-1].get_message(timeout=10)

    yield listen
    for ear in ears:
        ear.close()


@pytest.fixture(params=["redis-cli", "busybox"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the search path for programs: as on Debian, or as in LiveKit's own image."""
    if request.param == "redis-cli":
        return os.environ["PATH"]
    busybox = shutil.which("busybox") or report_absent("Debian's busybox")
    folder = tmp_path / "busybox"
    folder.mkdir()
    for name in NEEDED.split():
        (folder / name).symlink_to(busybox)
    return str(folder)


class Starts:
    """Starts a fake livekit-server that only reports that it runs."""

    def __init__(self, path: str, folder: Path, address: str) -> None:
        self.came_up = folder / "state" / "nodes"
        self._environment = {
            "PATH": path,
            "REDIS_HOST": address,
            "REDIS_PASSWORD": PASSWORD,
            "STATE_DIRECTORY": str(self.came_up.parent),
        }

    def noted(self, *nodes: str) -> None:
        self.came_up.parent.mkdir(exist_ok=True)
        self.came_up.write_text("".join(f"{node}\n" for node in nodes))

    def __call__(self, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - ours
            [SCRIPT, "printf", "<%s>", "it runs", "--config", "a file"],
            check=False,
            capture_output=True,
            text=True,
            env=self._environment | changes,
            timeout=GUARD_S,
        )


@pytest.fixture
def start(path: str, server: Server, tmp_path: Path) -> Starts:
    return Starts(path, tmp_path, f"127.0.0.1:{server.port}")


RUNS = "<it runs><--config><a file>"


def test_a_dead_server_of_this_host_is_removed(start: Starts, memory: Any) -> None:
    memory.hset("nodes", "ND_dead", "what it was")
    start.noted("ND_dead")

    ran = start()

    assert ran.stdout == RUNS
    assert "removed the dead server ND_dead" in ran.stderr
    assert memory.hkeys("nodes") == []
    assert start.came_up.read_text() == ""


def test_a_living_server_of_this_host_stays(
    start: Starts, memory: Any, living: Callable[[str], None]
) -> None:
    living("ND_first")
    memory.hset("nodes", "ND_second", "what it was")
    start.noted("ND_first", "ND_second")

    assert start().stdout == RUNS

    assert memory.hkeys("nodes") == ["ND_first"]
    assert (
        start.came_up.read_text() == "ND_first\n"
    )  # its death, too, would be visible on this host


def test_servers_of_other_hosts_are_not_touched(start: Starts, memory: Any) -> None:
    memory.hset("nodes", "ND_elsewhere", "of another host, and not known to be dead")
    start.noted("ND_dead")

    assert start().stdout == RUNS

    assert memory.hkeys("nodes") == ["ND_elsewhere"]


def test_a_started_server_is_noted_for_the_next_start(
    start: Starts, living: Callable[[str], None]
) -> None:
    living("ND_elsewhere")
    assert start().stdout == RUNS

    living("ND_ours")

    until = time.monotonic() + GUARD_S
    while (noted := start.came_up.read_text()) == "" and time.monotonic() < until:
        time.sleep(0.05)
    assert noted == "ND_ours\n"


def test_livekit_starts_without_a_redis(start: Starts) -> None:
    ran = start(REDIS_HOST="127.0.0.1:1")

    assert ran.stdout == RUNS
    assert "no dead server is removed" in ran.stderr


def test_livekit_starts_when_redis_hangs(start: Starts, server: Server) -> None:
    server.pause()
    try:
        ran = start()
    finally:
        server.resume()

    assert ran.stdout == RUNS
    assert "no dead server is removed" in ran.stderr


def test_livekit_starts_when_redis_rejects_the_password(start: Starts, memory: Any) -> None:
    memory.hset("nodes", "ND_dead", "what it was")
    start.noted("ND_dead")

    assert start(REDIS_PASSWORD="another").stdout == RUNS

    assert memory.hkeys("nodes") == ["ND_dead"]
    assert start.came_up.read_text() == "ND_dead\n"


def test_livekit_starts_where_nothing_can_be_written(start: Starts, tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()

    ran = start(STATE_DIRECTORY=str(tmp_path / "a-file"))

    assert ran.stdout == RUNS
    assert "no dead server is removed" in ran.stderr


def test_livekit_starts_without_an_address_and_warns(start: Starts) -> None:
    ran = start(REDIS_HOST="")

    assert ran.stdout == RUNS
    assert "REDIS_HOST is not set" in ran.stderr
