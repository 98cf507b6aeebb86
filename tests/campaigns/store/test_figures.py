"""A campaign's figures, on a real SQLite and a real PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from calls.outbound import DialOutcome, DialResult, NextStep
from campaigns.model import Campaign, put_back
from campaigns.store.figures import (
    ContactFigures,
    Figures,
    ReachedContacts,
)
from operations.database.database import Database
from tests.campaigns.store.campaign_queue import LEASE_S, NOON, OpenQueue, new_contacts, queues
from tests.kit.clock import always

SKIPPING = Campaign(name="spring", dials_per_minute=6e6, concurrent=1000, on_outage="skip")
DOWN = DialResult(outcome=DialOutcome.AGENT_FAILED, reason="tts_down")


async def call(queue: OpenQueue, outcome: DialOutcome, *, now: float, then: NextStep) -> None:
    claim = await queue.take(SKIPPING, now=now)
    await queue.store.confirm(claim.dial, now_s=always(now), lease_s=LEASE_S)
    await queue.store.note_placed(claim.dial, f"CA-{claim.dial.id}")
    result = DialResult(outcome=outcome, length_s=30.0, cost=0.25)
    await queue.store.settle(claim.dial, result, then=then, now=now + 30.0)


async def skip(queue: OpenQueue, *, now: float) -> None:
    claim = await queue.take(SKIPPING, now=now)
    then = put_back(SKIPPING, now)
    await queue.store.settle(claim.dial, DOWN, then=then, now=now + 0.5)


class TestFigures:
    @pytest.fixture
    async def queue(self, url: str) -> AsyncIterator[OpenQueue]:
        async with queues(url, 1) as (one,):
            yield one

    @pytest.fixture
    async def figures(self, url: str) -> AsyncIterator[Figures]:
        figures = Figures(Database(url))
        yield figures
        await figures.database.close()

    async def test_contacts_that_were_skipped_are_in_no_figure(
        self, queue: OpenQueue, figures: Figures
    ) -> None:
        await queue.fill(new_contacts(3))
        await call(queue, DialOutcome.COMPLETED, now=NOON, then=NextStep(state="done"))
        for second in (1.0, 2.0):
            await skip(queue, now=NOON + second)
        again = NextStep(state="resting", due_s=NOON + 9_000.0, counted=False)
        await call(queue, DialOutcome.AGENT_FAILED, now=NOON + 900.0, then=again)

        outcomes = [
            (outcome.outcome, outcome.dials) for outcome in await figures.outcomes("spring")
        ]
        assert outcomes == [("agent_failed", 1), ("completed", 1)]
        assert await figures.reached("spring") == ReachedContacts(dialled=2, completed=1)
        assert (await queue.standing()).outcomes == {"agent_failed": 1, "completed": 1}

    async def test_a_contacts_line_counts_only_dials(
        self, queue: OpenQueue, figures: Figures
    ) -> None:
        await queue.fill(new_contacts(2))
        busy = NextStep(state="resting", due_s=NOON + 60.0)
        await call(queue, DialOutcome.BUSY, now=NOON, then=busy)
        await skip(queue, now=NOON + 1.0)  # never called
        await skip(queue, now=NOON + 60.0)  # busy

        called, skipped = [contact async for contact in figures.contacts("spring")]
        assert told(called) == ("busy", 1, NOON + 30.0)
        assert told(skipped) == ("", 0, None)

    async def test_a_campaigns_pace_and_calling_time_are_those_of_dials(
        self, queue: OpenQueue, url: str
    ) -> None:
        course, troubles = Figures(Database(url)), Figures(Database(url))
        await queue.fill(new_contacts(4))
        await call(queue, DialOutcome.COMPLETED, now=NOON, then=NextStep(state="done"))
        await skip(queue, now=NOON + 1.0)
        await queue.take(SKIPPING, now=NOON + 2.0)

        assert (await course.course("spring")).intended_s == (NOON, NOON + 2.0)
        spans = await troubles.dial_spans("spring", now=NOON + 3.0)
        assert spans == [(NOON, NOON + 30.0), (NOON + 2.0, NOON + 3.0)]
        await course.database.close()
        await troubles.database.close()


def told(line: ContactFigures) -> tuple[str, int, float | None]:
    return line.outcome, line.dials, line.last_s
