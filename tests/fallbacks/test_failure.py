"""The text of a failure, and the exception that carries it."""

import pytest

from fallbacks.classification import classify_http
from fallbacks.failure import (
    VERDICTS,
    Kind,
    PermanentError,
    Scope,
    Severity,
    TransientError,
    error_of,
    failed,
    finding,
)

PERMANENT = {Kind.QUOTA, Kind.AUTH, Kind.BAD_REQUEST, Kind.NOT_FOUND}


def test_every_kind_has_a_verdict() -> None:
    assert set(VERDICTS) == set(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_a_kind_is_permanent_or_transient_as_the_design_says(kind: Kind) -> None:
    assert VERDICTS[kind].permanent is (kind in PERMANENT)


@pytest.mark.parametrize("kind", [Kind.QUOTA, Kind.AUTH])
def test_keys_and_credit_concern_every_rung_that_shares_them(kind: Kind) -> None:
    failure = failed(kind, "tts", provider="cartesia")

    assert failure.scope is Scope.CREDENTIAL
    assert failure.verdict.trips
    assert failure.severity is Severity.HIGH


@pytest.mark.parametrize("status", [503, 429, 408])
def test_transient_answers_raise_the_transient_error(status: int) -> None:
    failure = failed(classify_http("openai", status), "llm", provider="openai")

    assert isinstance(error_of(failure), TransientError)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404])
def test_permanent_answers_raise_the_permanent_error(status: int) -> None:
    failure = failed(classify_http("openai", status), "llm", provider="openai")

    assert isinstance(error_of(failure), PermanentError)


def test_an_error_carries_its_failure_and_its_rung() -> None:
    failure = failed(Kind.NETWORK, "llm", provider="openai-b", reason="refused")

    error = error_of(failure)

    assert error.failure is failure
    assert str(error) == "openai-b: network: refused"


def test_a_payloads_own_fault_has_a_low_severity() -> None:
    failure = failed(finding(Kind.BAD_REQUEST, Scope.PAYLOAD), "llm", provider="openai")

    assert failure.severity is Severity.LOW


def test_an_unknown_failure_has_a_higher_severity_than_an_ordinary_one() -> None:
    found = finding(Kind.OVERLOADED, unknown=True)

    assert failed(found, "llm", provider="openai").severity is Severity.MEDIUM
    assert failed(Kind.OVERLOADED, "llm", provider="openai").severity is Severity.LOW
