"""The campaign demo: each contact has one outcome, and four records agree on it."""

import asyncio
import csv
import io
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lab.demo.campaign_demo import (
    FAILING,
    CampaignDemo,
    EventPrinter,
    plan_of,
    show_books,
    show_campaign,
    stage_plan_of,
)
from lab.demo.four_books import compare_contacts, compare_page, read_books
from lab.demo.staged import (
    BUSY,
    CONFIRMS,
    HANGS_UP,
    NAME,
    NO_ANSWER,
    VOICEMAIL,
    WANTS_A_PERSON,
    StagedContact,
    StagedServer,
    cast_of,
    staged_register,
    staged_server,
)
from lab.simulators.faults import Http
from lab.simulators.register.simulator import RegisterSimulator
from lab.simulators.schedule import Window
from runtime.exits import CommandError
from tests.kit.near import near_lab

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow, pytest.mark.long]

EACH = (CONFIRMS, BUSY, VOICEMAIL, HANGS_UP, NO_ANSWER, WANTS_A_PERSON)
PROVIDERS = ("deepgram", "deepgram-b", "openai", "openai-b", "cartesia", "elevenlabs")
FAULTS = {provider: [Window(fault=Http(status=503), p=FAILING)] for provider in PROVIDERS}
SAYS = {  # of an outcome, the carrier
    "completed": {"completed"},
    "voicemail": {"completed"},
    "agent_failed": {"completed"},
    "busy": {"busy"},
    "no_answer": {"no-answer"},
}


def compare_exactly(
    contacts: list[StagedContact],
    ledger: list[Any],
    report: Path,
    register: RegisterSimulator,
    staged: StagedServer,
) -> None:
    """Compare all four, dial by dial, with each record read by itself."""
    numbers = {contact.number for contact in contacts}
    by_sid = {item.provider_call_id: item for item in ledger}
    assert {item.number for item in ledger} == numbers
    assert all(item.outcome and item.state == "settled" for item in ledger)

    placed = staged.carrier.exchange.placed
    assert sorted(placed) == sorted(by_sid)
    for sid, call in placed.items():
        assert call.status in SAYS[by_sid[sid].outcome]
        assert call.phone.called == by_sid[sid].number
        assert by_sid[sid].cost == (abs(float(call.price)) if call.price else None)

    dials = {key: told for key, told in register.book.items() if key.startswith("dial-")}
    calls = [told for key, told in register.book.items() if key.startswith("call-")]
    assert {key: (told["call_id"], told["outcome"]) for key, told in dials.items()} == {
        f"dial-{item.id}": (item.provider_call_id, item.outcome) for item in ledger
    }
    talked = [item.number for item in ledger if item.outcome not in ("busy", "no_answer")]
    assert len(calls) + len(dials) == len(register.book)
    assert Counter(item["number"] for item in calls) == Counter(talked)

    with (report / f"{NAME}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    last = {item.number: item for item in ledger}  # in the order in which they were intended
    assert {row["number"].strip("'"): (row["state"], row["outcome"]) for row in rows} == {
        number: ("done", last[number].outcome) for number in numbers
    }
    assert len(rows) == len(numbers)
    page = (report / f"{NAME}.html").read_text(encoding="utf-8")
    counts = dict(
        re.findall(r'data-outcome="([a-z_]+)"><td>[^<]+</td><td class="number">(\d+)', page)
    )
    assert counts == {
        str(name): str(count) for name, count in Counter(item.outcome for item in ledger).items()
    }


async def test_every_contact_has_one_outcome_and_four_records_agree(tmp_path: Path) -> None:
    contacts, said = cast_of(len(EACH), EACH), io.StringIO()
    plan = CampaignDemo(contacts=contacts, jobs=6, port=0, folder=tmp_path, every_failure=True)
    console, differ = Console(file=said, width=1000), ""
    printer = EventPrinter(contacts, console, every_failure=True)
    async with (
        near_lab(faults=FAULTS, seed=5) as lab,
        staged_register(contacts, failing=FAILING) as register,
        staged_server(lab, stage_plan_of(plan, register, printer, None)) as staged,
    ):
        async with asyncio.timeout(600):
            standing, _ = await staged.ended()
        try:
            await show_books(plan, staged, register, console)
        except CommandError as error:
            differ = str(error)
        ledger = list(await staged.dials())

    assert differ == "", said.getvalue()
    assert standing.contacts == {"done": len(EACH)}
    compare_exactly(contacts, ledger, tmp_path, register, staged)
    lines = [line for line in said.getvalue().splitlines() if line.endswith("| agree")]
    assert [line.split()[0] for line in lines] == [contact.number for contact in contacts]
    assert "failed: overloaded" in said.getvalue()
    differences_are_named(plan, staged, register, ledger)


def differences_are_named(
    plan: CampaignDemo, staged: StagedServer, register: RegisterSimulator, ledger: list[Any]
) -> None:
    """Falsify each record in turn: the comparison names the contact."""
    books = read_books(plan.folder, NAME, dials=ledger, register=register, carrier=staged.carrier)
    first = plan.contacts[0].number
    told = {
        key: {**each, "outcome": "busy"} if each["number"] == first else each
        for key, each in books.told.items()
    }
    rows = {number: {**row, "cost": "9"} for number, row in books.rows.items()}

    def named(**changed: Any) -> int:
        falsified = replace(books, **changed)
        return sum(
            bool(compare_contact.differs)
            for compare_contact in compare_contacts(falsified, plan.contacts)
        )

    assert named() == 0
    assert named(told=told) == 1
    assert named(rows=rows) == len(EACH)
    assert named(dials=ledger[1:]) == 1
    assert compare_page(replace(books, dials=ledger[1:]))


async def test_the_plain_output_prints_every_failure_as_it_happens(tmp_path: Path) -> None:
    said = io.StringIO()
    plan = plan_of(
        contacts=5, jobs=1, port=0, folder=tmp_path, reports=tmp_path, every_failure=True
    )
    console, ended = Console(file=said, width=1000), ""
    printer = EventPrinter(plan.contacts, console, every_failure=True)
    async with near_lab(faults=FAULTS, seed=7) as lab:
        try:
            await show_campaign(plan, lab, printer)
        except CommandError as error:
            ended = str(error)

    assert ended == "", said.getvalue()
    lines = said.getvalue().splitlines()
    moments = [float(found[1]) for item in lines if (found := re.match(r" *([0-9.]+) s  ", item))]
    assert moments == sorted(moments)
    assert sum(" failed: " in item for item in lines) == printer.failures > 0
    for contact in plan.contacts:
        assert any(f"s  {contact.name:<6} {contact.behaviour.label}" in line for line in lines)
    assert sum(line.endswith("| agree") for line in lines) == len(plan.contacts)
    assert "Ledger, report, CRM and carrier agree about all 5 contacts" in lines[-1]
