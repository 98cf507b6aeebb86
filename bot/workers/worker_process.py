"""One worker as the supervisor has it: a process, a line, and a socket for connections."""

import asyncio
import json
import socket
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bot.exits import FAILED
from bot.workers.wire import Wire
from calls.operations_events import WorkerCause

ROOT = Path(__file__).parents[2]
LAST_WORDS_S: Final = 1.0  # chosen: to read what it said last, which is there when it has ended


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOrder:
    """What a worker is told at its start; it reads the configuration itself."""

    number: int
    workers: int  # of the house
    pool: str  # its id
    config: str | None
    flags: dict[str, Any]
    board: str  # where the house shares its providers' health
    metrics: str  # the folder in which its processes count


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLine:
    """Its open ends, by the numbers that it inherits."""

    control: int
    hand: int


class Worker:
    """A process that answers calls."""

    def __init__(self, order: WorkerOrder) -> None:
        """Prepare; `start` starts it."""
        self.number = order.number
        self.name = f"w{order.number}"
        self.order = order
        self.configured = asyncio.Event()  # nothing is wrong with what it is to do
        self.ready = asyncio.Event()
        self.heard_at = 0.0  # its last report, monotonic
        self.ended = asyncio.Event()
        self.closing = asyncio.Event()  # it takes no more calls, whoever told it so
        self.leaving = False
        self.cause: WorkerCause = "start"  # why it is there
        self.replaces = ""  # a worker that was lost
        self.replaces_since_s = 0.0  # when that was
        self.code: int | None = None  # how it ended
        self.wire = Wire()
        self._hand: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The number of its process; 0: there is none yet."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Start the process; signals of the terminal are the supervisor's alone.

        Raises:
            OSError: There is no room for one: no process, no memory, no descriptor.
            RuntimeError: Nor is there a thread, in which Python waits for its end.
        """
        its_control, its_hand = self._open()
        try:
            await self._start(WorkerLine(control=its_control.fileno(), hand=its_hand.fileno()))
        finally:
            for item in (its_control, its_hand):
                item.close()  # it has its own

    def _open(self) -> tuple[socket.socket, socket.socket]:
        """Open the line and the way for connections; return the process's ends."""
        self.wire.own, its_control = socket.socketpair()
        try:
            self._hand, its_hand = socket.socketpair()
        except OSError:
            its_control.close()
            raise
        self._hand.settimeout(0)
        return its_control, its_hand

    async def _start(self, line: WorkerLine) -> None:
        words = json.dumps(asdict(self.order) | asdict(line))
        program = (
            f"import sys; sys.path[:] = {_paths()!r}; from bot.programs.worker import main; main()"
        )
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", program, words,
            pass_fds=(line.control, line.hand), start_new_session=True,
        )  # fmt: skip

    async def run(self) -> int:
        """Keep up the line until the process has ended; return how it ended.

        The line ends with it, unless a process that a tool has begun there has its end, too.
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

    def hand_over(self, connection: socket.socket) -> bool:
        """Give it a connection; False: it takes none."""
        if self._hand is None:
            return False
        try:
            return socket.send_fds(self._hand, [b"c"], [connection.fileno()]) == 1
        except OSError:  # gone, or its queue is full
            return False

    def close_hand(self) -> None:
        """Give it no connection any more; it learns of it behind the last one."""
        if self._hand:
            self._hand.close()

    def give_up(self) -> None:
        """Count it as ended: there is no process."""
        self.code = FAILED
        self.close_hand()
        self.wire.close()
        self.ended.set()

    def kill(self) -> None:
        """End it at once."""
        if self._process and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()


def _paths() -> list[str]:
    """Return where this process finds its modules, by whole names: tools of an owner among them."""
    return [
        str(ROOT),
        *(str(Path(phase).absolute()) if phase else str(Path.cwd()) for phase in sys.path),
    ]
