"""One worker as the supervisor has it: a process, a line, and a socket for connections."""

import asyncio
import json
import socket
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bot.exits import FAILED
from bot.house.wire import Wire
from calls.house_events import WorkerCause

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOrder:
    """What a worker is told at its start; it reads the configuration itself."""

    number: int
    workers: int  # of the house
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
        self.leaving = False
        self.cause: WorkerCause = "start"  # why it is there
        self.replaces = ""  # a worker that was lost
        self.replaces_since_s = 0.0  # when that was
        self.code: int | None = None  # how it ended
        own, self._its_control = socket.socketpair()
        self._hand, self._its_hand = socket.socketpair()
        self._hand.settimeout(0)
        self.wire = Wire(own)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The number of its process; 0: there is none yet."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Start the process; signals of the terminal are the supervisor's alone."""
        line = WorkerLine(control=self._its_control.fileno(), hand=self._its_hand.fileno())
        words = json.dumps(asdict(self.order) | asdict(line))
        program = (
            f"import sys; sys.path[:] = {_paths()!r}; from bot.programs.worker import main; main()"
        )
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", program, words,
            pass_fds=(line.control, line.hand), start_new_session=True,
        )  # fmt: skip
        for each in (self._its_control, self._its_hand):
            each.close()  # it has its own

    async def run(self) -> int:
        """Keep up the line until the process has ended; return how it ended."""
        if self._process is None:
            raise RuntimeError("a worker must be started first")
        try:
            await self.wire.run()
            self.code = await self._process.wait()
            return self.code
        finally:
            self._hand.close()
            self.wire.close()
            self.ended.set()

    def hand_over(self, connection: socket.socket) -> bool:
        """Give it a connection; False: it takes none."""
        try:
            return socket.send_fds(self._hand, [b"c"], [connection.fileno()]) == 1
        except OSError:  # gone, or its queue is full
            return False

    def close_hand(self) -> None:
        """Give it no connection any more; it learns of it behind the last one."""
        self._hand.close()

    def give_up(self) -> None:
        """Count it as ended: there is no process."""
        self.code = FAILED
        for each in (self._hand, self._its_hand, self._its_control):
            each.close()
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
        *(str(Path(each).absolute()) if each else str(Path.cwd()) for each in sys.path),
    ]
