"""CRMs over HTTP: look-ups, reports and failures."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from calls.events import Event
from calls.operations_events import CallerLookedUp
from calls.outbound import DialOutcome
from campaigns.store.contacts import Contacts, NewContact
from contacts.contact_files import ContactFileError
from fallbacks.failure import Kind
from operations.crm.customer import STATUSES, CrmContact, CrmReport
from operations.crm.own import OwnContacts, read_contacts
from operations.crm.port import BREAKER, Crm, CrmLookup, availability_of
from operations.crm.rest import HUBSPOT, MAX_CRM_ANSWER_BYTES, RestCrm
from operations.crm.webhook import WebhookCrm
from operations.database.database import Database
from operations.remote import RemoteError, signature
from tests.operations.crm.register import register_at

pytestmark = pytest.mark.virtual_time

ADA = CrmContact(
    id="7", name="Ada Byron", fields={"email": "", "company": "", "lifecyclestage": ""}
)
REPORT = CrmReport(
    key="call-1",
    call_id="1",
    direction="inbound",
    number="+15550142",
    agent="default",
    length_s=12.5,
    ended_s=1000.0,
    summary="Wants an appointment.",
)
SECRET = "whsec_" + "c2VjcmV0" * 4


def hubspot(url: str) -> RestCrm:
    headers = {"authorization": "Bearer key"}
    return RestCrm("hubspot", HUBSPOT, url=url, headers=headers, timeout_s=2.0)


def webhook(url: str) -> WebhookCrm:
    return WebhookCrm(url, SECRET, timeout_s=2.0, utc_s=lambda: 1234.0)


def desk_of(crm: Crm, region: str | None = None) -> CrmLookup:
    return CrmLookup(
        crm=crm,
        availability=availability_of(crm, time.monotonic()),
        clock=time.monotonic,
        region=region,
    )


async def test_a_caller_is_found_by_the_number() -> None:
    async with register_at() as (register, url):
        crm = hubspot(url)
        found, nobody = await crm.look_up("+15550142"), await crm.look_up("+15550100")
        await crm.close()

    assert (found, nobody) == (ADA, None)
    assert register.requests[0][1]["authorization"] == "Bearer key"


async def test_a_call_is_sent_with_its_key() -> None:
    async with register_at() as (register, url):
        crm = hubspot(url)
        await crm.write(replace(REPORT, our_number="+15550100", outcome="busy"))
        await crm.close()

    properties = register.taken["call-1"]["properties"]
    assert properties["hs_call_duration"] == 12500
    assert properties["hs_timestamp"] == 987_500
    assert properties["hs_call_body"] == "Wants an appointment."
    assert properties["hs_call_direction"] == "INBOUND"
    assert properties["hs_call_from_number"] == "+15550142"
    assert properties["hs_call_to_number"] == "+15550100"
    assert properties["hs_call_status"] == "BUSY"


def test_every_outcome_of_a_dial_has_a_status() -> None:
    assert {item.value for item in DialOutcome} <= STATUSES.keys()


async def test_a_webhook_is_signed() -> None:
    async with register_at() as (register, url):
        await webhook(url).write(REPORT)

    (_, headers), body = register.requests[0], json.dumps(register.bodies[0])
    assert headers["webhook-id"] == "call-1"
    assert headers["webhook-signature"] == signature(SECRET, f"call-1.1234.{body}")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (hubspot, "Accepted"),
        (webhook, "Accepted"),
        (webhook, "<html>"),
        (webhook, "x" * (MAX_CRM_ANSWER_BYTES + 1)),
    ],
    ids=["a word", "a word to a webhook", "a page", "a lot"],
)
async def test_a_report_may_be_accepted_in_any_words(make: Callable[[str], Crm], says: str) -> None:
    async with register_at() as (register, url):
        register.says = says
        await make(url).write(REPORT)

    assert list(register.taken) == ["call-1"]


@pytest.mark.parametrize(
    ("fault", "kind"), [("slow", Kind.TIMEOUT), (429, Kind.RATE_LIMITED), (302, Kind.BAD_REQUEST)]
)
async def test_a_refused_call_has_the_webhooks_reason(fault: str | int, kind: Kind) -> None:
    async with register_at() as (register, url):
        register.faults, register.slow_s = [fault], 5.0
        with pytest.raises(RemoteError) as raised:
            await webhook(url).write(REPORT)

    assert raised.value.kind is kind
    assert raised.value.retry_after_s == (7.0 if fault == 429 else None)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("lost", Kind.NETWORK),
        ("slow", Kind.TIMEOUT),
        ("garbage", Kind.PROTOCOL),
        (429, Kind.RATE_LIMITED),
        (500, Kind.OVERLOADED),
        (401, Kind.AUTH),
        (400, Kind.BAD_REQUEST),
    ],
)
async def test_a_failure_has_its_kind_and_names_no_address(fault: str | int, kind: Kind) -> None:
    async with register_at() as (register, url):
        crm = hubspot(url)
        register.faults = [fault]
        register.slow_s = 5.0
        with pytest.raises(RemoteError) as raised:
            await crm.look_up("+15550142")
        await crm.close()

    assert raised.value.kind is kind
    assert url not in str(raised.value)
    assert raised.value.retry_after_s == (7.0 if fault == 429 else None)


async def test_a_crm_is_not_asked_before_the_date_that_it_named() -> None:
    async with register_at() as (register, url):
        crm = hubspot(url)
        register.faults[:], register.retry_after = [429], "Tue, 03 Mar 2026 10:00:42 GMT"
        with pytest.raises(RemoteError) as raised:
            await crm.look_up("+15550142")
        await crm.close()

    assert raised.value.retry_after_s == 42.0


async def test_a_crm_that_is_down_is_not_asked_for_a_while() -> None:
    told: list[Event] = []
    async with register_at() as (register, url):
        desk = desk_of(hubspot(url))
        register.down = True
        for _ in range(5):
            await desk.look_up("+15550142", emit=told.append)
        asked = len(register.requests)
        register.down = False
        await asyncio.sleep(BREAKER.open_s)
        found = await desk.look_up("+15550142", emit=told.append)
        await desk.close()

    assert asked == BREAKER.failures
    assert found == ADA
    outcomes = [event.outcome for event in told if isinstance(event, CallerLookedUp)]
    assert outcomes == ["failed"] * 3 + ["not_asked"] * 2 + ["found"]


async def test_a_pending_lookup_is_cancelled_when_the_lookup_service_closes() -> None:
    async with register_at() as (register, url):
        desk = desk_of(hubspot(url))
        register.faults = ["slow"]
        asking = desk.start_look_up("+15550142", emit=lambda _: None)
        await asyncio.sleep(0.1)
        await desk.close()

    assert asking.cancelled()


async def test_our_own_contacts_work_as_a_crm(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'own.db'}"
    contact = NewContact(number="+15550142", name="Ada", fields={"plan": "gold"})
    file = tmp_path / "people.csv"
    file.write_text("Phone,Name,City\n+1 (555) 0199,Tom,Rome\n", encoding="utf-8")
    async with Database(url) as database:
        await Contacts(database).add("spring", [contact], now=1.0)
        crm = OwnContacts(database, file=file)

        ada, tom = await crm.look_up("+15550142"), await crm.look_up("+15550199")
        nobody = await crm.look_up("+15550100")

    assert ada is not None
    assert (ada.name, ada.fields) == ("Ada", {"plan": "gold"})
    assert tom == CrmContact(id="15550199", name="Tom", fields={"city": "Rome"})
    assert nobody is None


@pytest.mark.parametrize(
    ("caller", "outcome"),
    [
        ("030 901820", "found"),
        ("4930901820", "found"),
        ("sip:+4930901820@192.0.2.7", "found"),
        ("4915112345678", "not_asked"),  # its other reading is another person
    ],
)
async def test_a_caller_is_found_in_any_notation_but_never_by_an_ambiguous_match(
    tmp_path: Path, caller: str, outcome: str
) -> None:
    contacts = [NewContact(number=text) for text in ("+4930901820", "+494915112345678")]
    told: list[Event] = []
    async with Database(f"sqlite+aiosqlite:///{tmp_path / 'own.db'}") as database:
        await Contacts(database).add("spring", contacts, now=1.0)
        desk = desk_of(OwnContacts(database), region="DE")

        await desk.look_up(caller, emit=told.append)
        await desk.close()

    assert [event.outcome for event in told if isinstance(event, CallerLookedUp)] == [outcome]


def test_a_file_without_numbers_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("Name\nTom\n", encoding="utf-8")

    with pytest.raises(ContactFileError, match="no column for the number"):
        read_contacts(file, "")


@pytest.mark.parametrize("number", ["+266696687", "anonymous", "+0000000000"])
async def test_a_placeholder_for_a_withheld_number_is_not_looked_up(number: str) -> None:
    told: list[Event] = []
    async with register_at() as (register, url):
        desk = desk_of(hubspot(url))
        found = await desk.look_up(number, emit=told.append)
        await desk.close()

    assert found is None
    assert [event.outcome for event in told if isinstance(event, CallerLookedUp)] == ["not_asked"]
    assert register.requests == []
