"""What a recogniser's error means, and how it is booked when nobody was waiting for words."""

from collections.abc import Callable

from pipecat.frames.frames import ErrorFrame

from calls.entry import Tell
from fallbacks.classification import classify_error
from fallbacks.facts import AttemptFailed
from fallbacks.failure import Failure, Kind, ServiceError, failed, finding
from fallbacks.work import StagePolicy


def failure_of(frame: ErrorFrame, rung_name: str) -> Failure:
    """Return what a recogniser's error means; ours carry their failure, others an exception."""
    error = frame.exception
    if isinstance(error, ServiceError):
        return error.failure
    if frame.processor is not None and not frame.processor.is_usable:
        found = finding(Kind.PROTOCOL, permanent=True)  # it has given up for good
    else:
        found = classify_error(error) if error else finding(Kind.PROTOCOL, unknown=True)
    reason = type(error).__name__ if error else "error"
    return failed(found, "stt", provider=rung_name, reason=reason)


def book(failure: Failure, policy: StagePolicy, *, tell: Tell, clock: Callable[[], float]) -> None:
    """Book a failure outside an attempt: a standby was lost, or a connection refused."""
    now = clock()
    permit = policy.roster.health(policy.stage, failure.provider).permit(now)
    if permit is None:
        return  # it is known already
    tell(AttemptFailed.of(failure))
    for fact in policy.roster.failed(permit, failure, now=now):
        tell(fact)
