"""Simulates Exotel: the Voicebot applet's socket.

Source: developer.exotel.com/docs/agentstream/stream-voicebot-applet.
"""

import base64
import secrets
from collections.abc import Sequence
from typing import Final

import aiohttp

from lab.simulators.carrier.manner import ClearOrder, Complaint, MarkOrder, Order, PlayOrder, Said
from lab.simulators.carrier.sound_code import plain_code
from lab.simulators.carrier.webhook import AgentServer, NotConnectedError, PhoneCall, Twiml

LEAST_BYTES: Final = 3200
MOST_BYTES: Final = 100 * 1024
STEP_BYTES: Final = 320


class ExotelManner:
    """Exotel's: no webhook, name and password in the address, long pieces of plain samples."""

    tick_s = 0.1
    says_stop = True

    def __init__(self, *, key: str = "", token: str = "", rate_hz: int = 8000) -> None:
        """Call with the applet's credentials."""
        self.code = plain_code(rate_hz)
        self._key = key
        self._token = token

    async def ring(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer
    ) -> Twiml:
        """Return the applet's configured address: there is no webhook."""
        headers = {}
        if self._key:
            headers = {"Authorization": aiohttp.encode_basic_auth(self._key, self._token)}
        url = f"{server.public_url.replace('http', 'ws', 1)}/exotel/media"
        return Twiml(
            stream_url=f"{url}?sample-rate={self.code.rate_hz}",
            parameters={},
            said="",
            headers=headers,
        )

    async def after(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer, last: Twiml
    ) -> Twiml:
        """Raise: there is no next applet."""
        raise NotConnectedError(status=200, said="there is no next applet")

    def opening(self, phone: PhoneCall, twiml: Twiml) -> Sequence[Said]:
        """Return `connected` and `start`."""
        start = {
            "stream_sid": phone.stream_sid,
            "call_sid": phone.call_sid,
            "account_sid": phone.account_sid,
            "from": phone.caller,
            "to": phone.called,
            "custom_parameters": {},
            "media_format": {
                "encoding": "audio/x-raw",
                "sample_rate": str(self.code.rate_hz),
                "bit_rate": "16",
            },
        }
        return (
            {"event": "connected"},
            {
                "event": "start",
                "sequence_number": 1,
                "stream_sid": phone.stream_sid,
                "start": start,
            },
        )

    def numbered(self, message: Said, phone: PhoneCall, number: int) -> Said:
        """Return the message with its number and its stream."""
        return message | {"sequence_number": number, "stream_sid": phone.stream_sid}

    def media(self, chunk: int, payload: bytes) -> Said:
        """Return 100 ms."""
        media = {
            "chunk": chunk,
            "timestamp": str(chunk * 100),
            "payload": base64.b64encode(payload).decode(),
        }
        return {"event": "media", "media": media}

    def key(self, digit: str) -> Said:
        """Return `dtmf`."""
        return {"event": "dtmf", "dtmf": {"duration": "120", "digit": digit}}

    def echo(self, name: str) -> Said:
        """Return `mark`."""
        return {"event": "mark", "mark": {"name": name}}

    def stop(self, phone: PhoneCall) -> Said:
        """Return `stop`."""
        stop = {"call_sid": phone.call_sid, "account_sid": phone.account_sid, "reason": "callended"}
        return {"event": "stop", "stop": stop}

    def order(self, message: Said, phone: PhoneCall) -> Order:
        """Return the agent's order; sound in pieces that would break up gives a complaint."""
        if message.get("stream_sid") != phone.stream_sid:
            return Complaint("wrong stream_sid")
        match message:
            case {"event": "media", "media": {"payload": str(payload)}}:
                return _play(base64.b64decode(payload))
            case {"event": "mark", "mark": {"name": str(name)}}:
                return MarkOrder(name)
            case {"event": "clear"}:
                return ClearOrder()
            case _:
                return Complaint("unknown event")


def _play(sound: bytes) -> Order:
    if not LEAST_BYTES <= len(sound) <= MOST_BYTES or len(sound) % STEP_BYTES:
        return Complaint(f"a chunk of {len(sound)} bytes")
    return PlayOrder(sound)


def exotel_call(caller: str = "+15005550006", called: str = "+15005550100") -> PhoneCall:
    """Return a call with ids in Exotel's format."""
    return PhoneCall(
        caller=caller,
        called=called,
        account_sid="exotel1",
        call_sid=secrets.token_hex(16),
        stream_sid=secrets.token_hex(16),
    )
