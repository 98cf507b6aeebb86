"""Judges calls after the run: finds the words of each answer in the recordings.

The lab's voices speak word by word, and a word always sounds the same. So the recording and the
expected words are sufficient, and they also show which provider spoke.
"""

import functools
import itertools
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.caller import HeldCall, HeldTurn
from benchmarks.figures import NEVER_S, HeardTurn
from benchmarks.playback import Playback
from lab.callers import RATE_HZ, WORD_PAUSE_S, sound_of
from lab.drill.hearing import RecordedWord, Sent, heard_words
from lab.drill.judge import compare_words
from lab.drill.sound import Pcm, silence, stretches

VOICES: Final = ("cartesia", "elevenlabs")
NICENESS: Final = 10  # of the judging processes
TORN_WORD_S: Final = 0.02  # chosen: a shorter hole in a word is not noticeable


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCall:
    """The verdict on one call.

    Attributes:
        number: The caller's number.
        greeting_s: From the ring to the greeting's first sound; `NEVER_S` without a greeting.
        turns: What was heard of each answer, in order.
        voices: How many words of the answers each voice spoke.
    """

    number: int
    greeting_s: float
    turns: tuple[HeardTurn, ...]
    voices: Mapping[str, int]


def judge_all(calls: Sequence[HeldCall], *, started_at: float) -> list[JudgedCall]:
    """Judge calls, on all cores; return the verdicts in the same order.

    Args:
        calls: The recorded calls.
        started_at: The run's start, on the monotonic clock.
    """
    judge = functools.partial(judge_call, started_at=started_at)
    spawned = multiprocessing.get_context("spawn")
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(
        cores, mp_context=spawned, initializer=os.nice, initargs=(NICENESS,)
    ) as judges:
        return list(judges.map(judge, calls))


def judge_call(held: HeldCall, *, started_at: float) -> JudgedCall:
    """Judge one call; see `judge_all`."""
    sound = playback(held)
    speech = stretches(sound.played)
    first_s = speech[0][0] + (held.connected_s or 0.0) if speech else NEVER_S
    if held.turns and speech and speech[0][0] > held.turns[0].began_s:
        first_s = NEVER_S  # the first sound belongs to an answer
    since_s = held.rang_at + (held.connected_s or 0.0) - started_at
    voices: dict[str, int] = {}
    turns = [
        _judge_turn(sound, turn, call=held.number, since_s=since_s, voices=voices)
        for turn in held.turns
    ]
    return JudgedCall(number=held.number, greeting_s=first_s, turns=tuple(turns), voices=voices)


def playback(held: HeldCall) -> Playback:
    """Return what the caller heard."""
    return Playback(held.arrivals, length_s=held.ended_s)


def _judge_turn(
    sound: Playback, turn: HeldTurn, *, call: int, since_s: float, voices: dict[str, int]
) -> HeardTurn:
    """Judge one answer, and count its words in `voices` by the voice that spoke them."""
    first, last = (sound.seam(round(moment_s * RATE_HZ)) for moment_s in (turn.began_s, turn.end_s))
    found = find_spoken_words(sound.seamless[first:last], turn.answer)
    words = [_as_played(word, sound, first=first) for word in found]
    missing, extra = compare_words(words, turn.answer)
    played = sound.played[: round(turn.end_s * RATE_HZ)]
    speech = stretches(played, from_s=turn.stop_s)
    for word in words:
        voices[word.provider] = voices.get(word.provider, 0) + 1
    return HeardTurn(
        call=call,
        at_s=since_s + turn.stop_s,
        first_word_s=words[0].at_s - turn.stop_s if words else NEVER_S,
        first_sound_s=speech[0][0] - turn.stop_s if speech else NEVER_S,
        gap_s=longest_gap(sound.played, words),
        torn_words=sum(
            played.end_s - played.at_s - (sent.end_s - sent.at_s) >= TORN_WORD_S
            for played, sent in zip(words, found, strict=True)
        ),
        missing=missing,
        extra=extra,
    )


def _as_played(word: RecordedWord, sound: Playback, *, first: int) -> RecordedWord:
    """Return a word that was found in the seamless sound, with its times when it was played."""
    at, end = (first + round(item * RATE_HZ) for item in (word.at_s, word.end_s))
    return replace(
        word,
        at_s=sound.place(at) / RATE_HZ,
        end_s=(sound.place(end - 1) + 1) / RATE_HZ,
    )


def find_spoken_words(recording: Pcm, answer: str) -> tuple[RecordedWord, ...]:
    """Return the words of an answer that are in a recording, spoken by any of the voices.

    The standby's sounds are searched for only if the first voice did not say everything, because
    searching for a missing word takes longest.
    """
    words: tuple[RecordedWord, ...] = ()
    vocabulary: list[Sent] = []
    if not stretches(recording):
        return ()
    for voice in VOICES:
        vocabulary += _vocabulary(answer, voice)
        words = heard_words(recording, vocabulary)
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
    """Return the longest silence between two words of an answer, minus the voice's own pause."""
    longest = 0.0
    for word, after in itertools.pairwise(words):
        between_s = silence(recording, word.end_s, after.at_s) if after.at_s > word.end_s else 0.0
        longest = max(longest, between_s - WORD_PAUSE_S)
    return max(0.0, longest)


def sounds_of(answers: Sequence[str]) -> dict[str, float]:
    """Return the length of each word of some answers, in seconds."""
    words = {word for answer in answers for word in answer.split()}
    return {word: sound_of(word, instance=VOICES[0]).size / RATE_HZ for word in words}
