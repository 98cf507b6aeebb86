"""One media socket of a call: its messages, and ways to lose it."""

import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

import aiohttp

from lab.simulators.carrier.manner import CarrierManner, WireMessage
from lab.simulators.carrier.webhook import CallInstructions, PhoneCall

AT_ONCE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection


class MediaStream:
    """An open socket. Its messages, and its pieces of audio, are numbered from 1.

    Attributes:
        socket: Also takes messages that no carrier would send.
    """

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        manner: CarrierManner,
        phone: PhoneCall,
    ) -> None:
        self.socket = socket
        self._manner = manner
        self._phone = phone
        self._sequence = 1  # `start` has the number 1
        self._chunk = 0

    async def begin(self, instructions: CallInstructions) -> None:
        """Send the first messages."""
        for message in self._manner.opening_messages(self._phone, instructions):
            await self.socket.send_json(message)

    def audio_message(self, payload: bytes) -> WireMessage:
        """Return the message with the next piece of the caller's audio."""
        self._chunk += 1
        return self._manner.media_message(self._chunk, payload)

    async def send(self, message: WireMessage) -> None:
        """Send a message, with its number, if the socket is still open."""
        self._sequence += 1
        numbered = self._manner.with_number(message, self._phone, self._sequence)
        with suppress(ConnectionError, RuntimeError):  # the reader sees the reason
            await self.socket.send_json(numbered)

    async def messages(self) -> AsyncIterator[dict[str, Any] | None]:
        """Yield what the agent sends until the socket is closed; `None` for binary messages."""
        with suppress(ConnectionError):
            async for message in self.socket:
                is_text = message.type is aiohttp.WSMsgType.TEXT
                yield _json_object(message.data) if is_text else None

    def cut(self) -> None:
        """Be silent from now on, as if the cable were cut."""
        if (transport := self.socket.get_extra_info("socket")) is not None:
            transport.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Reset the connection (1006)."""
        connection = self.socket._response.connection  # noqa: SLF001 - aiohttp shows it nowhere
        if connection is not None and connection.transport is not None:
            raw = connection.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            connection.transport.abort()


def _json_object(text: str) -> dict[str, Any]:
    """Return a JSON object; empty for any other text."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
