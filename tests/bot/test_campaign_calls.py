"""Campaigns with real calls: the agent's introduction, and each contact's outcome."""

import asyncio
from pathlib import Path

import pytest

from calls.campaign_events import DialEnded
from calls.events import AgentSaid
from fallbacks.events import AttemptFailed
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


async def test_each_behaviour_has_its_outcome_and_all_records_agree(tmp_path: Path) -> None:
    contacts = cast_of(len(EACH), EACH)
    async with staged_run(tmp_path, contacts, campaign={"attempts": 1}) as run:
        async with asyncio.timeout(300):
            standing, dials = await run.staged.ended()

        assert standing.contacts == {"done": len(EACH)}
        behaviours = {contact.number: contact.behaviour for contact in contacts}
        wrong = {
            behaviours[dial.number].label: (dial.outcome, dial.reason)
            for dial in dials
            if dial.outcome not in behaviours[dial.number].ends
        }
        assert wrong == {}
        assert compare_books(dials, run.staged.carrier).lines == []
        assert len(run.of(DialEnded)) == len(EACH)
        said = [text.text for text in run.of(AgentSaid)]
        assert sum(DISCLOSURE in text for text in said) >= 3
        assert any("Does that still suit you" in text and "Anna" in text for text in said)


async def test_with_three_in_ten_requests_failing_each_contact_has_one_outcome(
    tmp_path: Path,
) -> None:
    contacts = cast_of(MANY)
    names = ("deepgram", "deepgram-b", "openai", "openai-b", "cartesia", "elevenlabs")
    failing = Window(fault=Http(status=503), p=FAILING)
    faults = {name: [failing] for name in names}
    async with staged_run(tmp_path, contacts, faults=faults, seed=5) as run:
        async with asyncio.timeout(600):
            standing, dials = await run.staged.ended()

        assert standing.contacts == {"done": MANY}
        assert {dial.number for dial in dials} == {contact.number for contact in contacts}
        assert all(dial.outcome is not None for dial in dials)
        ended = [text.dial_id for text in run.of(DialEnded)]
        assert sorted(ended) == sorted(dial.id for dial in dials)
        assert sum(standing.outcomes.values()) == len(dials)
        assert compare_books(dials, run.staged.carrier).lines == []
        assert run.of(AttemptFailed), "nothing failed, so nothing was shown"
