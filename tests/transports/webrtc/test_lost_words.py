"""Words that a browser missed while its line was lost are repeated, whole."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import pytest
from pipecat.frames.frames import (
    EndFrame,
    InterruptionFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.transport import RawAudioTrack
from pipecat.utils.text.base_text_aggregator import TextType
from pipecat.workers.runner import WorkerRunner

from tests.transports.passed_words import PassedWords
from transports.far_end import Quiet
from transports.webrtc.connection import DOUBT_S, BrowserConnection
from transports.webrtc.output import SAMPLE_RATE_HZ, WebrtcOutput

pytestmark = pytest.mark.virtual_time

WORDS = ("one", "two", "three", "four", "five", "six")
WORD_S = 0.3
TAKEN_S = 0.01  # the track sends at a time


class Browser(BrowserConnection):
    """A browser on a line that can be cut, both ways.

    Attributes:
        heard: The word in each piece that it got.
        sure: Returns how many words are known to have been heard.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.quiet = Quiet(loop.time)
        self.track = RawAudioTrack(SAMPLE_RATE_HZ)
        self.up = True
        self.heard: list[str] = []
        self.passed = PassedWords()
        self.sure: Callable[[], int] = lambda: 0

    def is_connected(self) -> bool:
        return True

    async def listen(self) -> None:
        while True:
            sound = (await self.track.recv()).to_ndarray().ravel()
            if self.up and sound.any():
                self.heard.append(WORDS[int(sound[0]) // 1000 - 1])
            await asyncio.sleep(0)

    async def live(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            if self.up:
                self.quiet.note()

    async def lose(self, for_s: float) -> None:
        self.up = False
        await asyncio.sleep(for_s)
        self.up = True

    @property
    def said(self) -> list[tuple[str, int]]:
        """The heard words, each with its number of consecutive pieces."""
        return [(word, len(list(group))) for word, group in groupby(self.heard)]

    @property
    def whole(self) -> list[str]:
        """The words that were heard from their beginning to their end."""
        return [word for word, pieces in self.said if pieces >= round(WORD_S / TAKEN_S)]


async def nothing(*_: Any) -> None:
    """Ignored."""


@asynccontextmanager
async def speaking() -> AsyncIterator[tuple[Browser, PipelineWorker]]:
    """Let a sentence of six words be said, one after the other."""
    browser = Browser()
    client = SimpleNamespace(
        _webrtc_connection=browser,
        _audio_output_track=browser.track,
        _can_send=lambda: True,
        setup=nothing,
        connect=nothing,
        disconnect=nothing,
    )
    params = TransportParams(
        audio_out_enabled=True, audio_out_10ms_chunks=2, audio_out_end_silence_secs=0
    )
    transport: Any = SimpleNamespace(_params=params, _output_name="browser")
    output = WebrtcOutput(transport, client)  # type: ignore[arg-type] - a stand-in
    worker = PipelineWorker(
        Pipeline([output, browser.passed]),
        params=PipelineParams(audio_out_sample_rate=SAMPLE_RATE_HZ),
        enable_rtvi=False,
        cancel_runner_on_idle_timeout=False,
        idle_timeout_secs=None,
    )
    browser.sure = lambda: browser.passed.count - output.unsure_words
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    async with asyncio.TaskGroup() as tasks:
        far = [tasks.create_task(side) for side in (browser.listen(), browser.live())]
        tasks.create_task(runner.run())
        for number, word in enumerate(WORDS, start=1):
            sound = (number * 1000).to_bytes(2, "little") * round(SAMPLE_RATE_HZ * WORD_S)
            await worker.queue_frame(TTSAudioRawFrame(sound, SAMPLE_RATE_HZ, 1))
            await worker.queue_frame(TTSTextFrame(word, TextType.WORD))
        await worker.queue_frame(TTSStoppedFrame())
        yield browser, worker
        await asyncio.sleep(5)
        await worker.queue_frame(EndFrame())
        await asyncio.sleep(1)
        for side in far:
            side.cancel()


async def test_a_line_that_is_not_lost_repeats_nothing() -> None:
    async with speaking() as (browser, _):
        pass

    assert browser.said == [(word, round(WORD_S / TAKEN_S)) for word in WORDS]


@pytest.mark.parametrize(
    ("after_s", "lost_for_s"),
    [
        *((after_s, 3.0) for after_s in (0.15, 0.5, 0.95, 1.3, 1.75)),
        (0.95, DOUBT_S + 0.1),
        (0.95, 6.0),
    ],
)
async def test_words_that_a_browser_did_not_hear_are_repeated_whole(
    after_s: float, lost_for_s: float
) -> None:
    async with speaking() as (browser, _):
        await asyncio.sleep(after_s)
        await browser.lose(lost_for_s)

    again = len(browser.whole) - len(set(browser.whole))
    assert list(dict.fromkeys(browser.whole)) == list(WORDS)
    assert again <= 1  # the word that had just ended, if any


async def test_a_short_gap_repeats_nothing() -> None:
    async with speaking() as (browser, _):
        await asyncio.sleep(0.5)
        await browser.lose(0.3)

    assert len(browser.said) == len(WORDS)


async def test_a_browser_that_is_lost_long_after_the_last_word_hears_nothing_again() -> None:
    async with speaking() as (browser, _):
        await asyncio.sleep(4.0)
        await browser.lose(3.0)

    assert browser.said == [(word, round(WORD_S / TAKEN_S)) for word in WORDS]


async def test_a_caller_who_barges_in_after_the_line_returned_hears_none_of_it_again() -> None:
    async with speaking() as (browser, worker):
        await asyncio.sleep(0.5)
        await browser.lose(2.0)
        await worker.queue_frame(InterruptionFrame())

    assert set(browser.heard) == {"one", "two"}


async def test_no_word_is_certain_before_the_browser_has_all_of_it() -> None:
    async with speaking() as (browser, _):
        for _ in range(20):
            await asyncio.sleep(0.1)
            assert browser.sure() <= len(browser.whole)
        await asyncio.sleep(1)
        assert browser.sure() == len(WORDS)
