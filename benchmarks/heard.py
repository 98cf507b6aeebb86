"""Judges held calls when the run is over: what was heard of each answer, found in the sound itself.

The lab's voices speak word by word, each word always with the same sound, so that nothing but the
recording and the expected words is needed; which provider spoke is found with them.
"""

import base64
import functools
import itertools
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Final

from benchmarks.caller import HeldCall, HeldTurn
from benchmarks.figures import NEVER_S, HeardTurn
from bot.lab.callers import APART_S, RATE_HZ, CarrierEar, sound_of
from drill.hearing import RecordedWord, Sent, heard_words
from drill.judge import compare_words
from drill.places import Pcm
from drill.sound import silence, stretches

VOICES: Final = ("cartesia", "elevenlabs")
POLITE: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCall:
    """What became of a call.

    Attributes:
        number: Of the caller.
        greeting_s: From the ring to its first sound; `NEVER_S`: there was none.
        turns: In order.
        voices: Who spoke the answers, by how many words.
    """

    number: int
    greeting_s: float
    turns: tuple[HeardTurn, ...]
    voices: Mapping[str, int]


def judge_all(calls: Sequence[HeldCall], *, started_at: float) -> list[JudgedCall]:
    """Judge calls, on all cores.

    Args:
        calls: As they were held.
        started_at: Of the run, on the monotonic clock.
    """
    judge = functools.partial(judge_call, started_at=started_at)
    spawned = multiprocessing.get_context("spawn")
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(
        cores, mp_context=spawned, initializer=os.nice, initargs=(POLITE,)
    ) as judges:
        return list(judges.map(judge, calls))


def judge_call(held: HeldCall, *, started_at: float) -> JudgedCall:
    """Judge one call; see `judge_all`."""
    recording = record(held)
    speech = stretches(recording)
    first_s = speech[0][0] + (held.connected_s or 0.0) if speech else NEVER_S
    if held.turns and speech and speech[0][0] > held.turns[0].began_s:
        first_s = NEVER_S  # what was heard first was an answer
    since_s = held.rang_at + (held.connected_s or 0.0) - started_at
    voices: dict[str, int] = {}
    turns = [
        _judge_turn(recording, each, call=held.number, since_s=since_s, voices=voices)
        for each in held.turns
    ]
    return JudgedCall(number=held.number, greeting_s=first_s, turns=tuple(turns), voices=voices)


def record(held: HeldCall) -> Pcm:
    """Return what was heard of a call: what came, played as a telephone plays it."""
    ear = CarrierEar()
    for at_s, what, payload in held.arrivals:
        if what == "media":
            ear.hear(base64.b64decode(payload), at_s)
        else:
            ear.clear(at_s)
    return ear.recording(held.ended_s)


def _judge_turn(
    recording: Pcm, turn: HeldTurn, *, call: int, since_s: float, voices: dict[str, int]
) -> HeardTurn:
    part = recording[round(turn.began_s * RATE_HZ) : round(turn.end_s * RATE_HZ)]
    stop_s = turn.stop_s - turn.began_s
    words = spoken(part, turn.answer)
    missing, extra = compare_words(words, turn.answer)
    speech = stretches(part, from_s=stop_s)
    for each in words:
        voices[each.provider] = voices.get(each.provider, 0) + 1
    return HeardTurn(
        call=call,
        at_s=since_s + turn.stop_s,
        first_word_s=words[0].at_s - stop_s if words else NEVER_S,
        first_sound_s=speech[0][0] - stop_s if speech else NEVER_S,
        gap_s=longest_gap(part, words),
        missing=missing,
        extra=extra,
    )


def spoken(recording: Pcm, answer: str) -> tuple[RecordedWord, ...]:
    """Return the words of an answer that are in a recording, whoever of the voices spoke them.

    The standby's sounds are looked for only where the first voice did not say it all: a word that
    is not there takes longest to be looked for.
    """
    words: tuple[RecordedWord, ...] = ()
    known: list[Sent] = []
    if not stretches(recording):
        return ()
    for voice in VOICES:
        known += _vocabulary(answer, voice)
        words = heard_words(recording, known)
        if compare_words(words, answer) == ((), ()):
            break
    return words


@functools.lru_cache(maxsize=64)
def _vocabulary(answer: str, voice: str) -> tuple[Sent, ...]:
    sounds = {word: sound_of(word, instance=voice) for word in dict.fromkeys(answer.split())}
    return tuple(
        Sent(
            text=word,
            provider=voice,
            request=0,
            start_s=0.0,
            end_s=sound.size / RATE_HZ,
            samples=sound,
        )
        for word, sound in sounds.items()
    )


def longest_gap(recording: Pcm, words: Sequence[RecordedWord]) -> float:
    """Return the longest silence between two words of an answer beyond the voice's own."""
    longest = 0.0
    for word, after in itertools.pairwise(words):
        between_s = silence(recording, word.end_s, after.at_s) if after.at_s > word.end_s else 0.0
        longest = max(longest, between_s - APART_S)
    return max(0.0, longest)


def sounds_of(answers: Sequence[str]) -> dict[str, float]:
    """Return how long each word of some answers sounds, in seconds."""
    words = {word for answer in answers for word in answer.split()}
    return {word: sound_of(word, instance=VOICES[0]).size / RATE_HZ for word in words}
