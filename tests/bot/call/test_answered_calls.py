"""Whole outbound calls: what a person who picks up hears, and what a mailbox gets."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from benchmarks.greetings import BEEP, RATE_HZ, Greeting, render
from bot.workers.process import Process
from calls.events import AgentSaid, CallEnded, Event
from calls.leg_events import AnswererHeard
from engines.espeak import Espeak
from lab.replay import KeptEntries
from processors.answerer.answerer_rules import Answerer, AnsweringPlan
from runtime import clock
from tests.kit.near import near_process
from transports.loopback.leg import LoopbackLeg

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow]

GREETING = "Hello, this is Holdline. How can I help?"
MESSAGE = "Please call us back about your appointment."
PLAN = AnsweringPlan(who="This is Holdline.", message=MESSAGE)
PERSON = Greeting(name="person", who=Answerer.HUMAN, says=("Hello?",))
MAILBOX = Greeting(
    name="mailbox",
    who=Answerer.VOICEMAIL,
    says=("This is Peter and Lucy, we are both away from home at the moment.", 0.5, BEEP),
)


async def placed(process: Process, notes: KeptEntries, greeting: Greeting) -> list[Event]:
    """Return the events of an outbound call that this greeting answered."""
    engine = Espeak(private=True, seed=1)
    samples = np.frombuffer(render(greeting, engine).pcm, "<i2")
    engine.unload()
    leg = LoopbackLeg(
        samples, sample_rate_hz=RATE_HZ, linger_s=6.0, content_s=3.0, clock=clock.monotonic
    )
    call = process.call(leg, answering=PLAN)
    await process.switchboard.answer(leg, call)
    await process.emitter.flush()
    return [note.event for note in notes.take(call.call_id)]


def said(events: list[Event]) -> str:
    return " ".join(event.text for event in events if isinstance(event, AgentSaid))


async def test_a_person_is_greeted_and_a_mailbox_gets_the_text(tmp_path: Path) -> None:
    notes = KeptEntries()
    async with near_process(tmp_path / "logs", notes) as process:
        person, mailbox = await asyncio.gather(
            placed(process, notes, PERSON), placed(process, notes, MAILBOX)
        )

    heard = [item.answerer for item in person if isinstance(item, AnswererHeard)]
    assert heard == ["human"]
    assert said(person).startswith(GREETING)
    assert [item.answerer for item in mailbox if isinstance(item, AnswererHeard)][-1] == "voicemail"
    assert MESSAGE in said(mailbox)
    assert [item.reason for item in mailbox if isinstance(item, CallEnded)] == ["voicemail"]
