"""The event stream of a server that speaks OpenAI's protocol, in every observed form."""

import json
from typing import Any

import pytest
from loguru import logger

from fallbacks.events import AttemptFailed, AttemptStarted
from fallbacks.failure import Kind
from tests.processors.answering.test_stage import ANSWER, bench
from tests.providers.scripted_model import chunk, sending

pytestmark = pytest.mark.virtual_time


def data(event: Any) -> str:
    return f"data: {json.dumps(event)}\n\n"


ONE, TWO = data(chunk({"content": "Hello "})), data(chunk({"content": "there."}))
STOP, DONE = data(chunk({}, "stop")), "data: [DONE]\n\n"
WHOLE = ONE + TWO + STOP + DONE

FORMS: dict[str, str] = {
    "a comment": ONE + ": PROCESSING\n\n" + TWO + STOP + DONE,
    "a comment without a word": ONE + ":\n\n" + TWO + STOP + DONE,
    "a reconnection time": "retry: 3000\n\n" + WHOLE,
    "an invalid reconnection time": "retry: soon\n\n" + WHOLE,
    "a name without data": ONE + "event: ping\n\n" + TWO + STOP + DONE,
    "an id without data": ONE + "id: 7\n\n" + TWO + STOP + DONE,
    "an empty id": "id\n\n" + WHOLE,
    "an id on each event": "id: 1\n" + ONE + "id: 2\n" + TWO + STOP + DONE,
    "a named event": "event: message\n" + ONE + TWO + STOP + DONE,
    "data without a value": ONE + "data\n\n" + TWO + STOP + DONE,
    "data of a blank": ONE + "data:  \n\n" + TWO + STOP + DONE,
    "an unknown field": "model: it\n" + WHOLE,
    "no space after the colon": WHOLE.replace("data: ", "data:"),
    "lines that end with CR": WHOLE.replace("\n", "\r"),
    "lines that end with CRLF": WHOLE.replace("\n", "\r\n"),
    "data on several lines": WHOLE.replace(', "', ',\ndata: "'),
    "a byte order mark": "\ufeff" + WHOLE,
    "many blank lines": WHOLE.replace("\n\n", "\n\n\n\n"),
    "bytes that are not UTF-8 in a comment": ONE + ": \udcff\n\n" + TWO + STOP + DONE,
    "a keep-alive in words": ONE + "data: ping\n\n" + TWO + STOP + DONE,
    "a keep-alive of null": ONE + "data: null\n\n" + TWO + STOP + DONE,
    "a keep-alive of a list": ONE + "data: []\n\n" + TWO + STOP + DONE,
    "a keep-alive in brackets": ONE + "data: [ping]\n\n" + TWO + STOP + DONE,
    "a keep-alive of an empty object": ONE + "data: {}\n\n" + TWO + STOP + DONE,
    "a keep-alive with a type": ONE + data({"type": "ping"}) + TWO + STOP + DONE,
    "a comment in data": ONE + "data: : keep-alive\n\n" + TWO + STOP + DONE,
    "no finish_reason": ONE + TWO + DONE,
    "no finish_reason, and no blank line at the end": ONE + TWO + "data: [DONE]\n",
    "blanks before the end": ONE + TWO + "data:   [DONE]\n\n",
    "usage after the end": ONE + TWO + STOP + data(chunk({}) | {"choices": []}) + DONE,
}


@pytest.mark.parametrize("sent", FORMS.values(), ids=FORMS)
async def test_an_answer_in_any_form_of_an_event_stream_is_written_by_one_request(
    sent: str,
) -> None:
    async with sending(sent) as url, bench() as it:
        it.urls["openai"] = url
        answer = await it.ask()

    assert answer == "Hello there."
    assert it.told_of(AttemptFailed) == []
    assert len(it.told_of(AttemptStarted)) == 1


async def test_an_answer_whose_stream_stays_open_after_its_end_is_complete() -> None:
    async with sending(ONE + TWO + DONE, hangs=True) as url, bench() as it:
        it.urls["openai"] = url
        answer = await it.ask()

    assert answer == "Hello there."
    assert it.told_of(AttemptFailed) == []


async def test_keep_alives_that_are_malformed_are_counted_in_one_line_of_the_log() -> None:
    lines: list[str] = []
    sink = logger.add(lines.append, level="WARNING", format="{message}")
    sent = ONE + "data: ping\n\n" * 3 + TWO + STOP + DONE
    async with sending(sent) as url, bench() as it:
        it.urls["openai"] = url
        await it.ask()
    logger.remove(sink)

    skipped = [line for line in lines if "keep-alives" in line]
    assert skipped == ["openai: skipped 3 malformed keep-alives in one answer's event stream\n"]


BROKEN: dict[str, tuple[str, Kind]] = {
    "half a piece of an answer": ('data: {"id":"chatcmpl-\n\n' + STOP + DONE, Kind.PROTOCOL),
    "no end": (ONE + TWO, Kind.CUT),
    "no answer at all": ("data: ping\n\n", Kind.SILENT),
    "a number": (data({"error": {"code": 429, "message": "?"}}), Kind.RATE_LIMITED),
    "digits": (data({"error": {"code": "429", "message": "?"}}), Kind.RATE_LIMITED),
    "a status": (data({"error": {"status": 402, "message": "?"}}), Kind.QUOTA),
    "a status_code": (data({"error": {"status_code": 503}}), Kind.OVERLOADED),
    "a key that is refused": (data({"error": {"code": 401, "message": "?"}}), Kind.AUTH),
    "a sentence and a status": (data({"error": "Slow down.", "code": 429}), Kind.RATE_LIMITED),
    "an object named error": (data({"object": "error", "code": 404}), Kind.NOT_FOUND),
    "a named event": ("event: error\n" + data({"code": 502, "message": "?"}), Kind.OVERLOADED),
    "a named event in words": ("event: error\ndata: Oh no.\n\n", Kind.PROTOCOL),
    "a list with an error": (data([{"error": {"code": 429, "message": "?"}}]), Kind.RATE_LIMITED),
    "an error of a choice": (
        ONE + data({"choices": [{"index": 0, "delta": {}, "error": {"code": 502}}]}) + DONE,
        Kind.OVERLOADED,
    ),
    "a finish that is an error": (ONE + data(chunk({}, "error")) + DONE, Kind.CUT),
    "words have come": (ONE + data({"error": {"code": 429}}), Kind.RATE_LIMITED),
    "next to choices": (
        data(chunk({"content": ""}, "error") | {"error": {"code": 503, "message": "?"}}),
        Kind.OVERLOADED,
    ),
}


@pytest.mark.parametrize(("sent", "kind"), BROKEN.values(), ids=BROKEN)
async def test_an_error_in_a_stream_has_the_kind_of_its_http_status(sent: str, kind: Kind) -> None:
    async with sending(sent) as url, bench() as it:
        it.urls["openai"] = url
        answer = await it.ask()

    assert answer.endswith(ANSWER[-20:])  # the standby wrote it, or its rest
    (failure,) = it.told_of(AttemptFailed)
    assert (failure.provider, failure.kind) == ("openai", kind)
