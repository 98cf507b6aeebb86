"""Results of a recogniser as Pipecat's own aggregator gets them."""

import asyncio
import time

import pytest
from pipecat.frames.frames import (
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)

from calls.line import CallerLine
from calls.turn import Turn
from holdline.ladders import WordedTurnOpener
from processors.turn.floor import Floor, WordsCame
from processors.turn.sound_path import Faintness
from tests.kit.bench import running
from tests.kit.waiting import until

pytestmark = pytest.mark.virtual_time

VAD = {True: VADUserStartedSpeakingFrame, False: VADUserStoppedSpeakingFrame}
AT = "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize("text", ["", " "])
@pytest.mark.parametrize("kind", [InterimTranscriptionFrame, TranscriptionFrame])
async def test_a_result_without_words_reaches_the_floor_alone(
    kind: type[InterimTranscriptionFrame] | type[TranscriptionFrame], text: str
) -> None:
    floor, heard = Floor(CallerLine()), list[str]()
    floor.listeners.append(lambda event: isinstance(event, WordsCame) and heard.append(event.text))
    turn = Turn(budget_s=1.5)
    opener = WordedTurnOpener(floor, turn=turn, faintness=Faintness(), clock=time.monotonic)
    async with running(opener) as bench:
        await bench.put(VADUserStartedSpeakingFrame(), kind(text, "", AT), kind("Hello", "", AT))
        await bench.first(kind)

    assert [frame.text for frame in bench.all(kind)] == ["Hello"]
    assert heard == [text, "Hello"]


async def test_an_interim_result_after_the_turn_is_no_new_speech() -> None:
    turn, floor = Turn(budget_s=1.5), Floor(CallerLine())
    opener = WordedTurnOpener(floor, turn=turn, faintness=Faintness(), clock=time.monotonic)
    async with running(opener) as bench:
        for speaks, text in ((True, "One"), (False, "late"), (True, "Two")):
            await bench.put(VAD[speaks]())
            await until(lambda speaks=speaks: floor.caller_speaking is speaks)
            await bench.put(InterimTranscriptionFrame(text, "", AT))
            await asyncio.sleep(0.1)
        await bench.put(VADUserStoppedSpeakingFrame(), TranscriptionFrame("Three", "", AT))
        await bench.first(TranscriptionFrame)

    assert [frame.text for frame in bench.all(InterimTranscriptionFrame)] == ["One", "Two"]
    assert floor.worded
