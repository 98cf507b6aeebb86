"""Classifies a provider's responses, messages and closes by the tables in `symptoms`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

from fallbacks.failure import Finding, Kind, Scope, finding
from fallbacks.symptoms import (
    CLOSES,
    ERROR_NAMES,
    HTTP,
    MESSAGES,
    SYMPTOMS,
    UNKNOWN,
    Moment,
    Symptom,
    SymptomRow,
)

_WORD_KEYS: Final = frozenset({"code", "type", "status", "error", "error_code", "err_code"})
_TEXT_KEYS: Final = frozenset({"message", "err_msg", "title", "description", "reason"})
_STATUS_KEYS: Final = ("status_code", "status", "code", "error_code")
_STATUS: Final = re.compile(r"[45][0-9]{2}")
_NESTED_KEYS: Final = ("error", "detail", "body")
_FORBIDDEN: Final = 403
_MAX_CAUSES: Final = 8  # exceptions followed in a chain of causes (chosen)


def classify_http(provider_kind: str, status: int, body: object = None) -> Finding:
    """Classify an HTTP response, also one to an upgrade request; `UNKNOWN` if no row matches.

    Args:
        provider_kind: `openai`, `deepgram` and so on, as in the catalogue.
        status: The HTTP status.
        body: The response as parsed JSON of any shape or as text, or `None`.
    """
    return _first_match(
        HTTP,
        provider_kind,
        code=status,
        words=_codes_in_response(body),
        text=_lower_message(body),
        moment=None,
    )


def classify_message(provider_kind: str, message: object, *, moment: Moment) -> Finding:
    """Classify an error message inside an open stream.

    An HTTP status in the message counts first, as if the request had been refused with it; then the
    message's codes and words. A message that matches no row is unknown.
    """
    status = _status_in(message)
    by_status = classify_http(provider_kind, status, message) if status else UNKNOWN
    if status == _FORBIDDEN and by_status.kind is Kind.AUTH:
        # The key was accepted when the stream was opened, so the content may be the cause.
        return finding(Kind.AUTH, Scope.REQUEST)
    if not by_status.unknown:
        return by_status
    return _first_match(
        MESSAGES,
        provider_kind,
        code=None,
        words=_codes_in_response(message),
        text=_lower_message(message),
        moment=moment,
    )


def classify_close(
    provider_kind: str, code: int, reason: str = "", *, stage: str, moment: Moment
) -> Finding:
    """Classify the close of a WebSocket that we did not ask for; `UNKNOWN` if no row matches.

    Args:
        provider_kind: As in the catalogue.
        code: The close code; 1006 if there was no close frame.
        reason: The close frame's text; for ElevenLabs, it begins with an error message.
        stage: `stt`, `llm` or `tts`.
        moment: What was in progress.
    """
    codes = _codes_in(reason) if provider_kind == "elevenlabs" else frozenset[str]()
    if code == 1008 and codes:
        found = _first_match(
            MESSAGES, provider_kind, code=None, words=codes, text="", moment=moment
        )
        if not found.unknown:
            return found
    return _first_match(
        [row for row in CLOSES if row.stage in ("", stage)],
        provider_kind,
        code=code,
        words=frozenset(),
        text=_letters_and_digits(reason),
        moment=moment,
    )


def classify_symptom(symptom: Symptom) -> Finding:
    """Classify a failure that we observed ourselves."""
    return SYMPTOMS[symptom]


def classify_error(error: Exception) -> Finding:
    """Classify a client library's exception, or else the exceptions that caused it.

    If there is a status or a body, `classify_http` is more precise.
    """
    for base_exception in _error_and_causes(error):
        for name in (cls.__name__ for cls in type(base_exception).__mro__):
            if name in ERROR_NAMES:
                return ERROR_NAMES[name]
        if isinstance(base_exception, TimeoutError):
            return finding(Kind.TIMEOUT)
        if isinstance(base_exception, OSError | EOFError):
            return finding(Kind.NETWORK)
    return UNKNOWN


def _first_match(
    rows: Iterable[SymptomRow],
    provider_kind: str,
    *,
    code: int | None,
    words: frozenset[str],
    text: str,
    moment: Moment | None,
) -> Finding:
    """Return the finding of the first row whose non-empty fields all match, or else `UNKNOWN`."""
    for row in rows:
        if (
            (not row.providers or provider_kind in row.providers)
            and (not row.codes or code in row.codes)
            and (not row.words or row.words & words)
            and row.says in text
            and (not row.moments or moment in row.moments)
        ):
            return row.found
    return UNKNOWN


def _error_and_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and then those that caused it, `_MAX_CAUSES` in all."""
    current: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if current is None:
            return
        yield current
        current = current.__cause__ or current.__context__


def _nested_mappings(body: object) -> Iterator[Mapping[str, Any]]:
    """Yield the mapping itself and those nested in it, under `error`, `detail` or `body`."""
    if not isinstance(body, Mapping):
        return
    outer = cast(Mapping[str, Any], body)
    yield outer
    for key in _NESTED_KEYS:
        yield from _nested_mappings(outer.get(key))


def _codes_in_response(body: object) -> frozenset[str]:
    """Return the codes in a response, in lower case: values of `_WORD_KEYS`, also nested ones."""
    parts = _nested_mappings(body)
    values = [value for part in parts for key, value in part.items() if key in _WORD_KEYS]
    return frozenset(str(value).lower() for value in values if isinstance(value, str | int))


def message_of(body: object) -> str:
    """Return the message texts in a response, joined into one line; empty if it has none."""
    texts = list[Any]()
    for part in _nested_mappings(body):
        said = [value for key, value in part.items() if key in _TEXT_KEYS]
        texts += said or [part[key] for key in _NESTED_KEYS if isinstance(part.get(key), str)]
    found = [body] if isinstance(body, str) else map(str, texts)
    return " ".join(" ".join(found).split())


def _lower_message(body: object) -> str:
    return message_of(body).lower()


def _status_in(body: object) -> int | None:
    """Return the HTTP status in an error message: a number or its digits, under any usual key."""
    values = [part.get(key) for part in _nested_mappings(body) for key in _STATUS_KEYS]
    return next((int(str(value)) for value in values if _STATUS.fullmatch(str(value))), None)


def _letters_and_digits(reason: str) -> str:
    """Return letters and digits only: a code may be NET-0001, net_0001 or dpgr.am/net0001."""
    return "".join(letter for letter in reason.lower() if letter.isalnum())


def _codes_in(reason: str) -> frozenset[str]:
    """Return the codes in a close reason: its words, and a code for each known sentence."""
    text = reason.lower()
    codes = {word.strip(".,:;'\"(){}") for word in text.replace('"', " ").split()}
    codes |= {code for sentence, code in _SENTENCES.items() if sentence in text}
    return frozenset(codes)


# ElevenLabs' sentences without a code, as seen in pipecat issue 4114 and livekit agents issue 218.
_SENTENCES: Final = {
    "exceeds your quota": "quota_exceeded",
    "maximum simultaneous contexts": "max_active_conversations",
    "have not received a new text input": "input_timeout_exceeded",
    "invalid api key": "invalid_api_key",
    "unusual activity": "detected_unusual_activity",
    "system is busy": "system_busy",
    "too many concurrent requests": "too_many_concurrent_requests",
}
