"""How our side of a dialled call ended: with a conversation, or because we failed.

The carrier only knows that the call was answered and how long it took. Whether an agent talked
follows from the call's own events. If the call's process has died, the events come from the record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from calls.events import CallEnded, CallFailed, Event
from calls.leg_events import AnswererHeard
from calls.state import MACHINES, CallState, state_of
from campaigns.store.dials import RecordedEnd
from fallbacks.events import AttemptWon, StageExhausted, StageRecovered
from fallbacks.failure import Severity

OWN_FAULTS: Final = frozenset({"failed", "outage", "shutdown", "never_connected"})
"""End reasons of calls that are our own fault."""
NO_AGENT: Final = "no_agent"
NOBODY_SPOKE: Final = "nobody_spoke"
HUNG_UP: Final = "hung_up_silent"
CALLER_HUNG_UP: Final = "caller_hung_up"  # the reason of a call's end
INTERRUPTED: Final = "interrupted"  # the process died during the call
KINDS: Final[Mapping[str, type[Event]]] = {
    item.__name__: item
    for item in (StageExhausted, StageRecovered, AttemptWon, CallFailed, AnswererHeard)
}
"""Events that are read from the record, by name; the end of the call is in the call's own row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallVerdict:
    """How our side of a call ended.

    Attributes:
        over: Whether our side of the call is over.
        failed: The code of the failure if we caused it; empty if we did not.
        length_s: The length of the call.
        machine: Whether we detected that a machine answered.
        silent: Why the callee said nothing and pressed no key, as a code; empty if they did.
    """

    over: bool = False
    failed: str = ""
    length_s: float = 0.0
    machine: bool = False
    silent: str = ""


NO_CALL: Final = CallVerdict(over=True, failed=NO_AGENT)
"""The callee answered, but none of our processes has the call."""


def judge_call(call: CallState, *, spoke: bool = False) -> CallVerdict:
    """Return the verdict on a call; a call in progress is neither over nor failed.

    `spoke` says that the callee spoke, for a state that lacks the caller's words.
    """
    ended = call.ended
    if ended is None:
        return CallVerdict()
    spoke = spoke or bool(call.answers) or any(text.strip() for text in call.said)
    return CallVerdict(
        over=True,
        failed=_failure_code(call, ended),
        length_s=ended.length_s,
        machine=call.machine or ended.reason in MACHINES,
        silent="" if spoke else HUNG_UP if ended.reason == CALLER_HUNG_UP else NOBODY_SPOKE,
    )


def _failure_code(call: CallState, ended: CallEnded) -> str:
    """Return why an ended call failed because of us, such as `llm_out`; empty if it did not."""
    if call.failed:
        return "call_failed"
    if ended.reason in OWN_FAULTS:
        return ended.reason
    # With a lower severity, only one utterance failed, not the stage.
    down = [stage for stage, severity in call.down.items() if severity == Severity.CRITICAL]
    return f"{min(down)}_out" if down else ""


def judge_recorded(end: RecordedEnd) -> CallVerdict:
    """Return how our side of a call ended, from its record; an interrupted call has failed."""
    if end.interrupted:
        return CallVerdict(over=True, failed=INTERRUPTED, length_s=end.length_s)
    call = state_of(_event_from_record(KINDS[kind], recorded) for kind, recorded in end.facts)
    call.add(CallEnded(reason=end.reason, length_s=end.length_s))
    return judge_call(call, spoke=end.spoke)


def _event_from_record(kind: type[Event], recorded: Mapping[str, Any]) -> Event:
    """Build an event from its recorded fields, ignoring fields that only a newer version has."""
    return kind(
        **{field_.name: recorded[field_.name] for field_ in fields(kind) if field_.name in recorded}
    )
