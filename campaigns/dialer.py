"""Dials the contacts of all campaigns of a house: one turn each, in order of who waited longest.

What became of dials whose process is silent is found out before anything else. Then each running
campaign has a turn: the guard is asked, a contact is claimed, and the dial goes its own way beside
the others. A campaign that is held is looked at again and again, and goes on by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from loguru import logger

from calls.campaign_events import CampaignFact, CampaignPaused
from calls.entry import Tell
from calls.outbound import Claim, DialOutcome, DialResult, NothingToDial
from campaigns.breakers import CampaignBreaker, WatchedCarrier
from campaigns.call_result import REACHED
from campaigns.carrier import REFUSED, CarrierError
from campaigns.dial_run import DialRun
from campaigns.dialer_parts import DialerParts
from campaigns.guard import (
    CampaignTurn,
    Circumstances,
    GuardVerdict,
    Hold,
    Holds,
    Succession,
    in_turn,
    judge_dial_now,
    rules_of,
)
from campaigns.model import Campaign
from campaigns.pacing import SilentLooks
from campaigns.store.office import CampaignStanding
from campaigns.time_left import OPEN_STATES
from operations.database.database import StorageError

# The breakers of a dialer's campaigns: one that trips pauses its campaign, in all processes.
#
# Each has two. One counts calls that failed for our own reasons, one what the carrier refused to
# dial at all, or could not: one number may be none, but several in a row say that something of ours
# is wrong, such as the number that we call from, or that the trunk is not well.

FAILED_IN_A_ROW: Final = "agent_failed_in_a_row"
REFUSED_IN_A_ROW: Final = "carrier_refused_in_a_row"
PAUSES: Final = (FAILED_IN_A_ROW, REFUSED_IN_A_ROW)
"""Why a campaign paused itself; only an operator's word has it go on."""
NOT_PLACED: Final = frozenset({DialOutcome.REFUSED, DialOutcome.UNKNOWN})


class CampaignBreakers:
    """Those of each campaign, by why it pauses."""

    def __init__(self, campaigns: Iterable[str], parts: DialerParts) -> None:
        """Have them for each of these campaigns."""
        self._parts = parts
        limit = parts.settings.failures
        self._breakers = {
            name: {why: CampaignBreaker(limit=limit) for why in PAUSES} for name in campaigns
        }
        self._runs_since_s: dict[str, float] = {}
        self._owed: dict[str, str] = {}  # why, of those that no database has taken for paused yet

    def tripped(self, campaign: str) -> str:
        """Return why a campaign is to pause; empty: it is not."""
        return next((why for why, each in self._breakers[campaign].items() if each.tripped), "")

    def look(self, running: CampaignStanding) -> None:
        """Begin anew if somebody has said, since the last look, that the campaign goes on."""
        if self._runs_since_s.get(running.name) != running.changed_s:
            self._runs_since_s[running.name] = running.changed_s
            for breaker in self._breakers[running.name].values():
                breaker.reset()

    async def learn(self, campaign: str, result: DialResult) -> None:
        """Count what became of a dial."""
        failed, refused = self._breakers[campaign].values()
        ours = result.outcome is DialOutcome.AGENT_FAILED
        unheard = result.reason == REFUSED or result.trunk != "well"
        placed = not unheard and result.outcome not in NOT_PLACED
        if failed.note(ours=ours, reached=result.outcome in REACHED):
            self._owed[campaign] = FAILED_IN_A_ROW
        if refused.note(ours=unheard, reached=placed):
            self._owed[campaign] = REFUSED_IN_A_ROW
        if campaign in self._owed:
            await self.pause_tripped()

    async def pause_tripped(self) -> None:
        """Pause the campaigns whose breakers have tripped since.

        Raises:
            StorageError: The database did not take it: it is owed, or an operator would find a
                campaign that runs and calls nobody, and that cannot be resumed.
        """
        for campaign in sorted(self._owed):
            why = self._owed.pop(campaign)  # first: somebody else may come by meanwhile
            now, in_a_row = self._parts.now_s(), self._breakers[campaign][why].in_a_row
            try:
                await self._parts.office.move(campaign, "paused", reason=why, now=now)
            except StorageError:
                self._owed[campaign] = why
                raise
            self._parts.tell(CampaignPaused(campaign=campaign, reason=why, in_a_row=in_a_row))


class Dialer:
    """One in each process; it dials while it leads its house.

    Attributes:
        runs: The dials that are followed here, which have no outcome yet.
    """

    def __init__(self, campaigns: Mapping[str, Campaign], parts: DialerParts) -> None:
        """Dial for these campaigns, by name."""
        self._campaigns = campaigns
        self._parts = parts
        self._carrier = WatchedCarrier(parts.carrier)
        self._holds = Holds()
        self._succession = Succession(parts.held)
        self._breakers = CampaignBreakers(campaigns, parts)
        self.runs: set[DialRun] = set()
        self._dials: DialsInProgress  # while it runs
        self._looks = SilentLooks(parts.settings.lease_s, now_s=parts.now_s)
        self._again_s: float | None = None  # when a claim is worth asking for again

    def why(self, campaign: str) -> Hold | None:
        """Return why a campaign dials nobody now; None: it does."""
        return self._holds.why(campaign)

    async def run(self) -> None:
        """Dial until cancelled; what is in progress then is found by whoever comes after us."""
        async with asyncio.TaskGroup() as tasks:
            self.runs.clear()  # of those that a failed run never began
            self._dials = DialsInProgress(
                tasks, self.runs, learn=self._breakers.learn, left=self._looks.doubt
            )
            while True:
                turned, self._again_s = False, None
                if self._parts.pool.leads:
                    turned = await _surely(self._round(), self._looks.doubt)
                else:
                    self._succession.leave()
                await self._pause(turned=turned)

    async def _pause(self, *, turned: bool) -> None:
        """Wait for the next look, for the moment that a claim named, or for a dial to end."""
        wait_s = 0.0 if turned else self._parts.settings.look_s
        if self._again_s is not None:
            wait_s = min(wait_s, max(0.0, self._again_s - self._parts.now_s()))
        await self._dials.wait(wait_s)

    async def _round(self) -> bool:
        """Give each running campaign a turn; return whether any contact was taken."""
        await self._succession.lead(self._holds)
        await self._recover()
        await self._breakers.pause_tripped()
        now = self._parts.now_s()
        standings = await self._parts.office.standings(now=now)
        ours = [standing for standing in standings if standing.name in self._campaigns]
        running = {standing.name: standing for standing in ours if standing.state == "running"}
        for standing in ours:
            _tell_all(self._parts.tell, _follow(standing, self._holds, self._breakers, now))
        turns = in_turn(_turn_of(text, self._campaigns[text.name]) for text in running.values())
        return any([await self._turn(running[name]) for name in turns])

    async def _recover(self) -> None:
        """Adopt the dials of a process that is silent, where it is time to look."""
        if not self._looks.due:
            return
        parts, now = self._parts, self._parts.now_s()
        silent = await parts.store.adopt_expired(
            self._campaigns, now=now, lease_s=parts.settings.lease_s
        )
        self._looks.looked(now)
        for claim in silent:
            if self._dials.has(claim.dial.id):
                continue  # our own was late to renew its lease, and now has a new one: it goes on
            run = self._run(self._campaigns[claim.dial.campaign], claim)
            self._dials.begin(run, run.take_over)

    async def _turn(self, standing: CampaignStanding) -> bool:
        campaign, parts = self._campaigns[standing.name], self._parts
        verdict = judge_dial_now(self._circumstances(campaign), on_outage=campaign.on_outage)
        if verdict.step != "dial":
            self._hold(campaign, verdict.reason, outage=verdict.outage)
        if verdict.step == "hold":
            return False
        now = parts.now_s()
        claim = await parts.store.claim(
            campaign.name, rules_of(campaign, now=now), now=now, lease_s=parts.settings.lease_s
        )
        if isinstance(claim, NothingToDial):
            await self._rest(standing, verdict, claim)
            return False
        await self._take(campaign, claim, verdict)
        return True

    async def _take(self, campaign: Campaign, claim: Claim, verdict: GuardVerdict) -> None:
        # The dial whose end made room for this one may be the one that trips the breaker.
        await self._dials.all_learnt(campaign.name)
        if self._breakers.tripped(campaign.name):
            await self._parts.store.release(claim.dial)
            return
        run = self._run(campaign, claim, degraded=verdict.reason)
        if verdict.step == "skip":
            await run.skip(verdict.reason)
            return
        tell, now_s = self._parts.tell, self._parts.now_s
        _tell_all(tell, self._holds.try_to_go(campaign.name, now_s()))
        run.on_placed = lambda: _tell_all(tell, self._holds.prove(campaign.name, now_s()))
        self._dials.begin(run, run.make)

    async def _rest(
        self, standing: CampaignStanding, verdict: GuardVerdict, nothing: NothingToDial
    ) -> None:
        """Note that there is nobody to dial now; a campaign without open contacts is done."""
        if nothing.again_s is not None:
            self._again_s = min(nothing.again_s, self._again_s or nothing.again_s)
        if not any(standing.contacts.get(open_state) for open_state in OPEN_STATES):
            _tell_all(self._parts.tell, self._holds.go(standing.name, self._parts.now_s()))
            await self._parts.office.finish(standing.name, now=self._parts.now_s())
        elif verdict.step == "dial":
            self._hold(self._campaigns[standing.name], nothing.reason, outage=False)

    def _circumstances(self, campaign: Campaign) -> Circumstances:
        pool = self._parts.pool
        return Circumstances(
            tripped=self._breakers.tripped(campaign.name),
            # Without a dial nobody asks it any more: then the next one finds out.
            carrier_down=self._carrier.down if self._dials.any else "",
            seats=pool.seats() - self._dials.coming,
            usable=pool.usable(),
        )

    def _hold(self, campaign: Campaign, reason: str, *, outage: bool) -> None:
        now = self._parts.now_s()
        facts = self._holds.hold(campaign.name, reason, outage=outage, now=now)
        _tell_all(self._parts.tell, facts)

    def _run(self, campaign: Campaign, claim: Claim, *, degraded: str = "") -> DialRun:
        return DialRun(
            campaign=campaign,
            claim=claim,
            parts=self._parts,
            carrier=self._carrier,
            degraded=degraded,
        )


class DialsInProgress:
    """The dials in progress, each in a task of the group, until its end."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        runs: set[DialRun],
        *,
        learn: Callable[[str, DialResult], Awaitable[None]],
        left: Callable[[], None],
    ) -> None:
        """Have them in `tasks`, and in `runs` for as long.

        `learn` is told how each one ended, `left` that one did not, and is nobody's from now on.
        """
        self._tasks = tasks
        self._learn = learn
        self._left = left
        self._runs = runs
        self._freed = asyncio.Event()  # set when a dial has ended

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self._runs)

    @property
    def coming(self) -> int:
        """How many may need a seat that the house does not count yet."""
        return sum(not run.in_call for run in self._runs)

    def has(self, dial_id: str) -> bool:
        """Return whether a dial is in progress here."""
        return any(run.dial.id == dial_id for run in self._runs)

    def begin(self, run: DialRun, make: Callable[[], Awaitable[DialResult | None]]) -> None:
        """Have a dial go its own way."""
        self._runs.add(run)
        self._tasks.create_task(self._see_through(run, make), name=f"dial {run.dial.id}")

    async def wait(self, within_s: float) -> None:
        """Return when one of them has ended since the last time, or after `within_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._freed.wait()
        self._freed.clear()

    async def all_learnt(self, campaign: str) -> None:
        """Return when nothing is left to learn of what has ended in a campaign."""
        while any(run.ending and run.campaign.name == campaign for run in self._runs):
            self._freed.clear()
            await self._freed.wait()

    async def _see_through(
        self, run: DialRun, make: Callable[[], Awaitable[DialResult | None]]
    ) -> None:
        try:
            result = await make()
            if result is not None:
                await self._learn(run.campaign.name, result)
        except (StorageError, CarrierError) as broken:
            logger.warning("dial {} is left to its lease: {}", run.dial.id, broken)
            self._left()
        except Exception as broken:  # noqa: BLE001 - one dial's mistake ends that dial alone
            logger.opt(exception=broken).error("dial {} failed", run.dial.id)
            self._left()
        finally:
            self._runs.discard(run)
            self._freed.set()


async def _surely(round_of_turns: Awaitable[bool], doubt: Callable[[], None]) -> bool:
    try:
        return await round_of_turns
    except StorageError as broken:
        logger.warning("nobody is dialled: {}", broken)
        doubt()
        return False


def _follow(
    standing: CampaignStanding, holds: Holds, breakers: CampaignBreakers, now: float
) -> Sequence[CampaignFact]:
    """Return what is to be told of a campaign as an operator, or its breaker, has put it.

    What its breaker has paused stands still until an operator's word, also behind an outage that
    held it before, and in a process that has only found it so.
    """
    name = standing.name
    if standing.state == "paused" and standing.reason in PAUSES:
        holds.stop(name, standing.reason, since_s=standing.changed_s)
        return ()
    if standing.state != "running":
        return holds.go(name, now)
    breakers.look(standing)
    hold = holds.why(name)
    paused = hold is not None and hold.reason in PAUSES
    return holds.go(name, now) if paused and not breakers.tripped(name) else ()


def _turn_of(standing: CampaignStanding, campaign: Campaign) -> CampaignTurn:
    return CampaignTurn(
        name=standing.name,
        calls_now=standing.calls_now,
        concurrent=campaign.concurrent,
        claimed_s=standing.claimed_s,
    )


def _tell_all(tell: Tell, facts: Sequence[CampaignFact]) -> None:
    for fact in facts:
        tell(fact)
