"""Webhook signatures, checked with the carriers' own packages, both ways."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plivo.utils.signature_v3 import validate_v3_signature

from lab.simulators.carrier.plivo import plivo_signature as plivo_signs
from lab.simulators.carrier.telnyx import TelnyxAccount
from runtime import clock
from transports.plivo.signature import is_signed, signed_text
from transports.telnyx.signature import public_key, signature_trouble

URL = "https://agent.example.com/plivo/voice"
FORM = {"CallUUID": "a1", "From": "15005550006", "To": "15005550100", "Event": "StartApp"}
NAMES = st.text(alphabet="AZaz09_-", min_size=1, max_size=6)
VALUES = st.text(alphabet="abcXYZ019 +:/.-é", max_size=12)
FORMS = st.dictionaries(NAMES, VALUES, max_size=6)
QUERIES = st.sampled_from(["", "a=1", "b=2&a=1", "empty="])


def accepts(token: str, proofs: str, *, url: str = URL, query: str = "", form: Any = FORM) -> bool:
    text = signed_text(url, query, form, "nonce")
    return is_signed(token, text, proofs)


@given(form=FORMS, query=QUERIES)
def test_a_signature_of_plivos_package_is_accepted(form: dict[str, str], query: str) -> None:
    url = f"{URL}?{query}" if query else URL
    proof = plivo_signs("a-token", url, form, "nonce")

    assert validate_v3_signature("POST", url, "nonce", "a-token", proof, form)
    assert accepts("a-token", proof, query=query, form=form)


def test_one_right_signature_among_several_is_enough() -> None:
    proof = plivo_signs("a-token", URL, FORM, "nonce")

    assert accepts("a-token", f"of-another-account,{proof}")
    assert accepts("a-token", f"{proof}, of-another-account")


@pytest.mark.parametrize(
    "change",
    [
        {"form": FORM | {"From": "19995550000"}},
        {"form": {}},
        {"query": "a=1"},
        {"url": "https://agent.example.com/plivo/after"},
    ],
    ids=["another caller", "no form", "a query", "another address"],
)
def test_a_webhook_changed_in_transit_is_refused(change: dict[str, Any]) -> None:
    assert not accepts("a-token", plivo_signs("a-token", URL, FORM, "nonce"), **change)


@pytest.mark.parametrize("proofs", ["", ",", "é", "x" * 100_000])
def test_an_invalid_plivo_signature_is_refused(proofs: str) -> None:
    assert not accepts("a-token", proofs)
    assert not accepts("another-token", plivo_signs("a-token", URL, FORM, "nonce"))


BODY = json.dumps({"data": {"event_type": "call.initiated", "payload": {"from": "é"}}}).encode()
NOW = 1_763_720_000


def verdict(headers: dict[str, str], body: bytes = BODY, *, key: str, now: float) -> str | None:
    public = public_key(key)
    assert public is not None
    lower = {name.lower(): value for name, value in headers.items()}
    return signature_trouble(public, lower, body, now=now)


@pytest.fixture(scope="module")
def telnyxs() -> ModuleType:
    """Telnyx's own module by itself: importing the whole package takes 5 s."""
    package = importlib.util.find_spec("telnyx")
    assert package is not None
    assert package.submodule_search_locations is not None
    path = Path(package.submodule_search_locations[0]) / "lib" / "webhook_verification.py"
    spec = importlib.util.spec_from_file_location("webhook_verification", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_signature_of_telnyxs_package_is_accepted(telnyxs: ModuleType) -> None:
    account = TelnyxAccount()
    headers = account.signature_headers(BODY)

    telnyxs.verify_webhook_signature(BODY, headers, account.public_key)
    now = clock.utc_now().timestamp()
    assert verdict(headers, key=account.public_key, now=now) is None


def test_a_signature_that_telnyxs_package_refuses_is_refused(telnyxs: ModuleType) -> None:
    account, other = TelnyxAccount(), TelnyxAccount()
    headers = account.signature_headers(BODY)

    with pytest.raises(telnyxs.WebhookVerificationError):
        telnyxs.verify_webhook_signature(BODY, headers, other.public_key)
    now = clock.utc_now().timestamp()
    assert verdict(headers, key=other.public_key, now=now) == "wrong_signature"
    assert verdict(headers, BODY + b" ", key=account.public_key, now=now) == "wrong_signature"


@pytest.mark.parametrize(
    ("age_s", "trouble"),
    [(0, None), (299, None), (301, "webhook_too_old"), (-301, "webhook_too_old")],
    ids=["at once", "nearly too late", "too late", "from the future"],
)
def test_an_old_webhook_is_refused(age_s: float, trouble: str | None) -> None:
    account = TelnyxAccount()
    headers = account.signature_headers(BODY, at_s=NOW - age_s)

    assert verdict(headers, key=account.public_key, now=NOW) == trouble


WRONG: dict[str, dict[str, str]] = {
    "nothing": {},
    "no time": {"telnyx-timestamp": ""},
    "a time that is no number": {"telnyx-timestamp": "now"},
    "a time without end": {"telnyx-timestamp": "1" * 5000},
    "a time in other digits": {"telnyx-timestamp": "१२३"},
    "no signature": {"telnyx-signature-ed25519": ""},
    "no base64": {"telnyx-signature-ed25519": "**"},
    "too short": {"telnyx-signature-ed25519": "AAAA"},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_an_invalid_telnyx_signature_is_refused(change: dict[str, str]) -> None:
    account = TelnyxAccount()
    headers = account.signature_headers(BODY, at_s=NOW) | change if change else {}

    assert verdict(headers, key=account.public_key, now=NOW) == "wrong_signature"


@pytest.mark.parametrize("text", ["", "**", "AAAA", "5f" * 32])
def test_an_invalid_public_key_is_rejected(text: str) -> None:
    assert public_key(text) is None
