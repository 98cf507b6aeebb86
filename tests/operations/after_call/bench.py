"""Ended calls with a simulated model and a CRM, and the work after them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from calls.cost import PriceTable, Rate
from calls.entry import Entry
from calls.events import CallEnded, CallStarted, Event, TranscriptFinal
from campaigns.after_call import CallbackQueue
from campaigns.store.contacts import Contacts
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.breaker import BreakerSettings
from fallbacks.retrying import RetrySettings
from operations.after_call.asking import ResultPen
from operations.after_call.outcome_rules import CallResult
from operations.after_call.work import AfterCalls, CallPurpose, CallResults
from operations.crm.crm_outbox import CrmOutbox
from operations.crm.reporting import CrmReporter
from operations.database.database import Database, StorageError
from operations.retrying import Retries
from providers.provider import RungSpec
from tests.kit.served import served

NUMBER = "+12125550142"
BEGIN_S = 1_795_276_800.0  # Saturday, 21 November 2026, 16:00 UTC
ZERO_S = 1_048_576.0  # where the virtual clock begins
PRICES = PriceTable(
    currency="USD",
    rates={
        ("llm", "m"): Rate(
            stage="llm",
            model="m",
            date="2026-11-01",
            source="a list",
            prompt_per_million=2.0,
            cached_per_million=1.0,
            completion_per_million=10.0,
        )
    },
)
GOOD = {
    "summary": "Ada wants another date.",
    "outcome": "callback",
    "callback_at": "2026-11-22T09:00:00-05:00",
    "notes": "Mornings are best.",
}


@dataclass
class SimulatedModel:
    """Gives the configured answers in turn, each a text or a status, and then repeats the last."""

    answers: list[str | int] = field(default_factory=lambda: [json.dumps(GOOD)])
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    refusal: str | None = None
    after_s: float = 0.0
    usage: dict[str, Any] | None = None
    at_once: int = 0
    most_at_once: int = 0
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.after_s)
        self.at_once -= 1
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(said, int):
            return web.json_response({"error": {"message": "no"}}, status=said)
        message = {"role": "assistant", "content": said, "refusal": self.refusal}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
        return web.json_response({**whole, "choices": [choice], "usage": self.usage})


@asynccontextmanager
async def simulated_model() -> AsyncIterator[SimulatedModel]:
    model = SimulatedModel()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", model.answer)
    async with served(app, shutdown_timeout=0.1) as url:
        model.url = f"{url}/v1"
        yield model


def utc_s() -> float:
    return BEGIN_S + time.monotonic() - ZERO_S


def pen_of(*models: SimulatedModel, told: list[Event] | None = None) -> ResultPen:
    names = [f"model-{at}" for at in range(len(models))]
    rungs = tuple(
        RungSpec(
            name=name, stage="llm", kind="openai", url=model.url, sample_rate_hz=8000, api_key="k"
        )
        for name, model in zip(names, models, strict=True)
    )
    places = [Place(stage="llm", provider=item, credential=item) for item in names]
    availability = AvailabilityTable(
        places, now=time.monotonic(), settings=BreakerSettings(probing=False)
    )
    emit = told.append if told is not None else lambda _: None
    retries = Retries(
        settings=RetrySettings(), emit=emit, availability=availability, clock=time.monotonic
    )
    return ResultPen(rungs=rungs, retries=retries, prices=PRICES)


@dataclass
class Bench:
    """All work after a call's end, on one database."""

    url: str
    pen: ResultPen | None = None
    campaign: str = ""
    purpose: CallPurpose = field(default_factory=CallPurpose)
    within_s: float = 60.0
    at_once: int = 2
    forgotten: bool = False  # the ledger does not know the dial's contact any more
    away: bool = False  # the table of results refuses writes
    told: list[Any] = field(default_factory=list[Any])

    def __post_init__(self) -> None:
        self.database = Database(self.url)
        self.outbox = CrmOutbox(self.database)
        self.reporter = CrmReporter(outbox=self.outbox, utc_s=utc_s)
        self.contacts = Contacts(self.database)
        self.results = CallResults(self.database)
        self.queue = CallbackQueue(
            contacts=self.contacts,
            campaign=self.campaign,
            emit=self.told.append,
            utc_s=utc_s,
            within_s=self.within_s,
        )

        async def purpose(dial_id: str) -> CallPurpose:
            del dial_id
            if self.forgotten:
                raise StorageError("No row was found when one was required")
            return self.purpose

        self.after_calls = AfterCalls(
            results=FailingResults(self),
            pen=self.pen,
            reporter=self.reporter,
            take_callback=self.queue.take_wish if self.campaign else None,
            purpose=purpose,
            emit=self.told.append,
            utc_s=utc_s,
            within_s=self.within_s,
            at_once=self.at_once,
        )

    async def call(
        self,
        *events: Event,
        call_id: str = "c1",
        words: Sequence[str] = (),
        caller: str = NUMBER,
        began_at: str = "",
    ) -> None:
        """End a call with these events; one with `began_at` was resumed."""
        said = [TranscriptFinal(turn=1, at_s=0.0, provider="deepgram", text=word) for word in words]
        facts: list[Event] = [
            CallStarted(
                transport="twilio",
                agent="desk",
                caller=caller,
                called="+15550100",
                began_at=began_at,
            ),
            *said,
            *events,
            CallEnded(reason="caller_hung_up", length_s=30.0),
        ]
        for number, event in enumerate(facts, 1):
            entry = Entry(call_id=call_id, number=number, at="", event=event)
            await self.after_calls.hear(entry)

    async def close(self) -> None:
        await self.after_calls.close()
        await self.reporter.write()
        await self.database.close()


class FailingResults(CallResults):
    """The table of results, which can be made to fail."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.database)
        self._bench = bench

    async def put(self, result: CallResult) -> bool:
        if self._bench.away:
            raise StorageError("the table refuses writes")
        return await super().put(result)


def url_of(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'after.db'}"
