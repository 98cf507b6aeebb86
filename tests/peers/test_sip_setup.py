"""`holdline sip setup` against the real LiveKit: what it made takes a call."""

import asyncio
from pathlib import Path

import pytest

from bot.__main__ import run
from tests.peers.conftest import NewPhone
from tests.peers.media_server import NUMBER, MediaServer
from tests.peers.test_peers import first_room, participant

CONFIG = """
stages:
  stt: [{kind: local}]
  llm: [{kind: openai, url: "http://127.0.0.1:9/v1", api_key_env: OPENAI_API_KEY}]
  tts: [{name: voice, kind: local}]
"""


@pytest.fixture
def configured(
    media_server: MediaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MediaServer:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIVEKIT_URL", media_server.websocket_url)
    monkeypatch.setenv("LIVEKIT_API_KEY", media_server.key)
    monkeypatch.setenv("LIVEKIT_API_SECRET", media_server.secret)
    monkeypatch.setenv("SIP_NUMBER", NUMBER)
    return media_server


def changes(capsys: pytest.CaptureFixture[str]) -> list[str]:
    head, _, _ = capsys.readouterr().out.partition("\n\n")
    return [line.split(": ", 1)[1] for line in head.splitlines()]


def write(sip: str) -> None:
    Path("holdline.yaml").write_text(f"{CONFIG}transports: {{livekit: {{sip: {{{sip}}}}}}}\n")


def test_twice_is_once_and_what_is_different_is_changed(
    configured: MediaServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_SERVER", "127.0.0.1:5099")
    monkeypatch.setenv("SIP_USERNAME", "us")
    monkeypatch.setenv("SIP_PASSWORD", "outbound-password")
    monkeypatch.setenv("SIP_INBOUND_PASSWORD", "inbound-password")
    seen = []
    for sip in ("inbound_username: them", "inbound_username: them", "inbound_username: they"):
        write(sip)
        assert run(["sip", "setup"]) == 0
        seen.append(changes(capsys))
    monkeypatch.setenv("SIP_PASSWORD", "another-password")
    assert run(["sip", "setup"]) == 0
    seen.append(changes(capsys))
    asyncio.run(configured.remove_all())

    assert seen == [
        ["created", "created", "created"],
        ["unchanged", "unchanged", "unchanged"],
        ["changed (auth_username)", "unchanged", "unchanged"],
        ["unchanged", "unchanged", "changed (auth_password)"],
    ]


async def test_a_call_to_the_number_comes_into_a_room_of_its_own(
    configured: MediaServer, new_phone: NewPhone
) -> None:
    write("allowed_addresses: [127.0.0.1]")
    assert await asyncio.to_thread(run, ["sip", "setup"]) == 0
    phone = await new_phone()

    await phone.dial(configured.uri())
    async with configured.api() as lk:
        name = await first_room(lk)
    async with participant(configured, name):
        await phone.until("CALL_ESTABLISHED")
        await phone.hang_up()
    await configured.remove_all()

    assert name.startswith("call-")


def test_a_number_of_another_trunk_is_refused_in_livekits_words(
    configured: MediaServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write("allowed_addresses: [127.0.0.1]")
    assert run(["sip", "setup"]) == 0
    write("allowed_addresses: [127.0.0.1], name: another")

    code = run(["sip", "setup"])
    asyncio.run(configured.remove_all())

    said = capsys.readouterr().err
    assert code == 1
    assert "does not make the inbound trunk" in said
    assert said.count("\n") == 1
