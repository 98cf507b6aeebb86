"""The menu's words, recognised on this machine."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr

from processors.holding.menu_rules import PHRASES
from providers import menu_ear
from providers.menu_ear import DATA, MAX_FAILURES, MenuEar
from providers.sphinx_ear import Ear
from tests.lab.simulators import synthetic_caller as caller

PHONE_HZ = 8000
WAIT_S = 10.0  # for a process on a busy machine


@pytest.fixture
async def ear() -> AsyncIterator[MenuEar]:
    found = MenuEar()
    yield found
    await found.close()


def utterance(
    text: str, *, voice: str = "american", rate_hz: int = PHONE_HZ, behind_s: float = 0.25
) -> bytes:
    """Return a caller's words as they are cut out of the line: silence around, and its noise."""
    spoken = caller.silence(0.4) + caller.say(text, voice=voice) + caller.silence(behind_s)
    samples = np.frombuffer(caller.mixed_with_noise(spoken, snr_db=30), "<i2")
    return bytes(soxr.resample(samples, 16_000, rate_hz).astype("<i2").tobytes())


def process_of(ear: MenuEar) -> Any:
    return ear._process._process


async def test_without_its_package_no_word_is_expected_and_no_process_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(menu_ear, "is_installed", lambda: False)
    ear = MenuEar()
    await ear.warm()

    assert not ear.usable
    assert process_of(ear) is None


def test_the_grammar_holds_only_the_meaningful_phrases() -> None:
    text = (DATA / "menu_words.gram").read_text().split("=", maxsplit=1)[1].replace(";", "")

    assert {word.strip().replace("_", " ") for word in text.split("|")} == set(PHRASES)


ANSWERS = ("callback", "message", "person", "one", "two", "zero", "yes", "no")


SAID = [
    (text, voice) for text in ANSWERS for voice in caller.VOICES if len(text + voice) % 2
]  # about half of the pairs: each word and each voice


@pytest.mark.parametrize(
    ("rate_hz", "behind_s", "missed"),
    [(PHONE_HZ, 0.25, 2), (24_000, 0.25, 1), (PHONE_HZ, 0.15, 2)],
    ids=["telephone", "browser", "cut off soon after their end"],
)
async def test_the_words_of_the_menu_are_heard(
    ear: MenuEar, rate_hz: int, behind_s: float, missed: int
) -> None:
    async with asyncio.timeout(2 * WAIT_S):
        heard = [
            await ear.understand(
                utterance(text, voice=voice, rate_hz=rate_hz, behind_s=behind_s), rate_hz
            )
            for text, voice in SAID
        ]

    wrong = [(*each, got) for each, got in zip(SAID, heard, strict=True) if each[0] != got]
    assert len(wrong) <= missed, wrong


async def test_other_speech_and_noise_are_not_recognised_as_one_of_them(ear: MenuEar) -> None:
    other = ("I would like to book an appointment.", "Where are you?", "Tomorrow at three o'clock.")
    sounds = [utterance(text) for text in other]
    sounds += [caller.noise(1.0, rms=rms, rate_hz=PHONE_HZ) for rms in (0.0, 100.0, 1000.0, 6000.0)]

    async with asyncio.timeout(2 * WAIT_S):
        assert [await ear.understand(sound, PHONE_HZ) for sound in sounds] == [""] * len(sounds)


async def test_simultaneous_calls_each_get_their_own_word(ear: MenuEar) -> None:
    asked = ["zero", "two", "one", "yes"]

    async with asyncio.timeout(WAIT_S):
        heard = await asyncio.gather(*(ear.understand(utterance(name), PHONE_HZ) for name in asked))

    assert heard == asked


async def test_an_abandoned_answer_is_not_taken_for_the_next_one(
    ear: MenuEar,
) -> None:
    await ear.warm()
    gone = asyncio.create_task(ear.understand(utterance("callback"), PHONE_HZ))
    await asyncio.sleep(0.02)
    gone.cancel()
    await asyncio.wait([gone])

    async with asyncio.timeout(WAIT_S):
        assert await ear.understand(utterance("two"), PHONE_HZ) == "two"


async def test_a_process_that_died_is_started_again(ear: MenuEar) -> None:
    await ear.warm()
    os.kill(process_of(ear).pid, signal.SIGKILL)
    await process_of(ear).wait()

    async with asyncio.timeout(WAIT_S):
        first = await ear.understand(utterance("callback"), PHONE_HZ)
        second = await ear.understand(utterance("callback"), PHONE_HZ)

    assert (first, second) == ("", "callback")
    assert ear.usable


async def test_a_machine_that_cannot_recognise_reports_it_and_is_not_asked_endlessly(
    tmp_path: Path,
) -> None:
    broken = tmp_path / "broken.gram"
    broken.write_text("this is no grammar")
    ear = MenuEar(Ear(rate_hz=16_000, jsgf=str(broken)))

    async with asyncio.timeout(WAIT_S):
        for _ in range(MAX_FAILURES):
            assert ear.usable
            assert await ear.understand(utterance("two"), PHONE_HZ) == ""

    assert not ear.usable
    assert process_of(ear) is None
