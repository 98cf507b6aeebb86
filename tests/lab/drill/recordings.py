"""Recordings of what a caller hears, made of sound that the lab's voices would send."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lab.drill.hearing import Sent
from lab.drill.judge import ExpectedWords, ReplyVerdict, judge
from lab.simulators import mulaw
from lab.simulators.voices.voices import Speech, speak_now, voice_of

Pcm = NDArray[np.int16]

RATE_HZ = 8000
PRICE = (
    "A haircut costs forty euros. It takes about half an hour, and you can pay by card or in cash"
    " on the day."
)
HOURS = (
    "We open at nine. From Monday to Friday we are here until six in the evening, on Saturday"
    " from ten in the morning until two, and on Sunday we are closed."
)
LEAD_S = 1.0  # of silence before the reply; the caller stopped at its beginning


@functools.cache
def speech(text: str, voice: str) -> Speech:
    return speak_now(text, voice=voice_of(voice), rate_hz=RATE_HZ)


def sent(text: str, voice: str = "cartesia", *, request: int = 1) -> list[Sent]:
    """Return the words of a request as the lab's record has them."""
    spoken = speech(text, voice)
    return [
        Sent(
            text=word.text,
            provider=voice,
            request=request,
            start_s=word.start_s,
            end_s=word.end_s,
            samples=spoken.samples[spoken.index(word.start_s) : spoken.index(word.end_s)],
        )
        for word in spoken.words
    ]


def silence(length_s: float) -> Pcm:
    return np.zeros(round(length_s * RATE_HZ), np.int16)


@dataclass(frozen=True)
class Reply:
    """A possible reply, and the sound that the voices have sent for it."""

    recording: Pcm
    sent: tuple[Sent, ...]
    text: str = PRICE

    def judged(self) -> ReplyVerdict:
        pauses = [0.0] * len(self.text.split())
        said = ExpectedWords(text=self.text, pauses=pauses)
        return judge(self.recording, self.sent, said=said, stop_s=0.0)

    def span(self, index: int) -> tuple[int, int]:
        """Return where a word is in the recording of a whole reply."""
        word = self.sent[index]
        first = round(LEAD_S * RATE_HZ)
        return first + round(word.start_s * RATE_HZ), first + round(word.end_s * RATE_HZ)

    def heard_as(self, *parts: Pcm) -> "Reply":
        return replace(self, recording=np.concatenate(parts))


def whole_reply(text: str = PRICE, voice: str = "cartesia") -> Reply:
    samples = speech(text, voice).samples
    recording = line(silence(LEAD_S), samples, silence(1.0))
    return Reply(recording=recording, sent=tuple(sent(text, voice)), text=text)


def line(*parts: Pcm) -> Pcm:
    """Return sound as it comes out of a telephone: coded and decoded."""
    return mulaw.decode(mulaw.encode(np.concatenate(parts)))


def taken_over(
    after: int, *, gap_s: float = 0.0, voices: Sequence[str] = ("cartesia", "elevenlabs")
) -> Reply:
    """Return a reply whose first voice was cut after some words and whose second continued."""
    first, second = voices
    rest = " ".join(PRICE.split()[after:])
    before = speech(PRICE, first)
    heard = before.samples[: before.index(before.words[after - 1].end_s)]
    recording = line(
        silence(LEAD_S), heard, silence(gap_s), speech(rest, second).samples, silence(1.0)
    )
    words = (*sent(PRICE, first)[:after], *sent(rest, second, request=7))
    return Reply(recording=recording, sent=words)
