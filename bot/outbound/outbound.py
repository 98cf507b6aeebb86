"""Builds the dialler and runs it while a server runs."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias

from loguru import logger

from bot.call.briefs import Briefs, briefed
from bot.carriers import ClosableCarrier, carrier_of
from bot.outbound.call_ledger import CallLedger
from bot.outbound.rehearsal import rehearsal_of
from bot.workers.pool import WorkerPool
from bot.workers.process import Process
from calls.entry import Emit
from calls.incident import CAMPAIGN
from calls.outbound import Claim
from campaigns.background_jobs import BackgroundJob, background_jobs, waking
from campaigns.call_verdict import KINDS, CallVerdict, judge_recorded
from campaigns.dialer import Dialer
from campaigns.dialing import DialerSettings
from campaigns.guard import Hold
from campaigns.model import Campaign, campaign_of
from campaigns.one_call import ONE_CALL, OneCall
from campaigns.order_gate import OrderGate, uncallable
from campaigns.order_rules import NOTHING_ALLOWED
from campaigns.store.contacts import Contacts
from campaigns.store.dials import Ledger
from campaigns.store.figures import Figures
from campaigns.store.queue import Queue
from configuration.agent import AgentSettings
from configuration.prices import load_prices
from configuration.settings import Settings
from operations.database.database import StorageError
from operations.keep_running import keep_running
from operations.notify.alert import Alert
from runtime import clock
from transports.dialling import CampaignCarrier

DIALS: Final = "dials"  # the pace of all processes' dials
RECORD_S: Final = 1.0  # for one query of the record (chosen); the dialler repeats a failed one


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCapacity:
    """The capacity for outbound calls: seats in the pool, and the stages' availability."""

    process: Process
    pool: WorkerPool

    @property
    def leads(self) -> bool:
        """Whether this process dials for the pool."""
        return self.pool.leads and not self.leaving

    @property
    def leaving(self) -> bool:
        """Whether this process is draining."""
        return self.process.switchboard.why_closed == "draining"

    def seats(self) -> int:
        """Return how many calls the pool and this process can place now."""
        if self.pool.why_closed:
            return 0
        return min(self.pool.room, self.process.switchboard.free_seats)

    async def take_turn(self, calls_per_s: float) -> float:
        """Return 0 and count a call of all processes; else return how many seconds it must wait."""
        return await self.pool.take_turn(DIALS, per_s=calls_per_s)

    def usable(self) -> Mapping[str, bool]:
        """Return for each stage whether any of its rungs may be used now."""
        return self.process.providers.usable()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedCalls:
    """Our side of the outbound calls: their briefs and their verdicts."""

    ledger: CallLedger
    record: Ledger
    briefs: Briefs
    agent_of: Callable[[Campaign], AgentSettings]

    async def prepare(self, campaign: Campaign, claim: Claim) -> None:
        """Store the agent, briefed on this contact, for the call of this claim."""
        agent = briefed(self.agent_of(campaign), campaign, claim.contact)
        self.briefs.keep(claim.dial.id, agent)

    async def verdict(self, dial_id: str) -> CallVerdict | None:
        """Return the verdict on a dial's call; `None` if there was none or it cannot be found out.

        If no process has the call, because the call's process has ended, the record decides.
        """
        return await self.ledger.verdict(dial_id) or await self._recorded_verdict(dial_id)

    async def wait(self, dial_id: str, within_s: float) -> None:
        """Wait until the state of a dial may have changed, for at most `within_s`."""
        await self.ledger.wait(dial_id, within_s)

    def forget(self, dial_id: str) -> None:
        """Forget a dial."""
        self.ledger.forget(dial_id)
        self.briefs.forget(dial_id)

    async def _recorded_verdict(self, dial_id: str) -> CallVerdict | None:
        try:
            async with asyncio.timeout(RECORD_S):
                end = await self.record.recorded_end(dial_id, list(KINDS))
        except (StorageError, TimeoutError) as error:
            logger.debug("the record of dial {} cannot be read: {!r}", dial_id, error)
            return None
        return judge_recorded(end) if end else None


def agent_of(settings: Settings, campaign: Campaign) -> AgentSettings:
    """Return the agent of a campaign; the default one if it names no configured agent."""
    return settings.agents.get(campaign.agent, settings.agent)


Alerts: TypeAlias = Callable[[], Awaitable[Sequence[Alert]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """Everything in a server that concerns outbound calls.

    Attributes:
        dialer: Dials campaigns; `None` if none is configured or no carrier can dial.
        one_call: Places single calls; `None` if no carrier can dial.
        gate: Must allow every call before a carrier is asked to place it.
        usable: Returns for each stage whether any of its rungs may be used now.
        currency: The currency of the price list, and so of all spending.
        url: The database's address.
    """

    campaigns: Mapping[str, Campaign]
    queue: Queue
    contacts: Contacts
    figures: Figures
    calls: PlacedCalls
    dialer: Dialer | None
    one_call: OneCall | None
    gate: OrderGate
    now_s: Callable[[], float]
    usable: Callable[[], Mapping[str, bool]]
    currency: str
    url: str = field(repr=False)

    @property
    def follows_dials(self) -> bool:
        """Whether this process still waits for the outcome of a dial."""
        runs = bool(self.dialer and self.dialer.runs)
        return runs or bool(self.one_call and self.one_call.under_way)


def warn_of_numbers(settings: Settings, gate: OrderGate, *, dials: bool) -> None:
    """Log which numbers will not be called, and how to change that."""
    if dials and not gate.rules.opened:
        logger.warning("{}", NOTHING_ALLOWED)
    for key, text in uncallable(settings):
        logger.warning("{}: {}", key, text)


def campaigns_of(settings: Settings) -> dict[str, Campaign]:
    """Return the campaigns by name."""
    return {name: campaign_of(name, item) for name, item in settings.campaigns.items()}


@asynccontextmanager
async def open_outbound(
    process: Process,
    pool: WorkerPool,
    ledger: CallLedger,
    *,
    alerts: Alerts,
    dialing: DialerSettings | None = None,
) -> AsyncIterator[Outbound]:
    """Dial the campaigns while the block runs; only the leading process dials.

    The background jobs of campaigns run as well. Logs which numbers will not be called, and a lack
    of a carrier that can dial.

    Args:
        process: The process that takes the calls; its settings and database are used.
        pool: Knows which process leads, and asks the others about their calls.
        ledger: Must have received every event since the process began.
        alerts: Returns the open alerts and the newest closed ones.
        dialing: The dialler's timing; `None` for the default.
    """
    settings, database = process.settings, process.database
    campaigns, dials = campaigns_of(settings), Ledger(database)
    prices = await asyncio.to_thread(load_prices, settings.prices.file)
    async with asyncio.TaskGroup() as tasks:
        calls = _make_calls(ledger, process, pool, campaigns, dials)
        carrier = carrier_of(settings, ledger.carrier_reports, tasks)
        jobs = background_jobs(settings, database, campaigns, carrier, leads=lambda: pool.leads)
        outbound = _make_outbound(
            PoolCapacity(process=process, pool=pool),
            campaigns,
            calls,
            carrier,
            emit=waking(process.switchboard.emit, jobs.values()),
            alerts=alerts,
            timing=dialing or DialerSettings(),
            currency=prices.currency,
        )
        async with _run_dialer(tasks, outbound.dialer, jobs, carrier):
            yield outbound


def _make_outbound(
    pool: PoolCapacity,
    campaigns: Mapping[str, Campaign],
    calls: PlacedCalls,
    carrier: CampaignCarrier | None,
    *,
    emit: Emit,
    alerts: Alerts,
    timing: DialerSettings,
    currency: str,
) -> Outbound:
    database, one_call, gate = pool.process.database, None, pool.process.shared.gate
    warn_of_numbers(pool.process.settings, gate, dials=carrier is not None)
    holder = secrets.token_hex(8)
    queue, figures = Queue(database, holder=holder, clock=gate.clock), Figures(database)
    if carrier:
        one_call = OneCall(
            carrier=carrier,
            gate=gate,
            calls=calls,
            pool=pool,
            settings=timing,
            now_s=clock.utc_s,
        )
    elif campaigns:
        logger.warning("campaigns are configured, but no carrier can dial; no contact is called")
    return Outbound(
        campaigns=campaigns,
        queue=queue,
        contacts=Contacts(database),
        figures=figures,
        calls=calls,
        dialer=_make_dialer(campaigns, carrier, queue, figures, calls, pool, emit, alerts, timing),
        one_call=one_call,
        gate=gate,
        now_s=clock.utc_s,
        usable=pool.usable,
        currency=currency,
        url=pool.process.settings.storage.url,
    )


def _make_dialer(
    campaigns: Mapping[str, Campaign],
    carrier: CampaignCarrier | None,
    queue: Queue,
    figures: Figures,
    calls: PlacedCalls,
    pool: PoolCapacity,
    emit: Emit,
    alerts: Alerts,
    timing: DialerSettings,
) -> Dialer | None:
    """Return the dialler, which does not run yet; `None` without a carrier or without campaigns."""
    if carrier is None or not campaigns:
        return None
    return Dialer(
        campaigns,
        queue=queue,
        figures=figures,
        carrier=carrier,
        gate=pool.process.shared.gate,
        calls=calls,
        pool=pool,
        emit=emit,
        now_s=queue.clock.now_s if queue.clock else clock.utc_s,
        rehearse=rehearsal_of(pool.process).ready,
        held=partial(_holds_in_alerts, alerts),
        settings=timing,
    )


def _make_calls(
    ledger: CallLedger,
    process: Process,
    pool: WorkerPool,
    campaigns: Mapping[str, Campaign],
    dials: Ledger,
) -> PlacedCalls:
    """Make our side of outbound calls; let peers ask about them, and calls look up their briefs."""
    ledger.join(pool)
    process.shared.briefs.look_up = partial(_look_up, process.settings, campaigns, dials)
    process.switchboard.on_closing(ledger.wake_all)  # ringing calls are cancelled at once
    agent = partial(agent_of, process.settings)
    return PlacedCalls(ledger=ledger, record=dials, briefs=process.shared.briefs, agent_of=agent)


@asynccontextmanager
async def _run_dialer(
    tasks: asyncio.TaskGroup,
    dialer: Dialer | None,
    jobs: Mapping[str, BackgroundJob],
    carrier: CampaignCarrier | None,
) -> AsyncIterator[None]:
    """Run the dialler and its background jobs; after the block, stop them and close the carrier.

    Without a dialler, no job runs either.
    """
    works = {"the dialer": dialer, **jobs} if dialer else {}
    working = [
        tasks.create_task(keep_running(name, work.run), name=name) for name, work in works.items()
    ]
    try:
        yield
    finally:
        for task in working:
            task.cancel()
            await asyncio.wait([task])
        if isinstance(carrier, ClosableCarrier):
            carrier.close()


async def _holds_in_alerts(alerts: Alerts) -> Mapping[str, Hold]:
    """Return the campaigns on hold, according to the open alerts."""
    return {
        alert.rung: Hold(reason=alert.kind, since_s=alert.open_s, outage=True)
        for alert in await alerts()
        if alert.stage == CAMPAIGN and alert.ended_s is None
    }


async def _look_up(
    settings: Settings, campaigns: Mapping[str, Campaign], ledger: Ledger, dial_id: str
) -> AgentSettings | None:
    """Return the agent of a dial of any process; `None` if the dial or its campaign is unknown."""
    if dial_id.startswith(ONE_CALL):
        return settings.agent
    claim = await ledger.find(dial_id)
    campaign = campaigns.get(claim.dial.campaign) if claim else None
    if claim is None or campaign is None:
        return None
    return briefed(agent_of(settings, campaign), campaign, claim.contact)
