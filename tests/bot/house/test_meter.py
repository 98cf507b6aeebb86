"""What a worker measures of itself."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest

from bot import clock
from bot.house import meter
from bot.house.meter import LOOK_S, measure

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize(
    ("late_looks", "reported_s"),
    [(0, 0.0), (1, 0.0), (40, 0.3)],
    ids=["in time", "one stall", "always late"],
)
async def test_a_loop_is_late_when_it_always_is(
    late_looks: int, reported_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments, spent = moments_of(late_looks, late_s=0.3), count()
    monkeypatch.setattr(clock, "monotonic", lambda: next(moments))
    monkeypatch.setattr(clock, "processor_s", lambda: next(spent) * LOOK_S / 2)
    reports: list[tuple[float, float]] = []

    async with asyncio.TaskGroup() as tasks:
        measuring = tasks.create_task(measure(lambda *said: reports.append(said)))
        await asyncio.sleep(LOOK_S * (meter.WINDOW + 1))
        measuring.cancel()

    assert reports[-1][1] == pytest.approx(reported_s)
    assert reports[0][0] == pytest.approx(0.5 if not late_looks else reports[0][0])


def moments_of(late_looks: int, *, late_s: float) -> Iterator[float]:
    """Yield what the clock says before and after each look."""
    now = 0.0
    for look in count():
        yield now
        now += LOOK_S + (late_s if look < late_looks else 0.0)
        yield now
