"""Sections of the configuration: their defaults, and one line for each mistake."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from bot.server.webrtc_routes import for_page, own_ice_servers
from configuration import sections as traces
from configuration.sections import TracesSettings
from operations.after_call.configured_work import asks_a_model, works_after_calls
from operations.remote import signature
from tests.configuration.reading import read, refused


def without(package: str) -> str:
    raise PackageNotFoundError(package)


def test_spans_are_off_by_default() -> None:
    assert TracesSettings().enabled is False


@pytest.mark.parametrize("url", ["http://collector:4318", "http://collector:4318/"])
def test_an_address_without_a_path_gets_the_usual_one(url: str) -> None:
    assert TracesSettings(url=url).url == "http://collector:4318/v1/traces"


def test_an_address_with_a_path_is_taken_as_it_is() -> None:
    assert TracesSettings(url="https://c/otlp/v1/traces").url == "https://c/otlp/v1/traces"


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValidationError, match="a URL without a password") as refused:
        TracesSettings(url="https://me:canary@c/v1/traces")

    assert "canary" not in str(refused.value.errors(include_input=False))


def test_a_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "version", without)

    assert TracesSettings(enabled=False).enabled is False
    with pytest.raises(ValidationError, match=r'pip install "holdline\[traces\]"'):
        TracesSettings(enabled=True)


ON = {"HOLDLINE__SHEETS__ENABLED": "true", "HOLDLINE__SHEETS__SPREADSHEET_ID": "a-sheet"}
FILE = {"GOOGLE_APPLICATION_CREDENTIALS": "/etc/holdline/account.json"}


def test_the_mirror_is_off_by_default_and_needs_no_keys() -> None:
    assert not read().settings.sheets.enabled


def test_the_account_file_is_the_one_that_the_variable_names() -> None:
    pytest.importorskip("google.auth")
    settings = read(**ON, **FILE).settings

    assert settings.sheets.credentials_file == Path("/etc/holdline/account.json")


@pytest.mark.parametrize("path", ["/etc/hold line/account.json", "/home/müller/account.json"])
def test_the_path_of_the_file_may_hold_spaces_and_any_letters(path: str) -> None:
    assert read(GOOGLE_APPLICATION_CREDENTIALS=path).settings.sheets.credentials_file == Path(path)


def test_a_path_that_cannot_be_printed_is_one_line() -> None:
    assert refused(GOOGLE_APPLICATION_CREDENTIALS="/etc/a\nb") == [
        "built-in default: sheets.credentials_file_env names GOOGLE_APPLICATION_CREDENTIALS, "
        "which has characters that cannot be printed; put it in the environment or .env"
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (ON, "sheets.credentials_file_env names GOOGLE_APPLICATION_CREDENTIALS, which is not set"),
        ({**ON, **FILE, "HOLDLINE__SHEETS__SPREADSHEET_ID": ""}, "it needs spreadsheet_id"),
    ],
    ids=["no file", "no spreadsheet"],
)
def test_a_missing_key_is_one_line_with_the_cure(given: dict[str, str], said: str) -> None:
    pytest.importorskip("google.auth")

    (line,) = refused(**given)

    assert said in line


RELAY = {
    "url": "turn:relay.example:3478?transport=tcp",
    "username": "us",
    "credential_env": "RELAY",
}
STUN = {"url": "stun:stun.example"}


def text_of(*servers: dict[str, Any]) -> str:
    return yaml.safe_dump({"transports": {"webrtc": {"ice_servers": list(servers)}}})


def test_a_relays_password_comes_from_the_environment() -> None:
    settings = read(text_of(STUN, RELAY), RELAY="secret-of-the-relay").settings
    servers = settings.transports.webrtc.ice_servers

    assert for_page(servers) == [
        {"urls": ["stun:stun.example"]},
        {"urls": [RELAY["url"]], "username": "us", "credential": "secret-of-the-relay"},
    ]
    assert own_ice_servers(servers)[1].credential == "secret-of-the-relay"
    assert "secret-of-the-relay" not in repr(servers)


@pytest.mark.parametrize(
    ("server", "line"),
    [
        ({"url": "http://x"}, 'ice_servers[0].url is "http://x"; it must be stun:HOST:PORT'),
        ({"url": "turn:x:1"}, "ice_servers[0] is a TURN server and needs `username`"),
        (RELAY, "ice_servers[0].credential_env names RELAY, which is not set"),
        (STUN | {"credential": "x"}, "ice_servers[0].credential is a secret"),
        (STUN | {"user": "x"}, "ice_servers[0].user is unknown"),
    ],
    ids=["no ICE url", "no account", "not set", "in the file", "unknown"],
)
def test_a_mistake_is_one_line(server: dict[str, Any], line: str) -> None:
    (told,) = refused(text_of(server))

    assert line in told


PACKED = "c2VjcmV0" * 4
WEBHOOK = 'crm: {kind: webhook, url: "https://crm.example.com/calls"}\n'
OTHER = 'crm: {kind: rest, url: "https://crm.example.com", mapping: {}}\n'


@pytest.mark.parametrize(
    "token",
    [
        *("secret-1", f"{PACKED}_1-", f"whsec_{PACKED}a"),
        *(f"{PACKED}-_12", f"whsec_{PACKED}:{PACKED}", f"YQ=={PACKED}"),
        "whsec_==",
    ],
)
def test_a_webhook_s_secret_that_cannot_sign_is_refused(token: str) -> None:
    (line,) = refused(WEBHOOK, CRM_TOKEN=token)

    assert "crm.token" in line
    assert "it must be whsec_ followed by base64 for `kind: webhook`" in line
    assert token not in line
    with pytest.raises(ValueError, match=r"base64|(?i:padding|data)"):
        signature(token, "a report")


@pytest.mark.parametrize(
    ("text", "token"),
    [
        (WEBHOOK, f"whsec_{PACKED}"),
        (WEBHOOK, PACKED),
        (WEBHOOK, f"whsec_{PACKED}YQ"),  # without what fills it up
        (OTHER, "secret-1"),
    ],
    ids=["as they are given", "bare", "not filled up", "a bearer token"],
)
def test_any_other_secret_is_accepted(text: str, token: str) -> None:
    held = read(text, CRM_TOKEN=token).settings.crm.token

    assert held is not None
    assert held.get_secret_value() == token


NOTHING = "server: {port: 8080}\n"
REGISTER = "crm: {kind: own}\n"
CAMPAIGN = "campaigns: {spring: {results: [date_found, no_interest]}}\n"


@pytest.mark.parametrize(
    ("text", "asks", "works"),
    [
        (NOTHING, False, False),
        (REGISTER, True, True),
        (CAMPAIGN, True, True),
        (NOTHING + "after_call: {enabled: true}\n", True, True),
        (CAMPAIGN + "after_call: {enabled: false}\n", False, False),
        (
            CAMPAIGN + "after_call: {enabled: false}\ncallbacks: {campaign: spring}\n",
            False,
            True,
        ),
    ],
    ids=["no receiver", "a register", "a campaign", "said so", "said no", "callbacks alone"],
)
def test_a_model_is_asked_if_a_receiver_is_configured(
    text: str, *, asks: bool, works: bool
) -> None:
    settings = read(text).settings

    assert (asks_a_model(settings), works_after_calls(settings)) == (asks, works)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            CAMPAIGN + "callbacks: {campaign: autumn}\n",
            'callbacks.campaign is "autumn", which is not one of `campaigns`: spring',
        ),
        ("callbacks: {campaign: spring}\n", "which is not one of `campaigns`: none"),
        ("after_call: {models: {nobody: gpt}}\n", "after_call.models.nobody is not a rung"),
        ("after_call: {results: [Sold!]}\n", "after_call.results[0]"),
        ("after_call: {within_s: 0}\n", "after_call.within_s is 0"),
        ("after_call: {at_once: 0}\n", "after_call.at_once is 0"),
        ("campaigns: {spring: {results: [Yes]}}\n", "campaigns.spring.results[0]"),
    ],
)
def test_a_mistake_is_one_line_with_its_key(text: str, line: str) -> None:
    (told,) = refused(text)

    assert line in told
