"""Judges turns from the lab's record and a recording."""

import asyncio
import functools
import multiprocessing
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import soxr
from numpy.typing import NDArray

from lab.callers import pauses
from lab.control import LabControl
from lab.drill.hearing import Sent
from lab.drill.judge import ExpectedWords, ReplyVerdict, judge
from lab.drill.local_words import utterances
from lab.drill.matching import EarPath
from lab.drill.rig import AskedTurn, Conversation
from lab.drill.sound import RATE_HZ

Pcm = NDArray[np.int16]

HEALTH_PROBE: Final = ("GET", "/models")  # once a minute to a healthy rung, even without a call
JUDGING_NICENESS: Final = 10  # judging must not delay calls, which continue meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRequest:
    """One request to a provider during a turn.

    Attributes:
        provider: The provider.
        at_s: When it arrived, in seconds from the caller's stop.
        outcome: Its outcome when the turn was judged.
        fault: The fault that it ran into, if any.
    """

    provider: str
    at_s: float
    outcome: str
    fault: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedTurn:
    """A turn, the verdict on its reply, and the recording that was judged."""

    turn: AskedTurn
    verdict: ReplyVerdict
    requests: tuple[TurnRequest, ...]  # in order
    recording: Pcm  # from the caller's first word on


async def judge_turn(call: Conversation, control: LabControl, turn: AskedTurn) -> JudgedTurn:
    """Judge a turn of a call, in another process, from the record so far; it is not added to a run.

    Args:
        call: The call, in progress or over.
        control: The control of the lab that has the record.
        turn: The turn to judge.
    """
    span = call.lab_s(turn.began_s), call.lab_s(turn.end_s)
    sent = await sent_between(control, *span)
    recording = call.heard()[round(turn.began_s * RATE_HZ) : round(turn.end_s * RATE_HZ)]
    pauses_s = await asyncio.to_thread(pauses, turn.answer, instance="cartesia")
    judge_reply = functools.partial(
        _judge_reply,
        recording,
        sent,
        said=ExpectedWords(text=turn.answer, pauses=pauses_s),
        stop_s=turn.stop_s - turn.began_s,
        line=call.path,
    )
    verdict = await asyncio.get_running_loop().run_in_executor(_judging_process(), judge_reply)
    return JudgedTurn(
        turn=turn,
        verdict=verdict,
        requests=await _requests_between(control, *span, stop_s=call.lab_s(turn.stop_s)),
        recording=recording,
    )


def _judge_reply(
    recording: Pcm, sent: list[Sent], *, said: ExpectedWords, stop_s: float, line: EarPath
) -> ReplyVerdict:
    """Judge a reply in the recording; fallback utterances in the local voice are known, too."""
    local = utterances(said.text)
    return judge(recording, sent, said=said, stop_s=stop_s, local=local, line=line)


@functools.cache
def _judging_process() -> ProcessPoolExecutor:
    """Return the judging process, which starts with its first job and ends with this process."""
    spawned = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(
        1, mp_context=spawned, initializer=os.nice, initargs=(JUDGING_NICENESS,)
    )


async def sent_between(control: LabControl, from_s: float, until_s: float) -> list[Sent]:
    """Return the words that all voices sent between two moments of the lab's record, in seconds."""
    words = [word for word in await control.words() if from_s <= word["sent_at_s"] <= until_s]
    sounds = await read_sounds(control, words)
    return [_sent_word(word, *sounds[word["instance"], word["request"]]) for word in words]


async def read_sounds(
    control: LabControl, words: Iterable[Mapping[str, Any]]
) -> dict[tuple[str, int], tuple[Pcm, int]]:
    """Return the sound of each request that some words belong to.

    It is at 8000 Hz; the number is the rate at which it was sent.
    """
    keys = dict.fromkeys((word["instance"], word["request"]) for word in words)
    return {key: _at_telephone_rate(*await control.audio(*key)) for key in keys}


async def _requests_between(
    control: LabControl, from_s: float, until_s: float, *, stop_s: float
) -> tuple[TurnRequest, ...]:
    """Return all providers' requests between two moments of the lab's record, in seconds."""
    found = [
        TurnRequest(
            provider=request["instance"],
            at_s=request["at_s"] - stop_s,
            outcome=request["outcome"],
            fault=request["fault"],
        )
        for name in control.names
        for request in await control.requests(name)
        if from_s <= request["at_s"] <= until_s and is_of_call(request)
    ]
    return tuple(sorted(found, key=lambda request: request.at_s))


def is_of_call(request: Mapping[str, Any]) -> bool:
    """Return whether a request may belong to a call: listing models is a health probe."""
    method, path = HEALTH_PROBE
    return request["method"] != method or not request["path"].partition("?")[0].endswith(path)


def _sent_word(word: Mapping[str, Any], sound: Pcm, rate_hz: int) -> Sent:
    """Return a word that a simulated voice sent, with its samples cut from `sound` at `rate_hz`."""
    span = slice(round(word["start_s"] * RATE_HZ), round(word["end_s"] * RATE_HZ))
    return Sent(
        text=word["text"],
        provider=word["instance"],
        request=word["request"],
        start_s=word["start_s"],
        end_s=word["end_s"],
        samples=sound[span],
        rate_hz=rate_hz,
    )


def _at_telephone_rate(samples: Pcm, rate_hz: int) -> tuple[Pcm, int]:
    if rate_hz == RATE_HZ:
        return samples, rate_hz
    return soxr.resample(samples, rate_hz, RATE_HZ).astype(np.int16), rate_hz
