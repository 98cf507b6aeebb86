"""An unreliable carrier on loopback that records every dial before it answers.

Its record is the reference: these telephones rang, whatever a dialler believes.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tests.kit.served import served

SLOWEST_S = 0.02


@dataclass(slots=True)
class RecordingCarrier:
    """Numbers that end in 7 are busy when they are first called; all others answer and talk.

    It loses one request in eight before recording it, and one response in eight afterwards.
    """

    chance: random.Random
    faulty: bool = True
    record: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    outcomes: dict[str, str] = field(default_factory=dict[str, str])
    url: str = ""
    _rung: Counter[str] = field(default_factory=Counter[str])
    _coming: set[asyncio.Event] = field(default_factory=set[asyncio.Event])

    async def dial(self, request: web.Request) -> web.StreamResponse:
        written = asyncio.Event()
        self._coming.add(written)
        try:
            asked = await request.json()
            await asyncio.sleep(self.chance.random() * SLOWEST_S if self.faulty else 0.0)
            if self._lost():
                return self._hang_up(request)
            busy = asked["to"].endswith("7") and not self._rung[asked["to"]]
            self._rung[asked["to"]] += 1
            self.record.append((asked["id"], asked["to"]))
            self.outcomes[asked["id"]] = "busy" if busy else "completed"
        finally:
            written.set()
            self._coming.discard(written)
        if self._lost():
            return self._hang_up(request)
        await asyncio.sleep(self.chance.random() * SLOWEST_S if self.faulty else 0.0)
        return web.json_response({"call": f"CA-{asked['id']}"})

    async def find(self, request: web.Request) -> web.StreamResponse:
        # The list includes earlier requests; it is not returned while a request is in progress.
        for number in list(self._coming):
            await number.wait()
        outcome = self.outcomes.get(request.query["id"])
        found = {"call": f"CA-{request.query['id']}", "outcome": outcome} if outcome else None
        return web.json_response(found)

    def _lost(self) -> bool:
        return self.faulty and self.chance.random() < 1 / 8

    def _hang_up(self, request: web.Request) -> web.StreamResponse:
        assert request.transport
        request.transport.abort()
        return web.Response()


@asynccontextmanager
async def carrier_running(seed: int, *, faulty: bool = True) -> AsyncIterator[RecordingCarrier]:
    carrier = RecordingCarrier(random.Random(seed), faulty=faulty)  # noqa: S311 - repeatable
    application = web.Application()
    application.add_routes([web.post("/calls", carrier.dial), web.get("/calls", carrier.find)])
    # A killed dialler closes its connection; its request is served anyway.
    async with served(application, access_log=None, handler_cancellation=False) as carrier.url:
        yield carrier
