"""The log level of each result."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from calls.entry import Entry
from calls.events import Event
from calls.leg_events import (
    EarMeasured,
    HandedOver,
    LegAnswered,
    LegEnded,
    LegRinging,
    LineRestored,
)
from operations.telemetry import logs
from tests.kit.log_file import lines_in


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    logs.set_up(level="DEBUG", folder=tmp_path)
    yield tmp_path / "holdline.log"
    logger.remove()


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (LineRestored(after_s=3.5), "INFO"),
        (LegEnded(call_ref="CA1", outcome="failed", sip_code=503), "WARNING"),
        (LegEnded(call_ref="CA1", outcome="completed"), "INFO"),
        (LegEnded(call_ref="CA1", outcome="busy", sip_code=486), "INFO"),
        (HandedOver(turn=2, destination="desk", outcome="connected", took_s=8.0), "INFO"),
        (HandedOver(turn=2, destination="desk", outcome="no_answer", took_s=20.0), "INFO"),
        (HandedOver(turn=2, destination="desk", outcome="failed", took_s=0.2), "WARNING"),
        (LegRinging(call_ref="CA1"), "DEBUG"),
        (LegAnswered(call_ref="CA1", after_s=2.0), "DEBUG"),
        (EarMeasured(turn=1, buffer_s=0.1, playout_s=0, network_s=0, made_up_s=0), "DEBUG"),
    ],
)
async def test_a_result_is_logged_at_its_level(log_file: Path, event: Event, level: str) -> None:
    log = logs.Log()
    at = "2026-01-01T00:00:00.000+00:00"
    await log.hear(Entry(call_id="call1", number=1, at=at, event=event))
    (line,) = lines_in(log_file)
    assert line.split("|")[1].strip() == level
    assert type(event).__name__ in line
