"""Two workers, one console: their calls, their counts, and an operator's actions on both."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI

from bot.health.policies import build_policies
from bot.health.view import ProviderView
from bot.server.call_routes import PoolCalls
from bot.server.operator_routes import provider_router
from bot.workers.machine_views import MachineViews
from bot.workers.pool import WorkerPool
from calls.entry import Entry
from calls.events import CallStarted, Event, OperatorActed
from configuration.settings import ServerSettings, Settings
from fallbacks.events import AttemptFailed, AttemptWon
from fallbacks.failure import Kind, Scope
from operations.telemetry.live import ConsoleSums
from runtime import clock
from tests.bot.workers.lines import Lines, lines
from tests.bot.workers.test_pool_client import settings_with

STAGES = {
    "stt": [{"name": "ears", "kind": "local"}],
    "llm": [{"name": "mind", "kind": "openai", "url": "http://127.0.0.1:9/v1", "api_key": "k"}],
    "tts": [{"name": "voice", "kind": "local"}, {"name": "other", "kind": "local"}],
}


@dataclass(kw_only=True)
class Worker:
    """The routes' parts in one process."""

    pool: WorkerPool
    view: ProviderView
    told: list[Event]
    sums: ConsoleSums = field(default_factory=ConsoleSums)

    def __post_init__(self) -> None:
        self.app = FastAPI()
        self.app.include_router(provider_router(self.view, self.pool, self.sums.recent))
        self.all_calls = PoolCalls(self.sums, self.pool, MachineViews(self.pool, ServerSettings()))

    async def hears(self, call_id: str, *events: Event) -> None:
        at = clock.utc_now().isoformat()
        for number, event in enumerate(events, 1):
            entry = Entry(call_id=call_id, number=number, at=at, event=event)
            await self.sums.hear(entry)

    async def asked(self, method: str, path: str, **said: Any) -> Any:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.request(method, f"/api/providers{path}", **said)).json()


def worker(pool: WorkerPool) -> Worker:
    settings = Settings.model_validate({"stages": STAGES})
    availability = build_policies(settings, clock.monotonic())["llm"].availability
    told: list[Event] = []
    view = ProviderView(
        stages=settings.stages,
        availability=availability,
        probers=(),
        emit=told.append,
        clock=clock.monotonic,
    )
    return Worker(pool=pool, view=view, told=told)


@asynccontextmanager
async def two_workers() -> AsyncIterator[tuple[Lines, Sequence[Worker]]]:
    async with lines(settings_with()) as it:
        workers = [worker(joined) for joined in it.joined]
        await it.open()
        yield it, workers


def started(caller: str) -> CallStarted:
    return CallStarted(transport="twilio", agent="desk", caller=caller)


def won(provider: str) -> AttemptWon:
    return AttemptWon(stage="tts", provider=provider, attempt=1, after_s=0.2)


FAILED = AttemptFailed(
    stage="tts", provider="voice", kind=Kind.CUT, scope=Scope.ENDPOINT, after_s=0.3
)


async def test_the_console_at_one_worker_has_the_calls_and_counts_of_both() -> None:
    async with two_workers() as (_, (here, there)):
        await here.hears("c1", started("+15551234501"), won("voice"))
        await there.hears("c2", started("+15551234502"), won("voice"), FAILED, won("other"))

        live = await here.all_calls.live()
        rungs = {item["name"]: item["recent"] for item in await here.asked("GET", "")}

    assert sorted(all_call["id"] for all_call in live) == ["c1", "c2"]
    assert (rungs["voice"]["answers"], rungs["voice"]["failures"]) == (2, 1)
    assert rungs["other"]["answers"] == 1


async def test_an_operators_action_applies_to_both_and_is_reported_once() -> None:
    async with two_workers() as (_, (here, there)):
        (out,) = await here.asked("POST", "/voice/rest", json={"by": "Mary", "why": "it lisps"})
        usable = [
            [rung.usable for rung in one.view.availability.ladder("tts", clock.monotonic())]
            for one in (here, there)
        ]
        last = await there.asked("POST", "/other/rest")
        await there.asked("POST", "/voice/return")

        assert out["withdrawn"] is True
        assert usable == [[False, True], [False, True]]
        assert "tts would have no usable provider" in last["detail"]
        assert not here.view.availability.of("tts", "voice").out
        acted = [
            (event.action, event.target, event.why)
            for one in (here, there)
            for event in one.told
            if isinstance(event, OperatorActed)
        ]
    assert acted == [("rest", "voice", "it lisps"), ("return", "voice", "")]


async def test_the_live_feed_sends_the_calls_of_all_workers_after_a_change() -> None:
    async with two_workers() as (_, (here, there)):
        watching = here.all_calls.watch()
        first = await anext(watching)
        await there.hears("c2", started("+15551234502"))
        second = await anext(watching)
        await watching.aclose()  # type: ignore[attr-defined] - a generator

    assert first == []
    assert [item["id"] for item in second] == ["c2"]
