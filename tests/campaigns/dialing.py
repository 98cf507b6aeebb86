"""A dialler with a real queue, and a carrier whose callees follow a script."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from calls.campaign_events import DialEnded
from calls.dialled import DialVerdict
from calls.events import Event
from calls.outbound import Claim, Dial, DialOutcome
from campaigns.call_verdict import CallVerdict
from campaigns.dialer import Dialer
from campaigns.dialing import DialerSettings, OwnCalls
from campaigns.guard import Hold, rules_of
from campaigns.model import CallingWindow, Campaign, RetryRule
from campaigns.order_rules import OrderRules
from campaigns.store.contacts import Contacts, NewContact
from campaigns.store.figures import Figures
from campaigns.store.queue import Queue
from operations.database.database import Database
from operations.database.tables import CAMPAIGNS
from runtime import clock
from tests.kit.dials import LAB_RULES, dials_of, gate_of
from transports.dialling import CarrierError, DialRefusedError, DialRequest, FoundCall

TALK_S = 20.0
OPEN = {"stt": True, "llm": True, "tts": True}


def now_s() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:  # in a database's thread, in real time: the loop's clock is this one
        return clock.monotonic()


@dataclass
class ScriptedCarrier:
    """Records each dial before it answers; `fates` has the outcomes of the dials."""

    fates: dict[str, DialOutcome] = field(default_factory=dict)
    verdicts: dict[str, DialVerdict] = field(default_factory=dict)  # of unanswered dials
    record: list[str] = field(default_factory=list)  # the dials' ids, in order
    calls: dict[str, tuple[float, str]] = field(default_factory=dict)
    lost_answers: int = 0  # for this many more dials, the call is placed and the response lost
    deaf: int = 0  # this many more requests get no response, and place no call
    refused: set[str] = field(default_factory=set)
    answers_after_s: float = 0.0
    answers_with: str = "call"  # or "order", for the id of a request whose call has no id yet
    asked: int = 0  # requests, of both kinds
    cancelled: dict[str, str] = field(default_factory=dict)  # the ids given to `cancel`, by dial

    async def dial(self, request: DialRequest) -> str:
        self.asked += 1
        if self.deaf:
            self.deaf -= 1
            raise CarrierError("no answer")
        if request.to in self.refused:
            raise DialRefusedError("not a number")
        self.record.append(request.dial_id)
        self.calls[request.dial_id] = (now_s(), request.to)
        if self.lost_answers:
            self.lost_answers -= 1
            raise CarrierError("the answer was lost")
        return f"{self.answers_with}-{request.dial_id}"

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        self.asked += 1
        if self.deaf:
            self.deaf -= 1
            raise CarrierError("no answer")
        if dial_id not in self.calls:
            return None
        began_s, number = self.calls[dial_id]
        if dial_id in self.cancelled:
            return FoundCall(provider_call_id=f"call-{dial_id}", outcome=DialOutcome.CANCELLED)
        fate = self.fates.get(number, DialOutcome.COMPLETED)
        picked_up = now_s() - began_s >= self.answers_after_s
        answered = picked_up and fate in (DialOutcome.COMPLETED, DialOutcome.VOICEMAIL)
        over = picked_up and now_s() - began_s >= (TALK_S if answered else 5.0)
        return FoundCall(
            provider_call_id=f"call-{dial_id}",
            outcome=fate if over else None,
            answered=answered,
            verdict=self.verdicts.get(number) if over else None,
            length_s=TALK_S if answered and over else None,
        )

    async def cancel(self, dial_id: str, ordered: str) -> None:
        self.cancelled[dial_id] = ordered


@dataclass
class Floor:
    """Our side: stages, seats, and the outcome of each call."""

    leads: bool = True
    leaving: bool = False
    well: dict[str, bool] = field(default_factory=lambda: dict(OPEN))
    free: int = 4
    failing: dict[str, str] = field(default_factory=dict)  # why our side failed, by number
    numbers: dict[str, str] = field(default_factory=dict)  # by dial id
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def seats(self) -> int:
        return self.free

    def usable(self) -> Mapping[str, bool]:
        return self.well

    async def take_turn(self, calls_per_s: float) -> float:
        del calls_per_s
        return 0.0

    async def prepare(self, campaign: Campaign, claim: Claim) -> None:
        self.numbers[claim.dial.id] = claim.dial.number

    async def verdict(self, dial_id: str) -> CallVerdict | None:
        return CallVerdict(over=True, failed=self.failing.get(self.numbers.get(dial_id, ""), ""))

    async def wait(self, dial_id: str, within_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.news.wait()
        self.news.clear()

    def stop(self) -> None:
        """Stop the server, and wake every waiter."""
        self.leads, self.leaving = False, True
        self.news.set()

    def forget(self, dial_id: str) -> None:
        self.numbers.pop(dial_id, None)


@dataclass
class Dialing:
    """A campaign in progress, with a real queue."""

    url: str
    numbers: Sequence[str]
    campaign: Campaign
    carrier: Any = field(default_factory=ScriptedCarrier)
    floor: Floor = field(default_factory=Floor)
    told: list[Event] = field(default_factory=list)
    settings: DialerSettings = field(
        default_factory=lambda: DialerSettings(grace_s=10.0, ring_s=4.0)
    )
    rehearse: Callable[[], Awaitable[str]] | None = None
    calls: OwnCalls | None = None  # `None` for the default
    more: dict[str, Campaign] = field(default_factory=dict)
    rules: OrderRules = LAB_RULES
    held: dict[str, Hold] = field(default_factory=dict)  # as the former leader reported them

    def __post_init__(self) -> None:
        self.database = Database(self.url)
        self.store = Queue(self.database, holder="me")
        self.figures = Figures(self.database)
        self.book = Contacts(self.database)

    async def begin(self) -> None:
        contacts = [NewContact(number=number, zones=("UTC",)) for number in self.numbers]
        await self.book.add("c", contacts, now=now_s())
        await self.store.move("c", "running", now=now_s())

    async def close(self) -> None:
        await self.database.close()

    def dialer(self) -> Dialer:
        return Dialer({"c": self.campaign, **self.more}, **self.parts(), held=self.told_held)

    def parts(self, **changed: Any) -> dict[str, Any]:
        """Return the arguments of a dialler; a single dial takes all of them but `figures`."""
        return {
            "queue": self.store,
            "figures": self.figures,
            "carrier": self.carrier,
            "gate": gate_of(self.database, self.rules, emit=self.told.append, now_s=now_s),
            "calls": self.calls or self.floor,
            "pool": self.floor,
            "emit": self.told.append,
            "now_s": now_s,
            "rehearse": self.rehearse,
            "settings": self.settings,
            **changed,
        }

    async def told_held(self) -> Mapping[str, Hold]:
        return dict(self.held)

    def of(self, kind: type) -> list:
        return [event for event in self.told if isinstance(event, kind)]

    async def ledger(self) -> Sequence[Dial]:
        return await dials_of(self.database, "c")

    async def state(self) -> str:
        """Return only the stored state, which is polled: figures need three queries."""
        async with self.database.reading() as connection:
            found = await connection.execute(
                select(CAMPAIGNS.c.state).where(CAMPAIGNS.c.name == "c")
            )
            return found.scalar_one()

    async def in_state(self, state: str) -> None:
        async with asyncio.timeout(20_000.0):
            while await self.state() != state:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(5.0)

    async def done(self) -> None:
        await self.in_state("done")

    async def settled(self) -> None:
        async with asyncio.timeout(20_000.0):
            while any(dial.outcome is None for dial in await self.ledger()):  # noqa: ASYNC110
                await asyncio.sleep(5.0)

    def outcomes(self) -> dict[str, str]:
        """Return each contact's last outcome, by number, in the order of the dials."""
        last = {text.dial_id: text.outcome for text in self.of(DialEnded)}
        return {self.number(dial_id): outcome for dial_id, outcome in last.items()}

    def number(self, dial_id: str) -> str:
        return self.carrier.calls[dial_id][1]

    def dialled(self) -> list[str]:
        """Return the called numbers, in order."""
        return [self.number(item) for item in self.carrier.record]


@asynccontextmanager
async def dialing(folder: Path, *numbers: str, **campaign: object) -> AsyncIterator[Dialing]:
    """Open a campaign that calls these numbers, at any hour."""
    wanted = {
        "window": CallingWindow(opens_s=0.0, closes_s=86_400.0),
        "consent_required": False,
        "dials_per_minute": 600.0,
        "retry": {
            DialOutcome.BUSY: RetryRule(again=True, rest_s=60.0),
            DialOutcome.AGENT_FAILED: RetryRule(again=True, rest_s=60.0, counts=False),
        },
        **campaign,
    }
    it = Dialing(
        url=f"sqlite+aiosqlite:///{folder / 'queue.db'}",
        numbers=numbers,
        campaign=Campaign(name="c", **wanted),  # type: ignore[arg-type]
    )
    try:
        await it.begin()
        yield it
    finally:
        await it.close()


@asynccontextmanager
async def running(it: Dialing) -> AsyncIterator[Dialer]:
    dialer = it.dialer()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(dialer.run())
        try:
            yield dialer
        finally:
            task.cancel()


async def until(holds: Callable[[], bool], *, within_s: float = 1000.0) -> None:
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.5)


async def left_by_another(it: Dialing, *, asked: bool, call_ref: str = "") -> Claim:
    """Let a process claim a contact and die, before or after it asked the carrier."""
    other = Queue(Database(it.url), holder="another")
    claim = await other.claim("c", rules_of(it.campaign, now=now_s()), now_s=now_s, lease_s=1.0)
    assert isinstance(claim, Claim)
    if asked:
        assert not await other.confirm(claim.dial, now_s=now_s, lease_s=1.0)
    if call_ref:
        assert await other.note_placed(claim.dial, call_ref)
    await other.database.close()
    await asyncio.sleep(2.0)
    return claim
