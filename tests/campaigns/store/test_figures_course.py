"""A campaign's progress and remaining contacts, on a real SQLite and a real PostgreSQL."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from calls.outbound import DialOutcome, DialResult, NextStep
from campaigns.store.figures import RECENT, SAMPLE, CampaignCourse, Figures
from operations.database.database import Database
from tests.campaigns.store.campaign_queue import LEASE_S, NOON, OpenQueue, new_contacts, queues
from tests.kit.clock import always

DONE = DialResult(outcome=DialOutcome.COMPLETED, length_s=30.0, cost=0.5)
LONDON = "Europe/London"


class TestCourse:
    @pytest.fixture
    async def queue(self, url: str) -> AsyncIterator[OpenQueue]:
        async with queues(url, 1) as (one,):
            yield one

    @pytest.fixture
    async def reader(self, url: str) -> AsyncIterator[Figures]:
        reader = Figures(Database(url))
        yield reader
        await reader.database.close()

    async def test_an_unstarted_campaign_has_no_figures(
        self, queue: OpenQueue, reader: Figures
    ) -> None:
        assert await reader.course("spring") == CampaignCourse(zones={})

    async def test_the_last_dials_and_the_zones_of_remaining_contacts_are_known(
        self, queue: OpenQueue, reader: Figures
    ) -> None:
        night = replace(new_contacts(4)[3], zones=("Asia/Tokyo", "Asia/Seoul"))
        await queue.fill([*new_contacts(3), night])
        first = await queue.take(now=NOON + 1.0)
        await queue.store.confirm(first.dial, now_s=always(NOON + 1.0), lease_s=LEASE_S)
        await queue.store.settle(first.dial, DONE, then=NextStep(state="done"), now=NOON + 2.0)
        second = await queue.take(now=NOON + 5.0)
        await queue.store.confirm(second.dial, now_s=always(NOON + 5.0), lease_s=LEASE_S)
        later = NextStep(state="resting", due_s=NOON + 900.0)
        await queue.store.settle(second.dial, DONE, then=later, now=NOON + 6.0)

        course = await reader.course("spring")

        assert course.intended_s == (NOON + 1.0, NOON + 5.0)
        assert course.zones == {LONDON: 2, "Asia/Tokyo Asia/Seoul": 1}
        assert course.last_due_s == NOON + 900.0

    async def test_a_contact_being_dialled_remains_too(
        self, queue: OpenQueue, reader: Figures
    ) -> None:
        await queue.fill(new_contacts(1))
        await queue.take()

        course = await reader.course("spring")

        assert (course.zones, course.last_due_s) == ({LONDON: 1}, None)

    async def test_the_result_is_bounded(self, queue: OpenQueue, reader: Figures) -> None:
        await queue.fill(new_contacts(SAMPLE + RECENT + 10))
        for second in range(RECENT + 5):
            await queue.take(now=NOON + second)

        course = await reader.course("spring")

        assert course.intended_s == tuple(NOON + index for index in range(5, RECENT + 5))
        assert sum(course.zones.values()) == SAMPLE

    async def test_a_transition_from_any_other_state_is_refused(self, queue: OpenQueue) -> None:
        await queue.fill(new_contacts(1))

        refused = await queue.store.move("spring", "running", now=NOON, begins={"paused"})
        moved = await queue.store.move("spring", "paused", now=NOON, begins={"running", "ready"})

        assert (refused, moved) == (False, True)
        assert (await queue.standing()).state == "paused"
