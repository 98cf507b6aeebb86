"""The catalogue of sentences for people: for each code, what is wrong and how to fix it.

Console, alerts, log, commands, evidence, CRM and inbox show the same sentence for the same code.
Programs use the codes, which are in events, JSON, metrics and the database.

A failure's sentence names the vendor and the variable, or the place in the configuration. It
depends on the kind of failure and on the HTTP status in its reason, and not on whether a probe or a
caller's request failed. The fix depends only on the kind.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from calls.incident import CAMPAIGN, DISK, NO_CALLS, RECORD, STORAGE, UNKNOWN, WORKER
from fallbacks.events import RetryPlanned
from fallbacks.failure import Kind

STATUS: Final = re.compile(r"\b4[0-9]{2}\b")
FORBIDDEN: Final = "403"
MAX_DETAIL: Final = 200  # characters of a provider's message that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """The vendor and the key of a rung or another system, for an operator.

    Attributes:
        title: The vendor's name.
        key: The environment variable with the key.
        place: The place in the configuration, such as `stages.llm openai`.
    """

    title: str
    key: str
    place: str


Vendors: TypeAlias = Mapping[tuple[str, str], Vendor]
"""Vendors by stage and rung, as in an incident."""

FAILURES: Final[Mapping[str, str]] = {
    Kind.TIMEOUT: "{title} does not answer in time",
    Kind.NETWORK: "{title} cannot be reached",
    Kind.RATE_LIMITED: "{title} limits the requests of {key}",
    Kind.OVERLOADED: "{title} is overloaded",
    Kind.QUOTA: "{title} has no credit left for {key}",
    Kind.AUTH: "{title} rejects {key}",
    Kind.BAD_REQUEST: "{title} refuses our request",
    Kind.NOT_FOUND: "{title} does not know the model, the voice or the address of {place}",
    Kind.PROTOCOL: "{title} sends answers that cannot be understood",
    Kind.CUT: "{title} breaks off its answers",
    Kind.STALLED: "{title} stops in the middle of its answers",
    Kind.SILENT: "{title} answers with nothing",
    UNKNOWN: "{title} does not work",
    "lag": "{title} could not be tested, because this machine is too busy",
    "error": "{title} reports an error",
}
LACKS_PERMISSION: Final = "{title} accepts {key}, but it lacks a permission"
DETAILED: Final = frozenset({Kind.BAD_REQUEST, Kind.PROTOCOL, "error"})
"""Kinds of failure whose sentence includes the provider's message."""
IF_IT_LASTS: Final = (
    "it is tested until it works again; if it lasts, look at the provider's status page"
)
CURES: Final[Mapping[str, str]] = {
    Kind.TIMEOUT: IF_IT_LASTS,
    Kind.NETWORK: "check its url, and this machine's network and DNS; it is tested meanwhile",
    Kind.RATE_LIMITED: "ask the provider for a higher limit, or add another provider",
    Kind.OVERLOADED: IF_IT_LASTS,
    Kind.QUOTA: "pay at the provider, then reload the configuration",
    Kind.AUTH: "put a valid key with all permissions there, and reload the configuration",
    Kind.BAD_REQUEST: "check its model, voice and options, and reload the configuration",
    Kind.NOT_FOUND: "correct it there, and reload the configuration",
    Kind.PROTOCOL: "check its url; if that is right, look at the provider's status page",
    Kind.CUT: IF_IT_LASTS,
    Kind.STALLED: IF_IT_LASTS,
    Kind.SILENT: "check its model, voice and language, and the provider's status page",
    UNKNOWN: "holdline doctor --online tells what is wrong",
    "lag": "lower server.max_calls, or use a faster machine",
    "error": "the log has the rest; holdline doctor --online tests it",
    # of stages and of other parts
    "exhausted": "mend one of its providers; holdline providers shows each of them",
    "no_usable_rung": "mend one of its providers; holdline providers shows each of them",
    "no_answer": "the alerts by cause say what to mend",
    "not_served": "the log has the error; it is a fault of Holdline or of one of your tools",
    "nothing_can_be_written": "free space on the disk, or make it writable",
    "record_halted": "check storage.url, and the server or the disk of that database",
    "not_listed": "check storage.url; if a person has to list it: holdline dnc add",
    "lost": "the log has the reason; if it comes again, look at the memory of this machine",
    "frozen": "mend the function that blocked it; the log has the whole stack",
    "out_of_memory": "raise the memory limit, or lower server.workers or server.max_calls",
    # of campaigns
    "stt_down": "mend one of the providers of stages.stt",
    "llm_down": "mend one of the providers of stages.llm",
    "tts_down": "mend one of the providers of stages.tts",
    "carrier_unreachable": "check the carrier's api_url, its status page and this network",
    "no_carrier": "enable a carrier with a number under transports",
    "agent_failed_in_a_row": "mend the cause, then resume the campaign",
    "carrier_refused_in_a_row": "check the account, the trunk and the caller number at the "
    "carrier, then resume the campaign",
}

STAGE_DOWN: Final = {
    "stt": "no speech recognition is available",
    "llm": "no language model is available",
    "tts": "no voice is available",
}
STAGES: Final = {"stt": "speech recognition", "llm": "language model", "tts": "voice"}
INCIDENTS: Final[Mapping[tuple[str, str], str]] = {
    ("callers", "no_answer"): "callers get no answer",
    ("call", "not_served"): "a call could not be served",
    (DISK, "nothing_can_be_written"): "the disk does not accept {rung}",
    (STORAGE, "record_halted"): "the database does not accept the record of calls",
    (STORAGE, "not_listed"): "a number is not on the do-not-call list yet, although its owner "
    "wants no calls",
    (WORKER, "lost"): "the process {rung} has died",
    (WORKER, "frozen"): "the process {rung} was killed because it did not respond",
    (WORKER, "out_of_memory"): "the process {rung} was killed because memory ran out",
    ("test", "of_this_channel"): "a test of this channel",
    ("inbox", "callback"): "a caller wants to be called back",
    ("inbox", "message"): "a caller left a message",
}
"""Sentences about incidents that are not a rung's, by the incident's stage and kind."""
OWN_PARTS: Final = frozenset({DISK, STORAGE, WORKER})
NAMES: Final = {RECORD: "the record of calls", NO_CALLS: "the do-not-call list"}

HELD: Final[Mapping[str, str]] = {
    **{f"{stage}_down": said for stage, said in STAGE_DOWN.items()},
    "carrier_unreachable": "the carrier does not answer",
    "no_carrier": "no carrier for outbound calls is configured",
    "no_seat": "all seats are taken",
    "nothing_allowed": "outbound.countries is not set",
    "concurrent": "outbound.concurrent calls are in progress",
    "hourly": "outbound.hourly calls were placed within an hour",
    "daily_minutes": "outbound.daily_minutes were used within 24 hours",
    "agent_failed_in_a_row": "several calls in a row failed on our side",
    "carrier_refused_in_a_row": "the carrier refused several dials in a row, or could not place "
    "them",
    "nobody_due": "no contact is due yet",
    "window_closed": "it is outside the calling hours of all remaining contacts",
    "daily_calls": "the daily limit of calls is reached",
    "daily_spend": "the daily spending limit is reached",
}
"""Why a campaign waits."""
ORDINARY: Final = frozenset({"nobody_due", "window_closed", "daily_calls", "daily_spend"})
"""The reasons that need no action of a person."""
EFFECTS: Final[Mapping[str, str]] = {
    "hold": "No contacts are dialled, because {why}. The campaign resumes by itself.",
    "skip": "Contacts are skipped and dialled later, because {why}.",
    "degraded": "Contacts are dialled anyway, although {why}.",
}
"""The effect of an outage on a campaign, by its `on_outage`."""

ENDS: Final[Mapping[str, str]] = {
    "caller_hung_up": "the caller hung up",
    "person_hung_up": "the person hung up",
    "agent_hung_up": "the agent ended the call",
    "silence": "the agent ended it, because the caller was silent",
    "max_length": "it reached agent.max_call_s",
    "failed": "an internal error ended it; the log has the error",
    "outage": "it ended after the outage menu, because no provider was available",
    "shutdown": "the server was stopped during it",
    "transfer": "the caller was transferred to a person",
    "voicemail": "a voicemail answered",
    "menu": "a telephone menu answered",
    "line_lost": "the line was lost and did not come back",
    "device_lost": "the microphone or the loudspeaker is gone",
    "line_ended": "the carrier ended the line",
    "connection_lost": "the carrier's connection was lost",
    "stalled": "the caller's line accepted no more sound",
    "never_connected": "the line never connected",
    "interrupted": "the process died during it; the log has the reason",
    "live": "in progress",
    "ended": "it ended",
    "busy": "it was busy",
    "no_agent": "it was answered, and no agent came",
}
"""The ends of a call."""

WHYS: Final[Mapping[str, str]] = {
    **ENDS,
    "menu": "the outage menu was read instead of an answer",
    "clip": "a recorded sentence was played instead of an answer",
    "no_answer": "no answer came",
    "filler": "the answer was late, and a filler was said",
    "other_voice": "another voice than the agent's was heard",
    "late": "the answer was late",
    "resumed": "the line or the process was replaced during the call",
}
"""The reasons of a verdict."""

CHOICES: Final[Mapping[str, str]] = {
    "clip": "callers hear a recorded sentence",
    "local": "callers hear the local voice",
    "words": "callers get the spoken menu",
    "keypad": "callers get the keypad menu",
    "chosen": "callers get what they chose from the menu",
    "goodbye": "callers hear a goodbye",
}
"""The steps of the outage menu."""

REFUSED: Final[Mapping[str, str]] = {
    "full": "all seats are taken; raise server.max_calls, or add a machine",
    "busy": "this machine is too busy for one more call",
    "draining": "the server is being stopped",
    "starting": "the server is still starting",
    "address_full": "one address has all the calls that it may have",
    "public_full": "public calls have all the seats that they may take",
    "no_seat": "all seats are taken; raise server.max_calls, or add a machine",
    "no_brief": "the order of the call is not known any more",
    "wrong_signature": "its signature is wrong; check the carrier's key and server.public_url",
    "wrong_body_hash": "its body was changed on the way",
    "wrong_credentials": "its user name or password is wrong; check them at the carrier",
    "too_many_wrong_credentials": "one address tries tokens; it has to wait",
    "bad_token": "the token is wrong or was used before",
}
"""Why a call or a request was not accepted."""

OUTCOMES: Final[Mapping[str, str]] = {
    "no_answer": "no answer",
    "no-answer": "no answer",
    "silent": "answered, but without a word",
    "no_such_number": "there is no such number",
    "agent_failed": "failed on our side",
    "refused": "not dialled",
    "unknown": "the carrier does not tell how it ended",
    "goal_reached": "the goal is reached",
    "not_reached": "the person was not reached",
    "callback": "wants to be called back",
    "do_not_call": "wants no more calls",
    "wrong_person": "not the wanted person",
    "unclear": "not clear",
    "interrupted": "the process died during the call",
}
"""The outcomes of dials and the results of calls."""

DIALS: Final[Mapping[str, str]] = {
    **ENDS,
    "answered": "answered",
    "busy": "busy",
    "nobody_spoke": "the line was answered, but no word was said",
    "hung_up_silent": "the person hung up without a word",
    "rang_out": "it rang until the time was over",
    "unavailable": "the telephone is off or does not ring",
    "declined": "the person declined the call",
    "no_such_number": "there is no such number",
    "number_changed": "the number has changed",
    "refused": "the carrier refused it",
    "carrier_refused": "the carrier refused it",
    "carrier_trouble": "the carrier has a fault; it is dialled again",
    "lost_at_carrier": "the carrier knows nothing of it",
    "found_at_carrier": "the carrier was asked for it after a restart",
    "gateway_lost": "livekit-sip did not answer; check that it runs",
    "gateway_full": "livekit-sip takes no more calls; check its load",
    "login_refused": "the carrier rejects SIP_PASSWORD or transports.livekit.sip.username",
    "payment_required": "the account at the carrier has no credit; pay there",
    "forbidden": "the carrier does not allow calls to this number; ask it to open the country",
    "our_number_refused": "the carrier does not accept our number as the caller; check it there",
    "no_common_media": "the carrier accepts none of our codecs",
    "bad_request": "livekit-sip refuses the request; check transports.livekit.sip",
    "no_such_trunk": "livekit-sip has no such trunk; run holdline sip setup",
    "key_refused": "LiveKit rejects LIVEKIT_API_KEY or LIVEKIT_API_SECRET",
}
"""The reasons of a dial's outcome."""

UNANSWERED: Final[Mapping[str, str]] = {
    stage: f"The caller got no answer, because {said}; they chose this from the menu."
    for stage, said in STAGE_DOWN.items()
}
"""Why a caller chose a person or a callback from the outage menu, by the stage that was down."""


def phrase(table: Mapping[str, str], code: str) -> str:
    """Return a code in words; a code that is not in the table, with spaces for underscores."""
    return table.get(code) or code.replace("_", " ")


def dialled(outcome: str, reason: str) -> str:
    """Return the outcome of a dial and its reason, in words."""
    words = phrase(OUTCOMES, outcome)
    why = phrase(DIALS, reason) if reason else ""
    return f"{words} ({why})" if why not in ("", words) else words


def held(reason: str, *, on_outage: str) -> str:
    """Return why a running campaign waits and what it does; empty for an unknown reason."""
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
    sentence = FAILURES.get(kind, FAILURES[UNKNOWN])
    if kind == Kind.AUTH and found and found[0] == FORBIDDEN:
        sentence = LACKS_PERMISSION
    text = sentence.format(title=vendor.title, key=vendor.key, place=vendor.place)
    if text in reason:
        return reason[reason.index(text) :]
    if kind in DETAILED and reason:
        return f"{text}; it says: {reason[:MAX_DETAIL]}"
    return f"{text} ({found[0]})" if found else text


def planned_retry(event: RetryPlanned, vendors: Vendors) -> str:
    """Return the line that a command prints while it waits for a retry."""
    failure = explain(event.kind, "", vendor_at(vendors, event.stage, event.provider))
    return f"{failure}; retry in {event.wait_s:.0f} s"


def cure_of(kind: str) -> str:
    """Return what a person can do about a failure or an incident; empty for an unknown kind."""
    return CURES.get(kind, "")


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
    if known := INCIDENTS.get((stage, kind)):
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


def _say_failure(fields: Mapping[str, Any], vendors: Vendors) -> str:
    stage = str(fields.get("stage", ""))
    name = str(fields.get("provider") or fields.get("rung") or "")
    kind = str(fields.get("kind", "error"))
    reason = str(fields.get("reason") or fields.get("error") or "")
    return explain(kind, reason, vendor_at(vendors, stage, name))


def _say_incident(fields: Mapping[str, Any], _: Vendors) -> str:
    stage, rung, kind = (str(fields.get(name, "")) for name in ("stage", "rung", "kind"))
    title = headline(stage, rung, kind, str(fields.get("reason", "")))
    parts = (title, str(fields.get("then", "")), cure_of(kind))
    return "; ".join(part for part in parts if part)


def _say_incident_end(fields: Mapping[str, Any], vendors: Vendors) -> str:
    place, kind = (str(fields["stage"]), str(fields["rung"])), str(fields["kind"])
    reason = explain(kind, "", vendors[place]) if place in vendors else ""
    return f"over: {headline(*place, kind, reason)}"


def _say_turn_verdict(fields: Mapping[str, Any], _: Vendors) -> str:
    return phrase(WHYS, fields["why"]) if fields.get("why") else ""


EVENTS: Final[Mapping[str, Callable[[Mapping[str, Any], Vendors], str]]] = {
    **dict.fromkeys(
        ("AttemptFailed", "Suspected", "RetriesExhausted", "ProviderFailed"), _say_failure
    ),
    **dict.fromkeys(("IncidentBegan", "IncidentGrew"), _say_incident),
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


def say(event: str, fields: Mapping[str, Any], vendors: Vendors) -> str:
    """Return the sentence for the codes in an event; empty if there is none.

    Args:
        event: The name of the event's type.
        fields: The event's fields.
        vendors: The vendors of the rungs and of other systems.
    """
    render = EVENTS.get(event)
    return render(fields, vendors) if render else ""
