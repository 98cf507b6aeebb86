"""The carriers' sections: their required keys, and the line for a missing one."""

import base64

import pytest

from configuration.settings import TransportsSettings
from lab.simulators.carrier.telnyx import TelnyxAccount
from tests.configuration.reading import read, refused

PUBLIC_KEY = TelnyxAccount().public_key


def transports_of(text: str, **variables: str) -> TransportsSettings:
    return read(f"transports: {{{text}}}", **variables).settings.transports


def test_a_carrier_is_disabled_by_default_and_then_needs_nothing() -> None:
    transports = transports_of("webrtc: {enabled: true}")

    assert not any(
        item.enabled for item in (transports.telnyx, transports.plivo, transports.exotel)
    )


def test_each_carrier_finds_its_keys_in_the_environment() -> None:
    transports = transports_of(
        "telnyx: {enabled: true}, plivo: {enabled: true}, exotel: {enabled: true}",
        TELNYX_API_KEY="KEY1",
        TELNYX_PUBLIC_KEY=PUBLIC_KEY,
        PLIVO_AUTH_ID="MA1",
        PLIVO_AUTH_TOKEN="t1",
        EXOTEL_API_KEY="e1",
        EXOTEL_API_TOKEN="e2",
    )

    assert transports.telnyx.api_key is not None
    assert transports.plivo.auth_token is not None
    assert transports.exotel.api_token is not None


def test_exotel_needs_no_keys_where_its_addresses_are_known() -> None:
    exotel = transports_of(
        "exotel: {enabled: true, allowed_addresses: [203.0.113.7, 10.0.0.0/8]}"
    ).exotel

    assert exotel.allowed_addresses == ("203.0.113.7/32", "10.0.0.0/8")
    assert exotel.api_key is None


NOT_SET = "which is not set; put it in the environment or .env"
LINES: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "telnyx without keys": (
        "telnyx: {enabled: true}",
        {},
        [
            f"holdline.yaml:1: transports.telnyx.api_key_env names TELNYX_API_KEY, {NOT_SET}",
            f"holdline.yaml:1: transports.telnyx.public_key_env names TELNYX_PUBLIC_KEY, {NOT_SET}",
        ],
    ),
    "telnyx with the wrong key": (
        "telnyx: {enabled: true}",
        {"TELNYX_API_KEY": "KEY1", "TELNYX_PUBLIC_KEY": base64.b64encode(b"short").decode()},
        [
            "holdline.yaml:1: transports.telnyx.public_key_env names TELNYX_PUBLIC_KEY, which "
            "is not an Ed25519 key of 32 bytes in base64; copy the public key from the portal, "
            "under Keys & Credentials"
        ],
    ),
    "telnyx with an application and no number": (
        'telnyx: {enabled: true, connection_id: "1684641123236054244"}',
        {"TELNYX_API_KEY": "KEY1", "TELNYX_PUBLIC_KEY": PUBLIC_KEY},
        [
            "holdline.yaml:1: transports.telnyx.number is missing, and connection_id is set; give "
            "one of the account's numbers, such as +15005550006"
        ],
    ),
    "plivo without a token": (
        "plivo: {enabled: true}",
        {"PLIVO_AUTH_ID": "MA1"},
        [f"holdline.yaml:1: transports.plivo.auth_token_env names PLIVO_AUTH_TOKEN, {NOT_SET}"],
    ),
    "exotel without anything": (
        "exotel: {enabled: true}",
        {},
        [
            f"holdline.yaml:1: transports.exotel.api_key_env names EXOTEL_API_KEY, {NOT_SET}",
            f"holdline.yaml:1: transports.exotel.api_token_env names EXOTEL_API_TOKEN, {NOT_SET}",
        ],
    ),
    "exotel with a number and no account": (
        "exotel: {enabled: true, number: '+15005550008'}",
        {"EXOTEL_API_KEY": "e1", "EXOTEL_API_TOKEN": "e2"},
        [f"holdline.yaml:1: transports.exotel.account_sid_env names EXOTEL_ACCOUNT_SID, {NOT_SET}"],
    ),
    "exotel with a number, known by its addresses": (
        "exotel: {enabled: true, number: '+15005550008', allowed_addresses: [10.0.0.0/8]}",
        {"EXOTEL_ACCOUNT_SID": "e0", "EXOTEL_API_KEY": "e1"},
        [f"holdline.yaml:1: transports.exotel.api_token_env names EXOTEL_API_TOKEN, {NOT_SET}"],
    ),
    "a secret in the file": (
        "plivo: {auth_token: hunter2}",
        {},
        [
            "holdline.yaml:1: transports.plivo.auth_token is a secret; put it in the environment "
            "or .env and name it in auth_token_env"
        ],
    ),
}


@pytest.mark.parametrize(("text", "variables", "lines"), LINES.values(), ids=LINES.keys())
def test_each_missing_key_is_reported_in_one_line(
    text: str, variables: dict[str, str], lines: list[str]
) -> None:
    assert refused(f"transports: {{{text}}}", **variables) == lines


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("telnyx: {codec: OPUS}", "transports.telnyx.codec"),
        ("telnyx: {machine_detection: maybe}", "transports.telnyx.machine_detection"),
        ("telnyx: {calls_per_s: 0}", "transports.telnyx.calls_per_s"),
        ("telnyx: {connection_id: ''}", "transports.telnyx.connection_id"),
        ("plivo: {content_type: audio/wav}", "transports.plivo.content_type"),
        ("plivo: {calls_per_s: 0}", "transports.plivo.calls_per_s"),
        ("exotel: {allowed_addresses: [here]}", "transports.exotel.allowed_addresses[0]"),
        ("exotel: {calls_per_s: 0}", "transports.exotel.calls_per_s"),
        ("telnyx: {returns_within_s: -1}", "transports.telnyx.returns_within_s"),
        ("telnix: {enabled: true}", "transports.telnix"),
    ],
)
def test_a_wrong_value_is_reported_with_its_key(text: str, key: str) -> None:
    [line] = refused(f"transports: {{{text}}}")

    assert line.startswith(f"holdline.yaml:1: {key} ")
    assert "Traceback" not in line


def test_a_wrong_key_of_a_disabled_carrier_is_ignored() -> None:
    assert not transports_of("telnyx: {enabled: false}", TELNYX_PUBLIC_KEY="rubbish").telnyx.enabled
