"""Hostile clients at Twilio's webhooks during a call, which must not affect its caller."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from lab.simulators.carrier.webhook import CallInstructions, PhoneCall, signature, start_message
from tests.bot.judged_call import AUTH_TOKEN, JudgedCall, judged_call
from tests.bot.server.test_strangers import HEAD, drip, pour, stranger

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]

PATHS = ("voice", "after", "status")


async def post(beside: JudgedCall, path: str, body: object, *, proof: str = "") -> int:
    headers = {"X-Twilio-Signature": proof} if proof else {}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{beside.url}/twilio/{path}", data=body) as answer,
    ):
        await answer.read()
        return answer.status


async def test_overlarge_slow_and_broken_webhooks_are_refused_or_cut_off(tmp_path: Path) -> None:
    chunk = b"%x\r\n%s\r\n" % (65536, b"x" * 65536)
    heads = (b"Content-Length: 20000000\r\n", b"Transfer-Encoding: chunked\r\n")
    async with judged_call(tmp_path) as beside:
        statuses = [
            await pour(
                beside.port, path=f"/twilio/{path}".encode(), head=head, piece=chunk,
                most_bytes=20_000_000,
            )
            for path in PATHS
            for head in heads
        ]  # fmt: skip
        async with asyncio.TaskGroup() as tasks:
            for path in PATHS:
                head = HEAD % f"/twilio/{path}".encode() + b"Content-Length: 1000\r\n\r\n"
                tasks.create_task(drip(beside.port, head))
                for _ in range(10):
                    async with stranger(beside.port) as it:
                        await it.say(head + b"CallSid=CA1")
                        it.writer.transport.abort()

    assert statuses == [413] * 6


async def test_only_twilio_resumes_or_ends_a_call(tmp_path: Path) -> None:
    async with judged_call(tmp_path) as beside:
        form = beside.call.phone.form()
        over = form | {"CallStatus": "completed", "DialCallStatus": "completed"}
        other = signature(AUTH_TOKEN, f"{beside.url}/twilio/voice", over)
        for path in ("after", "status"):
            for proof in ("", "forged", other):
                assert await post(beside, path, over, proof=proof) == 403
            assert await post(beside, path, b"\xff\xfe=\x00", proof="forged") == 400
            assert await post(beside, path, "&".join(f"a{n}=1" for n in range(999))) == 400
        used = beside.call.instructions.parameters["token"]
        for place in ("", "/w1", "/w999", "/" + "w" * 200):
            for token in (used, "guessed", ""):
                await knock(beside, place, token)
        assert not beside.call.ended.is_set()
        assert beside.call.lost_at == []

    assert len(beside.switchboard.calls) == 0


async def knock(beside: JudgedCall, place: str, token: str) -> None:
    """Open a stream as if the call continued there."""
    phone = PhoneCall(call_sid=beside.call.phone.call_sid)
    twiml = CallInstructions(stream_url=None, parameters={"token": token}, said="")
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"ws://127.0.0.1:{beside.port}/twilio/media{place}") as socket,
    ):
        await socket.send_str(json.dumps(start_message(phone, twiml)))
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
