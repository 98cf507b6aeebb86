"""One worker as the supervisor sees it: a process, a wire, and a socket to send connections on."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import resolve_name
from pathlib import Path
from typing import Any, Final

from bot.workers.wire import Wire
from calls.operations_events import WorkerCause
from configuration.machine import count_oom_kills, killed_for_memory
from runtime.exits import FAILED

ROOT: Final = Path(__file__).parents[__name__.count(".")]  # on the import path
PROGRAM: Final = resolve_name("..programs.worker", __package__)
LAST_WORDS_S: Final = 1.0  # chosen: for reading a worker's last messages after it has ended


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerParameters:
    """The start parameters of a worker; it reads the configuration itself."""

    number: int
    workers: int  # how many workers the pool has
    pool_id: str
    config: str | None  # the configuration file
    flags: dict[str, Any]  # command line options that override it
    board: str  # the URL of the pool's health board
    metrics: str  # the folder of the pool's metrics


class Worker:
    """A process that answers calls; `start` starts it."""

    def __init__(self, parameters: WorkerParameters) -> None:
        """Hold the parameters and an unconnected wire; no process starts before `start`."""
        self.number = parameters.number
        self.name = f"w{parameters.number}"
        self._parameters = parameters
        self.configured = asyncio.Event()  # its configuration is valid
        self.ready = asyncio.Event()
        self.refused: Sequence[str] = ()  # sentences about providers that failed at its startup
        self.reported_at = 0.0  # when its last report arrived, monotonic
        self.ended = asyncio.Event()
        self.closing = asyncio.Event()  # it takes no new calls, for whatever reason
        self.leaving = False  # it is being replaced or removed
        self.cause: WorkerCause = "start"  # why it was started
        self.replaces = ""  # the lost worker that it replaces
        self.replaced_lost_at = 0.0  # when that worker was lost, monotonic
        self.code: int | None = None  # its exit code
        self.killed = False  # by us
        self.frozen_in: str | None = None  # the function in which it hung; empty if unknown
        self.oom_kills_before: int | None = None  # the kernel's count when it was started
        self.wire = Wire()
        self._hand: socket.socket | None = None  # sends connections to the process
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The id of its process; 0 before the start."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Start the process in a session of its own, so that Ctrl-C reaches only the supervisor.

        Raises:
            OSError: The system has no process, memory or file descriptor left.
            RuntimeError: The system has no thread left in which Python could wait for the process.
        """
        its_control, its_hand = self._open_sockets()
        try:
            await self._start_process(control=its_control.fileno(), hand=its_hand.fileno())
        finally:
            for item in (its_control, its_hand):
                item.close()  # the process has inherited its own copy

    def _open_sockets(self) -> tuple[socket.socket, socket.socket]:
        """Open the wire and the socket for connections; return the process's ends of both."""
        self.wire.own, its_control = socket.socketpair()
        try:
            self._hand, its_hand = socket.socketpair()
        except OSError:
            its_control.close()
            raise
        self._hand.settimeout(0)
        return its_control, its_hand

    async def _start_process(self, **inherited: int) -> None:
        """Start the process, which inherits file descriptors: `control` and `hand`."""
        self.oom_kills_before = count_oom_kills()
        argument = json.dumps(asdict(self._parameters) | inherited)
        program = (
            f"import sys; sys.path[:] = {_import_paths()!r}; from {PROGRAM} import main; main()"
        )
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", program, argument,
            pass_fds=tuple(inherited.values()), start_new_session=True,
        )  # fmt: skip

    async def run(self) -> int:
        """Read the wire until the process has ended; return the exit code.

        Then the wire is closed, and `ended` is set. The wire normally closes with the process, but
        not if a child process has inherited it.

        Raises:
            RuntimeError: It was not started.
        """
        if self._process is None:
            raise RuntimeError("a worker must be started first")
        try:
            async with asyncio.TaskGroup() as tasks:
                line = tasks.create_task(self.wire.run(), name=f"the line to {self.name}")
                self.code = await self._process.wait()
                await asyncio.wait([line], timeout=LAST_WORDS_S)
                line.cancel()
            return self.code
        finally:
            self.close_hand()
            self.wire.close()
            self.ended.set()

    def send_connection(self, connection: socket.socket) -> bool:
        """Send the process a copy of a connection; return False if it is gone or takes none."""
        if self._hand is None:
            return False
        try:
            return socket.send_fds(self._hand, [b"c"], [connection.fileno()]) == 1
        except OSError:  # gone, or its queue is full
            return False

    def close_hand(self) -> None:
        """Send no more connections; the process sees the end of the stream after the last one."""
        if self._hand:
            self._hand.close()

    def give_up(self) -> None:
        """Mark the worker as ended, because its process could not be started."""
        self.code = FAILED
        self.close_hand()
        self.wire.close()
        self.ended.set()

    def kill(self) -> None:
        """Kill the process, if it runs; `loss` then does not look for a lack of memory."""
        self.killed = True
        if self._process and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()

    @property
    def loss(self) -> tuple[str, str]:
        """The kind of its end (out_of_memory, frozen, lost), and the reason after its name."""
        was_killed = self.code == -signal.SIGKILL and not self.killed
        if was_killed and (reason := killed_for_memory(self.oom_kills_before)):
            return "out_of_memory", reason
        if self.frozen_in is not None:
            why = f"{self.frozen_in} blocked it" if self.frozen_in else "it did not respond"
            return "frozen", f"was killed, because {why}"
        return "lost", f"exited with {self.code}"


def _import_paths() -> list[str]:
    """Return this process's import paths, made absolute: a worker imports the owner's tools."""
    return [
        str(ROOT),
        *(str(Path(entry).absolute()) if entry else str(Path.cwd()) for entry in sys.path),
    ]
