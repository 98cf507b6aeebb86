"""A campaign with simulated callees: their behaviour, its set-up, and a check of the records.

For the demo, the drill and tests. The carrier is simulated; the server, the queue and every call
are real.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from math import inf
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr
from sqlalchemy import select

from bot.call.models import VoiceModels
from bot.server.server import Extras, bind_socket, run_server
from calls.outbound import Dial, DialOutcome
from campaigns.dialer import PAUSES
from campaigns.dialing import DialerSettings
from campaigns.store.claim import read_dial
from campaigns.store.contacts import Contacts, NewContact
from campaigns.store.figures import CampaignStanding, Figures
from campaigns.store.queue import Queue
from lab.callers import AgentServer, Callee, CarrierRest, KnownPerson, RegisterSimulator
from lab.demo.lab_routes import lab_router
from lab.process import RunningLab, with_lab
from operations.database.database import Database
from operations.database.tables import DIALS
from operations.telemetry.emitter import Listener
from runtime import clock

ACCOUNT: Final = "AC" + "0" * 32
AUTH_TOKEN: Final = "a-simulated-carrier's"  # noqa: S105 - of the simulated carrier
OUR_NUMBER: Final = "+15005550006"
CALLS_PER_S: Final = 5.0  # chosen: thirty contacts in under three minutes
NAME: Final = "demo"
BUSINESS: Final = "Oak Street Dental"
DISCLOSURE: Final = f"Hello, this is the automated assistant of {BUSINESS}."
GREETING: Final = "You have an appointment tomorrow at ten, {name}. Does that still suit you?"
NAMES: Final = ("Anna", "John", "Maria", "David", "Emma", "Paul", "Laura", "Peter", "Julia", "Tom")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """A kind of callee.

    Attributes:
        label: What the callee does.
        callee: The lab's simulation.
        ends: The possible outcomes of a dial to such a callee, if nothing of ours fails.
    """

    label: str
    callee: Callee
    ends: frozenset[DialOutcome]


TALKED: Final = frozenset({DialOutcome.COMPLETED})
CONFIRMS: Final = Behaviour(
    label="answers and confirms",
    callee=Callee(ring_s=1.0, lines=("Yes, that is right.", "Thank you, goodbye.")),
    ends=TALKED,
)
BUSY: Final = Behaviour(
    label="busy", callee=Callee(fate="busy", ring_s=0.5), ends=frozenset({DialOutcome.BUSY})
)
NO_ANSWER: Final = Behaviour(
    label="does not answer", callee=Callee(ring_s=600.0), ends=frozenset({DialOutcome.NO_ANSWER})
)
VOICEMAIL: Final = Behaviour(
    label="voicemail",
    callee=Callee(
        ring_s=1.0,
        answered_by="machine_start",
        greeting="You have reached the voice mail of this number. Please leave a message.",
        records_s=4.0,
    ),
    ends=frozenset({DialOutcome.VOICEMAIL}),
)
HANGS_UP: Final = Behaviour(
    label="hangs up in the middle",
    callee=Callee(ring_s=1.0, lines=("What are your opening hours?",), leaves_after_s=0.8),
    ends=TALKED,
)
WANTS_A_PERSON: Final = Behaviour(
    label="asks for a person",
    callee=Callee(
        ring_s=1.0,
        lines=(
            "Can I speak to a person?",
            "Yes, please.",  # to a callback
            "Yes, please.",  # to the number that is read out
            "Thank you, goodbye.",
        ),
    ),
    ends=TALKED,
)
BEHAVIOURS: Final = (
    CONFIRMS, BUSY, CONFIRMS, VOICEMAIL, HANGS_UP, CONFIRMS, NO_ANSWER, WANTS_A_PERSON, CONFIRMS,
    VOICEMAIL,
)  # fmt: skip
"""Contacts get these behaviours in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedContact:
    """A person to call."""

    number: str
    name: str
    behaviour: Behaviour


def cast_of(count: int, behaviours: Sequence[Behaviour] = BEHAVIOURS) -> list[StagedContact]:
    """Return this many contacts, which get the behaviours in turn."""
    named = zip(cycle(NAMES), islice(cycle(behaviours), count), strict=False)
    return [
        StagedContact(number=f"+1500555{1000 + at}", name=name, behaviour=behaviour)
        for at, (name, behaviour) in enumerate(named)
    ]


def staged_tree(port: int, carrier_url: str, folder: Path, **campaign: Any) -> dict[str, Any]:
    """Return the configuration of a server that dials its campaign through that carrier."""
    url = f"http://127.0.0.1:{port}"
    wanted = {
        "script": f"You call patients of {BUSINESS} about their appointment.",
        "goals": ["Have them confirm the appointment, or note that they want another one."],
        "disclosure": DISCLOSURE,
        "greeting": GREETING,
        "consent_required": False,
        "window": {"begin": "00:00", "end": "24:00"},
        "attempts": 2,
        "rest_s": 5.0,
        "dials_per_minute": 60.0 * CALLS_PER_S,
        "concurrent": 6,
        "retry": {
            "busy": {"rest_s": 5.0},
            "no_answer": {"rest_s": 5.0},
            "agent_failed": {"rest_s": 3.0, "most": 20},
        },
    }
    twilio = {
        "enabled": True,
        "account_sid": SecretStr(ACCOUNT),
        "auth_token": SecretStr(AUTH_TOKEN),
        "number": OUR_NUMBER,
        "api_url": carrier_url,
        "calls_per_s": CALLS_PER_S,
    }
    return {
        "server": {"host": "127.0.0.1", "port": port, "public_url": url, "admission": "seats"},
        "transports": {"twilio": twilio},
        "campaigns": {NAME: wanted | campaign},
        "storage": {"url": f"sqlite+aiosqlite:///{folder / 'holdline.db'}"},
        "logs": {"dir": folder},
        "hold": {"render": False},
        "shutdown": {"drain_s": 0},
    }


def register_tree(url: str, token: str) -> dict[str, Any]:
    """Return the configuration of the lab's CRM, which gets a report of every dial and call."""
    told = ("call_id", "direction", "number", "outcome", "length_s", "summary", "callback")
    return {
        "kind": "rest",
        "url": url,
        "token": SecretStr(token),
        "dials": "all",
        "mapping": {
            "look_up": {"method": "GET", "path": "/v1/people?number={number}"},
            "found": "results.0",
            "write": {"path": "/v1/calls", "body": {name: f"{{{name}}}" for name in told}},
        },
    }


@asynccontextmanager
async def staged_register(
    contacts: Sequence[StagedContact], *, failing: float = 0.0
) -> AsyncIterator[RegisterSimulator]:
    """Run the lab's CRM with these contacts during the block.

    Args:
        contacts: Its contacts.
        failing: The share of its requests that fail.
    """
    people = [
        KnownPerson(id=str(at), number=contact.number, name=contact.name)
        for at, contact in enumerate(contacts, start=1)
    ]
    async with RegisterSimulator(people=people) as register:
        register.fail(failing)
        yield register


@asynccontextmanager
async def staged_carrier(
    port: int, contacts: Sequence[StagedContact]
) -> AsyncIterator[CarrierRest]:
    """Run the lab's carrier with these callees during the block."""
    url = f"http://127.0.0.1:{port}"
    server = AgentServer(base_url=url, public_url=url, auth_token=AUTH_TOKEN)
    async with CarrierRest(ACCOUNT, AUTH_TOKEN, server=server) as carrier:
        carrier.calls_per_s = 100.0  # the campaign's own pace is slower
        carrier.exchange.callees |= {
            contact.number: contact.behaviour.callee for contact in contacts
        }
        yield carrier


async def fill_queue(url: str, contacts: Sequence[StagedContact]) -> None:
    """Put the contacts into the queue, and start the campaign."""
    now = clock.utc_s()
    new = [
        NewContact(number=contact.number, name=contact.name, zones=("UTC",)) for contact in contacts
    ]
    async with Database(url) as database:
        await Contacts(database).add(NAME, new, now=now)
        await Queue(database).move(NAME, "running", now=now)


@dataclass(slots=True)
class Disagreement:
    """The differences between records; empty if they agree."""

    lines: list[str] = field(default_factory=list[str])

    def __bool__(self) -> bool:
        """Return whether there are differences."""
        return bool(self.lines)


STATUS_OF: Final[Mapping[str, frozenset[str]]] = {
    "completed": frozenset({"completed", "voicemail", "agent_failed"}),
    "busy": frozenset({"busy"}),
    "no-answer": frozenset({"no_answer"}),
    "failed": frozenset({"failed"}),
    "canceled": frozenset({"cancelled"}),
}
"""The outcomes that the ledger may have, for each of the carrier's statuses."""


def compare_books(dials: Sequence[Dial], carrier: CarrierRest) -> Disagreement:
    """Return the differences between our ledger and the carrier's record, dial by dial."""
    differences = Disagreement()
    placed = {dial_id_of(callback): (sid, number) for sid, number, callback in carrier.book}
    if len(placed) != len(carrier.book):
        differences.lines.append("one dial was requested twice from the carrier")
    asked = {dial.id: dial for dial in dials if dial.provider_call_id}
    differences.lines += [
        f"the carrier has {item}, the ledger does not" for item in placed.keys() - asked
    ]
    differences.lines += [
        f"the ledger has {item}, the carrier does not" for item in asked.keys() - placed
    ]
    for dial_id in asked.keys() & placed.keys():
        dial, (sid, number) = asked[dial_id], placed[dial_id]
        status = carrier.exchange.placed[sid].status
        if (dial.number, dial.provider_call_id) != (number, sid):
            differences.lines.append(f"{dial_id} is another call for the carrier")
        if str(dial.outcome) not in STATUS_OF.get(status, frozenset()):
            differences.lines.append(f"{dial_id} is {dial.outcome}, and {status} for the carrier")
    return differences


def dial_id_of(callback: str) -> str:
    """Return our own id of a dial, from the address of its callbacks; empty if that has none."""
    return parse_qs(urlsplit(callback).query).get("dial", [""])[0]


HOST = "127.0.0.1"
STAGED_CHECK_S = 0.5
NEVER = 1_000_000
RING_S = 6.0  # chosen: callees here either answer soon or never


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """The set-up of a campaign.

    Attributes:
        contacts: The people to call.
        folder: The folder for the database, the log and the calls' own records.
        port: The server's port; 0 for any.
        campaign: Changes to the campaign's section of the configuration.
        changes: Changes to other sections.
        listeners: They get every entry.
        models: The loaded models; `None` to load them.
    """

    contacts: Sequence[StagedContact]
    folder: Path
    port: int = 0
    campaign: Mapping[str, Any] = field(default_factory=dict[str, Any])
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    listeners: Sequence[Listener] = ()
    models: VoiceModels | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedServer:
    """A campaign in progress."""

    url: str
    storage: str
    carrier: CarrierRest

    async def dials(self) -> Sequence[Dial]:
        """Return the ledger."""
        async with Database(self.storage) as database:
            return await _dials_of(database)

    async def ended(self, *, within_s: float = inf) -> tuple[CampaignStanding, Sequence[Dial]]:
        """Wait until no contact is left, or the campaign has paused itself.

        Time during which a person pauses the campaign does not count towards `within_s`.

        Returns:
            The standing and the ledger.

        Raises:
            TimeoutError: The campaign takes longer than `within_s`.
        """
        async with Database(self.storage) as database:
            while within_s > 0:
                standing = await Figures(database).standing(NAME)
                state, reason = (standing.state, standing.reason) if standing else ("", "")
                if standing and (state == "done" or reason in PAUSES):
                    return standing, await _dials_of(database)
                await asyncio.sleep(STAGED_CHECK_S)
                within_s -= 0 if state == "paused" else STAGED_CHECK_S
        raise TimeoutError


async def _dials_of(database: Database) -> Sequence[Dial]:
    """Return the demo campaign's dials, in their order."""
    own = select(DIALS).where(DIALS.c.campaign == NAME)
    async with database.reading() as connection:
        rows = await connection.execute(own.order_by(DIALS.c.intended_s, DIALS.c.id))
        return [read_dial(row) for row in rows]


@asynccontextmanager
async def staged_server(lab: RunningLab, plan: StagePlan) -> AsyncIterator[StagedServer]:
    """Run a server and its campaign during the block, which begins when the server is ready.

    Raises:
        UsageError: The port is taken.
    """
    listener = bind_socket(HOST, plan.port)
    port = listener.getsockname()[1]
    async with staged_carrier(port, plan.contacts) as carrier:
        tree = staged_tree(port, carrier.url, plan.folder, **plan.campaign)
        for section, change in plan.changes.items():
            tree[section] = {**tree.get(section, {}), **change}
        settings = with_lab(lab, tree)
        await fill_queue(settings.storage.url, plan.contacts)
        extras = Extras(
            words=True,
            listeners=plan.listeners,
            routers=[lab_router(lab)],
            models=plan.models,
            # Failures here are intended, so they must not pause the campaign.
            dialing=DialerSettings(ring_s=RING_S, look_s=STAGED_CHECK_S, failures=NEVER),
        )
        async with run_server(settings, [listener], extras=extras) as server:
            await server.ready.wait()
            yield StagedServer(
                url=f"http://{HOST}:{port}", storage=settings.storage.url, carrier=carrier
            )
