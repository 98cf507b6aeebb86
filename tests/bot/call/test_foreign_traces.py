"""Libraries that could trace by themselves do not: their spans would contain transcripts."""

from pathlib import Path
from typing import Any

import opentelemetry.trace
import pytest

from tests.bot.call.replayed_call import replay_call

pytestmark = [pytest.mark.slow, pytest.mark.virtual_time]


async def test_pipecat_creates_no_span(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def note(name: str, *_: Any, **__: Any) -> opentelemetry.trace.Tracer:
        asked.append(name)
        return opentelemetry.trace.NoOpTracer()

    monkeypatch.setattr(opentelemetry.trace, "get_tracer", note)

    told, _ = await replay_call(tmp_path)

    assert told.said
    assert [text for text in asked if "pipecat" in text] == []
