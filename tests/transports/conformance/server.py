"""A whole server in this process, against a lab, for every transport of the suite."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from bot.call.call import Call
from bot.server.server import Extras, Server, bind_socket, run_server
from calls.entry import Entry
from calls.events import CallStarted
from lab.process import lab_process, with_lab
from transports.leg import Leg

HOST: Final = "127.0.0.1"
TIMEOUT_S: Final = 40.0  # a guard
GREETING: Final = "Hello, this is Holdline. How can I help?"
FAREWELL: Final = "Thank you, goodbye."


async def become(fact: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(TIMEOUT_S):
        while not fact():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.02)


class CallNotes:
    """Keeps the events of one call, the first that begins after `forget`."""

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []
        self._call_id = ""
        self._news = asyncio.Event()

    async def hear(self, entry: Entry) -> None:
        """Record an event; those of an earlier call may come late, and are left out."""
        if isinstance(entry.event, CallStarted):
            self._call_id = entry.call_id
        if entry.call_id and entry.call_id == self._call_id:
            self._entries.append(entry.as_json())
            self._news.set()

    def forget(self) -> None:
        """Start over, for another call."""
        self._call_id = ""
        self._entries.clear()

    def all(self, event: str, **wanted: object) -> list[dict[str, Any]]:
        """Return the events of a kind, with these fields."""
        return [
            entry for entry in self._entries if {"event": event, **wanted}.items() <= entry.items()
        ]

    async def until(self, event: str, **wanted: object) -> dict[str, Any]:
        """Wait for the first such event, and return it."""
        async with asyncio.timeout(TIMEOUT_S):
            while not (found := self.all(event, **wanted)):
                self._news.clear()
                await self._news.wait()
        return found[0]


class WorkerPool:
    """A server in this process."""

    def __init__(self, url: str, server: Server, notes: CallNotes) -> None:
        self.url = url
        self.notes = notes
        self.switchboard = server.switchboard

    @property
    def one_call(self) -> Call:
        """The call in progress."""
        (call,) = self.switchboard.calls.values()
        assert isinstance(call, Call)
        return call

    @property
    def leg(self) -> Leg:
        """The leg of the call in progress."""
        return self.one_call._leg

    async def empty(self) -> None:
        """Wait until no call is in progress."""
        async with asyncio.timeout(TIMEOUT_S):
            await self.switchboard._empty.wait()


@asynccontextmanager
async def open_pool(folder: Path, more: Mapping[str, Any]) -> AsyncIterator[WorkerPool]:
    """Run a server while the block runs; `more` is its transports' part of the configuration."""
    listener = bind_socket(
        HOST, more.get("port", 0)
    )  # a far end may report its calls to a fixed port
    url = f"http://{HOST}:{listener.getsockname()[1]}"
    port = listener.getsockname()[1]
    tree = {
        "server": {"host": HOST, "port": port, "public_url": url, "admission": "seats"},
        "agent": {"greeting": GREETING, "farewell": FAREWELL},
        "hold": {"render": False},
        "resilience": {"probe": {"interval_s": 0}},
        "logs": {"dir": folder / "logs"},
        "storage": {"url": f"sqlite+aiosqlite:///{folder}/holdline.db"},
        "shutdown": {"drain_s": 0},
        "transports": more.get("transports", {}),
    }
    notes = CallNotes()
    extras = Extras(words=True, listeners=[notes])
    async with (
        lab_process() as lab,
        run_server(with_lab(lab, tree), [listener], extras=extras) as server,
    ):
        await server.ready.wait()
        yield WorkerPool(url, server, notes)
