"""A caller on a real SIP phone is transferred to another one: accepted, refused, unanswered."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.callers import caller_says
from lab.drill.hearing import Sent
from lab.process import LabOptions, RunningLab, lab_process
from tests.bot.call.sent_words import ASKED, HELLO, amiss, begins_with, words_sent
from tests.bot.call.transfer.transfer_bench import BACK, CONNECTING, NOBODY, OFFER, TOGETHER, local
from tests.peers.agent import GREETING, answering
from tests.peers.conftest import NewPhone
from tests.peers.hearsay import times_heard
from tests.peers.media_server import MediaServer
from tests.peers.sip_phone import SipPhone
from tests.peers.sip_rig import SIP_PATH
from tests.peers.test_sip_calls import PATIENT_S, Records, dial, no_rooms, until_silent

FIRST = "Hello, this is billing. What can I do for you?"
SECOND = "There are two items on my invoice that I never ordered."


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
    """Return an agent whose caller reaches this phone with the key 0."""
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
    """Let the caller dial, hear the greeting and press 0; yield the agent's events."""
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


async def greeting(lab: RunningLab) -> list[Sent]:
    return await words_sent(lab, GREETING, GREETING)


async def test_after_acceptance_the_two_hear_each_other_and_the_caller_comes_back(  # noqa: PLR0915 - a call
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
    briefing = await words_sent(lab, HELLO, ASKED)
    assert outcome == "connected"
    assert amiss(at_person, briefing, line=SIP_PATH) == ((), ())
    assert len(briefing) > len(f"{HELLO} {ASKED}".split())  # and what it is about, between them
    assert amiss(at_caller, await greeting(lab), line=SIP_PATH) == ((), ())
    assert [times_heard(at_caller, item) for item in (first, second)] == [1, 0]
    assert [times_heard(at_person, item) for item in (first, second)] == [0, 1]
    assert times_heard(at_caller, local(CONNECTING)) >= 1  # "connected" is like it
    assert times_heard(at_caller, local(TOGETHER)) >= 1
    assert times_heard(at_caller, local(BACK)) == 1
    assert records.entries("TranscriptFinal") == []  # no recogniser heard what the two said


async def test_a_refusal_hangs_up_on_the_person_and_the_agent_returns(
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

    at_caller = caller.heard()
    briefing = await words_sent(lab, HELLO)
    assert outcome == "declined"
    assert begins_with(briefing, person.heard(), line=SIP_PATH) > 0  # up to the key
    assert amiss(at_caller, await greeting(lab), line=SIP_PATH) == ((), ())
    assert [times_heard(at_caller, local(item)) for item in (CONNECTING, NOBODY, OFFER)] == [1] * 3
    assert records.entries("TranscriptFinal") == []


async def test_a_person_accepts_by_voice(
    number: MediaServer, new_phone: NewPhone, lab: RunningLab, tmp_path: Path
) -> None:
    caller, person = await new_phone("caller"), await new_phone("person")
    changes = reaching(person)
    async with asking_for_person(number, caller, tmp_path, lab=lab, changes=changes) as records:
        await records.until("PersonBriefed")
        await asyncio.sleep(0.5)
        await person.say(caller_says("Yes."))
        found = await outcome_of(records)
        await listen_and_hang_up(caller, records)

    assert found == "connected"
    assert times_heard(caller.heard(), local(NOBODY)) == 0


async def test_without_an_answer_the_agent_returns_and_says_so(
    number: MediaServer, new_phone: NewPhone, lab: RunningLab, tmp_path: Path
) -> None:
    caller = await new_phone("caller")
    person = await new_phone("person", answer="never")
    changes = reaching(person, ring_s=5.0)
    async with asking_for_person(number, caller, tmp_path, lab=lab, changes=changes) as records:
        found = await outcome_of(records)
        await listen_and_hang_up(caller, records)

    at_caller = caller.heard()
    assert found == "no_answer"
    assert amiss(at_caller, await greeting(lab), line=SIP_PATH) == ((), ())
    assert [times_heard(at_caller, local(item)) for item in (CONNECTING, NOBODY, OFFER)] == [1] * 3
    assert not person.told("CALL_ESTABLISHED")
