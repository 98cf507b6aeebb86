"""The lab in the test's own process, at the speed of speech."""

import itertools
from collections.abc import AsyncIterator

import pytest
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3

from lab.simulators.lab import Lab
from tests.kit.near import steady_lab


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with steady_lab(keep_audio=True) as lab:
        yield lab


@pytest.fixture
def pauses_to_think(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Pipecat take the first pause for one within a sentence, and the others for the end.

    What its model finds depends on the processor (docs/pipecat.md).
    """
    judged = itertools.count()

    def judge(*_: object) -> dict[str, float]:
        finished = next(judged) > 0
        return {"prediction": int(finished), "probability": 0.9 if finished else 0.1}

    monkeypatch.setattr(LocalSmartTurnAnalyzerV3, "_predict_endpoint", judge)
