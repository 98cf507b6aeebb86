"""What a provider did wrong, as a value; what each kind of wrong means, as a table.

A failure is data: `kind` says what was seen, `scope` says what it tells us about, and the verdict
of its kind says what becomes of the rung. Code outside a call that must raise uses the errors at
the end; inside a call nothing is raised.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What was seen; a closed set."""

    TIMEOUT = "timeout"  # no connection, or nothing useful, in time
    NETWORK = "network"  # DNS, refused, reset, TLS, gone without a word
    RATE_LIMITED = "rate_limited"  # too much of us, for now
    OVERLOADED = "overloaded"  # too much of everybody, or a fault of theirs
    QUOTA = "quota"  # nothing left to spend
    AUTH = "auth"  # the key is not accepted
    BAD_REQUEST = "bad_request"  # our request, or a setting in it
    NOT_FOUND = "not_found"  # no such model, voice or route
    PROTOCOL = "protocol"  # an answer that is none
    CUT = "cut"  # died after useful output had begun
    STALLED = "stalled"  # useful output began, then a gap
    SILENT = "silent"  # accepted, no error, nothing useful


class Scope(StrEnum):
    """What a failure says something about."""

    PAYLOAD = "payload"  # this request only: mend it and ask the same rung again
    REQUEST = "request"  # what this call carries, until other calls and a probe meet it, too
    CONFIGURATION = "configuration"  # this rung with these settings
    CREDENTIAL = "credential"  # every rung that shares the key, account or project
    CAPACITY = "capacity"  # our own load
    ENDPOINT = "endpoint"  # the server behind this rung's URL


class Severity(StrEnum):
    """How loudly a failure is told."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a kind means unless the symptom says otherwise."""

    scope: Scope
    permanent: bool = False  # asking again does not help until a person acts
    counts: bool = True  # towards the breaker's consecutive failures
    trips: bool = False  # opens the breaker at once
    severity: Severity = Severity.LOW


VERDICTS: Final[Mapping[Kind, Verdict]] = {
    Kind.TIMEOUT: Verdict(scope=Scope.ENDPOINT),
    Kind.NETWORK: Verdict(scope=Scope.ENDPOINT),
    # Rests as long as the provider says, on a counter of its own: not broken, we are too many.
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
    """What a symptom was found to be: a failure that does not know yet whose it is."""

    kind: Kind
    scope: Scope
    permanent: bool
    unknown: bool = False  # no line of a table fits: taken as transient, told as unknown
    harmless: bool = False  # not a failure at all, such as an idle socket that is closed
    goes_on: bool = False  # the stream lives on; only this message is lost


def finding(
    kind: Kind,
    scope: Scope | None = None,
    *,
    permanent: bool | None = None,
    unknown: bool = False,
    harmless: bool = False,
    goes_on: bool = False,
) -> Finding:
    """Return a finding of this kind; what is not said comes from the kind's verdict."""
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
    """A provider did not do what it was asked."""

    kind: Kind
    stage: str  # stt, llm, tts; or the work outside a call: dial, crm, alert
    provider: str  # the rung's name
    scope: Scope
    permanent: bool = False
    retry_after_s: float | None = None  # what the provider asked for
    same_rung: bool = True  # False: the provider forbids asking it again (x-should-retry: false)
    unknown: bool = False
    reason: str = ""  # one redacted line: never a key, a header or a caller's word

    @property
    def verdict(self) -> Verdict:
        """What failures of this kind mean."""
        return VERDICTS[self.kind]

    @property
    def severity(self) -> Severity:
        """How loudly to tell this one: what is permanent needs a person, what is unknown a look."""
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
    """Return the failure of one rung, from what was found or just from its kind."""
    what = finding(found) if isinstance(found, Kind) else found
    return Failure(
        kind=what.kind,
        stage=stage,
        provider=provider,
        scope=what.scope,
        permanent=what.permanent,
        retry_after_s=retry_after_s,
        same_rung=same_rung,
        unknown=what.unknown,
        reason=reason,
    )


class ServiceError(Exception):
    """Work outside a call failed; carries the failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.provider}: {failure.kind}: {failure.reason}")
        self.failure = failure


class TransientError(ServiceError):
    """Asking again later may help: time-out, network, 503, 429, whatever is unknown."""


class PermanentError(ServiceError):
    """Asking again does not help: 400, 401, 403, 404, quota."""


def error_of(failure: Failure) -> ServiceError:
    """Return the error to raise for a failure."""
    return PermanentError(failure) if failure.permanent else TransientError(failure)
