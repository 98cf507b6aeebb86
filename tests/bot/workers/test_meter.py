"""A worker's measurements of itself, from the beats of its loop, and the number of workers."""

import asyncio
from itertools import count

import pytest

from bot.workers.admission_rules import MEASURED_S
from bot.workers.lag import measure_lag
from bot.workers.meter import BEATS, REPORT_S, Meter
from fallbacks.lag import PERIOD_S, Lag


def beaten(meter: Meter, *, beats: int, late_beats: int, late_s: float) -> float:
    """Give a meter some beats, the last of which are late; return the time of the last."""
    now = 0.0
    for beat in range(beats):
        late = late_s if beat >= beats - late_beats else 0.0
        now += PERIOD_S + late
        meter.beat(now, late)
    return now


@pytest.mark.parametrize(
    ("late_beats", "reported_s"),
    [(0, 0.0), (1, 0.0), (BEATS, 0.3)],
    ids=["in time", "one stall", "always late"],
)
def test_a_loop_is_late_if_most_beats_are(late_beats: int, reported_s: float) -> None:
    reports: list[tuple[float, float]] = []
    meter = Meter(lambda *said: reports.append(said), processor_s=lambda: 0.0)

    beaten(meter, beats=3 * BEATS, late_beats=late_beats, late_s=0.3)

    assert reports[-1][1] == pytest.approx(reported_s)


def test_the_load_in_cores_is_that_of_recent_use() -> None:
    reports: list[tuple[float, float]] = []
    spent = (min(beat, 200) * PERIOD_S / 2 for beat in count())  # half a core, and then none
    meter = Meter(lambda *said: reports.append(said), processor_s=lambda: next(spent))

    beaten(meter, beats=200, late_beats=0, late_s=0.0)
    busy = reports[-1][0]
    for beat in range(201, 201 + round(MEASURED_S / PERIOD_S) + 20):
        meter.beat(beat * PERIOD_S, 0.0)

    assert busy == pytest.approx(0.5)
    assert reports[-1][0] == pytest.approx(0.0)


def test_the_meter_reports_four_times_a_second() -> None:
    reports: list[tuple[float, float]] = []
    meter = Meter(lambda *said: reports.append(said), processor_s=lambda: 0.0)

    ended_s = beaten(meter, beats=500, late_beats=0, late_s=0.0)

    assert len(reports) == pytest.approx(ended_s / REPORT_S, abs=2)


@pytest.mark.virtual_time
async def test_the_meter_uses_the_beats_of_the_lag_measurement() -> None:
    loop, beats = asyncio.get_running_loop(), list[tuple[float, float]]()
    async with measure_lag(Lag(), emit=lambda _: None, clock=loop.time) as measuring:
        with measuring.pass_beats_to(lambda *beat: beats.append(beat)):
            await asyncio.sleep(1.0)
        heard = len(beats)
        await asyncio.sleep(1.0)

    assert heard == len(beats) == pytest.approx(1.0 / PERIOD_S, abs=2)
    assert max(late_s for _, late_s in beats) < PERIOD_S
