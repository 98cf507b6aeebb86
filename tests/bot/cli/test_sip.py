"""`holdline sip setup`: what it creates, prints and reports."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.__main__ import run
from tests.transports.exchange import SECRET, Exchange, running_exchange

STAGES = """
stages:
  stt: [{kind: local}]
  llm: [{kind: openai, url: "http://127.0.0.1:9/v1", api_key_env: OPENAI_API_KEY}]
  tts: [{name: voice, kind: local}]
"""
VARIABLES = (
    "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "LIVEKIT_SIP_URI", "LIVEKIT_URL", "PUBLIC_IP",
    "SIP_INBOUND_PASSWORD", "SIP_NUMBER", "SIP_PASSWORD", "SIP_SERVER", "SIP_USERNAME",
)  # fmt: skip


@pytest.fixture
def exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exchange]:
    monkeypatch.chdir(tmp_path)
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    with running_exchange() as exchange:
        monkeypatch.setenv("LIVEKIT_URL", exchange.url.replace("http", "ws"))
        monkeypatch.setenv("LIVEKIT_API_KEY", "key")
        monkeypatch.setenv("LIVEKIT_API_SECRET", SECRET)
        monkeypatch.setenv("SIP_NUMBER", "+15550100")
        write("")
        yield exchange


def write(sip: str) -> None:
    Path("holdline.yaml").write_text(f"{STAGES}transports: {{livekit: {{sip: {{{sip}}}}}}}\n")


def test_setup_creates_the_trunk_and_rule_and_prints_the_carriers_settings(
    exchange: Exchange, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEKIT_SIP_URI", "sip:203.0.113.7:5060")
    write("allowed_addresses: [192.0.2.7]")

    code = run(["sip", "setup"])

    out = capsys.readouterr().out
    assert code == 0
    assert "inbound trunk ID_1: created\ndispatch rule ID_2: created\n" in out
    assert "calls to +15550100 go to sip:203.0.113.7:5060\n" in out
    assert "Anybody" not in out
    (trunk,) = exchange.objects["SIPInboundTrunk"].values()
    assert list(trunk.allowed_addresses) == ["192.0.2.7/32"]
    assert not exchange.objects["SIPOutboundTrunk"]


def test_an_outbound_carrier_gets_a_trunk_too_and_no_password_is_printed(
    exchange: Exchange, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_SERVER", "sip.example.com")
    monkeypatch.setenv("SIP_USERNAME", "us")
    monkeypatch.setenv("SIP_PASSWORD", "outbound-password")
    monkeypatch.setenv("SIP_INBOUND_PASSWORD", "inbound-password")
    write("inbound_username: them, transport: tls")

    assert run(["sip", "setup"]) == 0
    assert run(["sip", "setup"]) == 0

    out = capsys.readouterr().out
    assert out.count("created") == out.count("unchanged") == 3
    assert "with the login them and the password in SIP_INBOUND_PASSWORD" in out
    assert "to sip.example.com, with the login us" in out
    assert "bound-password" not in out
    (inbound,) = exchange.objects["SIPInboundTrunk"].values()
    assert (inbound.auth_username, inbound.auth_password) == ("them", "inbound-password")


def test_a_trunk_that_is_open_to_every_caller_is_reported(
    exchange: Exchange, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sip", "setup"]) == 0

    assert "Anyone who finds the port can call in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sip", "variables", "line"),
    [
        ("", {"SIP_NUMBER": ""}, "transports.livekit.sip.number is not set"),
        ("", {"LIVEKIT_API_KEY": ""}, "names LIVEKIT_API_KEY, which is not set"),
        ("inbound_username: them", {}, "names SIP_INBOUND_PASSWORD, which is not set"),
        ("", {"SIP_INBOUND_PASSWORD": "x"}, "inbound_username is not set"),
        ("server: a.example, username: us", {}, "SIP_PASSWORD is not set"),
        ("server: a.example", {"SIP_PASSWORD": "x"}, "SIP_USERNAME is not set"),
        ("allowed_addresses: [carrier]", {}, "an address or a network such as 192.0.2.0/24"),
        ("inbound_password: x", {}, "is a secret"),
        ("transport: smoke", {}, "transports.livekit.sip.transport"),
    ],
)
def test_a_problem_is_one_line(
    exchange: Exchange,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    sip: str,
    variables: dict[str, str],
    line: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    write(sip)

    code = run(["sip", "setup"])

    assert code == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
    assert not exchange.asked


def test_setup_is_the_only_subcommand(
    exchange: Exchange, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["sip"], ["sip", "destroy"]):
        assert run(arguments) == 2
        assert 'sip takes "setup"' in capsys.readouterr().err
    assert not exchange.asked


def test_a_missing_livekit_is_one_line(
    exchange: Exchange, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEKIT_URL", "ws://127.0.0.1:9")

    code = run(["sip", "setup"])

    said = capsys.readouterr().err
    assert code == 1
    assert said.startswith("holdline: LiveKit at ws://127.0.0.1:9 cannot be reached")
    assert said.count("\n") == 1
