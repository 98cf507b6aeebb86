"""The VAD gets sound in pieces that it can use, each as early as before."""

import asyncio
from pathlib import Path

import pytest
from pipecat.audio.vad.vad_analyzer import VADState
from pipecat.frames.frames import InputAudioRawFrame, TextFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.tests.utils import run_test

from bot.call.models import VoiceModels
from calls.line import CallerLine
from configuration.settings import TurnSettings
from lab.recording import read_recording
from processors.turn.floor import Floor
from processors.turn.sound_path import QUIET_WINDOWS, SoundEnd, SoundWindows

pytestmark = pytest.mark.virtual_time

CALLERS = Path(__file__).parents[2] / "fixtures" / "callers"
SPEECH = {VADState.SPEAKING, VADState.STOPPING}
PIECE_BYTES = {8000: 320, 16_000: 640}  # of 20 ms
WINDOW_BYTES = {8000: 512, 16_000: 1024}


def pieces(rate_hz: int, count: int) -> list[InputAudioRawFrame]:
    size = PIECE_BYTES[rate_hz]
    return [
        InputAudioRawFrame(bytes([n % 256]) * size, sample_rate=rate_hz, num_channels=1)
        for n in range(count)
    ]


async def gathered(sent: list[InputAudioRawFrame]) -> list[bytes]:
    heard: list[bytes] = []
    end = SoundEnd(lambda frame: heard.append(frame.audio))
    way = Pipeline([SoundWindows(Floor(CallerLine())), end])
    async with asyncio.timeout(10.0):
        await run_test(way, frames_to_send=[*sent, TextFrame("the end")])
    return heard


@pytest.mark.parametrize("rate_hz", [8000, 16_000])
async def test_every_window_is_complete_as_soon_as_its_last_piece_came(rate_hz: int) -> None:
    sent = pieces(rate_hz, 40)
    came, complete = 0, set[int]()
    for piece in sent:  # after how much sound the VAD could compute, piece by piece
        before, came = came, came + len(piece.audio)
        if came // WINDOW_BYTES[rate_hz] > before // WINDOW_BYTES[rate_hz]:
            complete.add(came)

    heard = await gathered(sent)

    reached = [sum(map(len, heard[: n + 1])) for n in range(len(heard))]
    assert set(reached) == complete


async def test_no_sample_is_lost_or_moved_and_five_pieces_replace_eight() -> None:
    sent = pieces(8000, 80)

    heard = await gathered(sent)

    assert b"".join(heard) == b"".join(piece.audio for piece in sent)
    assert len(heard) == 50


async def gathered_in_silence(floor: Floor, count: int) -> list[bytes]:
    heard: list[bytes] = []
    end = SoundEnd(lambda frame: heard.append(frame.audio))
    way = Pipeline([SoundWindows(floor, quiet=lambda: True), end])
    async with asyncio.timeout(10.0):
        await run_test(way, frames_to_send=[*pieces(8000, count), TextFrame("the end")])
    return heard


async def test_in_silence_several_windows_are_passed_together() -> None:
    heard = await gathered_in_silence(Floor(CallerLine()), 64)

    assert len(heard) == 64 * PIECE_BYTES[8000] // (QUIET_WINDOWS * WINDOW_BYTES[8000])


@pytest.mark.parametrize("speaking", [True, False])
async def test_while_a_turn_waits_for_its_end_windows_are_passed_one_by_one(
    speaking: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    floor = Floor(CallerLine())
    if speaking:
        floor.caller_started(0.0)
    else:
        floor.turn_began()

    assert len(await gathered_in_silence(floor, 8)) == 5


async def test_each_piece_is_passed_on_at_once() -> None:
    heard: list[InputAudioRawFrame] = []
    sent = pieces(8000, 7)
    async with asyncio.timeout(10.0):
        await run_test(
            Pipeline(
                [
                    SoundWindows(Floor(CallerLine()), quiet=lambda: True, hear=heard.append),
                    SoundEnd(),
                ]
            ),
            frames_to_send=[*sent, TextFrame("the end")],
        )

    assert heard == sent


@pytest.mark.parametrize(("name", "rate_hz"), [("06_pause", 8000), ("05_noise_10db", 16_000)])
async def test_speech_begins_and_ends_at_the_same_piece_as_without(name: str, rate_hz: int) -> None:
    models = await asyncio.to_thread(VoiceModels.load)
    sound = read_recording(CALLERS / f"{name}.wav", rate_hz=rate_hz).samples.astype("<i2").tobytes()
    size = PIECE_BYTES[rate_hz]
    sent = [
        InputAudioRawFrame(sound[at : at + size], sample_rate=rate_hz, num_channels=1)
        for at in range(0, len(sound) - size, size)
    ]
    plain, gathering = models.vad(TurnSettings()), models.vad(TurnSettings())
    for item in (plain, gathering):
        item.set_sample_rate(rate_hz)
    windows = SoundWindows(Floor(CallerLine()), quiet=lambda: gathering.quiet)
    states = [VADState.QUIET]
    end = SoundEnd(lambda frame: states.append(gathering._run_analyzer(frame.audio)))
    windows.link(end)
    windows._flows = end._flows = True

    expected: list[bool] = []
    noticed: list[bool] = []
    for piece in sent:
        expected.append(plain._run_analyzer(piece.audio) in SPEECH)
        await windows.queue_frame(piece)
        noticed.append(states[-1] in SPEECH)

    assert noticed == expected
    assert True in noticed
