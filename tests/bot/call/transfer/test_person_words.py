"""A person's yes and no, spoken by the lab's caller and recognised on this machine."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from bot.call.models import VoiceModels
from bot.call.transfer.person_leg import PersonWords
from configuration.settings import TurnSettings
from lab.callers import caller_says
from processors.holding.menu_rules import Consent
from providers.menu_ear import MenuEar
from tests.processors.ladder.owner import Owner

Pcm: TypeAlias = NDArray[np.int16]
RATE_HZ = 8000
PIECE = 160
QUESTION_S = 1.0
LISTENED_S = 3.0  # of sound; the words are over by then


def silence(length_s: float) -> Pcm:
    return np.zeros(round(length_s * RATE_HZ), np.int16)


class HeldEar:
    """The real ear, which understands nothing while it is held."""

    usable = True

    def __init__(self) -> None:
        self._ear = MenuEar()
        self.free = asyncio.Event()
        self.free.set()
        self.warm = self._ear.warm
        self.close = self._ear.close

    async def understand(self, pcm: bytes, rate_hz: int) -> str:
        await self.free.wait()
        return await self._ear.understand(pcm, rate_hz)


class Leg:
    """A person's side: their words, and the recognised answers."""

    def __init__(self, words: PersonWords, ear: HeldEar) -> None:
        self.words = words
        self.ear = ear
        self.answers: list[Consent] = []

    async def says(self, text: str, *, then_s: float = LISTENED_S) -> None:
        """Say something, with silence after it."""
        await self.line_brings(np.concatenate([caller_says(text), silence(then_s)]))

    async def line_brings(self, line: Pcm) -> None:
        for at in range(0, line.size, PIECE):
            await self.words.hear(line[at : at + PIECE].tobytes(), RATE_HZ)
            await asyncio.sleep(0)

    async def understood(self) -> list[Consent]:
        """Return the answers, once the ear has finished."""
        for _ in range(3):  # one at a time, in order: it is warmed up, then it hears the words
            await self.ear.understand(b"", RATE_HZ)
            await asyncio.sleep(0.05)
        return self.answers


@pytest.fixture
async def leg() -> AsyncIterator[Leg]:
    ear = HeldEar()
    speech = (await asyncio.to_thread(VoiceModels.load)).vad(TurnSettings())
    words = PersonWords(ear, speech, clock=time.monotonic)
    found = Leg(words, ear)
    owner: Any = Owner()
    words.start(owner, found.answers.append)
    await found.line_brings(silence(QUESTION_S))
    yield found
    await words.stop()
    await ear.close()


SAID = {
    "Yes.": [Consent.YES],
    "No.": [Consent.NO],
    "One.": [],  # digits count only as keys
    "You have reached the billing office. Please leave a message after the tone.": [],
}


async def test_only_a_yes_and_a_no_are_understood(leg: Leg) -> None:
    for said, answers in SAID.items():
        leg.answers.clear()
        leg.words.listen(on=True)
        await leg.says(said)

        assert await leg.understood() == answers, said
        leg.words.listen(on=False)
        await leg.line_brings(silence(QUESTION_S))


async def test_an_answer_before_the_end_of_the_question_or_begun_before_it_does_not_count(
    leg: Leg,
) -> None:
    await leg.says("Yes.")
    await leg.says("Yes, I", then_s=0.0)
    leg.words.listen(on=True)
    await leg.line_brings(silence(LISTENED_S))

    assert await leg.understood() == []


async def test_an_answer_that_is_understood_after_the_next_question_began_is_dropped(
    leg: Leg,
) -> None:
    leg.ear.free.clear()
    leg.words.listen(on=True)
    await leg.says("Yes.")
    leg.words.listen(on=False)
    leg.ear.free.set()

    assert await leg.understood() == []


async def test_an_answer_interrupted_by_the_next_question_does_not_spoil_the_next(leg: Leg) -> None:
    leg.words.listen(on=True)
    await leg.says("Yes, I think", then_s=0.0)
    leg.words.listen(on=False)
    await leg.line_brings(silence(QUESTION_S))
    await leg.understood()  # in the time that the question takes
    leg.words.listen(on=True)
    await leg.says("No, thank you.")

    assert await leg.understood() == [Consent.NO]
