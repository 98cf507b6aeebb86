"""Turns the lab's record and a recording into verdicts."""

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
from lab.drill.conversation import AskedTurn, Conversation
from lab.drill.hearing import Sent
from lab.drill.judge import ExpectedWords, ReplyVerdict, judge
from lab.drill.local_utterances import utterances
from lab.drill.matching import EarPath
from lab.drill.places import RATE_HZ

Pcm = NDArray[np.int16]

HEALTH: Final = ("GET", "/models")  # a rung that is well is asked it once a minute, call or no call
POLITE: Final = 10  # calls go on while a turn is judged, and a late ear would hear gaps


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request to a provider in the time of a turn.

    Attributes:
        provider: Whom.
        at_s: When, in seconds from the caller's stop.
        outcome: How it had ended when the turn was judged.
        fault: What it met.
    """

    provider: str
    at_s: float
    outcome: str
    fault: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A turn, what became of its reply, and the sound in which that was found."""

    turn: AskedTurn
    verdict: ReplyVerdict
    requests: tuple[Asked, ...]  # in the order in which they came
    recording: Pcm  # from the caller's first word on


async def judge_turn(call: Conversation, control: LabControl, turn: AskedTurn) -> Judged:
    """Judge a turn of a call.

    Args:
        call: The call, in progress or over.
        control: Of the lab that has the record.
        turn: What is judged.
    """
    span = call.lab_s(turn.began_s), call.lab_s(turn.end_s)
    sent = await sent_between(control, *span)
    recording = call.heard()[round(turn.began_s * RATE_HZ) : round(turn.end_s * RATE_HZ)]
    pauses_s = await asyncio.to_thread(pauses, turn.answer, instance="cartesia")
    weigh = functools.partial(
        _weigh,
        recording,
        sent,
        said=ExpectedWords(text=turn.answer, pauses=pauses_s),
        stop_s=turn.stop_s - turn.began_s,
        line=call.path,
    )
    verdict = await asyncio.get_running_loop().run_in_executor(_court(), weigh)
    return Judged(
        turn=turn,
        verdict=verdict,
        requests=await _ask_lab(control, *span, stop_s=call.lab_s(turn.stop_s)),
        recording=recording,
    )


def _weigh(
    recording: Pcm, sent: list[Sent], *, said: ExpectedWords, stop_s: float, line: EarPath
) -> ReplyVerdict:
    local = utterances(said.text)
    return judge(recording, sent, said=said, stop_s=stop_s, local=local, line=line)


@functools.cache
def _court() -> ProcessPoolExecutor:
    """Return the process that judges; it ends with ours."""
    spawned = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=spawned, initializer=os.nice, initargs=(POLITE,))


async def sent_between(control: LabControl, from_s: float, until_s: float) -> list[Sent]:
    """Return the words that all voices sent between two seconds of the lab's record."""
    words = [w for w in await control.words() if from_s <= w["sent_at_s"] <= until_s]
    sounds = await read_sounds(control, words)
    return [_sent(word, sounds[word["instance"], word["request"]]) for word in words]


async def read_sounds(
    control: LabControl, words: Iterable[Mapping[str, Any]]
) -> dict[tuple[str, int], Pcm]:
    """Return the sound of each request that some words belong to, at 8000 Hz."""
    keys = dict.fromkeys((w["instance"], w["request"]) for w in words)
    return {key: _at_telephone_rate(*await control.audio(*key)) for key in keys}


async def _ask_lab(
    control: LabControl, from_s: float, until_s: float, *, stop_s: float
) -> tuple[Asked, ...]:
    """Return what all providers were asked between two seconds of the lab's record."""
    found = [
        Asked(
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
    """Return whether a request of the lab's record may be a call's: it asks for no list of models.

    A standby that was asked whether it is well had no part in a turn.
    """
    method, path = HEALTH
    return request["method"] != method or not request["path"].partition("?")[0].endswith(path)


def _sent(word: Mapping[str, Any], sound: Pcm) -> Sent:
    span = slice(round(word["start_s"] * RATE_HZ), round(word["end_s"] * RATE_HZ))
    return Sent(
        text=word["text"],
        provider=word["instance"],
        request=word["request"],
        start_s=word["start_s"],
        end_s=word["end_s"],
        samples=sound[span],
    )


def _at_telephone_rate(samples: Pcm, rate_hz: int) -> Pcm:
    if rate_hz == RATE_HZ:
        return samples
    return soxr.resample(samples, rate_hz, RATE_HZ).astype(np.int16)
