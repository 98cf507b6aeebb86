"""A campaign's figures and progress, on a real SQLite and a real PostgreSQL."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from calls.outbound import DialOutcome, DialResult, NextStep
from campaigns.model import Campaign, put_back
from campaigns.store.figures import (
    RECENT,
    SAMPLE,
    CampaignCourse,
    ContactFigures,
    Figures,
    ReachedContacts,
)
from tests.campaigns.store.campaign_queue import NOON, OpenQueue, new_contacts, queues
from tests.kit.databases import on_sqlite

SKIPPING = Campaign(name="spring", dials_per_minute=6e6, concurrent=1000, on_outage="skip")
DOWN = DialResult(outcome=DialOutcome.AGENT_FAILED, reason="tts_down")


async def call(queue: OpenQueue, outcome: DialOutcome, *, now: float, then: NextStep) -> None:
    result = DialResult(outcome=outcome, length_s=30.0, cost=0.25)
    await queue.settle(result, then=then, campaign=SKIPPING, now=now, took_s=30.0)


async def skip(queue: OpenQueue, *, now: float) -> None:
    claim = await queue.take(SKIPPING, now=now)
    then = put_back(SKIPPING, now)
    await queue.store.settle(claim.dial, DOWN, then=then, now=now + 0.5)


@pytest.fixture
async def queue(url: str) -> AsyncIterator[OpenQueue]:
    async with queues(url, 1) as (one,):
        yield one


@pytest.fixture
def figures(queue: OpenQueue) -> Figures:
    return queue.figures


class TestFigures:
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
        self, queue: OpenQueue, figures: Figures
    ) -> None:
        await queue.fill(new_contacts(4))
        await call(queue, DialOutcome.COMPLETED, now=NOON, then=NextStep(state="done"))
        await skip(queue, now=NOON + 1.0)
        await queue.take(SKIPPING, now=NOON + 2.0)

        assert (await figures.course("spring")).intended_s == (NOON, NOON + 2.0)
        spans = await figures.dial_spans("spring", now=NOON + 3.0)
        assert spans == [(NOON, NOON + 30.0), (NOON + 2.0, NOON + 3.0)]


def told(line: ContactFigures) -> tuple[str, int, float | None]:
    return line.outcome, line.dials, line.last_s


DONE = DialResult(outcome=DialOutcome.COMPLETED, length_s=30.0, cost=0.5)
LONDON = "Europe/London"


class TestCourse:
    async def test_an_unstarted_campaign_has_no_figures(
        self, queue: OpenQueue, figures: Figures
    ) -> None:
        assert await figures.course("spring") == CampaignCourse(zones={})

    async def test_the_last_dials_and_the_zones_of_remaining_contacts_are_known(
        self, queue: OpenQueue, figures: Figures
    ) -> None:
        night = replace(new_contacts(4)[3], zones=("Asia/Tokyo", "Asia/Seoul"))
        await queue.fill([*new_contacts(3), night])
        await queue.settle(DONE, now=NOON + 1.0)
        later = NextStep(state="resting", due_s=NOON + 900.0)
        await queue.settle(DONE, then=later, now=NOON + 5.0)

        course = await figures.course("spring")

        assert course.intended_s == (NOON + 1.0, NOON + 5.0)
        assert course.zones == {LONDON: 2, "Asia/Tokyo Asia/Seoul": 1}
        assert course.last_due_s == NOON + 900.0

    @on_sqlite
    async def test_a_contact_being_dialled_remains_too(
        self, queue: OpenQueue, figures: Figures
    ) -> None:
        await queue.fill(new_contacts(1))
        await queue.take()

        course = await figures.course("spring")

        assert (course.zones, course.last_due_s) == ({LONDON: 1}, None)

    @on_sqlite
    async def test_the_result_is_bounded(self, queue: OpenQueue, figures: Figures) -> None:
        await queue.fill(new_contacts(SAMPLE + RECENT + 10))
        for second in range(RECENT + 5):
            await queue.take(now=NOON + second)

        course = await figures.course("spring")

        assert course.intended_s == tuple(NOON + index for index in range(5, RECENT + 5))
        assert sum(course.zones.values()) == SAMPLE

    @on_sqlite
    async def test_a_transition_from_any_other_state_is_refused(self, queue: OpenQueue) -> None:
        await queue.fill(new_contacts(1))

        refused = await queue.store.move("spring", "running", now=NOON, begins={"paused"})
        moved = await queue.store.move("spring", "paused", now=NOON, begins={"running", "ready"})

        assert (refused, moved) == (False, True)
        assert (await queue.standing()).state == "paused"
