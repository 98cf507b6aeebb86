"""Real PostgreSQL and Redis servers for tests, each on a loopback port of its own."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio

from tests.absent import report_absent

PASSWORD = "s3cret-of-the-share"
READY_S = 30.0
KEPT = 100  # databases of the latest tests
MEMORY = Path("/dev/shm")  # noqa: S108 - no other user works on a machine for tests
ROOM_BYTES = 4 * 1024**3  # 8 MB a database, for several pytest workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A database server that a test can pause."""

    process: subprocess.Popen[bytes]
    port: int
    address: str  # `{}` is replaced by the password
    created: deque[str] = field(default_factory=deque[str])  # PostgreSQL's databases, oldest first
    templates: set[str] = field(default_factory=set[str])  # databases that are kept and copied

    @property
    def url(self) -> str:
        return self.address.format(PASSWORD)

    def pause(self) -> None:
        """Suspend all its processes: connections succeed, but get no answer."""
        self.process.send_signal(signal.SIGSTOP)  # first, so that it starts no further processes
        self._send_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._send_all(signal.SIGCONT)

    def _send_all(self, what: signal.Signals) -> None:
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):  # it ended since the check
                os.kill(pid, what)

    def _pids(self) -> list[int]:
        """Return the server's process id, then those of its descendants."""
        parents = dict(_parents())
        found = [self.process.pid]
        for item in found:
            found.extend(pid for pid, parent in parents.items() if parent == item)
        return found

    async def fresh_url(self, *, like: str = "template1", template: str = "") -> str:
        """Return the URL of a new PostgreSQL database, or of a flushed Redis.

        Args:
            like: The database that it is a copy of.
            template: The name of a database that is to be copied later.
        """
        if self.url.startswith("redis"):
            async with redis.asyncio.Redis.from_url(self.url) as client:
                await client.flushdb()
            return self.url
        connection = await asyncpg.connect(self.url)
        try:
            name = template or f"board_{time.monotonic_ns()}"
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY file_copy")
            (self.templates.add if template else self.created.append)(name)
            if len(self.created) > KEPT:
                await connection.execute(f"DROP DATABASE {self.created.popleft()} WITH (FORCE)")
        finally:
            await connection.close()
        return self.url.rpartition("/")[0] + f"/{name}"


def _parents() -> Iterator[tuple[int, int]]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
            yield int(stat.parent.name), int(fields[1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _until_ready(process: subprocess.Popen[bytes], *question: str) -> None:
    end = time.monotonic() + READY_S
    while subprocess.run(question, check=False, capture_output=True).returncode:  # noqa: S603 - ours
        assert process.poll() is None, "it ended"
        assert time.monotonic() < end, "it does not answer"
        time.sleep(0.05)


def memory_folder() -> Path | None:
    """Return a folder in memory, if there is room for many databases; `None` for the usual one.

    Creating a database takes 6 ms there, and up to 250 ms on a disk.
    """
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM_BYTES:
        return MEMORY
    return None


@contextlib.contextmanager
def running_postgres() -> Iterator[Server]:
    """Run a PostgreSQL; as root, run it as the user `nobody`, because it refuses to run as root."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        report_absent("Debian's postgresql")
    folder, port = programs[-1].parent, free_port()
    with tempfile.TemporaryDirectory(prefix="holdline-postgres-", dir=memory_folder()) as place:
        prefix: list[str] = []
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(place, nobody.pw_uid, nobody.pw_gid)
            ids = (f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
            prefix = [str(shutil.which("setpriv")), *ids]
        secret = Path(place) / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        secret.chmod(0o644)
        data = f"{place}/data"
        login = ["-U", "holdline", "-A", "scram-sha-256", f"--pwfile={secret}"]
        subprocess.run(  # noqa: S603 - ours
            [*prefix, folder / "initdb", "-D", data, *login, "-N", "-E", "UTF8", "--locale=C"],
            check=True,
            capture_output=True,
            cwd=place,
        )
        options = ("fsync=off", "unix_socket_directories=", "shared_buffers=16MB")
        said = [word for option in options for word in ("-c", option)]
        process = subprocess.Popen(  # noqa: S603 - ours
            [*prefix, folder / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), *said],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=place,
        )
        address = f"postgresql://holdline:{{}}@127.0.0.1:{port}/postgres"
        with _ended(Server(process=process, port=port, address=address)) as server:
            _until_ready(process, f"{folder}/pg_isready", "-h", "127.0.0.1", "-p", str(port))
            yield server


@contextlib.contextmanager
def running_redis(port: int = 0) -> Iterator[Server]:
    """Run a Redis without persistence, on a free port by default."""
    program, client = shutil.which("redis-server"), shutil.which("redis-cli")
    if program is None or client is None:
        report_absent("Debian's redis-server")
        return
    port = port or free_port()
    options = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--requirepass", PASSWORD)
    with tempfile.TemporaryDirectory(prefix="holdline-redis-") as place:
        process = subprocess.Popen(  # noqa: S603 - ours
            [program, "--port", str(port), "--dir", place, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        address = f"redis://:{{}}@127.0.0.1:{port}/0"
        with _ended(Server(process=process, port=port, address=address)) as server:
            _until_ready(process, client, "-p", str(port), "ping")
            yield server


@contextlib.contextmanager
def _ended(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.resume()
        server.process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
        try:
            server.process.wait(10.0)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    with running_redis() as server:
        yield server
