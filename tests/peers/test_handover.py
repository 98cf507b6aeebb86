"""A caller on a real SIP phone gets to a person on another one: accepted, refused, unanswered."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.lab.callers import caller_says
from bot.lab.control import LabControl
from bot.lab.process import LabOptions, RunningLab, lab_process
from drill.evidence import sent_between
from tests.bot.call.handover_bench import CONNECTING, NOBODY, TOGETHER, local
from tests.bot.call.test_summary_post import owner
from tests.e2e.hearing import Heard
from tests.peers.agent import GREETING, answering
from tests.peers.conftest import NewPhone
from tests.peers.hearsay import times_heard
from tests.peers.media_server import MediaServer
from tests.peers.sip_phone import Pcm, SipPhone
from tests.peers.test_sip_calls import PATIENT_S, Records, dial, no_rooms, until_silent

FIRST = "Hello, this is billing. What can I do for you?"
SECOND = "There are two items on my invoice that I never ordered."
FOR_PERSON = "Hello. I have a caller on the line who would like to speak with you."
ACCEPT = "To take the call, press 1. To decline, press 2."
RETURNED = "I am back with you."


@pytest.fixture
async def number(media_server: MediaServer) -> AsyncIterator[MediaServer]:
    await media_server.add_number()
    yield media_server
    await media_server.remove_all()


@pytest.fixture
async def lab() -> AsyncIterator[RunningLab]:
    async with lab_process(options=LabOptions(keep_audio=True)) as running:
        yield running


def reaching(person: SipPhone, *, ring_s: float = 20.0, hook: str | None = None) -> dict[str, Any]:
    """Return an agent whose caller gets to this phone with the key 0; the owner has a hook."""
    billing = {"number": person.uri, "warm": True, "ring_s": ring_s}
    agent = {"destinations": {"billing": billing}, "keys": {"0": "billing"}}
    return {"agent": agent, "transfer": {"webhook_url": hook}}


def briefing(posted: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what a person is told before they decide, with the summary that the owner got."""
    return [FOR_PERSON, posted[0]["summary"], ACCEPT]


def times_each(ear: Pcm, texts: Sequence[str]) -> list[int]:
    """Return how often each of these was heard in the local voice."""
    return [times_heard(ear, local(each)) for each in texts]


async def greeting_of(lab: RunningLab, ear: Pcm) -> Heard:
    """Return what was heard, to be judged by the words of the greeting."""
    async with LabControl(lab) as control:
        sent = await sent_between(control, 0.0, time.monotonic() - lab.started_at_s)
    return Heard(text=GREETING, recording=ear, sent=tuple(sent))


async def outcome_of(records: Records) -> str:
    return (await records.until("HandedOver"))["outcome"]


async def test_accepted_every_word_is_heard_by_whom_it_is_meant_for(  # noqa: PLR0915 - a call
    number: MediaServer, new_phone: NewPhone, lab: RunningLab, tmp_path: Path
) -> None:
    caller, person = await new_phone("caller"), await new_phone("person")
    first, second = caller_says(FIRST), caller_says(SECOND)
    async with (
        owner() as (hook, posted),
        answering(number, tmp_path, lab=lab, changes=reaching(person, hook=hook)) as served,
    ):
        records = Records(served.logs)
        await dial(caller, number)
        await until_silent(caller)
        await caller.press("0")
        await person.until("CALL_ESTABLISHED", within_s=PATIENT_S)
        await records.until("PersonBriefed")
        await until_silent(person)
        await person.press("1")
        outcome = await outcome_of(records)
        await asyncio.sleep(3.0)
        await person.say(first)
        await asyncio.sleep(1.0)
        await caller.say(second)
        await asyncio.sleep(2.0)
        await person.hang_up()
        await records.until("CallerReturned")
        await asyncio.sleep(4.0)
        await caller.hang_up()
        await records.until("CallEnded")
        await no_rooms(number)

    at_caller, at_person = caller.heard(), person.heard()
    greeting = [(await greeting_of(lab, ear)).judged() for ear in (at_caller, at_person)]
    told = briefing(posted)
    assert outcome == "connected"
    # the caller's ear: the greeting, two announcements, the person, that the agent is back
    assert (greeting[0].missing, greeting[0].extra) == ((), ())
    assert times_each(at_caller, [CONNECTING, TOGETHER, RETURNED]) == [1, 1, 1]
    assert times_each(at_caller, told) == [0] * len(told)
    # the person's ear: who is on the line, what it is about, the keys, the caller
    assert times_each(at_person, told) == [1] * len(told)
    assert times_each(at_person, [CONNECTING, TOGETHER, RETURNED]) == [0, 0, 0]
    assert not greeting[1].words
    # what the two say to each other is heard by each other, and by no recogniser
    assert [times_heard(at_caller, each) for each in (first, second)] == [1, 0]
    assert [times_heard(at_person, each) for each in (first, second)] == [0, 1]
    assert records.entries("TranscriptFinal") == []


async def test_refused_the_person_is_hung_up_on_and_the_agent_comes_back(
    number: MediaServer, new_phone: NewPhone, lab: RunningLab, tmp_path: Path
) -> None:
    caller, person = await new_phone("caller"), await new_phone("person")
    async with (
        owner() as (hook, posted),
        answering(number, tmp_path, lab=lab, changes=reaching(person, hook=hook)) as served,
    ):
        records = Records(served.logs)
        await dial(caller, number)
        await until_silent(caller)
        await caller.press("0")
        await person.until("CALL_ESTABLISHED", within_s=PATIENT_S)
        await records.until("PersonBriefed")
        await until_silent(person)
        await person.press("2")
        outcome = await outcome_of(records)
        await person.until("CALL_CLOSED", within_s=PATIENT_S)
        await asyncio.sleep(7.0)
        await caller.hang_up()
        await records.until("CallEnded")

    told = briefing(posted)
    assert outcome == "declined"
    assert times_each(caller.heard(), [CONNECTING, NOBODY, *told]) == [1, 1] + [0] * len(told)
    assert times_each(person.heard(), [CONNECTING, NOBODY, *told]) == [0, 0] + [1] * len(told)


@pytest.mark.parametrize(("answer", "outcome"), [("busy", "busy"), ("never", "no_answer")])
async def test_not_reached_the_agent_comes_back_and_says_so(
    number: MediaServer,
    new_phone: NewPhone,
    lab: RunningLab,
    tmp_path: Path,
    answer: str,
    outcome: str,
) -> None:
    caller = await new_phone("caller")
    person = await new_phone("person", answer=answer)
    changes = reaching(person, ring_s=5.0)
    async with answering(number, tmp_path, lab=lab, changes=changes) as served:
        records = Records(served.logs)
        await dial(caller, number)
        await until_silent(caller)
        await caller.press("0")
        found = await outcome_of(records)
        await asyncio.sleep(7.0)
        await caller.hang_up()
        await records.until("CallEnded")

    assert found == outcome
    assert times_each(caller.heard(), [CONNECTING, NOBODY]) == [1, 1]
    assert not person.told("CALL_ESTABLISHED")
