"""A caller and a person on two telephones without a network, and a server between them.

Everything is in one process, on virtual time. What each ear heard is searched sample by sample for
the local voice's texts, the tones, and what the two people say to each other.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import InputDTMFFrame

from bot.workers.process import Process
from calls.events import AgentSaid, Event
from calls.handover import Destination, Handover
from calls.leg_events import HandedOver
from fallbacks.events import StepTaken
from lab.callers import caller_says
from lab.simulators.lab import Lab
from processors.answerer.answerer_rules import AnsweringPlan
from processors.holding.tones import hold_tone
from providers.local_tts import say_locally
from runtime import clock
from tests.kit.near import Notes, near_process, steady_lab
from tests.kit.waiting import until
from transports.leg import Leg, LegFacts
from transports.loopback.leg import LoopbackLeg

RATE_HZ = 8000
Pcm = NDArray[np.int16]
SILENCE = np.zeros(0, np.int16)
SETTLE_S = 6.0  # of virtual time, in which what is on the line is heard
# Of a correlation: the local voice does not say a text twice to the sample (0.78 and more); another
# text reaches 0.3.
SAME = 0.6
BILLING = {"number": "+15550123", "ring_s": 20}
CONNECTING = "I am connecting you now."
CALLED_BACK = "Thank you. We will call you back on this number."
NOBODY = "I am sorry, nobody could be reached just now."
OFFER = "Shall we call you back instead?"
TOGETHER = "You are connected now."
# The lab mishears a word now and then; one of these is understood.
WISH = "A person, a human, a manager or a colleague, please."
HOURS = "What are your opening hours?"
BACK = "I am back with you. Is there anything else?"
WARM: dict[str, Any] = {"destinations": {"billing": {**BILLING, "warm": True}}}
PLAIN: dict[str, Any] = {"destinations": {"billing": BILLING}}
KEYS: dict[str, Any] = {**WARM, "keys": {"0": "person", "9": "callback"}}


class Telephone(LoopbackLeg):
    """A telephone with keys, whose carrier may transfer calls."""

    def __init__(self, *, hands_on: Handover | None = None, caller: str = "+15550199") -> None:
        super().__init__(
            SILENCE, sample_rate_hz=RATE_HZ, linger_s=float("inf"), clock=clock.monotonic
        )
        self.facts = LegFacts(
            transport="loopback",
            sample_rate_hz=RATE_HZ,
            caller=caller,
            transfers=hands_on is not None,
        )
        self.hands_on: Handover | None = hands_on
        self.handed_on: list[Destination] = []
        self.over = asyncio.Event()
        self.why = ""

    async def transfer(self, to: Destination, *, ring_s: float) -> Handover:
        self.handed_on.append(to)
        await asyncio.sleep(ring_s / 2)
        return self.hands_on or "not_offered"

    async def press(self, keys: str) -> bool:
        for key in keys:
            await self._input.push_frame(InputDTMFFrame(button=KeypadEntry(key)))
        return True

    async def hang_up(self, reason: str = "") -> None:
        await super().hang_up()
        self.why = reason
        self.over.set()

    async def put_down(self) -> None:
        await self._hung_up()

    async def says(self, text: str) -> Pcm:
        samples = caller_says(text)
        await self.say(samples)
        return samples

    def hears(self, sound: Pcm | str) -> bool:
        """Return whether this was heard whole, in one piece; a text in the local voice."""
        return self.times(sound) > 0

    def times(self, sound: Pcm | str) -> int:
        """Return how often it was heard."""
        wanted = local(sound) if isinstance(sound, str) else sound
        return occurrences(self.line.heard(), wanted)

    def longest_silence_s(self, since_s: float) -> float:
        """Return the longest time in which nothing was heard."""
        heard = self.line.heard()[round(since_s * RATE_HZ) :]
        loud = np.flatnonzero(np.abs(heard.astype(np.int32)) > 100)
        return float(np.diff(loud, prepend=0).max()) / RATE_HZ

    def first_sound_s(self, since_s: float) -> float:
        """Return how long after a moment something was heard."""
        heard = self.line.heard()[round(since_s * RATE_HZ) :]
        return int(np.flatnonzero(np.abs(heard.astype(np.int32)) > 100)[0]) / RATE_HZ

    @property
    def now_s(self) -> float:
        return clock.monotonic() - (self.line.started_at_s or 0.0)


def local(text: str) -> Pcm:
    """Return a text in the local voice, without the silence around it."""
    return trimmed(np.frombuffer(say_locally(text, "en", rate_hz=RATE_HZ), "<i2"))


def occurrences(heard: Pcm, wanted: Pcm) -> int:
    """Return how often a sound occurs whole; a sample more or less where pieces meet is allowed."""
    if heard.size < wanted.size:
        return 0
    a, b = heard.astype(np.float64), wanted.astype(np.float64)
    length = 1 << (a.size + b.size).bit_length()
    alike = np.fft.irfft(np.fft.rfft(a, length) * np.fft.rfft(b[::-1], length), length)
    sums = np.concatenate([[0.0], np.cumsum(a * a)])
    energy = (sums[b.size :] - sums[: -b.size]) * float(b @ b)
    match = alike[b.size - 1 : a.size] / np.sqrt(np.maximum(energy, 1.0))
    found, at = 0, 0
    while (near := np.flatnonzero(match[at:] > SAME)).size:
        found += 1
        at += int(near[0]) + wanted.size // 2
    return found


def trimmed(samples: Pcm) -> Pcm:
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 0)
    return samples[loud[0] : loud[-1] + 1]


TONE = trimmed(np.frombuffer(hold_tone(RATE_HZ), "<i2").astype(np.int16))


@dataclass(kw_only=True)
class People:
    """A carrier that calls people; a test decides whether each call is answered."""

    comes: Handover | None = None  # instead of a person
    after_s: float = 3.0
    called: list[Destination] = field(default_factory=list)
    given_up: int = 0
    person: Telephone | None = None

    async def call_person(self, to: Destination, *, ring_s: float) -> Leg | Handover:
        self.called.append(to)
        try:
            await asyncio.sleep(self.after_s)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if self.comes:
            return self.comes
        self.person = Telephone()
        return self.person


@dataclass(kw_only=True)
class ToldCall:
    """A call and its events."""

    notes: Notes

    def events(self, kind: type[Event]) -> list[Any]:
        return self.notes.of(kind)

    @property
    def outcomes(self) -> list[str]:
        """The outcomes of its transfers."""
        return [event.outcome for event in self.events(HandedOver)]

    @property
    def said_texts(self) -> list[str]:
        """All that the agent has said to the caller."""
        return [event.text for event in self.events(AgentSaid)]

    async def until(self, fact: Callable[[], object], *, within_s: float = 90.0) -> None:
        await until(fact, within_s=within_s, every_s=0.2)

    async def said(self, text: str) -> None:
        """Wait until the agent has said this text and the caller has heard it."""
        await self.until(lambda: text in self.said_texts)
        await asyncio.sleep(SETTLE_S)


@dataclass(kw_only=True)
class WorkerPool(ToldCall):
    """The parts of a running test: caller, people, process and call."""

    process: Process
    people: People
    lab: Lab
    caller: Telephone
    call: asyncio.Task[None] | None = None

    def tools_of_call(self) -> str:
        """Return the tool results that the model received in the call."""
        (call,) = self.process.switchboard.calls.values()
        tools = call._pipeline.dialogue.memory.tools  # pyright: ignore[reportAttributeAccessIssue]
        return str([standard_tool.to_default_dict() for standard_tool in tools.standard_tools])

    def steps(self, *names: str) -> bool:
        """Return whether the outage menu has reached one of these steps."""
        return any(event.step in names for event in self.events(StepTaken))

    async def greeted(self) -> None:
        await self.until(lambda: self.caller.line.started_at_s and self.caller.now_s > 4.0)

    async def picked_up(self) -> Telephone:
        """Wait until the person has answered and the agent speaks; return the telephone."""
        await self.until(lambda: self.people.person and self.people.person.line.started_at_s)
        assert self.people.person
        return self.people.person


@asynccontextmanager
async def pool(
    folder: Path,
    *,
    agent: dict[str, Any],
    people: People | None,
    caller: Telephone | None = None,
    plan: AnsweringPlan | None = None,
    **sections: Any,
) -> AsyncIterator[WorkerPool]:
    """Keep a caller in a call during the block; `plan` if we have called them."""
    notes, lab = Notes(), steady_lab(keep_audio=True)
    tree: dict[str, Any] = {
        "agent": agent,
        "storage": {"url": f"sqlite+aiosqlite:///{folder}/holdline.db"},
        "hold": {"render": False},
        **sections,
    }
    async with (
        asyncio.timeout(600),
        near_process(folder / "logs", notes, lab=lab, tree=tree, words=False) as process,
        asyncio.TaskGroup() as tasks,
    ):
        if people:
            process.shared.people.add("loopback", people)
        found = WorkerPool(
            process=process,
            people=people or People(),
            lab=lab,
            notes=notes,
            caller=caller or Telephone(),
        )
        call = process.call(found.caller, answering=plan)
        found.call = tasks.create_task(process.switchboard.answer(found.caller, call))
        yield found
        if not found.call.done():
            await found.caller.put_down()
        await found.call


async def asked(there: WorkerPool) -> float:
    """Let the caller ask for a person; return when, in seconds of the call."""
    await there.greeted()
    await there.caller.says(WISH)
    return there.caller.now_s
