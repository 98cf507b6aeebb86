"""What all calls of a process share, put together once: listeners, models, the switchboard."""

import asyncio
import gc
import secrets
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from pipecat.processors.aggregators.llm_context import LLMContextMessage

from bot import clock
from bot.call.call import Call
from bot.call.last_resort import LastResort
from bot.call.models import VoiceModels
from bot.call.services import Shared
from bot.call.summary_post import SummaryPosts, sending
from bot.call.switchboard import Switchboard
from bot.call.warming import warm_up
from bot.config.settings import Settings
from bot.exits import UsageError
from bot.health.policies import build_policies
from bot.health.retrying import Retries
from bot.health.view import ProviderView
from bot.health.watch import watch_providers
from bot.keep_running import keep_running
from bot.lag import LagTeller, measure_lag
from bot.prices import load_prices, with_prices
from bot.retention import forget_daily
from bot.rungs import rung_of
from bot.tools.owner import owner_tools
from calls.cost import PriceTable
from calls.entry import Tell
from calls.incidents import Incidents
from fallbacks.lag import Lag
from fallbacks.work import StagePolicy
from processors.turn_judges import TurnJudges
from providers.catalog import provider
from providers.provider import SharedService, Stage
from telemetry.emitter import Emitter, Listener
from telemetry.journal import Journal
from telemetry.live import Live
from telemetry.logs import Log
from telemetry.masking import redacted
from telemetry.metrics import Exposition, Metrics
from telemetry.record_files import RecordFiles
from transports.leg import Leg
from transports.people import People

SWITCH_S: Final = 0.0005  # chosen: a tenth of Python's own 5 ms
PHONE_RATE_HZ: Final = 8000  # any rate will do: what is shared has no sound in it


class MakeCall(Protocol):
    """Makes a call on a leg, answered by the agent of the called number."""

    def __call__(self, leg: Leg, remembered: Sequence[LLMContextMessage] = ()) -> Call:
        """Return a call that has not begun; `remembered` is a lost call's conversation."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What takes calls: `async with open_process(settings, words=False) as process: ...`."""

    settings: Settings
    switchboard: Switchboard
    emitter: Emitter
    live: Live
    call: MakeCall
    providers: ProviderView
    last_resort: LastResort
    policies: Mapping[Stage, StagePolicy]
    metrics: Metrics
    exposition: Exposition
    people: People  # doors that can call a person say so here
    measuring: LagTeller


@asynccontextmanager
async def open_process(
    settings: Settings,
    *,
    words: bool,
    listeners: Sequence[Listener] = (),
    models: VoiceModels | None = None,
    metrics_folder: Path | None = None,
) -> AsyncIterator[Process]:
    """Be ready for calls while the block runs.

    Args:
        settings: The configuration.
        words: Whether the live view may show what is said; the calls' own records always do.
        listeners: More of them, told everything.
        models: Already loaded; None: they are loaded now.
        metrics_folder: Where all processes of a house count; None: this one is alone.
    """
    check_tools(settings)
    serve_the_loop_first()
    await asyncio.to_thread(load_providers, settings)
    models = models or await asyncio.to_thread(VoiceModels.load)
    await warm_up(models)
    prices = await asyncio.to_thread(load_prices, settings.prices.file)
    live = Live(words=words)
    exposition = Exposition(metrics_folder)
    metrics = Metrics(exposition.registry)
    record = record_of(settings)
    emitter = emitter_for(settings, [live, metrics, record, *listeners])
    tell, lag = emitter.tell_for(""), Lag()
    async with (
        forget_daily(settings),
        written(record, tell),
        emitter,
        measure_lag(lag, tell=tell, clock=clock.monotonic) as measuring,
        open_shared(settings, models, measuring) as shared,
    ):
        call = call_maker(shared, emitter, prices)
        switchboard = Switchboard(seats=settings.server.max_calls, make_call=call, tell=tell)
        await asyncio.to_thread(spare_the_loaded)
        roster = shared.policies["llm"].roster
        async with watch_providers(
            settings, roster, shared=shared.clients, tell=tell, lag=lag
        ) as providers:
            yield Process(
                settings=settings,
                switchboard=switchboard,
                emitter=emitter,
                live=live,
                call=call,
                providers=providers,
                last_resort=shared.last_resort,
                policies=shared.policies,
                metrics=metrics,
                exposition=exposition,
                people=shared.people,
                measuring=measuring,
            )
            await switchboard.close(drain_s=0.0, goodbye_s=0.0)


@asynccontextmanager
async def open_shared(
    settings: Settings, models: VoiceModels, measuring: LagTeller
) -> AsyncIterator[Shared]:
    """Prepare what calls share, and let it go when the block ends.

    Args:
        settings: The configuration.
        models: Already loaded.
        measuring: Measures our own lag.
    """
    policies = build_policies(settings, clock.monotonic(), lag=measuring.lag)
    services = await asyncio.to_thread(share_providers, settings)
    last_resort = await asyncio.to_thread(LastResort.of, settings)
    judges = TurnJudges(clock=clock.monotonic)
    retries = Retries(settings=settings.resilience.retry_settings(), tell=measuring.tell)
    async with sending(SummaryPosts(settings.transfer.webhook_url, retries)) as posts:
        yield Shared(
            settings=settings,
            models=models,
            judges=judges,
            policies=policies,
            clients=services,
            clock=clock.monotonic,
            last_resort=last_resort,
            late_at_line=measuring.note_line,
            posts=posts,
        )
    for each in services.values():
        await each.close()
    await last_resort.close()
    judges.close()


def emitter_for(settings: Settings, listeners: Sequence[Listener]) -> Emitter:
    """Return what tells the log, the calls' own records and these listeners."""
    return Emitter(
        listeners=[
            Log(words=settings.logs.words),
            Journal(settings.logs.dir / "calls"),
            *listeners,
        ],
        utc_now=clock.utc_now,
        incidents=incidents_of(settings),
        clock=clock.monotonic,
    )


def record_of(settings: Settings) -> RecordFiles:
    """Return what writes the files that tools of others read."""
    logs = settings.logs
    again_s = settings.alerts.again_s
    return RecordFiles(logs.dir, names=logs.files, redact=redacted, again_s=again_s)


@asynccontextmanager
async def written(record: RecordFiles, tell: Tell) -> AsyncIterator[None]:
    """Have the record written while the block runs, and its rest behind it."""
    async with asyncio.TaskGroup() as tasks:
        run = keep_running("the record", partial(record.run, tell))
        writing = tasks.create_task(run, name="the record")
        try:
            yield
        finally:
            writing.cancel()


def incidents_of(settings: Settings) -> Incidents:
    """Return what makes incidents of the facts, once for all who listen."""
    return Incidents(ladders(settings), steps=settings.hold.steps)


def call_maker(shared: Shared, emitter: Emitter, prices: PriceTable) -> MakeCall:
    """Return what makes calls, each with an id, its agent and its own stream of facts."""

    def make_call(leg: Leg, remembered: Sequence[LLMContextMessage] = ()) -> Call:
        call_id = secrets.token_hex(6)
        return Call(
            shared,
            leg,
            call_id=call_id,
            agent=shared.settings.agent_for(leg.facts.called),
            tell=with_prices(emitter.tell_for(call_id), prices),
            remembered=remembered,
        )

    return make_call


def ladders(settings: Settings) -> dict[str, list[str]]:
    """Return the rungs' names by stage, the preferred one first."""
    found: dict[str, list[str]] = {}
    for stage, rung in settings.stages.rungs():
        found.setdefault(stage, []).append(rung.name)
    return found


def serve_the_loop_first() -> None:
    """Have the threads that compute give the interpreter back to the loop sooner.

    The loop lets go of it with each packet that it sends. A detector's thread may then keep it for
    `sys.getswitchinterval()`, 5 ms, and again with the next packet: with eight calls at once a
    third of the loop's time was that waiting (profiled).
    """
    sys.setswitchinterval(SWITCH_S)


def spare_the_loaded() -> None:
    """Take what is loaded by now out of the garbage collector's rounds.

    A full round over Pipecat and the providers' libraries takes 0.05 to 0.2 s (measured on two busy
    cores by benchmarks/turn_latency.py), and no caller is served meanwhile.
    """
    gc.collect()
    gc.freeze()


def check_tools(settings: Settings) -> None:
    """Refuse to open with a tool that no call could use.

    Raises:
        UsageError: An entry point cannot be loaded; one line.
    """
    for agent in (settings.agent, *settings.agents.values()):
        try:
            owner_tools(agent.tools)
        except ValueError as broken:
            raise UsageError(f"agent {agent.name}: {broken}") from broken


def load_providers(settings: Settings) -> None:
    """Import what every rung is built from, so that no caller waits for it."""
    for stage, rung in settings.stages.rungs():
        provider(stage, rung.kind).load()


def share_providers(settings: Settings) -> dict[str, SharedService]:
    """Return what calls share of each rung, such as a client with warm connections."""
    found: dict[str, SharedService] = {}
    for stage, settings_of in settings.stages.rungs():
        rung = rung_of(settings_of, stage, agent=settings.agent, sample_rate_hz=PHONE_RATE_HZ)
        shared = provider(stage, settings_of.kind).share(rung)
        if shared is not None:
            found[settings_of.name] = shared
    return found
