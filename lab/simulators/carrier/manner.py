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
    CallInstructions,
    PhoneCall,
    follow,
    ring,
    start_message,
)

WireMessage: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PlayOrder:
    """Play this after the queued audio."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class MarkOrder:
    """Echo this mark when the audio that is queued now has been played."""

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
        number: The field with a message's number in the stream.
        stream: The field with the stream's id.
        number_type: The type of numbers.
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
    number_type: type[int] | type[str] = str
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
    ) -> CallInstructions:
        """Report a call to the agent; return the answer, with the media address.

        Raises:
            NotConnectedError: The agent refuses it.
            TimeoutError: The agent does not answer in time.
        """

    @abstractmethod
    async def resume_after_stream(
        self,
        session: aiohttp.ClientSession,
        phone: PhoneCall,
        server: AgentServer,
        last: CallInstructions,
    ) -> CallInstructions:
        """Ask for instructions after a stream that ended before its call.

        Args:
            session: Sends the request.
            phone: The call.
            server: The agent's server.
            last: The instructions of the ended stream, whose `action` is asked.

        Raises:
            NotConnectedError: The agent refuses to continue, or no instructions can follow.
            TimeoutError: The agent does not answer in time.
        """

    @abstractmethod
    def opening_messages(
        self, phone: PhoneCall, instructions: CallInstructions
    ) -> Sequence[WireMessage]:
        """Return the first messages of a stream."""

    @abstractmethod
    def stop_message(self, phone: PhoneCall) -> WireMessage:
        """Return the message for the stream's end."""

    def with_number(self, message: WireMessage, phone: PhoneCall, number: int) -> WireMessage:
        """Return a message with its number and its stream."""
        form = self.form
        return message | {form.number: form.number_type(number), form.stream: phone.stream_sid}

    def media_message(self, chunk: int, payload: bytes) -> WireMessage:
        """Return a message with a piece of the caller's audio."""
        at_ms = self.form.began_ms + round(chunk * self.tick_s * 1000)
        media = {
            **self.form.media,
            "chunk": self.form.number_type(chunk),
            "timestamp": str(at_ms),
            "payload": base64.b64encode(payload).decode(),
        }
        return {"event": "media", "media": media}

    def key_message(self, digit: str) -> WireMessage:
        """Return the message for a pressed key."""
        return {"event": "dtmf", **self.form.dtmf, "dtmf": {**self.form.key, "digit": digit}}

    def echo_message(self, name: str) -> WireMessage:
        """Return the echo of a mark."""
        return {"event": "mark", "mark": {"name": name}}

    def order(self, message: WireMessage, phone: PhoneCall) -> Order:
        """Return the agent's order, or a complaint about its message."""
        if self.form.checks_stream and message.get(self.form.stream) != phone.stream_sid:
            return Complaint(self.form.wrong_stream or f"wrong {self.form.stream}")
        return self.find_order(message) or Complaint(self.form.unknown)

    def find_order(self, message: WireMessage) -> Order | None:
        """Return the order in a message for this stream; `None` for an unknown message."""
        match message:
            case {"event": "media", "media": {"payload": str(payload)}}:
                return self.play_order(base64.b64decode(payload))
            case {"event": "mark", "mark": {"name": str(name)}}:
                return MarkOrder(name)
            case {"event": "clear"}:
                return ClearOrder()
            case _:
                return None

    def play_order(self, sound: bytes) -> Order:
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
    ) -> CallInstructions:
        """Post the form to the voice webhook."""
        return await ring(
            session,
            phone.form(),
            base_url=server.base_url,
            public_url=server.public_url,
            auth_token=server.auth_token,
        )

    async def resume_after_stream(
        self,
        session: aiohttp.ClientSession,
        phone: PhoneCall,
        server: AgentServer,
        last: CallInstructions,
    ) -> CallInstructions:
        """Post the form to the `action` of the last instructions."""
        form = phone.form() | {"CallStatus": "in-progress"} | dict(last.action_fields)
        return await follow(session, last.action or "", form, server=server)

    def opening_messages(
        self, phone: PhoneCall, instructions: CallInstructions
    ) -> Sequence[WireMessage]:
        """Return `connected` and `start`."""
        connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        return (connected, start_message(phone, instructions))

    def stop_message(self, phone: PhoneCall) -> WireMessage:
        """Return `stop`."""
        stop = {"accountSid": phone.account_sid, "callSid": phone.call_sid}
        return {"event": "stop", "stop": stop}
