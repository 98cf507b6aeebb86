"""The catalogue of sentences: each failure and code in words, with the cure, and without a code."""

import re
from typing import Any

import pytest

from calls.sentences import (
    CHOICES,
    CURES,
    DIALS,
    ENDS,
    HELD,
    OUTCOMES,
    REFUSED,
    STAGE_DOWN,
    WHYS,
    Vendor,
    callers_get,
    cure_of,
    dialled,
    event_sentence,
    explain,
    headline,
    held,
    paused,
    sentence,
    vendor_at,
)
from campaigns.dialer import PAUSES
from configuration.rungs import vendors_of
from configuration.settings import Settings
from fallbacks.failure import Kind
from processors.holding.outage_rules import STEPS

OPENAI = Vendor(title="OpenAI", key="OPENAI_API_KEY", place="stages.llm openai")
CODE = re.compile(r"\b[a-z]+_[a-z_]+\b")
KEYS = re.compile(r"[a-z]+\.[a-z_.]+|[a-z]+_url|[A-Z_]+")  # of the configuration: they stay
RUNGS = {
    "stt": ("deepgram",),
    "llm": ("openai",),
    "tts": ("cartesia", "elevenlabs"),
}
VENDORS = vendors_of(
    Settings.model_validate(
        {
            "stages": {
                stage: [
                    {"name": f"{kind}-b", "kind": kind, "api_key": "not-a-key", "voice": "v"}
                    if stage == "tts"
                    else {"name": f"{kind}-b", "kind": kind, "api_key": "not-a-key"}
                    for kind in kinds
                ]
                for stage, kinds in RUNGS.items()
            }
        }
    )
)


def has_code(text: str) -> bool:
    return bool(CODE.search(KEYS.sub("", text)))


@pytest.mark.parametrize("kind", Kind)
def test_each_failure_of_each_vendor_is_a_sentence_with_a_cure_and_without_a_code(
    kind: Kind,
) -> None:
    assert cure_of(kind)
    for vendor in VENDORS.values():
        for reason in ("", "401", "answered 429: wait", "the socket was closed"):
            says = explain(kind, reason, vendor)

            assert says.startswith(vendor.title)
            assert not has_code(f"{says} {cure_of(kind)}")
            assert says == explain(kind, says, vendor) == explain(kind, f"probe: {says}", vendor)


@pytest.mark.parametrize(
    ("kind", "reason", "says"),
    [
        # The reasons are those of a probe, a request, an upgrade, a close, and of no details.
        (Kind.AUTH, "api.openai.com answered 401", "OpenAI rejects OPENAI_API_KEY (401)"),
        (Kind.AUTH, "401 invalid_api_key", "OpenAI rejects OPENAI_API_KEY (401)"),
        (Kind.AUTH, "401 at the upgrade", "OpenAI rejects OPENAI_API_KEY (401)"),
        (Kind.AUTH, "closed with 1008 invalid key", "OpenAI rejects OPENAI_API_KEY"),
        (Kind.AUTH, "", "OpenAI rejects OPENAI_API_KEY"),
        (
            Kind.AUTH,
            "api.openai.com answered 403: our key lacks a permission",
            "OpenAI accepts OPENAI_API_KEY, but it lacks a permission (403)",
        ),
        (Kind.QUOTA, "402 no credit", "OpenAI has no credit left for OPENAI_API_KEY (402)"),
        (
            Kind.NOT_FOUND,
            "404 model_not_found",
            "OpenAI does not know the model, the voice or the address of stages.llm openai (404)",
        ),
        (Kind.TIMEOUT, "no answer in 3 s", "OpenAI does not answer in time"),
        (Kind.BAD_REQUEST, "bad option", "OpenAI refuses our request; it says: bad option"),
    ],
)
def test_a_failure_names_the_vendor_the_variable_and_the_status(
    kind: Kind, reason: str, says: str
) -> None:
    assert explain(kind, reason, OPENAI) == says


def test_without_a_known_vendor_the_reason_stays() -> None:
    assert explain(Kind.AUTH, "401", None) == "401"


def test_a_rung_that_is_not_configured_any_more_has_its_name() -> None:
    assert explain(Kind.AUTH, "401", vendor_at({}, "llm", "old")) == "old rejects its key (401)"


@pytest.mark.parametrize(
    "table",
    [CHOICES, CURES, DIALS, ENDS, HELD, OUTCOMES, REFUSED, STAGE_DOWN, WHYS],
    ids=["choices", "cures", "dials", "ends", "held", "outcomes", "refused", "stages", "whys"],
)
def test_no_sentence_holds_a_code(table: dict[str, str]) -> None:
    assert [text for text in table.values() if has_code(text)] == []


def test_each_step_of_the_outage_menu_and_each_pause_has_a_sentence() -> None:
    assert set(CHOICES) == {step.value for step in STEPS}
    assert set(PAUSES) <= HELD.keys() & CURES.keys()


@pytest.mark.parametrize(
    ("others", "steps", "stage", "says"),
    [
        (["openai-b"], STEPS, "llm", "openai-b is used instead"),
        ([], STEPS, "llm", "callers will get the keypad menu"),
        ([], STEPS, "tts", "callers will hear the local voice"),
        ([], ["clip", "local"], "stt", "callers will hear a recorded sentence"),
        ([], [], "tts", "callers will hear nothing"),
    ],
)
def test_an_outage_says_what_callers_get(
    others: list[str], steps: Any, stage: str, says: str
) -> None:
    assert callers_get(others, steps, stage=stage) == says


@pytest.mark.parametrize(
    ("place", "kind", "reason", "says"),
    [
        (("llm", "openai"), "auth", "OpenAI rejects X", "OpenAI rejects X"),
        (("llm", "openai"), "unknown", "", "openai does not work"),
        (("llm", ""), "exhausted", "OpenAI rejects X", "no language model is available"),
        (("alert", "email"), "timeout", "The mail server does not answer in time",
         "alerts by email do not arrive: The mail server does not answer in time"),
        (("campaign", "spring"), "llm_down", "",
         "campaign spring places no calls: no language model is available"),
        (("disk", "logs"), "nothing_can_be_written", "full",
             "the disk does not accept logs: full"),
        (("callers", ""), "no_answer", "3 of 9", "callers get no answer"),
        (("call", ""), "not_served", "call: KeyError", "a call could not be served"),
    ],
)  # fmt: skip
def test_each_incident_has_a_headline(
    place: tuple[str, str], kind: str, reason: str, says: str
) -> None:
    assert headline(*place, kind, reason) == says


@pytest.mark.parametrize(
    ("event", "said", "says"),
    [
        (
            "AttemptFailed",
            {"stage": "llm", "provider": "openai-b", "kind": "auth", "reason": "401"},
            "OpenAI rejects OPENAI_API_KEY (401)",
        ),
        (
            "Suspected",
            {"stage": "tts", "provider": "cartesia-b", "kind": "rate_limited"},
            "Cartesia limits the requests of CARTESIA_API_KEY",
        ),
        ("CallEnded", {"reason": "caller_hung_up"}, "the caller hung up"),
        ("TurnJudged", {"verdict": "hurt", "why": "menu"}, WHYS["menu"]),
        ("TurnJudged", {"verdict": "served", "why": ""}, ""),
        ("StepTaken", {"step": "keypad"}, "callers get the keypad menu"),
        ("CallRefused", {"reason": "an_owners_code"}, "an owners code"),
        (
            "IncidentBegan",
            {
                "stage": "llm",
                "rung": "openai",
                "kind": "auth",
                "reason": "OpenAI rejects OPENAI_API_KEY (401)",
                "then": "callers will get the keypad menu",
            },
            "OpenAI rejects OPENAI_API_KEY (401); callers will get the keypad menu; "
            "put a valid key with all permissions there, and reload the configuration",
        ),
        (
            "IncidentEnded",
            {"stage": "llm", "rung": "openai-b", "kind": "timeout"},
            "over: OpenAI does not answer in time",
        ),
        ("PhaseMoved", {"before": "listening"}, ""),
    ],
)
def test_an_event_is_described_in_words(event: str, said: dict[str, str], says: str) -> None:
    assert event_sentence(event, said, VENDORS) == says


def test_a_campaign_says_why_it_waits_and_what_to_do() -> None:
    assert held("nobody_due", on_outage="hold") == "Waiting: no contact is due yet."
    assert held("llm_down", on_outage="skip").startswith("Contacts are skipped")
    assert held("pace", on_outage="hold") == ""
    assert "at the carrier, then resume" in paused("carrier_refused_in_a_row")
    assert paused("Mary") == "Paused by Mary."
    assert paused("") == ""


def test_a_dial_says_how_it_ended_and_why() -> None:
    assert dialled("failed", "no_such_number").endswith("(there is no such number)")
    assert dialled("completed", "") == "completed"
    assert dialled("busy", "busy") == "busy"
    assert sentence("") == ""
