"""What all calls of a process share, put together once: listeners, models, the switchboard."""

import asyncio
import gc
import hashlib
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol

from pipecat.processors.aggregators.llm_context import LLMContextMessage

from bot import clock
from bot.after_call.opening import (
    AfterCallListener,
    AfterCallMeans,
    open_after_calls,
    works_after_calls,
)
from bot.call.answerers import CarrierWords
from bot.call.briefs import Briefs
from bot.call.call import Call
from bot.call.last_resort import LastResort
from bot.call.models import VoiceModels
from bot.call.services import Shared
from bot.call.summary_post import SummaryPosts, sending
from bot.call.switchboard import Switchboard
from bot.call.warming import warm_up
from bot.config.settings import Settings
from bot.crm.asking import CrmDesk
from bot.crm.opening import CrmListener, open_crm
from bot.exits import UsageError
from bot.health.policies import build_policies
from bot.health.retrying import Retries
from bot.health.view import ProviderView
from bot.health.watch import watch_providers
from bot.keep_running import keep_running
from bot.lag import LagTeller, measure_lag
from bot.prices import load_prices, with_prices
from bot.record_keeper import RecordKeeper, kept
from bot.retention import forget_daily
from bot.rungs import rung_of
from bot.tools.owner import owner_tools
from calls.answering import AnsweringPlan
from calls.cost import PriceTable
from calls.entry import Tell
from calls.house_events import ConfigurationLoaded
from calls.incidents import Incidents
from fallbacks.lag import Lag
from fallbacks.work import StagePolicy
from processors.turn_judges import TurnJudges
from providers.catalog import provider
from providers.provider import SharedService, Stage
from storage.contact_book import ContactBook
from telemetry.console_sums import ConsoleSums
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
LAST_WORDS_S: Final = 1.0  # for those who work behind a call's end, to hear of the last ones
PHONE_RATE_HZ: Final = 8000  # any rate will do: what is shared has no sound in it


class MakeCall(Protocol):
    """Makes a call on a leg, answered by the agent of the called number."""

    def __call__(
        self,
        leg: Leg,
        remembered: Sequence[LLMContextMessage] = (),
        answering: AnsweringPlan | None = None,
    ) -> Call:
        """Return a call that has not begun.

        Args:
            leg: The telephone at the other end.
            remembered: A lost call's conversation.
            answering: Of a call that we placed: what is said to a machine that picks up; None:
                nobody listens for one.
        """
        ...


class Tracing(Listener, Protocol):
    """Tells of calls as spans."""

    async def close(self) -> None:
        """Send what is left."""
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
    sums: ConsoleSums
    people: People  # doors that can call a person say so here
    measuring: LagTeller
    briefs: Briefs
    carrier_words: CarrierWords
    recorded: Callable[[], bool]  # the database takes the record, or nobody wants one


@dataclass(frozen=True, slots=True)
class Guests:
    """What calls share that was opened before the rest."""

    carrier_words: CarrierWords
    crm: CrmDesk | None


@asynccontextmanager
async def open_process(
    settings: Settings,
    *,
    words: bool,
    listeners: Sequence[Listener] = (),
    models: VoiceModels | None = None,
    metrics_folder: Path | None = None,
    keeper: RecordKeeper | None = None,
) -> AsyncIterator[Process]:
    """Be ready for calls while the block runs.

    Args:
        settings: The configuration.
        words: Whether the live view may show what is said; the calls' own records always do.
        listeners: More of them, told everything.
        models: Already loaded; None: they are loaded now.
        metrics_folder: Where all processes of a house count; None: this one is alone.
        keeper: Keeps the record of the calls; None: nobody does, as of calls that are a trial.
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
    sums, traces, carrier_words = ConsoleSums(), traces_of(settings), CarrierWords()
    keepers, (crm_listener, behind) = [keeper] if keeper else [], _followers(settings)
    own = [live, metrics, record, sums, carrier_words, crm_listener, behind, *keepers, *traces]
    emitter = emitter_for(settings, [*own, *listeners])
    tell, lag = emitter.tell_for(""), Lag()
    async with (
        forget_daily(settings, tell=tell),
        written(record, tell),
        sent(traces),
        kept(keeper, settings, tell=tell),
        emitter,
        measure_lag(lag, tell=tell, clock=clock.monotonic) as measuring,
        open_crm(settings, crm_listener, tell=tell) as crm,
        open_shared(settings, models, measuring, Guests(carrier_words, crm)) as shared,
        open_after_calls(settings, behind, _means(shared, crm_listener, prices), tell=tell),
    ):
        tell(configuration_of(settings))
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
                sums=sums,
                people=shared.people,
                measuring=measuring,
                briefs=shared.briefs,
                carrier_words=carrier_words,
                recorded=lambda: keeper is None or not keeper.halted,
            )
            await _close_calls(switchboard, emitter)


async def _close_calls(switchboard: Switchboard, emitter: Emitter) -> None:
    """End the calls, while those who work behind their end still hear of it."""
    await switchboard.close(drain_s=0.0, goodbye_s=0.0)
    await emitter.flush(within_s=LAST_WORDS_S)


def _followers(settings: Settings) -> tuple[CrmListener, AfterCallListener]:
    """Return those who follow calls; of the two, one has the register told."""
    return CrmListener(follows=not works_after_calls(settings)), AfterCallListener()


def _means(shared: Shared, crm: CrmListener, prices: PriceTable) -> AfterCallMeans:
    return AfterCallMeans(
        policy=shared.policies["llm"],
        clients=shared.clients,
        reporter=crm.reporter,
        prices=prices,
    )


@asynccontextmanager
async def open_shared(
    settings: Settings,
    models: VoiceModels,
    measuring: LagTeller,
    guests: Guests | None = None,
) -> AsyncIterator[Shared]:
    """Prepare what calls share, and let it go when the block ends.

    Args:
        settings: The configuration.
        models: Already loaded.
        measuring: Measures our own lag.
        guests: What was opened before; None: nothing was.
    """
    guests = guests or Guests(CarrierWords(), None)
    policies = build_policies(settings, clock.monotonic(), lag=measuring.lag)
    services = await asyncio.to_thread(share_providers, settings)
    last_resort = await asyncio.to_thread(LastResort.of, settings)
    contacts = ContactBook(settings.storage.url) if settings.campaigns else None
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
            carrier_words=guests.carrier_words,
            crm=guests.crm,
            do_not_call=contacts,
        )
    for each in (*services.values(), last_resort, *([contacts] if contacts else [])):
        await each.close()
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


def traces_of(settings: Settings) -> Sequence[Tracing]:
    """Return what tells of calls as spans, if anybody wants them."""
    if not settings.traces.enabled:
        return ()
    from telemetry.traces import Traces  # noqa: PLC0415 - an extra, which few have

    return (Traces.over_http(settings.traces.url, version=version("holdline")),)


@asynccontextmanager
async def sent(traces: Sequence[Tracing]) -> AsyncIterator[None]:
    """Have what is left of the spans sent when the block ends."""
    try:
        yield
    finally:
        for each in traces:
            await each.close()


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


def configuration_of(settings: Settings) -> ConfigurationLoaded:
    """Return by what calls are answered; secrets have no part in it."""
    text = settings.model_dump_json()  # secrets are stars in it
    return ConfigurationLoaded(
        version=version("holdline"),
        digest=hashlib.sha256(text.encode()).hexdigest()[:12],
        agents=tuple(each.name for each in (settings.agent, *settings.agents.values())),
        ladders=tuple(" ".join((stage, *rungs)) for stage, rungs in ladders(settings).items()),
    )


def call_maker(shared: Shared, emitter: Emitter, prices: PriceTable) -> MakeCall:
    """Return what makes calls, each with an id, its agent and its own stream of facts."""

    def make_call(
        leg: Leg,
        remembered: Sequence[LLMContextMessage] = (),
        answering: AnsweringPlan | None = None,
    ) -> Call:
        call_id = secrets.token_hex(6)
        told = shared.briefs.agent(leg.facts.dial_id)
        agent = told or shared.settings.agent_for(leg.facts.called)
        return Call(
            shared,
            leg,
            call_id=call_id,
            agent=agent,
            tell=with_prices(emitter.tell_for(call_id), prices),
            remembered=remembered,
            answering=answering or agent.answering,
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
