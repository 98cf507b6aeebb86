"""Whole outbound calls that no person answered at once: our words and their moments."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from benchmarks.greetings import BEEP, RATE_HZ, Greeting, render
from bot.workers.process import Process
from calls.events import AgentSaid, CallEnded, Event
from calls.leg_events import AnswererHeard
from engines.espeak import Espeak
from lab.callers import known
from lab.process import LabOptions, _build_lab
from lab.replay import KeptEntries
from lab.simulators.mulaw import decode, encode
from processors.answerer.answerer_rules import Answerer, AnsweringPlan
from runtime import clock
from tests.kit.near import near_process
from transports.loopback.leg import LoopbackLeg

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow]

GREETING = "Hello, this is Holdline. How can I help?"
WHO = "This is Holdline, about your appointment."
MESSAGE = "Please call us back about your appointment."
PLAN = AnsweringPlan(who=WHO, message=MESSAGE)
ASKS = "Please state your name and the reason for your call."
TAPE = "I cannot take your call. Please leave a message after the tone."
NETWORK = "The number you have dialed is switched off. Leave a message after the tone."
HELLO = "Hello?"


def sound(*says: str | float | tuple[int, float]) -> np.ndarray:
    """Return speech on a line without noise, without its trailing silence."""
    engine = Espeak(private=True, seed=1)
    greeting = Greeting(name="", who=Answerer.HUMAN, says=says, begins_s=0.4, noise=0.0)
    samples = np.frombuffer(render(greeting, engine).pcm, "<i2")
    engine.unload()
    whole = samples[: int(np.flatnonzero(samples)[-1]) + 1]
    return decode(encode(np.pad(whole, (0, -len(whole) % 160))))


NOTHING = np.zeros(0, np.int16)


class RingingLeg(LoopbackLeg):
    """A leg whose far end may be heard for a while before it has picked up."""

    early = NOTHING
    then = NOTHING

    async def answered(self) -> None:
        """Return when all of its early media has been heard; a person speaks after it."""
        if self.early.size:
            await self.say(self.early)
            self._mouth.take(self.then)


async def placed(
    process: Process, notes: KeptEntries, samples: np.ndarray, early: np.ndarray = NOTHING
) -> tuple[list[Event], np.ndarray]:
    """Return the events of a call that this sound answered, and our speech in it."""
    leg = RingingLeg(
        NOTHING if early.size else samples,
        sample_rate_hz=RATE_HZ,
        linger_s=30.0,
        content_s=9.0,
        clock=clock.monotonic,
    )
    leg.early, leg.then = early, samples
    call = process.call(leg, answering=PLAN)
    await process.switchboard.answer(leg, call)
    await process.emitter.flush()
    return [note.event for note in notes.take(call.call_id)], leg.line.heard()


def answerers(events: list[Event]) -> list[str]:
    return [event.answerer for event in events if isinstance(event, AnswererHeard)]


def said(events: list[Event]) -> str:
    return " ".join(event.text for event in events if isinstance(event, AgentSaid))


async def test_an_assistant_a_mailbox_and_early_media_are_each_treated_as_such(
    tmp_path: Path,
) -> None:
    hello, asks, tape, network = sound(HELLO), sound(ASKS), sound(TAPE), sound(NETWORK)
    quiet = np.zeros(RATE_HZ, np.int16)
    beep = sound(BEEP)
    assistant = np.concatenate([asks, *[quiet] * 7, hello])
    mailbox = np.concatenate([tape, quiet, beep])
    early = np.concatenate([network, quiet[:4000], beep, quiet[:4000]])
    heard = ((ASKS, asks), (TAPE, tape), (NETWORK, network), (HELLO, hello))
    utterances = tuple(known(text, samples) for text, samples in heard)
    lab = _build_lab({}, LabOptions(known=utterances, steady=True))
    notes = KeptEntries()
    async with near_process(tmp_path / "logs", notes, lab=lab) as process:
        (asked, _), (left, left_sound), (rang, _) = await asyncio.gather(
            placed(process, notes, assistant),
            placed(process, notes, mailbox),
            placed(process, notes, hello, early),
        )

    assert answerers(asked)[-2:] == ["screening", "human"]
    assert said(asked).startswith(f"{WHO} {GREETING}")
    assert answerers(left)[-1] == "voicemail"
    assert said(left) == MESSAGE
    assert [item.reason for item in left if isinstance(item, CallEnded)] == ["voicemail"]
    assert not left_sound[: len(mailbox)].any()
    assert "voicemail" not in answerers(rang)
    assert said(rang).startswith(GREETING)
