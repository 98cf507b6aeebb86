"""One request over its own websocket, with a deadline."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

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
from providers.sockets import ConnectHere

CLOSE_S: Final = 0.5  # for the closing handshake
SAID: Final = 200  # characters kept of what a provider says (chosen)
DEEPGRAM_SAYS: Final = "dg-error"  # the header with the reason of a refused upgrade

Verdict: TypeAlias = bool | Finding
"""Judges a message: True, it is the answer; False, not yet; a finding, it is an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The request to a provider, and how to recognise its answer.

    Attributes:
        url: With its query.
        headers: Contain the key, so they are never shown.
        messages: Sent in order as soon as the socket is open; bytes are audio.
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


async def ask(question: Question, rung: RungSpec, *, timeout_s: float) -> None:
    """Send the request and return when the answer has arrived.

    Raises:
        ProbeFailedError: No answer, with the failure. The text names the host and the provider's
            reason, without our key.
    """
    opened = False
    try:
        async with (
            asyncio.timeout(timeout_s),
            ConnectHere(
                question.url,
                additional_headers=dict(question.headers),
                open_timeout=None,
                close_timeout=CLOSE_S,
                ping_interval=None,
            ) as socket,
        ):
            opened = True
            await _talk(question, rung, socket)
    except TimeoutError as slow:
        symptom = question.silence if opened else Symptom.NO_ANSWER
        raise _failed(rung, classify_symptom(symptom), f"no answer in {timeout_s:g} s") from slow
    except InvalidStatus as refused:
        raise _refused(rung, refused) from refused
    except ConnectionClosed as closed:
        raise _closed(rung, closed) from closed
    except (OSError, EOFError, WebSocketException) as broken:
        raise _failed(rung, classify_error(broken), type(broken).__name__) from broken


async def _talk(question: Question, rung: RungSpec, socket: ClientConnection) -> None:
    for item in question.messages:
        await socket.send(item)
    while True:
        message = await socket.recv()
        verdict = _read(question, message)
        if isinstance(verdict, Finding):
            raise _failed(rung, verdict, f"says {verdict.kind} {_message(message)}")
        if verdict:
            break
    if question.goodbye:
        await socket.send(question.goodbye)


def _message(message: str | bytes) -> str:
    try:
        return message_of(json.loads(message))
    except ValueError:
        return ""


def _read(question: Question, message: str | bytes) -> Verdict:
    try:
        parsed = json.loads(message)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        return classify_symptom(Symptom.GARBAGE)
    return question.read(parsed)


def _refused(rung: RungSpec, refused: InvalidStatus) -> ProbeFailedError:
    answer = refused.response
    text = answer.body.decode(errors="replace")
    try:
        body: object = json.loads(text)
    except ValueError:
        body = text
    said = answer.headers.get(DEEPGRAM_SAYS) or message_of(body)
    found = classify_http(rung.kind, answer.status_code, body or said)
    wait_s = retry_after_s(dict(answer.headers.raw_items()))
    return _failed(rung, found, f"answered {answer.status_code} {said}", wait_s=wait_s)


def _closed(rung: RungSpec, closed: ConnectionClosed) -> ProbeFailedError:
    code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
    found = classify_close(rung.kind, code, reason, moment=Moment.ASKED)
    return _failed(rung, found, f"closed with {code} {reason}")


def _failed(
    rung: RungSpec, found: Finding, text: str, *, wait_s: float | None = None
) -> ProbeFailedError:
    said = text.replace(rung.api_key, "...") if rung.api_key else text
    reason = f"{urlsplit(rung.url).netloc}: {said.strip()[:SAID]}"
    failure = failed(found, rung.stage, provider=rung.name, reason=reason, retry_after_s=wait_s)
    return ProbeFailedError(reason, failure=failure)
