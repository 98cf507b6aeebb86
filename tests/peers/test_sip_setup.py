"""`holdline sip setup` against the real LiveKit: a call arrives with its result."""

import asyncio
from pathlib import Path

import pytest
from livekit import api

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

DROPPED = '"reason": "flood"'


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


def test_a_second_run_changes_only_differences(
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


@pytest.mark.parametrize("dialled", [NUMBER, NUMBER.removeprefix("+")])
async def test_a_call_to_the_number_comes_into_a_room_of_its_own(
    configured: MediaServer, new_phone: NewPhone, dialled: str
) -> None:
    write("allowed_addresses: [127.0.0.1]")
    assert await asyncio.to_thread(run, ["sip", "setup"]) == 0
    phone = await new_phone()

    await phone.dial(configured.uri(dialled))
    async with configured.api() as lk:
        name = await first_room(lk)
    async with participant(configured, name):
        await phone.until("CALL_ESTABLISHED")
        await phone.hang_up()
    await configured.remove_all()

    assert name.startswith("call-")
    assert "phone" not in name  # the caller, whose From has a name in place of a number


def test_a_number_of_another_trunk_is_refused_with_livekits_message(
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


@pytest.mark.parametrize(
    ("addresses", "number"), [("192.0.2.7", NUMBER), ("127.0.0.1", "+15550199")]
)
async def test_a_call_without_a_trunk_gets_no_room(
    configured: MediaServer, new_phone: NewPhone, addresses: str, number: str
) -> None:
    write(f"allowed_addresses: [{addresses}]")
    assert await asyncio.to_thread(run, ["sip", "setup"]) == 0
    dropped = configured.sip.log.read_text(encoding="utf-8").count(DROPPED)
    phone = await new_phone()

    await phone.dial(configured.uri(number))
    async with asyncio.timeout(20):
        while configured.sip.log.read_text(encoding="utf-8").count(DROPPED) == dropped:  # noqa: ASYNC110 - a file grows
            await asyncio.sleep(0.05)
    async with configured.api() as lk:
        rooms = (await lk.room.list_rooms(api.ListRoomsRequest())).rooms
    await configured.remove_all()

    assert not rooms
    assert not phone.told("CALL_ESTABLISHED")


async def test_a_carrier_sends_its_configured_login(
    configured: MediaServer, new_phone: NewPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIP_INBOUND_PASSWORD", "inbound-password")
    write("inbound_username: them")
    assert await asyncio.to_thread(run, ["sip", "setup"]) == 0
    right = await new_phone("right", login=("them", "inbound-password"))
    wrong = await new_phone("wrong", login=("them", "guessed"))

    await wrong.dial(configured.uri())
    refused = await wrong.until("CALL_CLOSED")
    await right.dial(configured.uri())
    async with configured.api() as lk:
        name = await first_room(lk)
    async with participant(configured, name):
        await right.until("CALL_ESTABLISHED")
        await right.hang_up()
    await configured.remove_all()

    assert not wrong.told("CALL_ESTABLISHED")
    assert refused["param"]
