"""A recorded call: its caller is told first, and both sides are aligned in time."""

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from pipecat.frames.frames import TTSSpeakFrame

from bot.call.call_recording import HELD_S, CallRecording
from bot.call.conversation import opening_frames
from calls.events import AgentSaid, AnswerHeard, CallRecorded
from configuration.agent import AgentSettings
from lab.recording import read_recording
from operations.database.database import Database
from operations.record.reader import RecordReader
from operations.record.voicemails import LEFT_S, MessageFile, finish_left
from tests.kit.clock import HandClock
from tests.kit.near import Notes, near_process
from transports.loopback.leg import LoopbackLeg

CALLER = Path(__file__).parents[2] / "fixtures" / "callers" / "01_hours.wav"
NOTICE = "This call is recorded."
RATE_HZ = 8000
PIECE = b"\1\1" * 160  # 20 ms


async def one_call(folder: Path) -> tuple[Notes, LoopbackLeg]:
    caller, told = read_recording(CALLER), Notes()
    tree = {
        "storage": {"url": url_in(folder)},
        "agent": {"recording": {"enabled": True, "notice": NOTICE}},
    }
    async with near_process(folder, told, tree=tree, recorded=True) as process:
        leg = LoopbackLeg(
            np.concatenate([np.zeros(6 * caller.rate_hz, np.int16), caller.samples]),
            sample_rate_hz=caller.rate_hz,
            linger_s=10.0,
            content_s=4.0,
            clock=time.monotonic,
        )
        await process.switchboard.answer(leg, process.call(leg))
    return told, leg


def url_in(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder}/holdline.db"


def voiced_s(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Return the moments of audible sound."""
    return np.flatnonzero(np.abs(samples.astype(np.int32)) > 500) / rate_hz


@pytest.mark.slow
@pytest.mark.virtual_time
async def test_both_sides_are_recorded_as_heard_after_the_caller_was_told(
    tmp_path: Path,
) -> None:
    told, leg = await one_call(tmp_path)

    (recorded,) = told.of(CallRecorded)
    first, *_ = told.of(AgentSaid)
    assert first.text.startswith(NOTICE)
    samples, rate_hz = soundfile.read(recorded.path, dtype="int16")
    caller, agent = samples[:, 0], samples[:, 1]
    asked, answered = voiced_s(caller, rate_hz), voiced_s(agent, rate_hz)
    (answer,) = told.of(AnswerHeard)
    gap_s = answered[answered > asked[-1]][0] - asked[-1]
    assert gap_s == pytest.approx(answer.v2v_s, abs=0.1)
    heard = leg.line.heard()
    assert voiced_s(heard, rate_hz).size == pytest.approx(answered.size, rel=0.01)
    async with Database(url_in(tmp_path)) as database:
        (row,) = await RecordReader(database).calls()
    assert row.recording == recorded.path
    assert row.length_s == pytest.approx(len(samples) / rate_hz, abs=3.0)


@pytest.mark.parametrize(
    ("recording", "spoken"),
    [
        ({}, ["We record nothing.", "Hello"]),
        ({"enabled": True, "notice": NOTICE}, ["We record nothing.", NOTICE, "Hello"]),
    ],
)
def test_the_notice_is_spoken_before_the_greeting_where_calls_are_recorded(
    recording: dict[str, Any], spoken: list[str]
) -> None:
    agent = AgentSettings.model_validate(
        {"greeting": "Hello", "disclosure": "We record nothing.", "recording": recording}
    )

    frames = [
        opening_frame
        for opening_frame in opening_frames(agent)
        if isinstance(opening_frame, TTSSpeakFrame)
    ]

    assert [frame.text for frame in frames] == spoken
    assert [getattr(frame, "interruptible", True) for frame in frames[:-1]] == [False] * (
        len(spoken) - 1
    )


def test_a_call_that_continues_after_a_lost_line_tells_its_caller_again() -> None:
    agent = AgentSettings.model_validate({"resumed": "Back", "recording": {"enabled": True}})

    frames = opening_frames(agent, resumed="Back")

    assert [getattr(frame, "text", "") for frame in frames] == [NOTICE, "Back"]


def recordings(folder: Path) -> list[Path]:
    return list((folder / "recordings").glob("*"))


async def talk(recording: CallRecording, clock: HandClock, seconds: float) -> None:
    for _ in range(round(seconds * 50)):
        recording.hear_agent(PIECE)
        clock.now += 0.02
        recording.hear_caller(PIECE)
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def record(tmp_path: Path, clock: HandClock) -> Callable[[], CallRecording]:
    path = tmp_path / "recordings" / "c1.wav"
    return lambda: CallRecording(path, rate_hz=RATE_HZ, notice=NOTICE, clock=clock)


async def test_speech_before_the_notice_is_not_recorded(
    record: Callable[[], CallRecording], clock: HandClock, tmp_path: Path
) -> None:
    recording = record()
    for _ in range(100):
        recording.hear_caller(PIECE)
        clock.now += 0.02
    await talk(recording, clock, 3.0)
    recording.note(AgentSaid(turn=0, text=f"{NOTICE} Hello"))
    await recording.close()

    found = soundfile.info(tmp_path / "recordings" / "c1.wav")
    assert (found.channels, found.samplerate, found.duration) == (2, RATE_HZ, 3.0)


async def test_a_sensitive_section_is_silent_on_both_sides(
    clock: HandClock, tmp_path: Path
) -> None:
    path = tmp_path / "recordings" / "c1.wav"
    recording = CallRecording(
        path, rate_hz=RATE_HZ, notice=NOTICE, clock=clock, hides=lambda: 101.0 <= clock.now < 102.0
    )
    recording.note(AgentSaid(turn=0, text=NOTICE))
    await talk(recording, clock, 3.0)
    await recording.close()

    sound, _ = soundfile.read(path)
    tenths = [bool(tenth.any(axis=0).all()) for tenth in sound.reshape(30, -1, 2)]  # of a second
    assert all(tenths[1:9])
    assert not sound[round(1.1 * RATE_HZ) : round(1.9 * RATE_HZ)].any()
    assert all(tenths[21:29])


async def test_without_the_notice_nothing_is_kept_and_memory_is_bounded(
    record: Callable[[], CallRecording], clock: HandClock, tmp_path: Path
) -> None:
    recording = record()
    recording.note(AgentSaid(turn=0, text="One moment, this call is"))
    await talk(recording, clock, HELD_S + 20.0)
    recording.note(AgentSaid(turn=0, text=NOTICE))
    await recording.close()

    assert recording._stereo.waiting_bytes == 0
    assert recordings(tmp_path) == []


async def test_a_notice_in_two_pieces_counts_as_spoken(record: Callable[[], CallRecording]) -> None:
    recording = record()

    assert recording.note(AgentSaid(turn=0, text="Hello. This call")) is None
    assert recording.note(AgentSaid(turn=0, text="is recorded."))
    assert recording.note(AgentSaid(turn=1, text=NOTICE)) is None  # told once


async def test_a_disk_that_refuses_writes_ends_only_the_recording(
    record: Callable[[], CallRecording], clock: HandClock, tmp_path: Path
) -> None:
    (tmp_path / "recordings").touch()
    recording = record()
    recording.note(AgentSaid(turn=0, text=NOTICE))
    await talk(recording, clock, 5.0)
    await recording.close()

    assert recording._lost


def open_in(folder: Path) -> list[str]:
    """Return the files of a folder that this process has open."""
    numbers = Path("/proc/self/fd").iterdir()
    return [name for number in numbers if (name := _shown(number)).startswith(str(folder))]


def _shown(number: Path) -> str:
    try:
        return str(number.readlink())
    except FileNotFoundError:  # of the check itself
        return ""


@pytest.mark.parametrize("taken", [0, 1, 2])
async def test_a_full_disk_leaks_no_descriptor(
    record: Callable[[], CallRecording],
    clock: HandClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    taken: int,
) -> None:
    written: list[bytes] = []
    really_write = os.pwrite

    def fill_up(file: int, content: bytes, at: int) -> int:
        if len(written) >= taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(content)
        return really_write(file, content, at)

    monkeypatch.setattr(os, "pwrite", fill_up)
    recording = record()
    recording.note(AgentSaid(turn=0, text=NOTICE))
    await talk(recording, clock, 5.0)
    await recording.close()

    assert recording._lost
    assert open_in(tmp_path) == []


async def test_a_disk_that_does_not_keep_up_leaks_no_descriptor(
    record: Callable[[], CallRecording],
    clock: HandClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_write, really_write = threading.Event(), os.pwrite

    def hang(file: int, content: bytes, at: int) -> int:
        assert may_write.wait(10.0)
        return really_write(file, content, at)

    monkeypatch.setattr(os, "pwrite", hang)
    recording = record()
    recording.note(AgentSaid(turn=0, text=NOTICE))
    await talk(recording, clock, HELD_S + 5.0)
    may_write.set()
    await recording.close()

    assert recording._lost
    assert [item.name for item in recordings(tmp_path)] == ["c1.wav.part"]
    assert open_in(tmp_path) == []


def test_the_recording_of_a_process_that_died_is_made_whole(tmp_path: Path) -> None:
    file = MessageFile(tmp_path / "c1.wav", rate_hz=RATE_HZ, channels=2)
    file.add(PIECE * 2 + b"\1\1")
    os.utime(tmp_path / "c1.wav.part", (0, 0))

    assert finish_left(tmp_path, utc_s=LEFT_S + 1) == 1

    found = soundfile.info(tmp_path / "c1.wav")
    assert (found.channels, found.frames) == (2, 160)
