"""A worker's side of the house: everything is asked of the supervisor over one line."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from itertools import count
from typing import Any, Final

from loguru import logger

from bot.house.house import Admitted, Answer, Refused, View
from bot.house.wire import Wire, WireError

UNSEEN_ENTRIES: Final = 2_000  # of other processes, for one who watches; then the oldest is lost


class Joined:
    """One of several processes behind one port."""

    def __init__(self, wire: Wire, *, number: int, workers: int) -> None:
        """Take the line to the supervisor.

        Args:
            wire: The line.
            number: What tells this worker from all others that ever were.
            workers: How many there are to be.
        """
        self.wire = wire
        self.workers = workers
        self.name = f"w{number}"
        self._state: Mapping[str, Any] = {}
        self._answers: dict[str, Answer] = {}
        self._watchers: dict[int, asyncio.Queue[Mapping[str, Any]]] = {}
        self._numbers = count(1)
        self._view: View | None = None
        self._streams: dict[tuple[str, int], asyncio.Task[None]] = {}
        wire.on("house", self._learn)
        wire.on("entry", self._hear)
        wire.on("stream", self._stream)

    @property
    def why_closed(self) -> str:
        """Return what the supervisor last said."""
        return str(self._state.get("why_closed", ""))

    @property
    def full_paces(self) -> Collection[str]:
        """The rungs at which a request would have to wait now."""
        return self._state.get("full_paces", ())

    @property
    def leads(self) -> bool:
        """Return whether the supervisor named us."""
        return self._state.get("leads") == self.name

    @property
    def quiet(self) -> bool:
        """Return whether the supervisor knows of no call."""
        return not self._state.get("calls")

    def report(self, cores: float, lag_s: float) -> None:
        """Pass on what was measured."""
        self.wire.tell("report", cores=round(cores, 4), lag_s=round(lag_s, 4))

    async def admit(self) -> Admitted | Refused:
        """Ask the supervisor for a seat; without an answer there is none."""
        try:
            said = await self.wire.ask("admit")
        except WireError as gone:
            logger.warning("no seat: {}", gone)
            return Refused(reason="busy")
        return Refused(reason=said["reason"]) if "reason" in said else Admitted(seat=said["seat"])

    def begin(self, seat: int) -> None:
        """Tell the supervisor."""
        self.wire.tell("begin", seat=seat)

    def end(self, seat: int) -> None:
        """Tell the supervisor."""
        self.wire.tell("end", seat=seat)

    async def keep(self, token: str, value: Any, *, for_s: float) -> None:
        """Leave it with the supervisor."""
        try:
            await self.wire.ask("keep", token=token, value=value, for_s=for_s)
        except WireError as gone:
            logger.warning("not kept for another worker: {}", gone)

    async def take(self, token: str) -> Any:
        """Fetch it from the supervisor."""
        try:
            return await self.wire.ask("take", token=token)
        except WireError as gone:
            logger.warning("not found at another worker: {}", gone)
            return None

    def answer(self, what: str, answer: Answer) -> None:
        """Answer it, whoever asks."""
        self._answers[what] = answer
        self.wire.answer(what, answer)

    async def ask(self, name: str, what: str, /, **fields: Any) -> Any:
        """Ask by way of the supervisor."""
        if name == self.name:
            return await self._answers[what](fields)
        try:
            return await self.wire.ask("peer", peer=name, question=what, fields=fields)
        except WireError as gone:
            raise LookupError(str(gone)) from gone

    async def ask_all(self, what: str, /, **fields: Any) -> Sequence[Any]:
        """Ask everyone at once; who does not answer is left out."""
        own = await self._answers[what](fields)
        peers = [each for each in self._state.get("workers", ()) if each != self.name]
        asked = [self.ask(each, what, **fields) for each in peers]
        said = await asyncio.gather(*asked, return_exceptions=True)
        return [own, *(each for each in said if not isinstance(each, BaseException))]

    async def watch(self) -> AsyncIterator[Mapping[str, Any]]:
        """Yield what the supervisor passes on, while somebody reads."""
        number = next(self._numbers)
        queue = self._watchers[number] = asyncio.Queue(UNSEEN_ENTRIES)
        self.wire.tell("watch", watcher=number, on=True)
        try:
            while True:
                yield await queue.get()
        finally:
            del self._watchers[number]
            self.wire.tell("watch", watcher=number, on=False)

    def share_view(self, view: View) -> None:
        """Stream it to whoever watches elsewhere."""
        self._view = view

    def _learn(self, state: Mapping[str, Any]) -> None:
        self._state = state

    def _hear(self, message: Mapping[str, Any]) -> None:
        queue = self._watchers.get(message["watcher"])
        if queue is None:
            return
        if queue.full():
            queue.get_nowait()
        queue.put_nowait(message["entry"])

    def _stream(self, message: Mapping[str, Any]) -> None:
        to = (message["to"], message["watcher"])
        if old := self._streams.pop(to, None):
            old.cancel()
        if message["on"] and self._view is not None:
            stream = self._pour(self._view(), *to)
            self._streams[to] = asyncio.get_running_loop().create_task(stream, name="stream")

    async def _pour(
        self, entries: AsyncIterator[Mapping[str, Any]], peer: str, watcher: int
    ) -> None:
        async for each in entries:
            self.wire.tell("entry", to=peer, watcher=watcher, entry=each)
            await asyncio.sleep(0)  # the recent ones are many, and calls come first


def take_connections(hand: socket.socket, take: Callable[[socket.socket], None]) -> None:
    """Have each connection that the supervisor hands over taken, as long as the loop runs."""
    loop = asyncio.get_running_loop()
    hand.settimeout(0)

    def ready() -> None:
        try:
            message, files, _, _ = socket.recv_fds(hand, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            message, files = b"", []
        if not message:
            loop.remove_reader(hand)
            return
        for each in files:
            take(socket.socket(fileno=each))

    loop.add_reader(hand, ready)
