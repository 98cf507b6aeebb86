"""A caller on a real SIP phone gets to a person on another one: accepted, refused, unanswered."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.lab.callers import caller_says
from bot.lab.control import LabControl
from bot.lab.process import LabOptions, RunningLab, lab_process
from drill.evidence import sent_between
from drill.hearing import Sent, bare, bare_words, heard_words
from drill.judge import compare_words
from tests.bot.call.handover_bench import local
from tests.peers.agent import answering
from tests.peers.conftest import NewPhone
from tests.peers.hearsay import times_heard
from tests.peers.media_server import MediaServer
from tests.peers.sip_phone import SipPhone
from tests.peers.sip_rig import SIP_PATH
from tests.peers.test_sip_calls import PATIENT_S, Records, dial, no_rooms, until_silent

FIRST = "Hello, this is billing. What can I do for you?"
SECOND = "There are two items on my invoice that I never ordered."
HELLO = "Hello. I have a caller on the line who would like to speak with you."
ASKED = "To take the call, press 1, or say yes. To decline, press 2, or say no."
NOBODY = "I am sorry, nobody could be reached just now."


@pytest.fixture
async def number(media_server: MediaServer) -> AsyncIterator[MediaServer]:
    await media_server.add_number()
    yield media_server
    await media_server.remove_all()


@pytest.fixture
async def lab() -> AsyncIterator[RunningLab]:
    async with lab_process(options=LabOptions(keep_audio=True)) as running:
        yield running


def reaching(person: SipPhone, *, ring_s: float = 20.0) -> Mapping[str, Any]:
    """Return an agent whose caller gets to this phone with the key 0."""
    billing = {"number": person.uri, "warm": True, "ring_s": ring_s}
    return {"agent": {"destinations": {"billing": billing}, "keys": {"0": "billing"}}}


@asynccontextmanager
async def asking_for_person(
    number: MediaServer,
    caller: SipPhone,
    folder: Path,
    *,
    lab: RunningLab,
    changes: Mapping[str, Any],
) -> AsyncIterator[Records]:
    """Have the caller dial, hear the greeting and press 0; yield what the agent notes."""
    async with answering(number, folder, lab=lab, changes=changes) as served:
        records = Records(served.logs)
        await dial(caller, number)
        await until_silent(caller)
        await caller.press("0")
        yield records


async def listen_and_hang_up(caller: SipPhone, records: Records, *, after_s: float = 7.0) -> None:
    await asyncio.sleep(after_s)
    await caller.hang_up()
    await records.until("CallEnded")


async def outcome_of(records: Records) -> str:
    return (await records.until("HandedOver"))["outcome"]


async def briefing(lab: RunningLab) -> list[Sent]:
    """Return what a voice was given to say to the person, from the first word to the last."""
    async with LabControl(lab) as control:
        sent = await sent_between(control, 0.0, math.inf)
    words = [bare(each.text) for each in sent]
    first, last = (place_of(bare_words(each), words) for each in (HELLO, ASKED))
    return sent[first : last + len(bare_words(ASKED))]


def place_of(part: Sequence[str], whole: Sequence[str]) -> int:
    places = range(len(whole) - len(part) + 1)
    return next(at for at in places if list(whole[at : at + len(part)]) == list(part))


async def test_accepted_the_two_hear_each_other_and_the_caller_comes_back(  # noqa: PLR0915 - a call
    number: MediaServer, new_phone: NewPhone, lab: RunningLab, tmp_path: Path
) -> None:
    caller, person = await new_phone("caller"), await new_phone("person")
    first, second = caller_says(FIRST), caller_says(SECOND)
    changes = reaching(person)
    async with asking_for_person(number, caller, tmp_path, lab=lab, changes=changes) as records:
        await person.until("CALL_ESTABLISHED", within_s=PATIENT_S)
        await records.until("PersonBriefed")
        await person.press("1")
        outcome = await outcome_of(records)
        await asyncio.sleep(3.0)
        await person.say(first)
        await asyncio.sleep(1.0)
        await caller.say(second)
        await asyncio.sleep(2.0)
        await person.hang_up()
        await records.until("CallerReturned")
        await listen_and_hang_up(caller, records, after_s=4.0)
        await no_rooms(number)

    at_caller, at_person = caller.heard(), person.heard()
    told = await briefing(lab)
    text = " ".join(each.text for each in told)
    assert outcome == "connected"
    assert compare_words(heard_words(at_person, told, line=SIP_PATH), text) == ((), ())
    assert len(told) > len(f"{HELLO} {ASKED}".split())  # and what it is about, between them
    assert [times_heard(at_caller, each) for each in (first, second)] == [1, 0]
    assert [times_heard(at_person, each) for each in (first, second)] == [0, 1]
    assert times_heard(at_caller, local("I am connecting you now.")) >= 1  # "connected" is like it
    assert times_heard(at_caller, local("I am back with you.")) == 1
    assert records.entries("TranscriptFinal") == []  # no recogniser heard what the two said


async def test_refused_the_person_is_hung_up_on_and_the_agent_comes_back(
    number: MediaServer, new_phone: NewPhone, lab: RunningLab, tmp_path: Path
) -> None:
    caller, person = await new_phone("caller"), await new_phone("person")
    changes = reaching(person)
    async with asking_for_person(number, caller, tmp_path, lab=lab, changes=changes) as records:
        await person.until("CALL_ESTABLISHED", within_s=PATIENT_S)
        await asyncio.sleep(2.0)
        await person.press("2")
        outcome = await outcome_of(records)
        await person.until("CALL_CLOSED", within_s=PATIENT_S)
        await listen_and_hang_up(caller, records)

    assert outcome == "declined"
    assert times_heard(caller.heard(), local(NOBODY)) == 1


@pytest.mark.parametrize(("said", "outcome"), [("Yes.", "connected"), ("No.", "declined")])
async def test_a_person_answers_in_a_word(
    number: MediaServer,
    new_phone: NewPhone,
    lab: RunningLab,
    tmp_path: Path,
    said: str,
    outcome: str,
) -> None:
    caller, person = await new_phone("caller"), await new_phone("person")
    changes = reaching(person)
    async with asking_for_person(number, caller, tmp_path, lab=lab, changes=changes) as records:
        await records.until("PersonBriefed")
        await asyncio.sleep(0.5)
        await person.say(caller_says(said))
        found = await outcome_of(records)
        await listen_and_hang_up(caller, records)

    assert found == outcome
    assert times_heard(caller.heard(), local(NOBODY)) == (0 if outcome == "connected" else 1)


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
    async with asking_for_person(number, caller, tmp_path, lab=lab, changes=changes) as records:
        found = await outcome_of(records)
        await listen_and_hang_up(caller, records)

    assert found == outcome
    assert times_heard(caller.heard(), local(NOBODY)) == 1
    assert not person.told("CALL_ESTABLISHED")
