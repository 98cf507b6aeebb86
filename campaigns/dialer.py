"""Dials the contacts of all campaigns of a worker pool, in rounds.

In each round, the dials of silent processes are taken over first. Then each running campaign gets a
turn: the guard decides, a contact is claimed, and the dial runs in a task of its own. A held
campaign is checked again in each round and resumes by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from math import inf
from typing import Final

from loguru import logger

from calls.campaign_events import CampaignEvent, CampaignPaused
from calls.entry import Emit
from calls.outbound import Claim, DialOutcome, DialResult, NothingToDial
from campaigns.breakers import CampaignBreaker, WatchedCarrier
from campaigns.dial_run import DialRun
from campaigns.dialing import REACHED, DialerSettings, DialingCapacity, OwnCalls
from campaigns.guard import (
    CampaignTurn,
    Circumstances,
    GuardVerdict,
    Hold,
    Holds,
    judge_dial_now,
    order_of_turns,
    rules_of,
)
from campaigns.model import Campaign
from campaigns.order_gate import OrderGate
from campaigns.store.figures import CampaignStanding, Figures
from campaigns.store.queue import Queue
from campaigns.time_left import UNFINISHED_STATES
from operations.database.database import StorageError
from transports.dialling import REFUSED, CampaignCarrier, CarrierError

FAILED_IN_A_ROW: Final = "agent_failed_in_a_row"
REFUSED_IN_A_ROW: Final = "carrier_refused_in_a_row"
PAUSES: Final = (FAILED_IN_A_ROW, REFUSED_IN_A_ROW)
"""Reasons of pauses by a breaker; only an operator ends them."""
NOT_PLACED: Final = frozenset({DialOutcome.REFUSED, DialOutcome.UNKNOWN})
"""Outcomes that do not show that the carrier places calls."""


class CampaignBreakers:
    """The breakers of each campaign; one that trips pauses its campaign in all processes.

    Each campaign has two. One counts calls that failed for our own reasons. The other counts dials
    that the carrier refused or could not place: one number may be wrong, but several in a row mean
    a fault on our side, such as a wrong caller number or a broken trunk.
    """

    def __init__(
        self,
        campaigns: Iterable[str],
        queue: Queue,
        *,
        emit: Emit,
        now_s: Callable[[], float],
        limit: int,
    ) -> None:
        """Create the breakers of these campaigns; `limit` failures in a row trip one.

        `now_s` returns seconds since 1970.
        """
        self._queue = queue
        self._emit = emit
        self._now_s = now_s
        self._breakers = {
            name: {why: CampaignBreaker(limit=limit) for why in PAUSES} for name in campaigns
        }
        self._runs_since_s: dict[str, float] = {}
        self._unsaved: dict[str, str] = {}  # reasons of pauses not yet stored

    def tripped(self, campaign: str) -> str:
        """Return why a campaign must pause, as a code in `PAUSES`; empty if no breaker tripped."""
        breakers = self._breakers[campaign]
        return next((why for why, breaker in breakers.items() if breaker.tripped), "")

    def reset_if_resumed(self, running: CampaignStanding) -> None:
        """Reset the breakers if the running campaign was started again since the last check.

        The first check by this process resets them, too.
        """
        if self._runs_since_s.get(running.name) != running.changed_s:
            self._runs_since_s[running.name] = running.changed_s
            for breaker in self._breakers[running.name].values():
                breaker.reset()

    async def count(self, campaign: str, result: DialResult) -> None:
        """Count the result of a dial, and pause the campaign if that trips a breaker.

        Raises:
            StorageError: The database did not store the pause; the next round tries again.
        """
        breakers = self._breakers[campaign]
        agent_failed = result.outcome is DialOutcome.AGENT_FAILED
        was_refused = result.reason == REFUSED or result.trunk != "well"
        was_placed = not was_refused and result.outcome not in NOT_PLACED
        if breakers[FAILED_IN_A_ROW].note(ours=agent_failed, reached=result.outcome in REACHED):
            self._unsaved[campaign] = FAILED_IN_A_ROW
        if breakers[REFUSED_IN_A_ROW].note(ours=was_refused, reached=was_placed):
            self._unsaved[campaign] = REFUSED_IN_A_ROW
        if campaign in self._unsaved:
            await self.pause_tripped()

    async def pause_tripped(self) -> None:
        """Store and publish the pauses by breakers that are not stored yet.

        Raises:
            StorageError: The database did not store a pause; the next round tries again. Without
                the pause, the campaign would be shown as running, place no calls, and could not be
                resumed.
        """
        while self._unsaved:  # not a loop over a copy: another task may store some meanwhile
            campaign, why = self._unsaved.popitem()
            now, in_a_row = self._now_s(), self._breakers[campaign][why].in_a_row
            try:
                await self._queue.move(campaign, "paused", reason=why, now=now)
            except StorageError:
                self._unsaved[campaign] = why
                raise
            self._emit(CampaignPaused(campaign=campaign, reason=why, in_a_row=in_a_row))


class Dialer:
    """Dials while this process leads its worker pool; one in each process.

    Attributes:
        holds: Why campaigns place no dials now.
        runs: The dials that are followed here and have no outcome yet.
    """

    def __init__(
        self,
        campaigns: Mapping[str, Campaign],
        *,
        queue: Queue,
        figures: Figures,
        carrier: CampaignCarrier,
        gate: OrderGate,
        calls: OwnCalls,
        pool: DialingCapacity,
        emit: Emit,
        now_s: Callable[[], float],
        rehearse: Callable[[], Awaitable[str]] | None = None,  # returns a stage that is down, or ""
        held: Callable[[], Awaitable[Mapping[str, Hold]]] | None = None,  # the former leader's
        settings: DialerSettings | None = None,
    ) -> None:
        """Create a dialer for these campaigns, by name; `now_s` returns seconds since 1970."""
        self._campaigns = campaigns
        self._queue = queue
        self._figures = figures
        self._carrier = WatchedCarrier(carrier)
        self._gate = gate
        self._calls = calls
        self._pool = pool
        self._emit = emit
        self._now_s = now_s
        self._rehearse = rehearse
        self._held = held
        self._settings = settings or DialerSettings()
        self.holds = Holds()
        self._leads = False
        self._breakers = CampaignBreakers(
            campaigns, queue, emit=emit, now_s=now_s, limit=self._settings.failures
        )
        self.runs: set[DialRun] = set()
        self._dials: DialsInProgress  # set while `run` is active
        self._recovered_s = -inf  # when the dials of silent processes were last taken over
        self._next_claim_s: float | None = None  # when the next claim can succeed

    async def run(self) -> None:
        """Dial while this process leads, until cancelled; a database failure ends only its round.

        After the end, the next leader takes over the dials in progress.
        """
        async with asyncio.TaskGroup() as tasks:
            self.runs.clear()  # left by a `run` that failed
            self._dials = DialsInProgress(tasks, self.runs, count_result=self._breakers.count)
            while True:
                claimed, self._next_claim_s = False, None
                if self._pool.leads:
                    claimed = await _run_round(self._give_turns())
                else:
                    self._leads = False
                await self._wait_for_next_round(claimed=claimed)

    async def _wait_for_next_round(self, *, claimed: bool) -> None:
        """Wait for the next round.

        It follows at once after a claim. Otherwise it begins after `look_s`, or before that when a
        claim can succeed again or a dial has ended.
        """
        wait_s = 0.0 if claimed else self._settings.look_s
        if self._next_claim_s is not None:
            wait_s = min(wait_s, max(0.0, self._next_claim_s - self._now_s()))
        await self._dials.wait(wait_s)

    async def _give_turns(self) -> bool:
        """Give each running campaign a turn; return whether any claimed a contact.

        Before that, take over silent dials, store pauses, and adopt the former leader's holds in
        the first round as leader.
        """
        if not self._leads and self._held is not None:
            self.holds.adopt(await self._held())
        self._leads = True
        await self._adopt_silent_dials()
        await self._breakers.pause_tripped()
        now = self._now_s()
        standings = await self._figures.standings()
        configured = [standing for standing in standings if standing.name in self._campaigns]
        running = {item.name: item for item in configured if item.state == "running"}
        for standing in configured:
            self._emit_all(_apply_stored_state(standing, self.holds, self._breakers, now))
        turns = order_of_turns(
            _turn_of(item, self._campaigns[name]) for name, item in running.items()
        )
        # A list, because `any` would end the round after the first claim.
        return any([await self._give_turn(running[name]) for name in turns])

    async def _adopt_silent_dials(self) -> None:
        """Take over the dials of silent processes, each in a new task; at most twice per lease."""
        now = self._now_s()
        # If the last time seems to be in the future, the clock was set back.
        if 0.0 <= now - self._recovered_s < self._settings.lease_s / 2:
            return
        silent = await self._queue.adopt_expired(
            self._campaigns, now_s=self._now_s, lease_s=self._settings.lease_s
        )
        self._recovered_s = now
        for claim in silent:
            if self._dials.has(claim.dial.id):
                continue  # our own: it was renewed late, but has a new lease now
            run = self._make_run(self._campaigns[claim.dial.campaign], claim)
            self._dials.start_dial(run, run.take_over)

    async def _give_turn(self, standing: CampaignStanding) -> bool:
        """Claim a contact if the guard and the rules allow it, and dial it in a task or skip it.

        Returns whether a contact was claimed. If not, the campaign is held, or finished.
        """
        campaign = self._campaigns[standing.name]
        verdict = judge_dial_now(
            self._measure_circumstances(campaign), on_outage=campaign.on_outage
        )
        if verdict.step != "dial":
            self._hold_campaign(campaign, verdict.reason, outage=verdict.outage)
        if verdict.step == "hold":
            return False
        rules = rules_of(campaign, now=self._now_s())
        claim = await self._queue.claim(
            campaign.name, rules, now_s=self._now_s, lease_s=self._settings.lease_s
        )
        if isinstance(claim, NothingToDial):
            await self._note_nothing(standing, verdict, claim)
            return False
        await self._begin_or_skip(campaign, claim, verdict)
        return True

    async def _begin_or_skip(self, campaign: Campaign, claim: Claim, verdict: GuardVerdict) -> None:
        """Begin or skip a claimed dial; release it if a breaker of the campaign has tripped."""
        # The dial that ended before this claim may have tripped the breaker.
        await self._dials.wait_until_counted(campaign.name)
        if self._breakers.tripped(campaign.name):
            await self._queue.release(claim.dial)
            return
        run = self._make_run(campaign, claim, degraded=verdict.reason)
        if verdict.step == "skip":
            await run.skip(verdict.reason)
            return
        self._emit_all(self.holds.end_before_dial(campaign.name, self._now_s()))
        run.on_placed = lambda: self._emit_all(
            self.holds.end_after_placed_dial(campaign.name, self._now_s())
        )
        self._dials.start_dial(run, run.make)

    async def _note_nothing(
        self, standing: CampaignStanding, verdict: GuardVerdict, nothing: NothingToDial
    ) -> None:
        """Hold the campaign for this reason; finish it instead if it has no contact left.

        While contacts are skipped, the outage's hold stays. The next round begins when a claim can
        succeed, if that is known.
        """
        if nothing.again_s is not None:
            self._next_claim_s = min(nothing.again_s, self._next_claim_s or nothing.again_s)
        if not any(standing.contacts.get(state) for state in UNFINISHED_STATES):
            self._emit_all(self.holds.end(standing.name, self._now_s()))
            await self._queue.finish(standing.name, now=self._now_s())
        elif verdict.step == "dial":
            self._hold_campaign(self._campaigns[standing.name], nothing.reason, outage=False)

    def _measure_circumstances(self, campaign: Campaign) -> Circumstances:
        """Return what may keep a campaign from dialling now: breakers, carrier, seats, limits."""
        return Circumstances(
            tripped=self._breakers.tripped(campaign.name),
            # Without dials in progress `down` is not updated, so the next dial tries the carrier.
            carrier_down=self._carrier.down if self._dials.any else "",
            seats=self._pool.seats() - self._dials.coming,
            limit=self._gate.reached_limit() if self._gate.rules.opened else "nothing_allowed",
            usable=self._pool.usable(),
        )

    def _hold_campaign(self, campaign: Campaign, reason: str, *, outage: bool) -> None:
        now = self._now_s()
        self._emit_all(self.holds.hold(campaign.name, reason, outage=outage, now=now))

    def _emit_all(self, events: Sequence[CampaignEvent]) -> None:
        for event in events:
            self._emit(event)

    def _make_run(self, campaign: Campaign, claim: Claim, *, degraded: str = "") -> DialRun:
        """Return the run of a dial, not yet started; `degraded` names a stage that is down."""
        return DialRun(
            campaign=campaign,
            claim=claim,
            carrier=self._carrier,
            gate=self._gate,
            queue=self._queue,
            calls=self._calls,
            pool=self._pool,
            emit=self._emit,
            now_s=self._now_s,
            rehearse=self._rehearse,
            settings=self._settings,
            degraded=degraded,
        )


class DialsInProgress:
    """The dials in progress, each in a task of its own."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        runs: set[DialRun],
        *,
        count_result: Callable[[str, DialResult], Awaitable[None]],
    ) -> None:
        """Run the dials in `tasks` and list them in `runs`; `count_result` gets each result."""
        self._tasks = tasks
        self._count_result = count_result
        self._runs = runs
        self._freed = asyncio.Event()  # set when a dial ends

    @property
    def any(self) -> bool:
        """Whether any dial is in progress."""
        return bool(self._runs)

    @property
    def coming(self) -> int:
        """How many dials may need a seat that the pool does not count yet: not in a call so far."""
        return sum(not run.in_call for run in self._runs)

    def has(self, dial_id: str) -> bool:
        """Return whether a dial is in progress here."""
        return any(run.dial.id == dial_id for run in self._runs)

    def start_dial(self, run: DialRun, make: Callable[[], Awaitable[DialResult | None]]) -> None:
        """Run `make`, a method of `run`, in a task of its own, and count the result it returns."""
        self._runs.add(run)
        self._tasks.create_task(self._run_dial(run, make), name=f"dial {run.dial.id}")

    async def wait(self, within_s: float) -> None:
        """Wait until a dial ends, for at most `within_s` seconds.

        Return at once if one has ended since this or `wait_until_counted` last waited.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._freed.wait()
        self._freed.clear()

    async def wait_until_counted(self, campaign: str) -> None:
        """Wait until the results of a campaign's dials that are ending have been counted."""
        while any(run.ending and run.campaign.name == campaign for run in self._runs):
            self._freed.clear()
            await self._freed.wait()

    async def _run_dial(
        self, run: DialRun, make: Callable[[], Awaitable[DialResult | None]]
    ) -> None:
        """Run one dial and count its result; a dial that fails is left to its lease.

        An error is logged. In any case the gate stops renewing the dial's order, and `wait` ends.
        """
        try:
            result = await make()
            if result is not None:
                await self._count_result(run.campaign.name, result)
        except (StorageError, CarrierError) as error:
            logger.warning("dial {} is left to its lease: {}", run.dial.id, error)
        except Exception as error:  # noqa: BLE001 - an error in one dial ends that dial only
            logger.opt(exception=error).error("dial {} failed", run.dial.id)
        finally:
            run.gate.leave(run.dial.id)
            self._runs.discard(run)
            self._freed.set()


async def _run_round(turns: Awaitable[bool]) -> bool:
    """Return the result of a round; after a database failure, log it and return False."""
    try:
        return await turns
    except StorageError as error:
        logger.warning("no contact is dialled: {}", error)
        return False


def _apply_stored_state(
    standing: CampaignStanding, holds: Holds, breakers: CampaignBreakers, now: float
) -> Sequence[CampaignEvent]:
    """Update holds and breakers from the stored state of a campaign; return the events to emit.

    A campaign that a breaker has paused waits for an operator, even if an outage has held it
    before, and even in a process that knows of the pause only from the database.
    """
    name = standing.name
    if standing.state == "paused" and standing.reason in PAUSES:
        holds.hold_for_operator(name, standing.reason, since_s=standing.changed_s)
        return ()
    if standing.state != "running":
        return holds.end(name, now)
    breakers.reset_if_resumed(standing)
    # If an operator has resumed the campaign, its breakers were just reset: the pause's hold ends.
    hold = holds.why(name)
    paused = hold is not None and hold.reason in PAUSES
    return holds.end(name, now) if paused and not breakers.tripped(name) else ()


def _turn_of(standing: CampaignStanding, campaign: Campaign) -> CampaignTurn:
    return CampaignTurn(
        name=standing.name,
        calls_now=standing.calls_now,
        concurrent=campaign.concurrent,
        claimed_s=standing.claimed_s,
    )
