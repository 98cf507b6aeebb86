"""The behaviour of a carrier: how it reports calls, and the messages on its media socket."""

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

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
    """Play this after what is queued."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class MarkOrder:
    """Echo this mark when everything queued now was played."""

    name: str


@dataclass(frozen=True, slots=True)
class ClearOrder:
    """Drop the queue."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """The carrier's log message about a message that it ignores."""

    text: str


Order: TypeAlias = PlayOrder | MarkOrder | ClearOrder | Complaint


@dataclass(frozen=True, slots=True, kw_only=True)
class WireForm:
    """A carrier's spelling of the messages on its media socket.

    Attributes:
        number: The field with a message's number.
        stream: The field with the stream's id.
        counts: The type of numbers.
        checks_stream: Whether the agent's messages must name the stream.
        media: Further fields of the caller's audio.
        began_ms: The timestamp of the stream's start.
        key: Further fields of a pressed key.
        dtmf: Further fields of the message for a pressed key.
        wrong_stream: The complaint about a message for another stream.
        unknown: The complaint about an unknown message.
    """

    number: str
    stream: str
    counts: type[int] | type[str] = str
    checks_stream: bool = True
    media: Mapping[str, str] = field(default_factory=dict[str, str])
    began_ms: int = 0
    key: Mapping[str, str] = field(default_factory=dict[str, str])
    dtmf: Mapping[str, str] = field(default_factory=dict[str, str])
    wrong_stream: str = ""
    unknown: str = "unknown event"


class CarrierManner(ABC):
    """The differences between carriers.

    Attributes:
        form: The spelling of messages.
        code: The encoding of audio.
        tick_s: The length of the caller's audio in one message.
        says_stop: Whether a `stop` precedes the close of the socket.
    """

    form: ClassVar[WireForm]
    code: SoundCode
    tick_s = 0.02
    says_stop = True

    @abstractmethod
    async def ring(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer
    ) -> Twiml:
        """Report a call to the agent; return the answer, with the media address.

        Raises:
            NotConnectedError: The agent refuses it.
            TimeoutError: The agent does not answer in time.
        """

    @abstractmethod
    async def after(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer, last: Twiml
    ) -> Twiml:
        """Ask for instructions after a stream that ended before its call; otherwise like `ring`."""

    @abstractmethod
    def opening(self, phone: PhoneCall, twiml: Twiml) -> Sequence[Said]:
        """Return the first messages of a stream."""

    @abstractmethod
    def stop(self, phone: PhoneCall) -> Said:
        """Return the message for the stream's end."""

    def numbered(self, message: Said, phone: PhoneCall, number: int) -> Said:
        """Return a message with its number and its stream."""
        form = self.form
        return message | {form.number: form.counts(number), form.stream: phone.stream_sid}

    def media(self, chunk: int, payload: bytes) -> Said:
        """Return a message with a piece of the caller's audio."""
        at_ms = self.form.began_ms + round(chunk * self.tick_s * 1000)
        media = {
            **self.form.media,
            "chunk": self.form.counts(chunk),
            "timestamp": str(at_ms),
            "payload": base64.b64encode(payload).decode(),
        }
        return {"event": "media", "media": media}

    def key(self, digit: str) -> Said:
        """Return the message for a pressed key."""
        return {"event": "dtmf", **self.form.dtmf, "dtmf": {**self.form.key, "digit": digit}}

    def echo(self, name: str) -> Said:
        """Return the echo of a mark."""
        return {"event": "mark", "mark": {"name": name}}

    def order(self, message: Said, phone: PhoneCall) -> Order:
        """Return the agent's order, or a complaint about its message."""
        if self.form.checks_stream and message.get(self.form.stream) != phone.stream_sid:
            return Complaint(self.form.wrong_stream or f"wrong {self.form.stream}")
        return self.ordered(message) or Complaint(self.form.unknown)

    def ordered(self, message: Said) -> Order | None:
        """Return the order in a message for this stream; `None` for an unknown message."""
        match message:
            case {"event": "media", "media": {"payload": str(payload)}}:
                return self.play(base64.b64decode(payload))
            case {"event": "mark", "mark": {"name": str(name)}}:
                return MarkOrder(name)
            case {"event": "clear"}:
                return ClearOrder()
            case _:
                return None

    def play(self, sound: bytes) -> Order:
        """Return the order to play a piece, or the complaint about its size."""
        return PlayOrder(sound)


class TwilioManner(CarrierManner):
    """Twilio's behaviour: signed forms, TwiML, Media Streams; complaints as in its debugger."""

    form = WireForm(
        number="sequenceNumber",
        stream="streamSid",
        media={"track": "inbound"},
        key={"track": "inbound_track"},
        wrong_stream="31951: bad JSON or wrong streamSid",
        unknown="31951: unknown event",
    )
    code = MULAW_CODE

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

    def stop(self, phone: PhoneCall) -> Said:
        """Return `stop`."""
        stop = {"accountSid": phone.account_sid, "callSid": phone.call_sid}
        return {"event": "stop", "stop": stop}
