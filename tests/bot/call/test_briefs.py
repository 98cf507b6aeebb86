"""Instructions for the agent of a campaign's call."""

import asyncio

import pytest

from bot.call.briefs import LOOK_UP_S, Briefs, briefed
from bot.call.conversation import opening_frames
from bot.config.agent import AgentSettings
from calls.outbound import Contact
from campaigns.model import Campaign
from operations.database.database import StorageError

pytestmark = pytest.mark.virtual_time

AGENT = AgentSettings(instructions="Be kind.", greeting="How can I help?")
CAMPAIGN = Campaign(
    name="c",
    script="You call {name} about the {appliance}.",
    goals=("find a date",),
    disclosure="This is a machine.",
    greeting="Is this {name}?",
)
ANNA = Contact(id=1, campaign="c", number="+15550142", name="Anna", fields={"appliance": "heating"})


def test_the_disclosure_is_said_first_and_cannot_be_barged_in_on() -> None:
    frames = opening_frames(briefed(AGENT, CAMPAIGN, ANNA))

    assert [getattr(frame, "text", "") for frame in frames] == [
        "This is a machine.",
        "Is this Anna?",
    ]
    assert not getattr(frames[0], "interruptible", True)


def test_the_agent_knows_the_script_the_goals_and_the_contact() -> None:
    told = briefed(AGENT, CAMPAIGN, ANNA).instructions

    for name in ("Be kind.", "You call Anna about the heating.", "- find a date", "name: Anna"):
        assert name in told


def test_the_agent_of_an_incoming_call_has_no_campaign() -> None:
    assert Briefs().agent("") is None


async def test_a_brief_is_looked_up_once_by_the_id_of_the_dial() -> None:
    briefs, asked = Briefs(), list[str]()

    async def look_up(dial_id: str) -> AgentSettings | None:
        asked.append(dial_id)
        return AGENT

    briefs.look_up = look_up

    assert await briefs.load("d-1")
    assert await briefs.load("d-1")
    assert (asked, briefs.agent("d-1")) == (["d-1"], AGENT)


@pytest.mark.parametrize("how", ["unknown", "broken", "hangs"])
async def test_without_a_brief_the_call_is_not_taken(how: str) -> None:
    briefs = Briefs()

    async def look_up(dial_id: str) -> AgentSettings | None:
        if how == "broken":
            raise StorageError("no database")
        if how == "hangs":
            await asyncio.sleep(10 * LOOK_UP_S)
        return None

    briefs.look_up = look_up

    assert not await briefs.load("d-1")
    assert briefs.agent("d-1") is None


async def test_a_call_that_came_in_needs_none() -> None:
    assert await Briefs().load("")
