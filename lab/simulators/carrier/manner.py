"""The behaviour of a carrier: how it rings, and the messages on its media socket."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import aiohttp

from lab.simulators.carrier.sound_code import MULAW_CODE, SoundCode
from lab.simulators.carrier.webhook import (
    AgentServer,
    PhoneCall,
    Twiml,
    follow,
    ring,
    start_message,
)

Said: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PlayOrder:
    """Play this after the queue."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class MarkOrder:
    """Echo when everything queued now was played."""

    name: str


@dataclass(frozen=True, slots=True)
class ClearOrder:
    """Drop the queue."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """The carrier's log message about a message that it ignores."""

    text: str


Order: TypeAlias = PlayOrder | MarkOrder | ClearOrder | Complaint


class CarrierManner(Protocol):
    """The differences between carriers.

    Attributes:
        code: The code of sound.
        tick_s: The length of the caller's sound in one message.
        says_stop: Whether a `stop` precedes the close of the socket.
    """

    code: SoundCode
    tick_s: float
    says_stop: bool

    async def ring(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer
    ) -> Twiml:
        """Report a call to the agent; return the media address.

        Raises:
            NotConnectedError: The agent refuses it.
        """
        ...

    async def after(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer, last: Twiml
    ) -> Twiml:
        """Ask for instructions after a stream that ended before its call; as `ring`."""
        ...

    def opening(self, phone: PhoneCall, twiml: Twiml) -> Sequence[Said]:
        """Return the first messages of a stream."""
        ...

    def numbered(self, message: Said, phone: PhoneCall, number: int) -> Said:
        """Return a message with the fields that all messages carry."""
        ...

    def media(self, chunk: int, payload: bytes) -> Said:
        """Return a message with a piece of the caller's sound."""
        ...

    def key(self, digit: str) -> Said:
        """Return the message for a pressed key."""
        ...

    def echo(self, name: str) -> Said:
        """Return the echo of a mark."""
        ...

    def stop(self, phone: PhoneCall) -> Said:
        """Return the message for the stream's end."""
        ...

    def order(self, message: Said, phone: PhoneCall) -> Order:
        """Return the agent's order."""
        ...


class TwilioManner:
    """Twilio's: a signed form, TwiML, Media Streams."""

    code = MULAW_CODE
    tick_s = 0.02
    says_stop = True

    async def ring(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer
    ) -> Twiml:
        """Post the form to the voice webhook."""
        return await ring(
            session,
            phone.form(),
            base_url=server.base_url,
            public_url=server.public_url,
            auth_token=server.auth_token,
        )

    async def after(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer, last: Twiml
    ) -> Twiml:
        """Post the form to the `action`."""
        form = phone.form() | {"CallStatus": "in-progress"} | dict(last.told)
        return await follow(session, last.action or "", form, server=server)

    def opening(self, phone: PhoneCall, twiml: Twiml) -> Sequence[Said]:
        """Return `connected` and `start`."""
        connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        return (connected, start_message(phone, twiml))

    def numbered(self, message: Said, phone: PhoneCall, number: int) -> Said:
        """Return the message with its number and its stream."""
        return message | {"sequenceNumber": str(number), "streamSid": phone.stream_sid}

    def media(self, chunk: int, payload: bytes) -> Said:
        """Return 20 ms."""
        return {
            "event": "media",
            "media": {
                "track": "inbound",
                "chunk": str(chunk),
                "timestamp": str(round(chunk * self.tick_s * 1000)),
                "payload": base64.b64encode(payload).decode(),
            },
        }

    def key(self, digit: str) -> Said:
        """Return `dtmf`."""
        return {"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": digit}}

    def echo(self, name: str) -> Said:
        """Return `mark`."""
        return {"event": "mark", "mark": {"name": name}}

    def stop(self, phone: PhoneCall) -> Said:
        """Return `stop`."""
        stop = {"accountSid": phone.account_sid, "callSid": phone.call_sid}
        return {"event": "stop", "stop": stop}

    def order(self, message: Said, phone: PhoneCall) -> Order:
        """Return the agent's order; complaints have the numbers of Twilio's debugger."""
        if message.get("streamSid") != phone.stream_sid:
            return Complaint("31951: bad JSON or wrong streamSid")
        match message:
            case {"event": "media", "media": {"payload": str(payload)}}:
                return PlayOrder(base64.b64decode(payload))
            case {"event": "mark", "mark": {"name": str(name)}}:
                return MarkOrder(name)
            case {"event": "clear"}:
                return ClearOrder()
            case _:
                return Complaint("31951: unknown event")
