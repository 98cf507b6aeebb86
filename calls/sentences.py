"""The catalogue of sentences for people: for each code, what is wrong and how to fix it.

Console, alerts, log, commands, evidence, CRM and inbox show the same sentence for the same code.
Programs use the codes, which are in events, JSON, metrics and the database.

A failure's sentence names the vendor and the variable, or the place in the configuration. It
depends on the kind of failure and on the HTTP status in its reason, and not on whether a probe or a
caller's request failed. The fix depends only on the kind. The texts are in `sentences.yaml`.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from calls.incident import CAMPAIGN, DISK, STORAGE, UNKNOWN, WORKER
from fallbacks.data_files import read_data
from fallbacks.events import RetryPlanned
from fallbacks.failure import ONE_CALL, Kind

STATUS: Final = re.compile(r"\b4[0-9]{2}\b")
FORBIDDEN: Final = "403"
VENDOR_DOWN: Final = "vendor_down"
"""The code of the sentence about rungs of one vendor that fail alike."""
FAIL_ALIKE: Final = "fail alike"
"""The end of that sentence."""
MAX_DETAIL: Final = 200  # characters of a provider's message that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """The vendor and the key of a rung or another system, for an operator.

    Attributes:
        title: The vendor's name.
        key: The environment variable with the key.
        place: The place in the configuration, such as `stages.llm openai`.
        name: The name that all rungs of the vendor share; empty if it is not known.
    """

    title: str
    key: str
    place: str
    name: str = ""


Vendors: TypeAlias = Mapping[tuple[str, str], Vendor]
"""Vendors by stage and rung, as in an incident."""

_TABLES: Final[Mapping[str, Any]] = read_data(__name__, "sentences.yaml")

Sentences: TypeAlias = Mapping[str, str]
"""Sentences by code."""

FAILURES: Final[Sentences] = _TABLES["failures"]
CURES: Final[Sentences] = _TABLES["cures"]
STAGE_DOWN: Final[Sentences] = _TABLES["stage_down"]
STAGES: Final[Sentences] = _TABLES["stages"]
INCIDENTS: Final[Mapping[str, Sentences]] = _TABLES["incidents"]
"""Sentences about incidents that are not a rung's, by the incident's stage and kind."""
NAMES: Final[Sentences] = _TABLES["names"]
HELD: Final[Sentences] = {
    **{f"{stage}_down": said for stage, said in STAGE_DOWN.items()},
    **_TABLES["held"],
}
"""Why a campaign waits."""
EFFECTS: Final[Sentences] = _TABLES["effects"]
"""The effect of an outage on a campaign, by its `on_outage`."""
ENDS: Final[Sentences] = _TABLES["ends"]
"""The ends of a call."""
WHYS: Final[Sentences] = {**ENDS, **_TABLES["whys"]}
"""The reasons of a verdict."""
CHOICES: Final[Sentences] = _TABLES["choices"]
"""The steps of the outage menu."""
REFUSED: Final[Sentences] = _TABLES["refused"]
"""Why a call or a request was not accepted."""
OUTCOMES: Final[Sentences] = _TABLES["outcomes"]
"""The outcomes of dials and the results of calls."""
DIALS: Final[Sentences] = {**ENDS, **_TABLES["dials"]}
"""The reasons of a dial's outcome."""
UNANSWERED: Final[Sentences] = {
    stage: f"The caller got no answer, because {said}; they chose this from the menu."
    for stage, said in STAGE_DOWN.items()
}
"""Why a caller chose a person or a callback from the outage menu, by the stage that was down."""

DETAILED: Final = frozenset({Kind.BAD_REQUEST, Kind.PROTOCOL, "error"})
"""Kinds of failure whose sentence includes the provider's message."""
OWN_PARTS: Final = frozenset({DISK, STORAGE, WORKER})
ORDINARY: Final = frozenset({"nobody_due", "window_closed", "daily_calls", "daily_spend"})
"""The reasons to wait that need no action of a person."""


def phrase(table: Mapping[str, str], code: str) -> str:
    """Return a code in words; a code that is not in the table, with spaces for underscores."""
    return table.get(code) or code.replace("_", " ")


def dialled(outcome: str, reason: str) -> str:
    """Return the outcome of a dial in words, with its reason in parentheses if that adds to it."""
    words = phrase(OUTCOMES, outcome)
    why = phrase(DIALS, reason) if reason else ""
    return f"{words} ({why})" if why not in ("", words) else words


def held(reason: str, *, on_outage: str) -> str:
    """Return why a running campaign waits and what it does; empty for an unknown reason.

    An ordinary reason has no cure.

    Args:
        reason: A code.
        on_outage: What the campaign does while a stage is down; used only for such a reason.
    """
    why = HELD.get(reason, "")
    if not why or reason in ORDINARY:
        return f"Waiting: {why}." if why else ""
    effect = EFFECTS[on_outage if reason.endswith("_down") else "hold"].format(why=why)
    return " ".join(filter(None, (effect, sentence(cure_of(reason)))))


def paused(reason: str) -> str:
    """Return why a campaign is paused; empty if no reason is known.

    Args:
        reason: A code, or the name of the operator who paused it.
    """
    if reason in HELD:
        return f"Paused: {HELD[reason]}. {sentence(cure_of(reason))}".rstrip()
    return f"Paused by {reason}." if reason else ""


def vendor_at(vendors: Vendors, stage: str, name: str) -> Vendor:
    """Return a vendor; one that is no longer configured has the rung's name as its title."""
    vendor = vendors.get((stage, name))
    title = NAMES.get(name, name) or STAGES.get(stage, stage)
    return vendor or Vendor(title=title, key="its key", place=f"{stage} {name}".strip())


def explain(kind: str, reason: str, vendor: Vendor | None) -> str:
    """Return the sentence about a failure.

    Args:
        kind: The kind of the failure.
        reason: The provider's message, or a text that ends with this sentence, which is then
            returned as it is.
        vendor: The vendor; if it is `None`, as in tests, the reason is returned.
    """
    if vendor is None:
        return reason
    found = STATUS.search(reason)
    status = f" ({found[0]})" if found else ""
    if reason.startswith(ONE_CALL):
        return FAILURES["refused_once"].format(title=vendor.title, status=status)
    sentence = FAILURES.get(kind, FAILURES[UNKNOWN])
    if kind == Kind.AUTH and found and found[0] == FORBIDDEN:
        sentence = FAILURES["lacks_permission"]
    text = sentence.format(title=vendor.title, key=vendor.key, place=vendor.place)
    if text in reason:
        return reason[reason.index(text) :]
    if kind in DETAILED and reason:
        return f"{text}; it says: {reason[:MAX_DETAIL]}"
    return text + status


def planned_retry(event: RetryPlanned, vendors: Vendors) -> str:
    """Return the line that a command prints while it waits for a retry, without a full stop."""
    failure = explain(event.kind, "", vendor_at(vendors, event.stage, event.provider))
    return f"{failure}; retry in {event.wait_s:.0f} s"


def cure_of(kind: str, reason: str = "") -> str:
    """Return what a person can do about a failure or an incident; empty if that is not known.

    Empty also if `reason` says that only one call was refused. If it says that rungs of one vendor
    fail alike, the cure is for that vendor.
    """
    code = VENDOR_DOWN if reason.endswith(FAIL_ALIKE) else kind
    return "" if ONE_CALL in reason else CURES.get(code, "")


def headline(stage: str, rung: str, kind: str, reason: str) -> str:
    """Return the sentence about an incident.

    Args:
        stage: The incident's stage.
        rung: The incident's rung; empty for the whole stage.
        kind: The incident's kind.
        reason: For a rung, the sentence about its failure; for our own parts, the system's message.
    """
    if stage == CAMPAIGN:
        return f"campaign {rung} places no calls: {phrase(HELD, kind)}"
    if stage == "alert":
        return f"alerts by {rung} do not arrive: {reason or phrase(FAILURES, kind)}"
    if stage in STAGE_DOWN and not rung:
        return STAGE_DOWN[stage]
    if known := INCIDENTS.get(stage, {}).get(kind):
        sentence = known.format(rung=NAMES.get(rung, rung))
        return f"{sentence}: {reason}" if reason and stage in OWN_PARTS else sentence
    return reason or explain(kind, "", vendor_at({}, stage, rung))


def callers_get(others: Sequence[str], steps: Collection[str], *, stage: str = "") -> str:
    """Return what callers get instead of a rung, as a sentence.

    Args:
        others: The usable rungs of the rung's stage, preferred rung first.
        steps: The enabled steps of the outage menu.
        stage: The rung's stage; only voices can be replaced by the local voice.
    """
    if others:
        return f"{others[0]} is used instead"
    order = ("local",) if stage == "tts" else ()
    for step in (*order, "keypad", "words", "clip", "goodbye"):
        if step in steps:
            return CHOICES[step].replace("callers ", "callers will ")
    return "callers will hear nothing"


def sentence(text: str) -> str:
    """Return a text with a capital letter and a full stop; an empty text stays empty."""
    if not text:
        return ""
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}"


def _failure_sentence(fields: Mapping[str, Any], vendors: Vendors) -> str:
    """Return the sentence about the failure in an event's fields."""
    stage = str(fields.get("stage", ""))
    name = str(fields.get("provider") or fields.get("rung") or "")
    kind = str(fields.get("kind", "error"))
    reason = str(fields.get("reason") or fields.get("error") or "")
    return explain(kind, reason, vendor_at(vendors, stage, name))


def _incident_sentence(fields: Mapping[str, Any], _: Vendors) -> str:
    """Return the sentence about an incident: what it is, what callers get, and the cure."""
    stage, rung, kind = (str(fields.get(name, "")) for name in ("stage", "rung", "kind"))
    title = headline(stage, rung, kind, str(fields.get("reason", "")))
    parts = (title, str(fields.get("then", "")), cure_of(kind, title))
    return "; ".join(part for part in parts if part)


def _say_incident_end(fields: Mapping[str, Any], vendors: Vendors) -> str:
    """Return what is over; the event has no reason, so that of a rung is made from its kind."""
    place, kind = (str(fields["stage"]), str(fields["rung"])), str(fields["kind"])
    reason = explain(kind, "", vendors[place]) if place in vendors else ""
    return f"over: {headline(*place, kind, reason)}"


def _say_turn_verdict(fields: Mapping[str, Any], _: Vendors) -> str:
    return phrase(WHYS, fields["why"]) if fields.get("why") else ""


EVENTS: Final[Mapping[str, Callable[[Mapping[str, Any], Vendors], str]]] = {
    **dict.fromkeys(
        ("AttemptFailed", "Suspected", "RetriesExhausted", "ProviderFailed"), _failure_sentence
    ),
    **dict.fromkeys(("IncidentBegan", "IncidentGrew"), _incident_sentence),
    "IncidentEnded": _say_incident_end,
    "StageExhausted": lambda fields, _: STAGE_DOWN.get(fields["stage"], ""),
    "StepTaken": lambda fields, _: phrase(CHOICES, fields["step"]),
    "CallEnded": lambda fields, _: phrase(ENDS, fields["reason"]),
    "TurnJudged": _say_turn_verdict,
    **dict.fromkeys(
        ("CallRefused", "InputRefused"), lambda fields, _: phrase(REFUSED, fields["reason"])
    ),
    **dict.fromkeys(
        ("CampaignHeld", "CampaignPaused", "CampaignResumed", "ContactSkipped"),
        lambda fields, _: phrase(HELD, fields["reason"]),
    ),
    "DialEnded": lambda fields, _: dialled(fields["outcome"], fields.get("reason", "")),
}


def event_sentence(event: str, fields: Mapping[str, Any], vendors: Vendors) -> str:
    """Return the sentence for the codes in an event; empty if there is none.

    Args:
        event: The name of the event's type.
        fields: The event's fields.
        vendors: The vendors of the rungs and of other systems.
    """
    render = EVENTS.get(event)
    return render(fields, vendors) if render else ""
