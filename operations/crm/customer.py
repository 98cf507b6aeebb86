"""A CRM's information about a caller, and our report of a call.

Also paths and templates for a CRM's JSON: a path such as `results.0.id` finds a value in an answer,
and `{call_id}` in a template is replaced with a value of the report.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, cast

from calls.sentences import OUTCOMES, WHYS, phrase
from calls.verdict import NOT_SERVED, CallerVerdict

PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)\}")

STATUSES: Final[Mapping[str, str]] = {
    "completed": "completed",
    "voicemail": "completed",  # a machine answered
    "busy": "busy",
    "no_answer": "no_answer",
    "silent": "no_answer",  # no word was said
    "declined": "busy",
    "no_such_number": "failed",
    "failed": "failed",
    "cancelled": "canceled",
    "refused": "canceled",
    "agent_failed": "failed",
    "unknown": "failed",  # success is not known
    "outage": "failed",
    "shutdown": "failed",
    "never_connected": "failed",
    "interrupted": "failed",
}
"""Telephone statuses by a dial's outcome or the reason of a call's end; any other reason means that
the call took place: `completed`."""

VERDICT_TEXTS: Final[Mapping[str, str]] = {
    CallerVerdict.DEGRADED.value: "with an answer that was late or in another voice",
    CallerVerdict.HURT.value: "no, the caller got no answer at least once because of a failure",
    CallerVerdict.LOST.value: "no, the call was cut off by a failure",
}
"""The verdicts that a report mentions, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrmContact:
    """A CRM's record of a caller."""

    id: str
    name: str = ""
    fields: Mapping[str, str] = field(default_factory=dict[str, str])

    def known(self) -> dict[str, str]:
        """Return the known values by key; a field called `name` does not replace the name."""
        known = {"name": self.name, **self.fields}
        return known | {"name": self.name} if self.name else known


@dataclass(frozen=True, slots=True, kw_only=True)
class CrmReport:
    """The report of a call.

    Attributes:
        key: The idempotency key, the same for every attempt to send the report.
        number: The other party's number.
        our_number: Our number in the call; empty if unknown.
        contact: The other party's id in the CRM; empty if unknown.
        outcome: The reason in `CallEnded`; for a dial, its outcome.
        result: The code of the call's result; empty if unknown.
        summary: What the call was about, in words.
        made_by: The author of `summary` and `result`: `model`, or `facts`.
        callback: The requested callback time, in the caller's words; empty without a request.
        callback_at: That time in ISO 8601; empty if none was named or understood.
        ended_s: When the call ended, in seconds since 1970.
        verdict: What the caller got: served, degraded, hurt, lost; empty if it was not judged.
        why: The code of the verdict's reason.
    """

    key: str
    call_id: str
    direction: str
    number: str
    agent: str = ""
    contact: str = ""
    outcome: str = ""
    length_s: float = 0.0
    turns: int = 0
    ended_s: float = 0.0
    summary: str = ""
    callback: str = ""
    reason: str = ""  # of the callback
    campaign: str = ""
    result: str = ""
    callback_at: str = ""
    notes: str = ""
    made_by: str = "facts"
    our_number: str = ""
    verdict: str = ""
    why: str = ""

    def values(self) -> dict[str, Any]:
        """Return the values that templates may use."""
        began_s = self.ended_s - self.length_s
        other_key, our_key = "from_number", "to_number"
        if self.direction != "inbound":
            other_key, our_key = our_key, other_key
        return {
            **asdict(self),
            "length_ms": round(self.length_s * 1000),
            "ended_ms": round(self.ended_s * 1000),
            "direction_upper": self.direction.upper(),
            "began_ms": round(began_s * 1000),
            "status": self.status,
            "status_upper": self.status.upper(),
            other_key: self.number,
            our_key: self.our_number,
            "account": self.account,
        }

    @property
    def status(self) -> str:
        """How the call ended: completed, busy, no_answer, canceled, failed.

        A call that a failure cut off has failed, and so has one in which a failure kept us from
        answering.
        """
        if self.verdict in NOT_SERVED:
            return "failed"
        return STATUSES.get(self.outcome, "completed")

    @property
    def account(self) -> str:
        """Summary, outcome, callback, notes and verdict, one per line, for a text field."""
        lines = {
            "": self.summary,
            "Outcome: ": phrase(OUTCOMES, self.result),
            "Call back: ": " ".join(filter(None, (self.callback_at, self.callback))),
            "Notes: ": self.notes,
            "Served: ": self._describe_verdict(),
        }
        return "\n".join(f"{name}{text}" for name, text in lines.items() if text)

    def _describe_verdict(self) -> str:
        verdict, why = VERDICT_TEXTS.get(self.verdict, ""), phrase(WHYS, self.why)
        return f"{verdict} ({why})" if verdict and why else verdict


def dig(answer: Any, path: str) -> Any:
    """Return the value at a path of keys and positions; `None` if there is none."""
    found = answer
    for step in filter(None, path.split(".")):
        found = _value_at(found, step)
    return found


def _value_at(value: Any, step: str) -> Any:
    """Return the item of a mapping or a list (by its decimal index); `None` if there is none."""
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).get(step)
    if isinstance(value, list) and step.isdecimal():
        items, position = cast("list[Any]", value), int(step)
        return items[position] if position < len(items) else None
    return None


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Fill in a template; a text that is only a placeholder becomes the value, with its type.

    A placeholder without a value becomes an empty text.
    """
    if isinstance(template, str):
        whole = PLACEHOLDER.fullmatch(template)
        if whole:
            return values.get(whole[1], "")
        return PLACEHOLDER.sub(lambda found: str(values.get(found[1], "")), template)
    if isinstance(template, Mapping):
        pairs = cast("Mapping[str, Any]", template)
        return {key: fill(part, values) for key, part in pairs.items()}
    if isinstance(template, list):
        return [fill(part, values) for part in cast("list[Any]", template)]
    return template
