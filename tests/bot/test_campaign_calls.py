"""Campaigns with real calls: whom the agent says it is, and what becomes of each contact."""

import asyncio
from pathlib import Path

import pytest

from calls.campaign_events import DialEnded
from calls.events import AgentSaid
from fallbacks.facts import AttemptFailed
from lab.demo.staged import (
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
from lab.simulators.faults import Http
from lab.simulators.schedule import Window
from tests.bot.staged_run import staged_run

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow, pytest.mark.long]

MANY = 12
FAILING = 0.3  # of the requests, at each provider
EACH = (CONFIRMS, BUSY, VOICEMAIL, HANGS_UP, NO_ANSWER, WANTS_A_PERSON)


async def test_each_behaviour_has_its_outcome_and_all_books_agree(tmp_path: Path) -> None:
    contacts = cast_of(len(EACH), EACH)
    async with staged_run(tmp_path, contacts, campaign={"attempts": 1}) as run:
        async with asyncio.timeout(300):
            standing, dials = await run.staged.ended()

        assert standing.contacts == {"done": len(EACH)}
        behaviours = {each.number: each.behaviour for each in contacts}
        wrong = {
            behaviours[each.number].label: (each.outcome, each.reason)
            for each in dials
            if each.outcome not in behaviours[each.number].ends
        }
        assert wrong == {}
        assert compare_books(dials, run.staged.carrier).lines == []
        assert len(run.of(DialEnded)) == len(EACH)
        said = [each.text for each in run.of(AgentSaid)]
        assert sum(DISCLOSURE in each for each in said) >= 3
        assert any("Does that still suit you" in each and "Anna" in each for each in said)


async def test_with_three_in_ten_requests_failing_each_contact_has_one_outcome(
    tmp_path: Path,
) -> None:
    contacts = cast_of(MANY)
    names = ("deepgram", "deepgram-b", "openai", "openai-b", "cartesia", "elevenlabs")
    failing = Window(fault=Http(status=503), p=FAILING)
    faults = {each: [failing] for each in names}
    async with staged_run(tmp_path, contacts, faults=faults, seed=5) as run:
        async with asyncio.timeout(600):
            standing, dials = await run.staged.ended()

        assert standing.contacts == {"done": MANY}
        assert {each.number for each in dials} == {each.number for each in contacts}
        assert all(each.outcome is not None for each in dials)
        ended = [each.dial_id for each in run.of(DialEnded)]
        assert sorted(ended) == sorted(each.id for each in dials)
        assert sum(standing.outcomes.values()) == len(dials)
        assert compare_books(dials, run.staged.carrier).lines == []
        assert run.of(AttemptFailed), "nothing failed, so nothing was shown"
