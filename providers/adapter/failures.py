"""Classifies the errors of a Pipecat service: what was seen decides, from the surest sign down.

In this order: the status of the exception's response, the vendor's message, a closed socket's code,
Pipecat's category, the exception's name, a status in the sentence. The vendor's own words are
compared as those of our own providers (`fallbacks/symptoms.py`); the reason that is logged contains
none of them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from pipecat.frames.frames import ErrorFrame
from pipecat.utils.errors import ErrorCategory, extract_http_status_code
from websockets.exceptions import ConnectionClosed

from fallbacks.classification import (
    UNKNOWN,
    classify_close,
    classify_error,
    classify_http,
    classify_message,
)
from fallbacks.failure import Failure, Finding, Kind, Scope, ServiceError, failed, finding
from fallbacks.retry_after import may_ask_again, retry_after_s
from fallbacks.symptoms import Moment
from providers.provider import RungSpec
from providers.sockets import code_and_reason

CATEGORIES: Final[Mapping[ErrorCategory, Finding]] = {
    ErrorCategory.AUTHENTICATION: finding(Kind.AUTH),
    ErrorCategory.AUTHORIZATION: finding(Kind.AUTH, Scope.REQUEST),
    ErrorCategory.INVALID_REQUEST: finding(Kind.BAD_REQUEST),
    ErrorCategory.RATE_LIMIT: finding(Kind.RATE_LIMITED),
    ErrorCategory.QUOTA: finding(Kind.QUOTA),
    ErrorCategory.CONNECTIVITY: finding(Kind.NETWORK),
    ErrorCategory.SERVER: finding(Kind.OVERLOADED),
    ErrorCategory.APPLICATION: finding(Kind.BAD_REQUEST, Scope.PAYLOAD),
}
INTERRUPTED: Final[Mapping[Kind, Kind]] = {Kind.NETWORK: Kind.CUT, Kind.TIMEOUT: Kind.STALLED}
# A number is a status if a word before it says so, if it begins the text, or if its own phrase
# stands next to it. "401 frames", "port 443", "line 404" and "500 ms" are none.
STATUS: Final = re.compile(
    r"""(?ix) (?: ^\W{0,3}
            | \b (?: status_?(?:code)? | code | https? (?:/[\d.]+)? | error | exception | failure
                | respon[a-z]+ | return(?:ed|s) | answer(?:ed|s)? | reject(?:ed|s) | refused
                | failed | got | received ) \b
              (?: [\s:;=('"\[\#-] | \w+\) | (?: code | status | error | https? (?:/[\d.]+)? | with
                | is | was | an? | occurred | response | message | by\ server ) \b ){0,12} )
        (?<![\w./]) (?P<status>[45]\d\d) (?![\w%/] | \.\d)
        (?: \s* $ | \s* [^\w\s] | \s+ (?-i:[A-Z]) | \s+ (?: from | for | on | while | when | by
            | in | at | and | to | with | response | error | status | retrying | because ) \b )""",
)
MAX_TEXT: Final = 1000  # characters of a sentence that are read (chosen)
PHRASES: Final = {str(item.value): item.phrase.lower() for item in HTTPStatus if item >= 400}
OTHERS: Final = ("420", "498", "499", "520", "521", "522", "523", "524", "525", "526", "529", "530")


def failure_in(frame: ErrorFrame, rung: RungSpec, *, moment: Moment) -> Failure:
    """Return the failure that a service reports with an error frame."""
    return service_failure(
        frame.exception, rung, moment=moment, text=frame.error, category=frame.category
    )


def service_failure(
    error: BaseException | None,
    rung: RungSpec,
    *,
    moment: Moment,
    text: str = "",
    category: ErrorCategory | None = None,
) -> Failure:
    """Return an error of a service as a failure of its rung.

    Args:
        error: The exception, if there was one.
        rung: The rung.
        moment: What was in progress; after useful output, a lost connection is a cut.
        text: The sentence that Pipecat reports.
        category: Pipecat's own classification, if it has one.
    """
    if isinstance(error, ServiceError):
        return error.failure
    signs = _findings_by_sign(error, rung, moment=moment, text=text, category=category)
    found = next((sign for sign in signs if sign is not None), UNKNOWN)
    if moment is Moment.FLOWING and found.kind in INTERRUPTED:
        found = replace(found, kind=INTERRUPTED[found.kind])
    status = extract_http_status_code(error) if error else None
    parts = (type(error).__name__ if error else "error", status, category and category.value)
    headers = _response_headers(error)
    return failed(
        found,
        rung.stage,
        provider=rung.name,
        reason=" ".join(str(part) for part in parts if part),
        retry_after_s=retry_after_s(headers),
        same_rung=may_ask_again(headers),
    )


def _findings_by_sign(
    error: BaseException | None,
    rung: RungSpec,
    *,
    moment: Moment,
    text: str,
    category: ErrorCategory | None,
) -> Iterator[Finding | None]:
    """Yield what each sign says, the surest first; `None` if a sign is missing or unclear."""
    told = getattr(error, "body", None) or getattr(error, "details", None)
    text = text or str(error or "")
    said = told or text
    status = extract_http_status_code(error) if error else None
    if status and status >= 400:  # an error inside an answer comes with a status of 200
        yield classify_http(rung.symptoms, status, said)
    elif told:
        yield _unless_unknown(classify_message(rung.symptoms, told, moment=moment))
    if isinstance(error, ConnectionClosed):
        code, reason = code_and_reason(error)
        yield classify_close(rung.symptoms, code, reason, stage=rung.stage, moment=moment)
    yield CATEGORIES.get(category) if category else None
    yield _unless_unknown(classify_error(error)) if isinstance(error, Exception) else None
    if in_text := status_in(text):
        yield classify_http(rung.symptoms, in_text, text)
    yield classify_message(rung.symptoms, said, moment=moment)


def status_in(text: str) -> int | None:
    """Return the HTTP status that a sentence names; `None` if its numbers are something else."""
    text = text[:MAX_TEXT]
    named = (found["status"] for found in STATUS.finditer(text))
    phrased = (
        number
        for number in re.findall(r"(?<![\w./])[45]\d\d\b", text)
        if (phrase := re.escape(PHRASES.get(number, "\0")))
        and re.search(rf"{number}\W{{1,3}}{phrase}|{phrase}\W{{1,3}}{number}\b", text.lower())
    )
    known = (number for number in (*named, *phrased) if number in PHRASES or number in OTHERS)
    return next(map(int, known), None)


def _unless_unknown(found: Finding) -> Finding | None:
    """Return a finding; `None` if it says only that the error is unknown."""
    return None if found.unknown else found


def _response_headers(error: BaseException | None) -> Mapping[str, str]:
    """Return the headers of the response that an exception holds; empty without one."""
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or {}
    return {str(name): str(value) for name, value in headers.items()}
