"""A dialer with a carrier whose callees do as they are told, and a queue in memory."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from calls.events import Event
from calls.outbound import (
    Claim,
    Contact,
    Dial,
    DialOutcome,
    DialResult,
    NextStep,
    NothingToDial,
)
from campaigns.call_verdict import CallVerdict
from campaigns.carrier import CarrierError, DialRefusedError, DialRequest, FoundCall
from campaigns.dialer import Dialer
from campaigns.dialer_parts import DialerParts, DialerSettings
from campaigns.model import Campaign
from storage.campaign_office import CampaignStanding

TALK_S = 20.0
OPEN = {"stt": True, "llm": True, "tts": True}


def now_s() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class ScriptedCarrier:
    """Writes each dial down before it answers; what becomes of it stands in `fates`."""

    fates: dict[str, DialOutcome] = field(default_factory=dict)
    record: list[str] = field(default_factory=list)  # the ids, in order
    calls: dict[str, tuple[float, str]] = field(default_factory=dict)
    lost_answers: int = 0  # so many more are placed without a word of it
    deaf: int = 0  # so many more requests are not answered, and nothing comes of them
    refused: set[str] = field(default_factory=set)

    async def dial(self, request: DialRequest) -> str:
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
        return f"call-{request.dial_id}"

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        if self.deaf:
            self.deaf -= 1
            raise CarrierError("no answer")
        if dial_id not in self.calls:
            return None
        began_s, number = self.calls[dial_id]
        fate = self.fates.get(number, DialOutcome.COMPLETED)
        answered = fate in (DialOutcome.COMPLETED, DialOutcome.VOICEMAIL)
        over = now_s() - began_s >= (TALK_S if answered else 5.0)
        return FoundCall(
            provider_call_id=f"call-{dial_id}",
            outcome=fate if over else None,
            answered=answered,
            length_s=TALK_S if answered and over else None,
        )


@dataclass
class MemoryQueue:
    """The queue's contract (`storage/campaign_store.py`), of one process, without a database."""

    contacts: dict[int, Contact]
    state: str = "running"
    changed_s: float = 0.0
    dials: dict[str, Dial] = field(default_factory=dict)
    orphans: list[Claim] = field(default_factory=list)
    on_list: set[str] = field(default_factory=set)

    async def claim(
        self, campaign: str, rules: object, *, now: float, lease_s: float
    ) -> Claim | NothingToDial:
        due = [
            each
            for each in self.contacts.values()
            if each.state in ("waiting", "resting") and each.due_s <= now
        ]
        if self.state != "running" or not due:
            return NothingToDial(reason="nobody_due" if not due else "not_running")
        contact = replace(due[0], state="dialling")
        self.contacts[contact.id] = contact
        dial = Dial(
            id=f"{contact.id}-{contact.dials + 1}",
            campaign=campaign,
            contact_id=contact.id,
            number=contact.number,
            attempt=contact.dials + 1,
            holder="me",
            lease_until_s=now + lease_s,
            intended_s=now,
        )
        self.dials[dial.id] = dial
        return Claim(contact=contact, dial=dial)

    async def confirm(self, dial: Dial, *, now: float, lease_s: float) -> str:
        if dial.number in self.on_list:
            done = NextStep(state="excluded")
            await self.settle(dial, DialResult(outcome=DialOutcome.REFUSED), then=done, now=now)
            return "do_not_call"
        return ""

    async def placed(self, dial: Dial, provider_call_id: str) -> bool:
        self._change(dial, state="placed", provider_call_id=provider_call_id)
        return True

    async def answered(self, dial: Dial, *, now: float) -> bool:
        self._change(dial, state="answered", answered_s=now)
        return True

    async def renew(self, dial: Dial, *, now: float, lease_s: float) -> bool:
        self._change(dial, lease_until_s=now + lease_s)
        return True

    async def settle(self, dial: Dial, result: DialResult, *, then: NextStep, now: float) -> bool:
        assert self.dials[dial.id].outcome is None, "a dial has one outcome"
        self._change(
            dial, state="settled", outcome=result.outcome, reason=result.reason, ended_s=now
        )
        contact = self.contacts[dial.contact_id]
        self.contacts[contact.id] = replace(
            contact,
            state=then.state,
            due_s=then.due_s,
            dials=contact.dials + 1,
            attempts=contact.attempts + then.counted,
            outcome=result.outcome,
        )
        return True

    async def release(self, dial: Dial, *, due_s: float = 0.0) -> bool:
        del self.dials[dial.id]
        contact = self.contacts[dial.contact_id]
        self.contacts[contact.id] = replace(contact, state="waiting", due_s=due_s)
        return True

    async def expired(self, *, now: float, lease_s: float) -> Sequence[Claim]:
        found, self.orphans = self.orphans, []
        return found

    def _change(self, dial: Dial, **changes: object) -> None:
        self.dials[dial.id] = replace(self.dials[dial.id], **changes)  # type: ignore[arg-type]

    # -- the office

    async def standings(self, *, now: float) -> Sequence[CampaignStanding]:
        states: dict[str, int] = {}
        for each in self.contacts.values():
            states[each.state] = states.get(each.state, 0) + 1
        return [
            CampaignStanding(
                name="c",
                state=self.state,  # type: ignore[arg-type]
                changed_s=self.changed_s,
                contacts=states,
                outcomes={},
            )
        ]

    async def move(self, campaign: str, state: str, *, reason: str = "", now: float) -> bool:
        self.state, self.changed_s = state, now
        return True


@dataclass
class Floor:
    """Our side: the stages, the seats, and what became of each call."""

    leads: bool = True
    well: dict[str, bool] = field(default_factory=lambda: dict(OPEN))
    free: int = 4
    failing: dict[str, str] = field(default_factory=dict)  # why ours failed, by the number
    queue: MemoryQueue | None = None
    talks: int = 0  # of which some agent was there

    def seats(self) -> int:
        return self.free

    def usable(self) -> Mapping[str, bool]:
        return self.well

    async def prepare(self, campaign: Campaign, claim: Claim) -> None:
        self.talks += 1

    async def verdict(self, dial_id: str) -> CallVerdict | None:
        assert self.queue is not None
        return CallVerdict(over=True, failed=self.failing.get(self.queue.dials[dial_id].number, ""))

    async def wait(self, dial_id: str, within_s: float) -> None:
        await asyncio.sleep(within_s)

    def forget(self, dial_id: str) -> None:
        pass


AGAIN = {DialOutcome.BUSY, DialOutcome.NO_ANSWER, DialOutcome.AGENT_FAILED}


def then(campaign: Campaign, contact: Contact, result: DialResult, now: float) -> NextStep:
    counted = result.outcome is not DialOutcome.AGENT_FAILED
    if result.outcome in AGAIN and contact.attempts + counted < campaign.attempts:
        return NextStep(state="resting", due_s=now + 60.0, counted=counted)
    return NextStep(state="done", counted=counted)


@dataclass
class Dialing:
    """A campaign that is being dialled."""

    queue: MemoryQueue
    carrier: ScriptedCarrier
    floor: Floor
    campaign: Campaign
    told: list[Event] = field(default_factory=list)
    settings: DialerSettings = field(default_factory=DialerSettings)

    def dialer(self) -> Dialer:
        self.floor.queue = self.queue
        parts = DialerParts(
            store=self.queue,  # type: ignore[arg-type]
            office=self.queue,  # type: ignore[arg-type]
            carrier=self.carrier,
            calls=self.floor,
            house=self.floor,
            rules=lambda campaign, now: None,  # type: ignore[arg-type,return-value]
            then=then,
            tell=self.told.append,
            now_s=now_s,
            settings=self.settings,
        )
        return Dialer({"c": self.campaign}, parts)

    def of(self, kind: type) -> list:
        return [each for each in self.told if isinstance(each, kind)]

    def outcomes(self) -> dict[str, str]:
        """Each contact's last outcome."""
        return {each.number: str(each.outcome) for each in self.queue.contacts.values()}


def dialing(*numbers: str, **campaign: object) -> Dialing:
    """Have these numbers called."""
    contacts = {
        at: Contact(id=at, campaign="c", number=each) for at, each in enumerate(numbers, start=1)
    }
    return Dialing(
        queue=MemoryQueue(contacts),
        carrier=ScriptedCarrier(),
        floor=Floor(),
        campaign=Campaign(name="c", **campaign),  # type: ignore[arg-type]
    )
