"""Runs other programs as child processes, each with a log; they end with their parent."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

END_S: Final = 5.0  # a child that has not ended by then is killed
READY_S: Final = 60.0  # a guard: a machine that starts everything at once is slow
LOG_TAIL: Final = 2_000


class UnprovenError(Exception):
    """A far end is missing on this machine, so nothing can be proven."""


def program(name: str, package: str) -> str:
    """Return a program's path.

    Raises:
        UnprovenError: It is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise UnprovenError(f"{name} is not here (Debian's {package})")
    return path


def peer(name: str) -> str:
    """Return the path of a program built by `scripts/peers`.

    Raises:
        UnprovenError: It has not been built.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    place = Path(os.environ.get("HOLDLINE_PEERS") or Path(cache) / "holdline" / "peers")
    found = list((place / "bin").glob(f"{name}-v*"))
    if not found:
        raise UnprovenError(f"{name} is not in {place}/bin; scripts/peers builds it")
    return str(max(found, key=lambda each: each.stat().st_mtime))  # of several, the last built


def free_ports(count: int, *, kind: int = socket.SOCK_STREAM) -> list[int]:
    """Return free ports of loopback, all different."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket(type=kind)) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def port_range(first: int, size: int) -> tuple[int, int]:
    """Return the first free range of UDP ports from `first` on."""
    for begin in range(first, 32_000, size):
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for port in range(begin, begin + size):
                probe = held.enter_context(socket.socket(type=socket.SOCK_DGRAM))
                probe.bind(("0.0.0.0", port))  # noqa: S104 - livekit-sip takes them on all addresses
            return begin, begin + size - 1
    raise UnprovenError(f"no {size} free UDP ports in a row")


class Child:
    """A running program."""

    def __init__(
        self, command: Sequence[str], *, log: Path, environment: Mapping[str, str]
    ) -> None:
        self.log = log
        # Also when its parent is killed: else it would stay for ever.
        follow = shutil.which("setpriv")
        tied = [follow, "--pdeathsig", "KILL", *command] if follow else [*command]
        with log.open("ab") as file:
            self._process = subprocess.Popen(  # noqa: S603 - ours
                tied,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **environment},
                cwd=log.parent,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def said(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:]

    def signal(self, number: int) -> None:
        """Send it a signal, such as SIGSTOP."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Ask it to end, and kill it if it does not."""
        if self.running:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def until_listening(self, port: int) -> None:
        """Return when a TCP port of it answers.

        Raises:
            UnprovenError: It has ended instead.
        """
        until = time.monotonic() + READY_S
        while True:
            if not self.running:
                raise UnprovenError(f"{self.log.stem} does not start: {self.said()[-300:]}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
                return
            if time.monotonic() > until:
                raise UnprovenError(f"{self.log.stem} does not answer: {self.said()[-300:]}")
            time.sleep(0.02)


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str],
    *,
    folder: Path,
    port: int,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Child]:
    """Run a program until the block ends; it has begun when its TCP port answers."""
    child = Child(command, log=folder / f"{name}.log", environment=environment or {})
    try:
        child.until_listening(port)
        yield child
    finally:
        child.end()
