"""The live view across workers: each streams what happens there to whoever watches elsewhere."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import count
from typing import Any, Final

from bot.workers.wire import Wire
from bot.workers.worker_process import Worker

UNSEEN_ENTRIES: Final = 2_000  # of other processes, for one who watches; then the oldest is lost

Entries = AsyncIterator[Mapping[str, Any]]


class StreamedViews:
    """A worker's side: streams its own view out, and hands in what others stream to it."""

    def __init__(self, wire: Wire) -> None:
        """Stream over `wire`, the line to the supervisor."""
        self._wire = wire
        self._watchers: dict[int, asyncio.Queue[Mapping[str, Any]]] = {}
        self._numbers = count(1)
        self._own: Callable[[], Entries] | None = None
        self._streams: dict[tuple[str, int], asyncio.Task[None]] = {}
        wire.on("entry", self._hear)
        wire.on("stream", self._stream)

    def share(self, own: Callable[[], Entries]) -> None:
        """Stream this view, which yields the recent entries first, to whoever watches elsewhere."""
        self._own = own

    async def watch(self) -> Entries:
        """Yield what happens in the other workers, until the watcher goes."""
        number = next(self._numbers)
        queue = self._watchers[number] = asyncio.Queue(UNSEEN_ENTRIES)
        self._wire.tell("watch", watcher=number, on=True)
        try:
            while True:
                yield await queue.get()
        finally:
            del self._watchers[number]
            self._wire.tell("watch", watcher=number, on=False)

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
        if message["on"] and self._own is not None:
            stream = self._pour(self._own(), *to)
            self._streams[to] = asyncio.get_running_loop().create_task(stream, name="stream")

    async def _pour(self, entries: Entries, peer: str, watcher: int) -> None:
        async for each in entries:
            self._wire.tell("entry", to=peer, watcher=watcher, entry=each)
            await asyncio.sleep(0)  # the recent ones are many, and calls come first


class ViewRelay:
    """The supervisor's side: knows who watches where, and passes entries on."""

    def __init__(self, workers: Mapping[str, Worker]) -> None:
        """Relay between `workers`, by name; the mapping is kept up to date by its owner."""
        self._workers = workers
        self._watchers: set[tuple[str, int]] = set()  # at which worker, and which of its own

    def receive(self, worker: Worker) -> None:
        """Have a worker that is ready stream to those who watch already."""
        worker.wire.on("watch", lambda said: self._watch(worker.name, said["watcher"], said["on"]))
        worker.wire.on("entry", self._pass_on)
        for name, watcher in self._watchers:
            worker.wire.tell("stream", to=name, watcher=watcher, on=True)

    def lose(self, worker: Worker) -> None:
        """Forget who watched at a worker that is gone."""
        for name, watcher in tuple(self._watchers):
            if name == worker.name:
                self._watch(name, watcher, False)  # noqa: FBT003 - as below

    def _watch(self, name: str, watcher: int, on: bool) -> None:  # noqa: FBT001 - as it is told
        (self._watchers.add if on else self._watchers.discard)((name, watcher))
        for worker in self._workers.values():
            if worker.name != name and worker.ready.is_set():
                worker.wire.tell("stream", to=name, watcher=watcher, on=on)

    def _pass_on(self, said: Mapping[str, Any]) -> None:
        if watched_at := self._workers.get(said["to"]):
            watched_at.wire.tell("entry", watcher=said["watcher"], entry=said["entry"])
