"""Campaigns with real calls: whom the agent says it is, and what becomes of each contact."""

import asyncio
from pathlib import Path

import pytest

from bot.outbound.staged import (
    BUSY,
    CONFIRMS,
    DISCLOSURE,
    HANGS_UP,
    NO_ANSWER,
    VOICEMAIL,
    WANTS_A_PERSON,
    cast_of,
    compare_books,
)
from calls.campaign_events import DialEnded
from calls.events import AgentSaid
from tests.bot.staged_run import staged_run

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow]

EACH = (CONFIRMS, BUSY, VOICEMAIL, HANGS_UP, NO_ANSWER, WANTS_A_PERSON)


async def test_each_behaviour_has_its_outcome_and_all_books_agree(tmp_path: Path) -> None:
    contacts = cast_of(len(EACH), EACH)
    async with staged_run(tmp_path, contacts, campaign={"attempts": 1}) as run:
        async with asyncio.timeout(600):
            standing = await run.done()

        assert standing.contacts == {"done": len(EACH)}
        behaviours = {each.number: each.behaviour for each in contacts}
        wrong = {
            behaviours[each.number].label: (each.outcome, each.reason)
            for each in run.dials
            if each.outcome not in behaviours[each.number].ends
        }
        assert wrong == {}
        assert compare_books(run.dials, run.carrier).lines == []
        assert len(run.of(DialEnded)) == len(EACH)
        said = [each.text for each in run.of(AgentSaid)]
        assert sum(DISCLOSURE in each for each in said) >= 3
        assert any("Does that still suit you" in each and "Anna" in each for each in said)
