"""Reads from the lab's record when the simulated providers worked."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import aiohttp

from benchmarks.accounting import BusyPeriod, Moments
from benchmarks.ear import UnhealthyTurnError
from lab.process import RunningLab

Requests: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]
"""The requests of each instance, as the lab's control API returns them."""

STAGES: Final = ("deepgram", "openai", "cartesia")  # the first rungs: a healthy call uses no other
FURTHER_WORDS: Final = "waiting for llm's further words (ours)"


async def fetch(lab: RunningLab) -> Requests:
    """Return the requests that the lab has recorded so far."""
    headers = {"Authorization": f"Bearer {lab.control_token}"}
    found: dict[str, Sequence[Mapping[str, Any]]] = {}
    async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as http:
        for name in STAGES:
            async with http.get(f"{lab.control_url}/instances/{name}/requests") as answer:
                found[name] = await answer.json()
    return found


def busy_times(
    requests: Requests, moments: Moments, *, lab_started_at_s: float
) -> list[BusyPeriod]:
    """Return when each provider worked on one turn, on the monotonic clock.

    The model is busy until the last word of the first text that the voice got, a sentence or a
    clause. The client may then have waited for further words, to be sure of the sentence's end.
    That time is the client's own, and listed separately.

    All requests since the caller began to speak count, because Holdline asks for the words, and
    asks the model, in a pause of which the VAD is not sure yet.

    Raises:
        UnhealthyTurnError: A provider was not asked or did not answer, or the model or the voice
            was asked more than once.
    """
    span = (
        moments.began_s - lab_started_at_s,
        moments.heard_s - lab_started_at_s,
    )
    text, audio = _only("voice", _voice(requests["cartesia"], span))
    sentence, words_after = _only("model", _model(requests["openai"], span, text=text))
    found = [
        BusyPeriod(who="stt", begin_s=begin_s, end_s=end_s)
        for begin_s, end_s in _recogniser(requests["deepgram"], span)
    ]
    if not found:
        raise UnhealthyTurnError("the recogniser was not asked")
    found += (sentence, words_after)
    found.append(BusyPeriod(who="tts", begin_s=text["at_s"], end_s=audio["at_s"]))
    return [
        dataclasses.replace(
            busy,
            begin_s=busy.begin_s + lab_started_at_s,
            end_s=busy.end_s + lab_started_at_s,
        )
        for busy in found
    ]


def _recogniser(
    requests: Sequence[Mapping[str, Any]], span: tuple[float, float]
) -> Iterator[tuple[float, float]]:
    for request in requests:
        asked_s: float | None = None
        for mark in request["marks"]:
            if mark["what"] == "flush":
                asked_s = mark["at_s"]
            elif mark["what"] == "flushed" and asked_s is not None:
                if span[0] <= asked_s <= span[1]:
                    yield asked_s, mark["at_s"]
                asked_s = None


def _model(
    requests: Sequence[Mapping[str, Any]], span: tuple[float, float], *, text: Mapping[str, Any]
) -> Iterator[tuple[BusyPeriod, BusyPeriod]]:
    """Yield for each request when the model worked, and when the client waited for more words."""
    for request in requests:
        if span[0] <= request["at_s"] <= span[1]:
            sentences = (
                mark["at_s"]
                for mark in request["marks"]
                if mark["what"] == "sentence" and mark["words"] >= text["words"]
            )
            if (over_s := next(sentences, None)) is not None:
                over_s = min(over_s, text["at_s"])  # a clause may be sent before the sentence ends
                marks = (mark["at_s"] for mark in request["marks"])
                needed_s = max((at for at in marks if over_s <= at <= text["at_s"]), default=over_s)
                yield (
                    BusyPeriod(who="llm", begin_s=request["at_s"], end_s=over_s),
                    BusyPeriod(who=FURTHER_WORDS, begin_s=over_s, end_s=needed_s, excused=False),
                )


def _voice(
    requests: Sequence[Mapping[str, Any]], span: tuple[float, float]
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for request in requests:
        texts = [mark for mark in request["marks"] if mark["what"] == "text" and mark["words"]]
        sounds = [mark for mark in request["marks"] if mark["what"] == "audio"]
        if texts and sounds and span[0] <= texts[0]["at_s"] <= span[1]:
            yield texts[0], sounds[0]


def _only(who: str, found: Iterator[tuple[Any, Any]]) -> tuple[Any, Any]:
    """Return the single item; raise `UnhealthyTurnError` if there are none or several."""
    candidates = list(found)
    if len(candidates) != 1:
        raise UnhealthyTurnError(f"the {who} was asked {len(candidates)} times")
    return candidates[0]
