"""Probes of providers: a cheap request with our key, and a request over a websocket."""

import asyncio
import base64
import functools
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from fallbacks.classification import (
    classify_close,
    classify_error,
    classify_http,
    classify_symptom,
    message_of,
)
from fallbacks.failure import Finding, failed
from fallbacks.retry_after import retry_after_s
from fallbacks.symptoms import Moment, Symptom
from providers.provider import ProbeFailedError, RungSpec
from providers.sockets import ConnectHere, code_and_reason
from runtime.http import parse_json, request

MAX_BODY_BYTES: Final = 64 * 1024  # of an error's explanation


async def ask_http(url: str, *, headers: Mapping[str, str], timeout_s: float) -> None:
    """GET `url` and accept any 2xx answer.

    Raises:
        ProbeFailedError: Another status, no answer in `timeout_s`, or no connection. The text
            names the host and the status, but no header and no body.
    """
    host = urlsplit(url).netloc
    try:
        async with (
            asyncio.timeout(timeout_s),
            request("GET", url, headers=dict(headers), allow_redirects=False) as answer,
        ):
            status = answer.status
            body = await _body_of_answer(answer) if status >= 300 else None
    except TimeoutError as error:
        raise ProbeFailedError(f"{host} did not answer within {timeout_s:g} s") from error
    except aiohttp.ClientError as error:
        raise ProbeFailedError(f"{host}: {type(error).__name__}") from error
    if not 200 <= status < 300:
        text = f"{host} answered {status}{STATUS_MEANINGS.get(status, '')}"
        raise ProbeFailedError(text, status=status, body=body)


STATUS_MEANINGS: Mapping[int, str] = {
    401: ": it rejects our key",
    402: ": the account has no credit",
    403: ": our key lacks a permission",
    404: ": no such route; check the url",
    429: ": too many requests",
}


async def _body_of_answer(answer: aiohttp.ClientResponse) -> object:
    """Return the beginning of an answer's body, parsed if it is JSON."""
    text = (await answer.content.read(MAX_BODY_BYTES)).decode(errors="replace")
    try:
        return parse_json(text)
    except ValueError:
        return text


def http_twin(url: str, path: str) -> str:
    """Return the http(s) URL of `path` on the host of a ws(s) URL."""
    parts = urlsplit(url)
    scheme = {"wss": "https", "ws": "http"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, path, "", ""))


WORDS: Final = "One moment."
SPEECH: Final = Path(__file__).parent / "data" / "probe_speech.wav"


@functools.cache
def speech() -> tuple[bytes, int]:
    """Return recorded speech as 16-bit samples, and its rate in Hz."""
    with wave.open(str(SPEECH), "rb") as recording:
        return recording.readframes(recording.getnframes()), recording.getframerate()


def is_audible(encoded: object) -> bool:
    """Return whether a base64 piece of 16-bit audio contains more than digital silence."""
    if not isinstance(encoded, str):
        return False
    try:
        return any(base64.b64decode(encoded))
    except ValueError:
        return False


CLOSE_PROBE_S: Final = 0.5  # for the closing handshake
MAX_REASON: Final = 200  # characters kept of a provider's message (chosen)
DEEPGRAM_ERROR: Final = "dg-error"  # the header with the reason of a refused upgrade

Verdict: TypeAlias = bool | Finding
"""The verdict on a message: True for the answer, False for others, a finding for an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request to a provider, and how to recognise its answer.

    Attributes:
        url: The address, with its query.
        headers: Contain the key, so they are never shown.
        messages: Sent in order once the socket is open; bytes are audio.
        read: Judges each message.
        silence: The symptom if no answer arrives.
        goodbye: Sent after the answer.
    """

    url: str
    headers: Mapping[str, str]
    messages: tuple[str | bytes, ...]
    read: Callable[[Mapping[str, Any]], Verdict]
    silence: Symptom
    goodbye: str | None = None


async def ask_socket(question: Question, rung: RungSpec, *, timeout_s: float) -> None:
    """Open a websocket, send the request, and return when the answer has arrived.

    Raises:
        ProbeFailedError: There was no answer; holds the failure. The text names the host and the
            provider's reason, without our key.
    """
    opened = False
    try:
        async with (
            asyncio.timeout(timeout_s),
            ConnectHere(
                question.url,
                additional_headers=dict(question.headers),
                open_timeout=None,
                close_timeout=CLOSE_PROBE_S,
                ping_interval=None,
            ) as socket,
        ):
            opened = True
            await _exchange_messages(question, rung, socket)
    except TimeoutError as error:
        symptom = question.silence if opened else Symptom.NO_ANSWER
        raise _probe_error(
            rung, classify_symptom(symptom), f"no answer in {timeout_s:g} s"
        ) from error
    except InvalidStatus as refused:
        raise _refusal_error(rung, refused) from refused
    except ConnectionClosed as closed:
        raise _close_error(rung, closed) from closed
    except (OSError, EOFError, WebSocketException) as error:
        raise _probe_error(rung, classify_error(error), type(error).__name__) from error


async def _exchange_messages(question: Question, rung: RungSpec, socket: ClientConnection) -> None:
    """Send the messages, read until the answer has arrived, then send the goodbye.

    An error message raises `ProbeFailedError`.
    """
    for item in question.messages:
        await socket.send(item)
    while True:
        message = await socket.recv()
        verdict = _judge_message(question, message)
        if isinstance(verdict, Finding):
            raise _probe_error(rung, verdict, f"says {verdict.kind} {_text_of(message)}")
        if verdict:
            break
    if question.goodbye:
        await socket.send(question.goodbye)


def _text_of(message: str | bytes) -> str:
    """Return the provider's text in a message; empty if it is not JSON."""
    try:
        return message_of(parse_json(message))
    except ValueError:
        return ""


def _judge_message(question: Question, message: str | bytes) -> Verdict:
    """Return the question's verdict on a message; one that is no JSON object is garbage."""
    try:
        parsed = parse_json(message)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        return classify_symptom(Symptom.GARBAGE)
    return question.read(parsed)


def _refusal_error(rung: RungSpec, refused: InvalidStatus) -> ProbeFailedError:
    """Return a refused upgrade as the probe's error, with the wait that the provider asks for."""
    answer = refused.response
    text = answer.body.decode(errors="replace")
    try:
        body: object = parse_json(text)
    except ValueError:
        body = text
    message = answer.headers.get(DEEPGRAM_ERROR) or message_of(body)
    found = classify_http(rung.symptoms, answer.status_code, body or message)
    wait_s = retry_after_s(dict(answer.headers.raw_items()))
    return _probe_error(rung, found, f"answered {answer.status_code} {message}", wait_s=wait_s)


def _close_error(rung: RungSpec, closed: ConnectionClosed) -> ProbeFailedError:
    """Return the close of a probe's socket as the probe's error."""
    code, reason = code_and_reason(closed)
    found = classify_close(rung.symptoms, code, reason, stage=rung.stage, moment=Moment.ASKED)
    return _probe_error(rung, found, f"closed with {code} {reason}")


def _probe_error(
    rung: RungSpec, found: Finding, text: str, *, wait_s: float | None = None
) -> ProbeFailedError:
    """Return the probe's error; the text is shortened, and without our key."""
    redacted = text.replace(rung.api_key, "...") if rung.api_key else text
    reason = f"{urlsplit(rung.url).netloc}: {redacted.strip()[:MAX_REASON]}"
    failure = failed(found, rung.stage, provider=rung.name, reason=reason, retry_after_s=wait_s)
    return ProbeFailedError(reason, failure=failure)
