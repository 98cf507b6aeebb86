"""A provider's failure as a value, and the consequences of each kind as a table.

A failure is data: `kind` says what was observed, `scope` what it applies to, and the kind's verdict
what follows for the rung. Inside a call no exception is raised for it. Code outside a call that
must raise one uses the errors at the end of this module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ONE_CALL: Final = "one call's request"
"""In the reason and the sentence of a refusal that neither a probe nor a second call has proved."""


class Kind(StrEnum):
    """What was observed."""

    TIMEOUT = "timeout"  # no connection, or nothing useful, in time
    NETWORK = "network"  # DNS, refused, reset, TLS, closed without a message
    RATE_LIMITED = "rate_limited"  # we send too many requests
    OVERLOADED = "overloaded"  # the provider gets too many requests, or has an internal fault
    QUOTA = "quota"  # no credit left
    AUTH = "auth"  # the key is not accepted
    BAD_REQUEST = "bad_request"  # our request, or a setting in it, is wrong
    NOT_FOUND = "not_found"  # no such model, voice or route
    PROTOCOL = "protocol"  # an invalid answer
    CUT = "cut"  # the answer ended early, after useful output had begun
    STALLED = "stalled"  # useful output began, then paused for too long
    SILENT = "silent"  # accepted, but without useful output or an error


class Scope(StrEnum):
    """What a failure applies to."""

    PAYLOAD = "payload"  # this request only: the same rung may be asked with another payload
    REQUEST = "request"  # this call's content, unless other calls and a probe are refused, too
    CONFIGURATION = "configuration"  # this rung with these settings
    CREDENTIAL = "credential"  # every rung with the same key, account or project
    CAPACITY = "capacity"  # our own load
    ENDPOINT = "endpoint"  # the server at this rung's URL


ANSWERED: Final = (Kind.OVERLOADED, Kind.RATE_LIMITED, Kind.PROTOCOL)
"""Errors in an answer that usually have another cause, but may be due to one request's content."""
OF_REQUEST: Final = (Scope.PAYLOAD, Scope.REQUEST)  # another request may succeed


class Severity(StrEnum):
    """How urgent a failure is for an operator."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The consequences of a kind of failure, unless the symptom's row says otherwise."""

    scope: Scope
    permanent: bool = False  # asking again does not help until a person acts
    counts: bool = True  # it counts towards the breaker's consecutive failures
    trips: bool = False  # it opens the breaker at once
    severity: Severity = Severity.LOW


VERDICTS: Final[Mapping[Kind, Verdict]] = {
    Kind.TIMEOUT: Verdict(scope=Scope.ENDPOINT),
    Kind.NETWORK: Verdict(scope=Scope.ENDPOINT),
    # The rung works, so its breaker does not count this; it rests as long as the provider asks.
    Kind.RATE_LIMITED: Verdict(scope=Scope.CAPACITY, counts=False),
    Kind.OVERLOADED: Verdict(scope=Scope.ENDPOINT),
    Kind.QUOTA: Verdict(scope=Scope.CREDENTIAL, permanent=True, trips=True, severity=Severity.HIGH),
    Kind.AUTH: Verdict(scope=Scope.CREDENTIAL, permanent=True, trips=True, severity=Severity.HIGH),
    Kind.BAD_REQUEST: Verdict(
        scope=Scope.REQUEST, permanent=True, counts=False, severity=Severity.HIGH
    ),
    Kind.NOT_FOUND: Verdict(
        scope=Scope.CONFIGURATION, permanent=True, trips=True, severity=Severity.HIGH
    ),
    Kind.PROTOCOL: Verdict(scope=Scope.ENDPOINT, severity=Severity.MEDIUM),
    Kind.CUT: Verdict(scope=Scope.ENDPOINT),
    Kind.STALLED: Verdict(scope=Scope.ENDPOINT),
    Kind.SILENT: Verdict(scope=Scope.ENDPOINT, severity=Severity.MEDIUM),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The classification of a symptom, of any rung."""

    kind: Kind
    scope: Scope
    permanent: bool
    unknown: bool = False  # no row matches: treated as transient, reported as unknown
    harmless: bool = False  # not a failure, such as the close of an idle socket
    goes_on: bool = False  # the stream continues; only one of our messages was rejected


def finding(
    kind: Kind,
    scope: Scope | None = None,
    *,
    permanent: bool | None = None,
    unknown: bool = False,
    harmless: bool = False,
    goes_on: bool = False,
) -> Finding:
    """Return a finding of this kind; arguments left out come from the kind's verdict.

    `unknown` marks a symptom that no table names, `harmless` an end that is no failure of the
    provider, `goes_on` an error after which the stream continues.
    """
    verdict = VERDICTS[kind]
    return Finding(
        kind=kind,
        scope=verdict.scope if scope is None else scope,
        permanent=verdict.permanent if permanent is None else permanent,
        unknown=unknown,
        harmless=harmless,
        goes_on=goes_on,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A provider failed a request."""

    kind: Kind
    stage: str  # stt, llm, tts; or the work outside a call: dial, crm, alert
    provider: str  # the rung's name
    scope: Scope
    permanent: bool = False
    retry_after_s: float | None = None  # the wait that the provider asked for
    same_rung: bool = True  # False if the rung must not be asked again (x-should-retry: false)
    unknown: bool = False
    reason: str = ""  # one redacted line: never a key, a header or a caller's words

    @property
    def verdict(self) -> Verdict:
        """The consequences of failures of this kind."""
        return VERDICTS[self.kind]

    @property
    def severity(self) -> Severity:
        """How urgent this failure is for an operator."""
        if self.scope is Scope.PAYLOAD:
            return Severity.LOW
        if self.permanent:
            return Severity.HIGH
        return Severity.MEDIUM if self.unknown else self.verdict.severity


def failed(
    found: Finding | Kind,
    stage: str,
    *,
    provider: str,
    reason: str = "",
    retry_after_s: float | None = None,
    same_rung: bool = True,
) -> Failure:
    """Return the failure of one rung, from a finding or only a kind.

    Args:
        found: What was observed.
        stage: `stt`, `llm` or `tts`.
        provider: The rung's name.
        reason: For the operator; no secret, and no words of a caller.
        retry_after_s: The wait that the provider asked for; `None` if it named none.
        same_rung: Whether the same rung may be asked again.
    """
    cause = finding(found) if isinstance(found, Kind) else found
    return Failure(
        kind=cause.kind,
        stage=stage,
        provider=provider,
        scope=cause.scope,
        permanent=cause.permanent,
        retry_after_s=retry_after_s,
        same_rung=same_rung,
        unknown=cause.unknown,
        reason=reason,
    )


class ServiceError(Exception):
    """Work outside a call failed; carries the failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.provider}: {failure.kind}: {failure.reason}")
        self.failure = failure


class TransientError(ServiceError):
    """A later retry may help: after a time-out, a network error, 503, 429, anything unknown."""


class PermanentError(ServiceError):
    """A retry does not help: 400, 401, 403, 404, quota."""


def error_of(failure: Failure) -> ServiceError:
    """Return the error to raise for a failure."""
    return PermanentError(failure) if failure.permanent else TransientError(failure)
