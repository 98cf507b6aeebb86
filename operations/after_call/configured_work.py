"""Assembles the work after calls, and runs it while a server runs."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from calls.cost import PriceTable
from calls.entry import Emit, Entry
from configuration.rungs import rung_of
from configuration.settings import Settings
from fallbacks.ladder import StagePolicy
from operations.after_call.asking import NO_PRICES, STAGE, ResultPen
from operations.after_call.work import AfterCalls, CallPurpose, CallResults, TakeCallback
from operations.crm.reporting import CrmReporter
from operations.database.database import Database
from operations.keep_running import at_work, keep_running
from operations.retrying import Retries
from runtime import clock

ANY_RATE_HZ = 8000  # required, but unused: a question has no audio


@dataclass(slots=True)
class AfterCallListener:
    """Passes events to a listener that is created later, or never."""

    after_calls: AfterCalls | None = field(default=None)

    async def hear(self, entry: Entry) -> None:
        """Pass an event on."""
        if self.after_calls is not None:
            await self.after_calls.hear(entry)


def asks_a_model(settings: Settings) -> bool:
    """Return whether a model is asked for results: by default, if a CRM or a campaign uses them."""
    enabled = settings.after_call.enabled
    return bool(settings.crm.kind != "none" or settings.campaigns) if enabled is None else enabled


def works_after_calls(settings: Settings) -> bool:
    """Return whether a call is followed by work: asking a model, or placing a callback."""
    return asks_a_model(settings) or bool(settings.callbacks.campaign)


@asynccontextmanager
async def open_after_calls(
    settings: Settings,
    database: Database,
    listener: AfterCallListener,
    *,
    policy: StagePolicy,  # of the models' stage: the rungs' health, and their rate limits
    clients: Mapping[str, object],  # the shared ones, by rung name
    reporter: CrmReporter | None,
    take_callback: TakeCallback | None,
    purpose: Callable[[str], Awaitable[CallPurpose]],  # of a call, by its dial's id
    prices: PriceTable,
    emit: Emit,
) -> AsyncIterator[None]:
    """Run the work after calls during the block, if any is configured; `listener` then gets it.

    After the block, stores the results of calls that have just ended.
    """
    if not works_after_calls(settings):
        yield
        return
    after_calls = AfterCalls(
        results=CallResults(database),
        pen=make_pen(settings, policy, clients, emit, prices) if asks_a_model(settings) else None,
        reporter=reporter,
        take_callback=take_callback,
        purpose=purpose,
        emit=emit,
        utc_s=reporter.utc_s if reporter else clock.utc_s,
        within_s=settings.after_call.within_s,
        at_once=settings.after_call.at_once,
        region=settings.server.region or "",
    )
    listener.after_calls = after_calls
    try:
        async with at_work(results=keep_running("results of calls", after_calls.run)):
            yield
    finally:
        await after_calls.close()


def make_pen(
    settings: Settings,
    policy: StagePolicy,
    clients: Mapping[str, object],
    emit: Emit,
    prices: PriceTable = NO_PRICES,
) -> ResultPen:
    """Return the model ladder of the calls, with `after_call.models` in place of their models."""
    models = settings.after_call.models
    rungs = tuple(
        rung_of(
            item.model_copy(update={"model": models.get(item.name, item.model)}),
            STAGE,
            agent=settings.agent,
            sample_rate_hz=ANY_RATE_HZ,
            shared=clients.get(item.name),
        )
        for item in settings.stages.llm
    )
    retries = Retries(
        settings=settings.resilience.retry_settings(), emit=emit, availability=policy.availability
    )
    return ResultPen(rungs=rungs, retries=retries, gates=policy.gates, prices=prices)
