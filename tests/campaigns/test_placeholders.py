"""Placeholders that no column fills are never spoken: checked at the import and in a call."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.call.briefs import DEFAULT_GREETING, briefed
from calls.outbound import Contact
from calls.outside_text import placeholders
from campaigns.importing import ContentRefusedError, ImportPlan, ImportTally, import_contacts
from campaigns.model import Campaign
from campaigns.placeholders import needed_by
from campaigns.store.contacts import Contacts
from configuration.agent import AgentSettings
from operations.database.database import Database
from processors.answerer.answerer_rules import MachineListening

NOW = 1_800_014_400.0  # 2027-01-15, 12:00 UTC


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[Contacts]:
    async with Database(f"sqlite+aiosqlite:///{tmp_path / 'own.db'}") as database:
        yield Contacts(database)


def campaign(**texts: Any) -> Campaign:
    return Campaign(name="spring", region="DE", consent_required=False, **texts)


async def take_in(book: Contacts, folder: Path, own: Campaign, text: str) -> ImportTally:
    file = folder / "contacts.csv"
    file.write_text(text, encoding="utf-8")
    refused: list[tuple[int, str]] = []
    plan = ImportPlan(file=file, campaign=own, now=NOW)
    return await import_contacts(plan, book, lambda row: refused.append((row.line, row.reason)))


TEXTS = {
    "one": ("Hello {name}.", ("name",)),
    "two words": ("Due on {due date}, {name}.", ("due date", "name")),
    "twice": ("{name}, {name}", ("name",)),
    "in another alphabet": ("Grüße nach {straße}", ("straße",)),
    "the name in capitals": ("Hello {Name}, {NAME}.", ("name",)),
    "the number in capitals": ("Is {Number} yours?", ("number",)),
    "none": ("Hello.", ()),
    "JSON": ('Answer {"a": 1} or {}.', ()),
    "a repetition": (r"\d{4} or {1,3}", ()),
    "two braces": ("{{name}}", ("name",)),
}


@pytest.mark.parametrize(("text", "found"), TEXTS.values(), ids=TEXTS)
def test_the_placeholders_of_a_text(text: str, found: tuple[str, ...]) -> None:
    assert placeholders(text) == found


SPOKEN = {
    "greeting": {"greeting": "Hello, about your {product} in {city}."},
    "disclosure": {"disclosure": "A machine calls {name} about {city}."},
    "voicemail_text": {"voicemail_text": "We call about {city}."},
    "script": {"script": "Ask about {city}."},
    "goals": {"goals": ("Find a day in {city}.",)},
    "amd.screening": {"amd": MachineListening(screening="About {city}.")},
}


@pytest.mark.parametrize(("key", "texts"), SPOKEN.items(), ids=SPOKEN)
async def test_a_file_without_the_column_of_a_placeholder_is_refused(
    book: Contacts, tmp_path: Path, key: str, texts: dict[str, Any]
) -> None:
    own = campaign(**texts)

    with pytest.raises(ContentRefusedError) as refused:
        await take_in(book, tmp_path, own, "number,name\n030 901844,Eva\n")

    assert f"{{city}} in campaigns.spring.{key}" in str(refused.value)
    assert key in needed_by(own)["city"]


FILLED = {
    "the same heading": "number,due_date\n030 901844,Friday\n",
    "other letters": "number,Due Date\n030 901844,Friday\n",
    "other signs": "number,due-date\n030 901844,Friday\n",
}


@pytest.mark.parametrize("text", FILLED.values(), ids=FILLED)
async def test_a_column_fills_a_placeholder(book: Contacts, tmp_path: Path, text: str) -> None:
    tally = await take_in(book, tmp_path, campaign(greeting="Until {due_date}."), text)

    assert (tally.added, tally.refused) == (1, {})


async def test_first_and_last_name_fill_the_name(book: Contacts, tmp_path: Path) -> None:
    text = "First Name,Last Name,Phone Number\nEva,Bauer,030 901844\n,,030 901845\n"

    tally = await take_in(book, tmp_path, campaign(greeting="Hello {name}."), text)

    assert (tally.added, tally.refused) == (1, {"lacks_name": 1})


async def test_a_row_that_lacks_a_value_is_counted_by_the_placeholder(
    book: Contacts, tmp_path: Path
) -> None:
    own = campaign(greeting="About {product} in {city}.")
    text = "number,product,city\n030 901844,a roof,Bonn\n030 901845,a roof,\n030 901846,,\n"

    tally = await take_in(book, tmp_path, own, text)

    assert (tally.added, tally.refused) == (1, {"lacks_city": 1, "lacks_product": 1})


def test_a_text_that_cannot_be_filled_is_not_spoken() -> None:
    own = campaign(
        greeting="Hello {name}, about your {product}.",
        voicemail_text="We called about your {product}.",
        script="They bought {product}; their name is {name}.",
    )
    contact = Contact(id=1, campaign="spring", number="+4930901844", name="Eva")

    agent = briefed(AgentSettings(), own, contact)

    assert agent.greeting == DEFAULT_GREETING
    assert agent.answering is not None
    assert agent.answering.message == ""
    assert DEFAULT_GREETING in agent.answering.who
    assert "They bought {product}; their name is {name}." in agent.instructions
    assert "If there is no such value, do without it." in agent.instructions


@pytest.mark.parametrize("text", ["Hello {name} at {number}.", "Hello {Name} at {NUMBER}."])
async def test_name_and_number_are_filled_however_they_are_written(
    book: Contacts, tmp_path: Path, text: str
) -> None:
    own = campaign(greeting=text)
    tally = await take_in(book, tmp_path, own, "Phone,Name\n030 901844,Eva\n030 901845,\n")
    contact = Contact(id=1, campaign="spring", number="+4930901844", name="Eva")

    assert (tally.added, tally.refused) == (1, {"lacks_name": 1})
    assert briefed(AgentSettings(), own, contact).greeting == "Hello Eva at +4930901844."


def test_a_model_knows_the_number_only_if_a_text_uses_it() -> None:
    contact = Contact(id=1, campaign="spring", number="+4930901844", name="Eva")
    agents = [
        briefed(AgentSettings(), campaign(script=script), contact)
        for script in ("Ask whether {Number} is right.", "Ask whether the number is right.")
    ]

    assert ["+4930901844" in str(agent.contact) for agent in agents] == [True, False]
