"""Real calls with a CRM: known callers, its updates, and no wait for it."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot.call.call import CALLED_PERSON
from calls.entry import Entry
from calls.events import CallEnded, CallStarted, Event, FirstSpeech, ToolCalled
from calls.operations_events import (
    CallbackQueued,
    CallerKnown,
    CallerLookedUp,
    CallReported,
    CallSummarised,
    DoNotCallWanted,
)
from calls.outside_text import RULE
from campaigns.store.contacts import Contacts
from fallbacks.events import AttemptFailed
from lab.callers import RATE_HZ, Callee, Carrier, PhoneCall, known
from lab.demo.staged import (
    AUTH_TOKEN,
    TALKED,
    Behaviour,
    StagedContact,
    StagedServer,
    StagePlan,
    staged_server,
)
from lab.simulators.carrier.callee import synthesise_line
from lab.simulators.deepgram.simulator import DeepgramSimulator
from lab.simulators.ears.known import KnownEars
from lab.simulators.instance import Core
from lab.simulators.lab import Lab
from lab.simulators.openai.simulator import OpenAISimulator
from operations.database.database import Database
from tests.bot.tools import owner_functions
from tests.kit.near import running
from tests.operations.crm.register import KNOWN, Register, register_at

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow]

ADA = next(iter(KNOWN))  # the contact that the CRM knows
HELLO, NO_MORE, HOURS, TOMORROW, PROVE, BEGIN, SECRET, END, WHERE = (
    "Hello?",
    "Please do not call me again.",
    "What are your opening hours?",
    "Please call me back tomorrow.",
    "Please check my identity.",
    "Begin now, please.",
    "The secret word is banana.",
    "Finish now, please.",
    "Where are you?",
)
YES = "Yes, please."  # to the number that was read out
LINES = (HELLO, NO_MORE, HOURS, TOMORROW, PROVE, BEGIN, SECRET, END, WHERE, YES)
NOBODY_CALLS = Behaviour(
    label="wants no more calls",
    callee=Callee(ring_s=1.0, lines=(NO_MORE,), leaves_after_s=1.0),
    ends=TALKED,
)


class TimedNotes:
    """Keeps all events, with their moments."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, Entry]] = []

    async def hear(self, entry: Entry) -> None:
        self.heard.append((time.monotonic(), entry))

    def of(self, kind: type[Event]) -> list[Any]:
        return [entry.event for _, entry in self.heard if isinstance(entry.event, kind)]

    def order(self, *kinds: type[Event]) -> list[str]:
        return [
            type(entry.event).__name__ for _, entry in self.heard if isinstance(entry.event, kinds)
        ]

    async def until(self, kind: type[Event], count: int = 1) -> None:
        async with asyncio.timeout(300):
            while len(self.of(kind)) < count:  # noqa: ASYNC110 - a list has no event
                await asyncio.sleep(0.1)

    def from_start_to_voice_s(self) -> float:
        began = next(at for at, each in self.heard if isinstance(each.event, CallStarted))
        spoke = next(at for at, each in self.heard if isinstance(each.event, FirstSpeech))
        return spoke - began


@dataclass(kw_only=True)
class RegisterRun:
    lab: Lab
    staged: StagedServer
    register: Register
    notes: TimedNotes

    @property
    def prompts(self) -> str:
        """The last request to the preferred model."""
        model = self.lab.instance("openai")
        assert isinstance(model, OpenAISimulator)
        return "\n".join(model._prompts._prompts)

    async def call(self, *lines: str) -> None:
        """Call in as Ada and say this."""
        phone = PhoneCall(caller=ADA)
        async with asyncio.timeout(120), Carrier(self.staged.url, AUTH_TOKEN, phone=phone) as ada:
            await ada.listen()
            for line in lines:
                await ada.say(synthesise_line(line, RATE_HZ))
                await ada.listen(within_s=20)


@asynccontextmanager
async def lab_that_knows(*lines: str) -> AsyncIterator[Lab]:
    """Run a lab in this process whose recognisers understand only these lines."""
    lab = Lab(core=Core(steady=True))
    for instance in lab.instances.values():
        if isinstance(instance, DeepgramSimulator):
            instance._ears = KnownEars(
                [known(line, synthesise_line(line, RATE_HZ)) for line in lines]
            )
    async with lab:
        yield lab


@asynccontextmanager
async def with_register(
    folder: Path,
    *contacts: StagedContact,
    kind: str = "hubspot",
    **changes: Mapping[str, Any],
) -> AsyncIterator[RegisterRun]:
    """Run a server with a campaign, and a CRM on loopback."""
    notes = TimedNotes()
    async with register_at() as (register, url), lab_that_knows(*LINES) as lab:
        crm = {"kind": kind, "url": url, "token": SecretStr("whsec_" + "c2VjcmV0" * 4)}
        plan = StagePlan(
            contacts=contacts,
            folder=folder,
            campaign={"attempts": 1},
            changes={"crm": crm, **changes},
            listeners=[notes],
        )
        async with staged_server(running(lab), plan) as staged:
            yield RegisterRun(lab=lab, staged=staged, register=register, notes=notes)


@pytest.mark.long
async def test_a_caller_who_opts_out_is_on_the_list_and_the_crm_is_told(
    tmp_path: Path,
) -> None:
    contact = StagedContact(number="+12125550142", name="Tom", behaviour=NOBODY_CALLS)
    outbound = {"countries": ["US"]}
    async with with_register(tmp_path, contact, kind="webhook", outbound=outbound) as run:
        async with asyncio.timeout(300):
            await run.staged.ended()
        await run.notes.until(CallReported)
        asked = run.prompts
        book = Contacts(Database(run.staged.storage))
        listed = await book.do_not_call([contact.number])
        await book.database.close()

    (body,) = run.register.taken.values()
    assert f'{CALLED_PERSON} {RULE} {{"name": "Tom"' in asked
    assert listed == {contact.number}
    assert run.notes.order(DoNotCallWanted, CallEnded) == ["DoNotCallWanted", "CallEnded"]
    assert body["data"]["result"] == "do_not_call"
    assert body["data"]["made_by"] == "model"
    assert (body["data"]["number"], body["data"]["campaign"]) == (contact.number, "demo")
    # Of the last transcript; a pause of 0.1 s within the sentence may have divided it.
    assert "call me again" in body["data"]["summary"].lower()


async def test_the_model_knows_a_caller_from_the_crm(tmp_path: Path) -> None:
    async with with_register(tmp_path) as run:
        await run.call(HOURS)
        await run.notes.until(CallReported)
        asked = run.prompts

    assert [note.outcome for note in run.notes.of(CallerLookedUp)] == ["found"]
    assert len(run.notes.of(CallerKnown)) == 1
    assert "Ada Byron" in asked
    (told,) = run.notes.of(CallSummarised)
    assert told.made_by == "model"
    (engagement,) = run.register.taken.values()
    assert "opening hours" in engagement["properties"]["hs_call_body"]


@pytest.mark.parametrize("proof", [True, False], ids=["verified", "not verified"])
async def test_a_record_waits_for_a_verification_and_the_tool_gets_the_carriers_number(
    tmp_path: Path, *, proof: bool
) -> None:
    owner_functions.ANSWER[:] = [{"verified": proof}]
    proves = {
        "name": "check_identity",
        "description": "Checks who the caller is.",
        "entry_point": f"{owner_functions.__name__}:proves",
        "bound": {"phone": "number", "call": "call_ref"},
        "verifies": True,
    }
    agent = {"tools": [proves], "after_verification": ["name"]}
    async with with_register(tmp_path, agent=agent) as run:
        await run.call(HOURS, PROVE)
        await run.notes.until(CallEnded)
        asked = run.prompts

    ((phone, call),) = owner_functions.PROVED[-1:]
    assert (phone, call) == (ADA, run.notes.of(CallStarted)[0].call_ref)
    assert '"phone"' not in asked
    assert ("Ada Byron" in asked) is proof


def written(folder: Path) -> str:
    """Return all that was written to files and the database."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return "".join(path.read_bytes().decode("utf-8", "replace") for path in files).lower()


@pytest.mark.parametrize("tools", [True, False], ids=["in a section", "without one"])
async def test_a_secret_of_a_sensitive_section_is_told_to_the_model_and_written_nowhere(
    tmp_path: Path, *, tools: bool
) -> None:
    owner_functions.ANSWER[:] = ["It is paid."]
    pays = {
        "name": "finish_payment",
        "description": "Finishes the payment.",
        "entry_point": f"{owner_functions.__name__}:answers",
        "sensitive": "end",
    }
    agent = {"sensitive": {"tools": tools}, "tools": [pays]}
    logs = {"dir": tmp_path / "logs", "level": "DEBUG", "words": True}
    async with with_register(tmp_path, agent=agent, logs=logs) as run:
        await run.call(HOURS, BEGIN, SECRET, END, WHERE)
        await run.notes.until(CallReported)
        asked = run.prompts.lower()

    called = [event.tool for event in run.notes.of(ToolCalled)]
    assert called == [*(["begin_sensitive"] if tools else []), "finish_payment"]
    assert "banana" in asked
    found = written(tmp_path) + str(run.register.bodies).lower()
    assert ("banana" in found) is not tools
    assert "opening hours" in found  # before the section
    assert "where are you" in found  # after it


async def test_half_a_surrogate_in_a_name_does_not_prevent_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = {"firstname": "Ada \ud83d", "lastname": "Lovelace"}  # half an emoji, as it is kept
    monkeypatch.setitem(KNOWN, ADA, {"id": "7", "properties": cut})
    async with with_register(tmp_path) as run:
        await run.call(HOURS)
        await run.notes.until(CallReported)
        asked = run.prompts

    assert [note.stage for note in run.notes.of(AttemptFailed)] == []
    assert "Ada Lovelace" in asked


async def test_a_slow_crm_does_not_delay_the_greeting(tmp_path: Path) -> None:
    waits = dict[str, float]()
    for pace in ("quick", "slow"):
        (tmp_path / pace).mkdir()
        async with with_register(tmp_path / pace) as run:
            run.register.slow_s = 8.0
            run.register.faults.append("slow" if pace == "slow" else "")
            await run.call(HOURS)
            waits[pace] = run.notes.from_start_to_voice_s()
            late = [note.late for note in run.notes.of(CallerKnown)]
            await run.notes.until(CallEnded)

    assert late in ([], [True])  # asked, and answered while the agent was speaking
    assert waits["slow"] == pytest.approx(waits["quick"], abs=0.02)


@pytest.mark.long
async def test_a_requested_callback_becomes_a_contact_of_the_campaign(tmp_path: Path) -> None:
    async with with_register(
        tmp_path, callbacks={"campaign": "demo"}, server={"region": "US"}
    ) as run:
        await run.call(TOMORROW, YES)
        await run.notes.until(CallbackQueued)

    (queued,) = run.notes.of(CallbackQueued)
    assert queued.campaign == "demo"
