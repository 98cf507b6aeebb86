"""The lab's callers: their audio, and the answers that they expect."""

import functools
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.line import LineEcho
from lab.simulators.carrier.rest import CarrierRest
from lab.simulators.carrier.webhook import (
    AgentServer,
    CallInstructions,
    NotConnectedError,
    PhoneCall,
    follow,
    ring,
    start_message,
)
from lab.simulators.ears.heard import RecognisedWord
from lab.simulators.ears.known import KnownUtterance
from lab.simulators.mulaw import decode, encode
from lab.simulators.receptionist.receptionist import reply
from lab.simulators.register.simulator import KnownPerson, RegisterSimulator
from lab.simulators.voices.voices import WORD_PAUSE_S, speak_now, voice_of, word_sound

__all__ = [
    "RATE_HZ",
    "WORD_PAUSE_S",
    "AgentServer",
    "CallInstructions",
    "Callee",
    "Carrier",
    "CarrierRest",
    "KnownPerson",
    "KnownUtterance",
    "LineEcho",
    "NotConnectedError",
    "PhoneCall",
    "RegisterSimulator",
    "decode",
    "encode",
    "follow",
    "ring",
    "start_message",
]

Pcm: TypeAlias = NDArray[np.int16]

RATE_HZ: Final = 8000  # of a telephone
CALLER: Final = "a caller"  # a voice that none of the lab's providers has
HISS_RMS: Final = 10.0  # of 32768: the hiss that every line has


def caller_says(text: str) -> Pcm:
    """Return a caller's words as audio at 8000 Hz, with line noise, without silence after them.

    The same words again differ by a few samples; see `says_again`.
    """
    speech = speak_now(text, voice=voice_of(CALLER), rate_hz=RATE_HZ)
    loud = np.flatnonzero(np.abs(speech.samples.astype(np.int32)) > 300)
    return hiss(speech.samples[: int(loud[-1]) + 1])


@functools.cache
def says_again(text: str) -> Pcm:
    """Return a caller's words as audio that is the same each time, for recognisers that know it."""
    return caller_says(text)


def hiss(samples: Pcm) -> Pcm:
    """Return samples with line noise added."""
    floor = np.random.default_rng(7).normal(0, HISS_RMS, samples.size)
    return (samples + floor).clip(-32768, 32767).astype(np.int16)


def noise(length_s: float) -> Pcm:
    """Return street noise: loud enough to be taken for speech."""
    dice = np.random.default_rng(11)
    rough = np.convolve(dice.normal(0, 1, round(length_s * RATE_HZ)), np.ones(6) / 6, mode="same")
    return (rough / np.abs(rough).max() * 9000).astype(np.int16)


def answers(questions: list[str], *, greeting: str) -> list[str]:
    """Return the receptionist's answers to these questions, asked one after the other.

    Raises:
        ValueError: An answer needs a tool, so it is not only words.
    """
    messages: list[dict[str, Any]] = [{"role": "assistant", "content": greeting}]
    given: list[str] = []
    for question in questions:
        messages.append({"role": "user", "content": question})
        answer = reply(messages)
        if answer.calls or not answer.text:
            raise ValueError(f"the answer to {question!r} needs a tool")
        messages.append({"role": "assistant", "content": answer.text})
        given.append(answer.text)
    return given


def pauses(text: str, *, instance: str) -> tuple[float, ...]:
    """Return the silence after each word of a text in an instance's voice, in seconds.

    The text must have a word.
    """
    words = speak_now(text, voice=voice_of(instance), rate_hz=RATE_HZ).words
    ends = [*(word.start_s for word in words[1:]), words[-1].end_s]
    return tuple(max(0.0, until - word.end_s) for word, until in zip(words, ends, strict=True))


def spoken_s(text: str) -> float:
    """Return how long a text takes, without pauses, in the faster of the lab's voices."""
    return min(_sound_length_s(text, name) for name in ("cartesia", "elevenlabs"))


@functools.cache
def _sound_length_s(text: str, instance: str) -> float:
    words = speak_now(text, voice=voice_of(instance), rate_hz=RATE_HZ).words
    return sum(word.end_s - word.start_s for word in words)


def known(text: str, samples: Pcm) -> KnownUtterance:
    """Return an utterance for a lab whose recognisers look it up.

    Args:
        text: The words; each gets a share of the sound by its letters.
        samples: 8000 Hz.
    """
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 300)
    begin_s, until_s = (int(loud[0]) / RATE_HZ, int(loud[-1] + 1) / RATE_HZ)
    words = text.lower().replace("?", "").replace(".", "").replace(",", "").split()
    edges = np.cumsum([0, *map(len, words)]) / sum(map(len, words))
    times = begin_s + edges * (until_s - begin_s)
    return KnownUtterance(
        samples=decode(encode(samples)),
        words=tuple(
            RecognisedWord(text=word, start_s=float(a), end_s=float(b), confidence=0.98)
            for word, a, b in zip(words, times[:-1], times[1:], strict=True)
        ),
    )


def sound_of(word: str, *, instance: str) -> Pcm:
    """Return a word's sound on the telephone, from a voice that speaks word by word."""
    voice = voice_of(instance, word_by_word=True)
    return decode(encode(word_sound(word, voice=voice, rate_hz=RATE_HZ)))
