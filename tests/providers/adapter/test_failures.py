"""The meaning of a Pipecat service's errors for its rung."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from pipecat.frames.frames import ErrorFrame
from pipecat.utils.errors import ErrorCategory
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from fallbacks.failure import Kind, Scope, error_of, failed
from fallbacks.symptoms import Moment
from providers.adapter.failures import failure_in, service_failure, status_in
from providers.facts import RungFacts
from providers.provider import RungSpec

RUNG = RungSpec(
    name="it", stage="tts", kind="pipecat", url="", sample_rate_hz=8000, api_key="the-key"
)


@dataclass
class SdkError(Exception):
    """An error as vendors' SDKs raise it."""

    status_code: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def response(self) -> Any:
        return SimpleNamespace(status_code=self.status_code, headers=self.headers)


class AiohttpError(Exception):
    status = 503


def closed(code: int) -> ConnectionClosedError:
    return ConnectionClosedError(Close(code, ""), None)


@pytest.mark.parametrize(
    ("error", "category", "text", "moment", "kind"),
    [
        (SdkError(401), None, "", Moment.ASKED, Kind.AUTH),
        (SdkError(429), ErrorCategory.AUTHENTICATION, "401", Moment.ASKED, Kind.RATE_LIMITED),
        (SdkError(404, {"error": {"code": "model_not_found"}}), None, "", Moment.ASKED,
         Kind.NOT_FOUND),
        (AiohttpError(), None, "", Moment.ASKED, Kind.OVERLOADED),
        (closed(1011), None, "", Moment.FLOWING, Kind.CUT),
        (None, ErrorCategory.QUOTA, "", Moment.ASKED, Kind.QUOTA),
        (None, ErrorCategory.CONNECTIVITY, "", Moment.FLOWING, Kind.CUT),
        (None, ErrorCategory.AUTHENTICATION, "status: 503", Moment.ASKED, Kind.AUTH),
        (None, ErrorCategory.UNKNOWN, "status: 503", Moment.ASKED, Kind.OVERLOADED),
        (None, None, "Error getting audio (status: 402, error: none)", Moment.ASKED, Kind.QUOTA),
        (None, None, "it spoke 503 words", Moment.ASKED, Kind.PROTOCOL),
        (TimeoutError(), None, "", Moment.ASKED, Kind.TIMEOUT),
        (TimeoutError(), None, "", Moment.FLOWING, Kind.STALLED),
        (ConnectionResetError(), None, "", Moment.ASKED, Kind.NETWORK),
        (ConnectionResetError(), None, "", Moment.FLOWING, Kind.CUT),
        (asyncio.IncompleteReadError(b"", 4), None, "", Moment.FLOWING, Kind.CUT),
        (RuntimeError("odd"), None, "", Moment.ASKED, Kind.PROTOCOL),
    ],
)  # fmt: skip
def test_the_surest_sign_decides(
    error: Exception | None,
    category: ErrorCategory | None,
    text: str,
    moment: Moment,
    kind: Kind,
) -> None:
    assert service_failure(error, RUNG, moment=moment, text=text, category=category).kind is kind


def test_a_vendors_own_words_are_read_as_those_of_our_own_providers() -> None:
    spent = SdkError(429, {"code": "insufficient_quota"})
    openai = RungSpec(**{name: getattr(RUNG, name) for name in ("name", "stage", "kind", "url")},
                      sample_rate_hz=8000, facts=RungFacts(symptoms="openai"))  # fmt: skip

    assert service_failure(spent, openai, moment=Moment.ASKED).kind is Kind.QUOTA
    assert service_failure(spent, RUNG, moment=Moment.ASKED).kind is Kind.RATE_LIMITED


def test_a_forbidden_request_may_be_one_calls_content() -> None:
    frame = ErrorFrame(error="no", category=ErrorCategory.AUTHORIZATION)

    assert failure_in(frame, RUNG, moment=Moment.ASKED).scope is Scope.REQUEST


def test_the_reason_holds_no_words_and_no_key_and_the_vendors_wait_is_kept() -> None:
    error = SdkError(429, "the-key said: hello", {"Retry-After": "7"})
    frame = ErrorFrame(error="the-key said: hello", exception=error)

    failure = failure_in(frame, RUNG, moment=Moment.ASKED)

    assert failure.reason == "SdkError 429"
    assert failure.retry_after_s == 7
    assert (failure.stage, failure.provider) == ("tts", "it")


def test_a_failure_that_is_already_known_stays_as_it_is() -> None:
    known = failed(Kind.SILENT, "tts", provider="it")

    assert service_failure(error_of(known), RUNG, moment=Moment.ASKED) is known


NAMED: dict[str, int] = {
    "401 Unauthorized": 401,
    "Unauthorized (401)": 401,
    "401: invalid api key": 401,
    "401, message='Unauthorized', url='https://x/y'": 401,
    "Unknown error occurred: 401 Unauthorized": 401,
    "Unknown error occurred: 401, message='Invalid'": 401,
    "server rejected WebSocket connection: HTTP 403": 403,
    "Error code: 429 - {'error': {}}": 429,
    "429 Resource has been exhausted (e.g. check quota).": 429,
    "400 Request contains an invalid argument.": 400,
    "WebSocket upgrade failed: Authentication error (401). Please check": 401,
    "status=503": 503,
    "status_code=503, body=b''": 503,
    '{"status": 503}': 503,
    "HTTP/1.1 502 Bad Gateway": 502,
    "Failed with status code 500": 500,
    "Gladia error: 401: Unauthorized": 401,
    "request failed with 503": 503,
    "server returned 502": 502,
    "Got 429 from server": 429,
    "the server responded with a 404 Not Found": 404,
    "too many requests: 429": 429,
    "API error 529": 529,
    "It#0 exception (ValueError): 401 Invalid credentials": 401,
    "AuthError(code=401)": 401,
    "HTTP Error 403: Forbidden": 403,
    "402 Payment Required": 402,
    "gateway: 504 gateway timeout after 500 ms": 504,
}
NO_STATUS = (
    "after 401 frames", "error after 401 frames", "401 frames were lost", "error: 401 frames lost",
    "close code 1008", "received 1008 (policy violation)", "port 443", "error on port 443",
    "connect to 10.0.0.1:443 failed", "error 443", "line 401", "error in line 404: syntax",
    "timed out after 500 ms", "HTTP timeout of 500 ms", "Error: 500 ms without audio",
    "error after 500ms", "failed 500 times", "it spoke 503 words", "returned 401 frames",
    "got 429 tokens", "received 410 bytes", "error at byte 404 of 512", "code 4010", "error 4.01",
    "sample rate 44100", "took 404.5 s", "exceeded 500 characters", "error 0x401", "gpt-401 error",
    "status of 401 frames", "error 499999", "",
)  # fmt: skip


@pytest.mark.parametrize(("text", "status"), [*NAMED.items(), *dict.fromkeys(NO_STATUS).items()])
def test_a_number_in_a_sentence_is_a_status_only_if_the_sentence_says_so(
    text: str, status: int | None
) -> None:
    assert status_in(text) == status


def test_a_status_is_found_in_an_exceptions_own_words_and_quickly_in_a_long_text() -> None:
    assert (
        service_failure(ValueError("401 Unauthorized"), RUNG, moment=Moment.ASKED).kind is Kind.AUTH
    )
    assert status_in("error code " * 100_000) is None
