"""The carrier's exchange delivers its callbacks over lost connections."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.exchange import RequestedCall
from lab.simulators.carrier.rest import TwilioExchange
from lab.simulators.carrier.webhook import AgentServer, PhoneCall
from lab.simulators.clock import utc_now

pytestmark = pytest.mark.virtual_time

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
RESET = struct.pack("ii", 1, 0)


@asynccontextmanager
async def forgetful_server(statuses: list[str]) -> AsyncIterator[str]:
    """Answer one request of each connection; a second one is reset."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        body = (await reader.readexactly(length)).decode()
        statuses.append(body.split("CallStatus=")[1].split("&")[0])
        writer.write(ANSWER)
        await writer.drain()
        await reader.read(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield "http://{}:{}".format(*server.sockets[0].getsockname()[:2])


async def test_a_status_callback_moves_to_another_connection_if_the_server_closed_one() -> None:
    statuses: list[str] = []
    async with forgetful_server(statuses) as url:
        exchange = TwilioExchange(AgentServer(base_url=url, public_url=url, auth_token="x"))
        phone = PhoneCall(direction="outbound-api")
        exchange.callees[phone.called] = Callee(fate="busy", ring_s=1.0)
        events = frozenset({"initiated", "ringing", "completed"})
        order = {"StatusCallback": f"{url}/status"}

        await exchange.run(
            RequestedCall(phone=phone, order=order, events=events, created=utc_now())
        )

    assert statuses == ["initiated", "ringing", "busy"]
