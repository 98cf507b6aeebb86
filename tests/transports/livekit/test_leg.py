"""The LiveKit leg on a fake line: held and dropped sound, and its events."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    TextFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.utils.text.base_text_aggregator import TextType
from pipecat.workers.runner import WorkerRunner
from pydantic import SecretStr

from calls.events import Event
from tests.transports.exchange import SECRET
from tests.transports.passed_words import PassedWords
from transports.livekit.dialling import CALLEE
from transports.livekit.leg import LivekitLeg
from transports.livekit.line import LivekitLine
from transports.livekit.room import RoomPlace
from transports.livekit.room_watch_rules import RoomWatch
from transports.livekit.rooms import LivekitRooms
from transports.livekit.words import CLIENT_INITIATED, USER_REJECTED, party_of
from transports.parked import ParkedCall

RATE_HZ = 8_000
PIECE_S = 0.02
GUARD_S = 5.0
SOUND = b"\x10\x20" * round(RATE_HZ * PIECE_S)


class StillSource:
    """Accepts sound and reports how much of it is queued: all of the last 0.2 s."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    @property
    def queued_duration(self) -> float:
        return min(0.2, len(self.taken) * PIECE_S)

    async def capture_frame(self, frame: Any) -> None:
        self.taken.append(bytes(frame.data))

    async def wait_for_playout(self) -> None:
        """The queue is empty."""


class StillLine:
    """A line without events of its own."""

    def __init__(self) -> None:
        self.clock = asyncio.get_running_loop().time
        self.source = StillSource()
        self.party = party_of("sip_1", {"sip.callID": "SCL_1"})
        self.left_reason = 0
        self.sent_away = False
        self.sound = None
        self.usable, self.answered = asyncio.Event(), asyncio.Event()
        self.on_sound = self.on_key = self.on_restored = lambda _: None
        self.on_lost = lambda: None
        self.stay = RoomWatch(0.0)
        self.place = SimpleNamespace(room="call-1")
        self.closed = False
        self.hushed = 0

    def hush(self) -> None:
        self.hushed += 1

    async def close(self) -> None:
        self.closed = True


def leg_on(line: StillLine, told: list[Event]) -> LivekitLeg:
    return LivekitLeg(line, emit=told.append)  # type: ignore[arg-type] - a stand-in


async def run(leg: LivekitLeg, worker: PipelineWorker) -> None:
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


def worker_of(
    leg: LivekitLeg, *between: FrameProcessor, after: Sequence[FrameProcessor] = ()
) -> PipelineWorker:
    return PipelineWorker(
        Pipeline([leg.input(), *between, leg.output(), *after]),
        params=PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ),
        enable_rtvi=False,
        cancel_runner_on_idle_timeout=False,
        idle_timeout_secs=None,
    )


def speech(length_s: float) -> OutputAudioRawFrame:
    return OutputAudioRawFrame(
        audio=SOUND * round(length_s / PIECE_S), sample_rate=RATE_HZ, num_channels=1
    )


@pytest.mark.virtual_time
async def test_current_speech_waits_for_a_lost_server_and_continues() -> None:
    line = StillLine()
    leg = leg_on(line, [])
    worker = worker_of(leg)
    failures: list[object] = []

    async def failed(_: object, frame: object) -> None:
        failures.append(frame)

    worker.add_event_handler("on_pipeline_error", failed)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run(leg, worker))
        await worker.queue_frame(speech(1.0))
        await asyncio.sleep(25.0)
        before = len(line.source.taken)
        line.usable.set()
        await worker.queue_frame(EndFrame())

    assert before == 0
    assert len(line.source.taken) == 50
    assert not failures


class FarSound:
    """Sound of the far end, one piece each `PIECE_S`, for ever."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __aiter__(self) -> "FarSound":
        return self

    async def __anext__(self) -> Any:
        await asyncio.sleep(PIECE_S)
        return SimpleNamespace(frame=SimpleNamespace(data=SOUND))

    async def aclose(self) -> None: ...


class Hearing(FrameProcessor):
    """Counts what the far end sent."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces, self.keys = 0, ""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.pieces += isinstance(frame, InputAudioRawFrame)
        self.keys += frame.button.value if isinstance(frame, InputDTMFFrame) else ""
        await self.push_frame(frame, direction)


@pytest.mark.virtual_time
async def test_sound_and_keys_before_the_answer_are_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rtc, "AudioStream", FarSound)
    line, hearing = StillLine(), Hearing()
    line.sound = object()  # type: ignore[assignment] - early media: it is offered while it rings
    leg = leg_on(line, [])
    worker = worker_of(leg, hearing)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run(leg, worker))
        await asyncio.sleep(2.0)
        line.on_key("1")
        await asyncio.sleep(0.1)
        ringing = hearing.pieces, hearing.keys
        line.answered.set()
        line.on_key("2")
        await asyncio.sleep(1.0)
        await worker.queue_frame(EndFrame())

    assert ringing == (0, "")
    assert hearing.pieces == pytest.approx(1.0 / PIECE_S, abs=2)
    assert hearing.keys == "2"


@pytest.mark.parametrize(
    ("answered", "left_reason", "outcome"),
    [
        (True, 0, "completed"),
        (True, CLIENT_INITIATED, "completed"),
        (False, 0, "cancelled"),
        (False, USER_REJECTED, "busy"),
    ],
    ids=["we hung up", "the caller did", "we gave up ringing", "refused"],
)
async def test_a_leg_that_we_end_is_reported_once(
    *, answered: bool, left_reason: int, outcome: str
) -> None:
    line, told = StillLine(), list[Event]()
    leg = leg_on(line, told)
    if answered:
        line.answered.set()
    line.left_reason = left_reason

    await leg.hang_up("agent_hung_up")
    await leg.hang_up("agent_hung_up")

    (ended,) = told
    assert getattr(ended, "outcome", None) == outcome
    assert line.closed


async def test_a_line_is_left_whatever_happens_to_its_room() -> None:
    rooms = LivekitRooms(
        url="ws://127.0.0.1:9",
        api_key=SecretStr("key"),
        api_secret=SecretStr(SECRET),
        server_id="ours",
    )
    await rooms.close()  # requested anyway, as by our own mistake
    line = StillLine()
    leg = LivekitLeg(line, emit=list[Event]().append, rooms=rooms)  # type: ignore[arg-type]

    with pytest.raises(RuntimeError, match="closed"):
        await leg.hang_up("caller_hung_up")

    assert line.closed


@pytest.mark.parametrize(
    ("sent_away", "left_reason", "closes"),
    [
        (False, 0, True),
        (False, CLIENT_INITIATED, True),
        (True, 0, False),
        (True, CLIENT_INITIATED, True),
    ],
    ids=["we end the call", "the caller did", "the server sent us away", "after the caller left"],
)
async def test_a_room_is_closed_unless_the_server_sent_us_away(
    *, sent_away: bool, left_reason: int, closes: bool
) -> None:
    closed: list[str] = []

    async def delete(room: str) -> None:
        closed.append(room)

    line = StillLine()
    line.sent_away, line.left_reason = sent_away, left_reason
    line.stay.line_ended()  # also if the room had too many events: its caller is still there
    rooms = SimpleNamespace(delete=delete)
    leg = LivekitLeg(line, emit=list[Event]().append, rooms=rooms)  # type: ignore[arg-type]
    await leg.hang_up("line_ended")

    assert closed == ["call-1"] * closes


@pytest.mark.parametrize("cut_off", [False, True])
async def test_a_room_stays_open_if_neither_line_nor_store_says_whose_the_call_is(
    *, cut_off: bool
) -> None:
    closed: list[str] = []

    async def delete(room: str) -> None:
        closed.append(room)

    async def epoch(token: str) -> int:
        raise LookupError(token)

    line = StillLine()
    leg = LivekitLeg(
        line,  # type: ignore[arg-type]
        emit=list[Event]().append,
        rooms=SimpleNamespace(delete=delete),  # type: ignore[arg-type]
    )
    leg.parked = ParkedCall(SimpleNamespace(epoch=epoch), "parked c")  # type: ignore[arg-type]
    if cut_off:
        line.stay.line_lost(1.0)
    await leg.hang_up("connection_lost")

    assert closed == ([] if cut_off else ["call-1"])


def line_to_nowhere() -> LivekitLine:
    """Return a line of the real kind that has never been in a room."""
    place = RoomPlace(url="ws://127.0.0.1:1", room="call-1", token=str)
    return LivekitLine(place, clock=asyncio.get_running_loop().time)


@pytest.mark.parametrize(
    ("identity", "direction", "caller", "called"),
    [
        (CALLEE, "outbound", "+15550100", "+15550142"),
        ("sip_+15550142", "inbound", "+15550142", "+15550100"),
    ],
)
async def test_a_leg_has_both_parties(
    identity: str, direction: str, caller: str, called: str
) -> None:
    line = StillLine()
    numbers = {"sip.phoneNumber": "+15550142", "sip.trunkPhoneNumber": "+15550100"}
    line.party = party_of(identity, {"sip.callID": "SCL_1", **numbers})

    facts = leg_on(line, []).facts

    assert (facts.direction, facts.caller, facts.called) == (direction, caller, called)
    assert facts.other_party == "+15550142"


async def test_a_leg_ends_if_its_line_was_left_before_it_was_cancelled() -> None:
    leg = LivekitLeg(line_to_nowhere(), emit=list[Event]().append)
    worker, through = worker_of(leg), asyncio.Event()

    async def note(_: object, frame: object) -> None:
        through.set()

    worker.add_event_handler("on_frame_reached_downstream", note)
    worker.set_reached_downstream_filter((TextFrame,))
    runs = asyncio.create_task(run(leg, worker))
    await worker.queue_frame(TextFrame("it runs"))
    async with asyncio.timeout(GUARD_S):
        await through.wait()

    await leg.hang_up("person_hung_up")
    await worker.cancel()
    await asyncio.wait({runs}, timeout=GUARD_S)

    assert runs.done()


async def test_a_caller_who_left_before_the_call_began_is_reported_once_it_begins() -> None:
    leg, heard = LivekitLeg(line_to_nowhere(), emit=list[Event]().append), asyncio.Event()
    leg.line.stay.caller_came(0.0)
    leg.line.stay.caller_left(0.1, over="caller_hung_up")  # picked up, and put down at once
    watching = asyncio.create_task(leg.watch())
    await asyncio.sleep(0)

    async def gone(reason: str) -> None:
        assert reason == "caller_hung_up"
        heard.set()

    leg.on_gone(gone)
    await asyncio.wait({watching}, timeout=GUARD_S)

    assert heard.is_set()


@pytest.mark.virtual_time
async def test_an_ended_line_without_a_call_is_not_watched_forever() -> None:
    leg = LivekitLeg(line_to_nowhere(), emit=list[Event]().append)
    leg.line.stay.line_ended()
    async with asyncio.timeout(60):
        await leg.watch()


async def test_a_line_that_we_have_left_is_not_watched() -> None:
    leg = LivekitLeg(line_to_nowhere(), emit=list[Event]().append)
    watching = asyncio.create_task(leg.watch())
    await asyncio.sleep(0)

    await leg.hang_up("declined")
    await asyncio.wait({watching}, timeout=GUARD_S)

    assert watching.done()


async def test_a_legs_events_are_reported_to_its_call_once_there_is_one() -> None:
    pool, call = list[Event](), list[Event]()
    leg = leg_on(StillLine(), pool)

    leg.tell_to(call.append)
    await leg.hang_up("agent_hung_up")

    assert not pool
    assert [type(item).__name__ for item in call] == ["LegEnded"]


WORDS = ("one", "two", "three", "four", "five", "six")
WORD_S = 0.3
PATH_S = 0.02  # from the library's queue to the server


class LiveSource(StillSource):
    """A queue of 0.2 s that is sent in real time, to a server or to none.

    Attributes:
        heard: The pieces that a server got.
    """

    def __init__(self, line: "LiveLine") -> None:
        super().__init__()
        self._line, self._waiting = line, deque[bytes]()
        self.heard: list[bytes] = []

    @property
    def queued_duration(self) -> float:
        return len(self._waiting) * PIECE_S

    async def capture_frame(self, frame: Any) -> None:
        while self.queued_duration >= 0.2:  # noqa: ASYNC110 - as the library waits
            await asyncio.sleep(0.005)
        self._waiting.append(bytes(frame.data))

    async def send(self) -> None:
        while True:
            await asyncio.sleep(PIECE_S)
            if self._waiting:
                asyncio.get_running_loop().call_later(PATH_S, self._arrive, self._waiting.popleft())

    def clear(self) -> None:
        self._waiting.clear()

    def _arrive(self, piece: bytes) -> None:
        if self._line.usable.is_set():
            self.heard.append(piece)


class LiveLine(StillLine):
    """A line whose server can be lost.

    Attributes:
        sure: Returns how many words are known to have been heard.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sure: Callable[[], int] = lambda: 0
        self.source = LiveSource(self)
        self.usable.set()

    def hush(self) -> None:
        self.source.clear()

    async def lose(self, for_s: float) -> None:
        self.usable.clear()
        self.on_lost()
        await asyncio.sleep(for_s)
        self.usable.set()
        self.on_restored(for_s)


def sound_of(word: str) -> bytes:
    """Return a piece of sound that names its word."""
    return bytes([WORDS.index(word) + 1, 0x20]) * round(RATE_HZ * PIECE_S)


async def speak(worker: PipelineWorker) -> None:
    for word in WORDS:
        pieces = sound_of(word) * round(WORD_S / PIECE_S)
        await worker.queue_frame(TTSAudioRawFrame(pieces, RATE_HZ, 1))
        await worker.queue_frame(TTSTextFrame(word, TextType.WORD))
    await worker.queue_frame(TTSStoppedFrame())


def said(source: LiveSource) -> list[tuple[str, int]]:
    """Return the heard words, each with its number of consecutive pieces."""
    words = [WORDS[piece[0] - 1] for piece in source.heard if piece[0]]
    return [(word, len(list(group))) for word, group in groupby(words)]


@asynccontextmanager
async def speaking() -> AsyncIterator[tuple[LiveLine, PipelineWorker]]:
    """Let a sentence of six words be said, one after the other."""
    line = LiveLine()
    leg, passed = leg_on(line, []), PassedWords()
    worker = worker_of(leg, after=[passed])
    line.sure = lambda: passed.count - leg.output().unsure_words
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(line.source.send())
        tasks.create_task(run(leg, worker))
        await speak(worker)
        yield line, worker
        await worker.queue_frame(EndFrame())
        await asyncio.sleep(5)
        sending.cancel()


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("after_s", "lost_for_s"),
    [
        *((after_s, 3.0) for after_s in (0.1, 0.5, 0.95, 1.3, 1.75, 1.9)),
        (0.95, 0.05),
        (0.95, 25.0),
    ],
)
async def test_words_that_a_lost_server_did_not_get_are_repeated_whole(
    after_s: float, lost_for_s: float
) -> None:
    async with speaking() as (line, _):
        await asyncio.sleep(after_s)
        await line.lose(lost_for_s)

    whole = [word for word, pieces in said(line.source) if pieces >= WORD_S / PIECE_S]
    again = [word for at, word in enumerate(whole) if word in whole[:at]]
    assert list(dict.fromkeys(whole)) == list(WORDS)
    assert len(again) <= 1  # the word that had just ended, if any
    assert len(said(line.source)) <= len(WORDS) + 2


@pytest.mark.virtual_time
async def test_a_server_that_is_lost_twice_loses_no_word() -> None:
    async with speaking() as (line, _):
        await asyncio.sleep(0.7)
        await line.lose(2.0)
        await asyncio.sleep(0.1)  # a part of it is written again
        await line.lose(2.0)

    whole = [word for word, pieces in said(line.source) if pieces >= WORD_S / PIECE_S]
    assert list(dict.fromkeys(whole)) == list(WORDS)


@pytest.mark.virtual_time
async def test_a_server_that_is_lost_long_after_the_last_word_repeats_nothing() -> None:
    async with speaking() as (line, _):
        await asyncio.sleep(4.0)
        await line.lose(2.0)

    assert said(line.source) == [(word, round(WORD_S / PIECE_S)) for word in WORDS]


@pytest.mark.virtual_time
async def test_no_word_is_certain_before_the_server_has_all_of_it() -> None:
    async with speaking() as (line, _):
        for _ in range(20):
            await asyncio.sleep(0.1)
            whole = [word for word, pieces in said(line.source) if pieces >= WORD_S / PIECE_S]
            assert line.sure() <= len(whole)
        await asyncio.sleep(1)
        assert line.sure() == len(WORDS)


@pytest.mark.virtual_time
async def test_a_caller_who_barges_in_while_the_server_is_lost_hears_none_of_it_again() -> None:
    async with speaking() as (line, worker):
        await asyncio.sleep(0.7)
        lost = asyncio.ensure_future(line.lose(2.0))
        await asyncio.sleep(1.0)
        await worker.queue_frame(InterruptionFrame())
        await lost
        await asyncio.sleep(1.0)

    assert [word for word, _ in said(line.source)] == ["one", "two", "three"]
