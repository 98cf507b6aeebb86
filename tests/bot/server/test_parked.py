"""Calls whose state is stored for another process, or until a lost line returns."""

import pytest

from bot.workers.pool import SingleProcess
from calls.resume import ResumeState
from transports.parked import KEPT_S, PARKED_S, Parked

GOES_ON = ResumeState(call_id="c", turn=3, entries=9)


async def test_the_latest_stored_call_is_resumed_once_and_only_by_its_kind_of_line() -> None:
    pool = SingleProcess(why_closed=str, clock=lambda: 0.0)
    parked = Parked(pool, "twilio")
    await parked.place("CA1").keep(GOES_ON)
    await parked.place("CA1").keep(ResumeState(call_id="c", turn=4))

    assert (await Parked(pool, "webrtc").take("twilio CA1")).state is None
    found = (await parked.take("CA1")).state
    assert found is not None
    assert found.turn == 4
    assert (await parked.take("CA1")).state is None


async def test_a_call_that_ended_is_not_resumed() -> None:
    parked = Parked(SingleProcess(why_closed=str, clock=lambda: 0.0), "twilio")
    place = parked.place("CA1")
    await place.keep(GOES_ON)
    await place.forget()

    assert (await parked.take("CA1")).state is None


@pytest.mark.parametrize(("state", "for_s"), [(GOES_ON, KEPT_S), (GOES_ON.over(), PARKED_S)])
async def test_a_caller_who_returns_too_late_starts_over(state: ResumeState, for_s: float) -> None:
    now = [0.0]
    parked = Parked(SingleProcess(why_closed=str, clock=lambda: now[0]), "webrtc")
    await parked.place("t").keep(state)
    now[0] = for_s + 0.1

    assert (await parked.take("t")).state is None
