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
from providers.adapter.failures import failure_in, failure_of
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
    assert failure_of(error, RUNG, moment=moment, text=text, category=category).kind is kind


def test_a_vendors_own_words_are_read_as_those_of_our_own_providers() -> None:
    spent = SdkError(429, {"code": "insufficient_quota"})
    openai = RungSpec(**{name: getattr(RUNG, name) for name in ("name", "stage", "kind", "url")},
                      sample_rate_hz=8000, facts=RungFacts(symptoms="openai"))  # fmt: skip

    assert failure_of(spent, openai, moment=Moment.ASKED).kind is Kind.QUOTA
    assert failure_of(spent, RUNG, moment=Moment.ASKED).kind is Kind.RATE_LIMITED


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

    assert failure_of(error_of(known), RUNG, moment=Moment.ASKED) is known
