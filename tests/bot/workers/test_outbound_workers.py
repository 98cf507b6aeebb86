"""A campaign with two workers: one call each, and callbacks at the wrong one."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from calls.outbound import Dial, DialOutcome
from lab.demo.staged import (
    ACCOUNT,
    AUTH_TOKEN,
    NAME,
    Behaviour,
    StagedContact,
    fill_queue,
    staged_carrier,
    staged_tree,
)
from lab.process import RunningLab
from lab.simulators.carrier.callee import Callee
from operations.database.database import Database
from tests.bot.serving import free_port, serving
from tests.bot.workers.multi_worker import TWO, becomes, log_of, told, workers_of
from tests.kit.dials import dials_of

WITHIN_S = 120.0
pytestmark = [pytest.mark.slow, pytest.mark.long]

MACHINE = Behaviour(
    label="a machine that the carrier knows, and that says nothing",
    callee=Callee(ring_s=0.5, answered_by="machine_start"),
    ends=frozenset({DialOutcome.VOICEMAIL}),
)
CONTACTS = 4
SEATS = 2
KEYS = {"TWILIO_AUTH_TOKEN": AUTH_TOKEN, "TWILIO_ACCOUNT_SID": ACCOUNT}


async def ended(url: str) -> Sequence[Dial]:
    """Return the dials when each contact has its outcome."""
    database = Database(url)
    dials: list[Dial] = []

    async def look() -> bool:
        dials[:] = await dials_of(database, NAME)
        return len(dials) >= CONTACTS and all(dial.outcome for dial in dials)

    try:
        async with asyncio.timeout(WITHIN_S):
            while not await look():  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.1)
    finally:
        await database.close()
    return dials


async def test_callbacks_and_free_seats_are_shared_by_all_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lab: RunningLab
) -> None:
    monkeypatch.setattr("lab.simulators.carrier.exchange.DETECTION_S", 1.0)  # well before our own
    port = free_port()
    contacts = [
        StagedContact(number=f"+1500555{1000 + index}", name="Ada", behaviour=MACHINE)
        for index in range(CONTACTS)
    ]
    async with staged_carrier(port, contacts) as carrier:
        tree = staged_tree(port, carrier.url, tmp_path, attempts=1)
        said = tree["transports"]["twilio"]
        twilio = {name: said[name] for name in ("enabled", "number", "api_url", "calls_per_s")}
        await fill_queue(tree["storage"]["url"], contacts)
        async with serving(
            lab,
            tmp_path,
            port=port,
            changes=TWO
            | {
                "server": {"workers": 2, "max_calls": SEATS},
                "transports": {"twilio": twilio},
                "campaigns": tree["campaigns"],
            },
            environment=KEYS,
        ) as served:
            await becomes(lambda: len(workers_of(served)) == 2)
            dials = await ended(tree["storage"]["url"])

    assert {dial.number for dial in dials} == {contact.number for contact in contacts}
    assert [str(dial.outcome) for dial in dials] == ["voicemail"] * CONTACTS
    assert [item["why"] for item in told(served, "AnswererHeard")] == ["carrier"] * CONTACTS
    assert not told(served, "CallRefused"), log_of(served)


async def test_a_ringing_dial_is_cancelled_when_the_server_stops(
    tmp_path: Path, lab: RunningLab
) -> None:
    port = free_port()
    patient = StagedContact(
        number="+15005551000",
        name="Ada",
        behaviour=Behaviour(
            label="does not answer",
            callee=Callee(ring_s=600.0),
            ends=frozenset({DialOutcome.NO_ANSWER}),
        ),
    )
    async with staged_carrier(port, [patient]) as carrier:
        tree = staged_tree(port, carrier.url, tmp_path, attempts=1)
        said = tree["transports"]["twilio"]
        twilio = {name: said[name] for name in ("enabled", "number", "api_url", "calls_per_s")}
        await fill_queue(tree["storage"]["url"], [patient])
        changes = TWO | {"transports": {"twilio": twilio}, "campaigns": tree["campaigns"]}
        async with serving(lab, tmp_path, port=port, changes=changes, environment=KEYS) as served:
            placed = carrier.exchange.placed
            await becomes(
                lambda: [item.status for item in placed.values()] == ["ringing"], within_s=WITHIN_S
            )
        (dial,) = await dials_of(tree["storage"]["url"], NAME)

    assert [item.status for item in placed.values()] == ["canceled"]
    assert (str(dial.outcome), dial.reason) == ("cancelled", "")  # as the server itself was told
    assert served.process.returncode == 0
