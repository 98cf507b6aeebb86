"""What a carrier says to a webhook and what it reads in the answer, as Twilio does.

Source: twilio.com/docs/usage/security (the signature), /voice/twiml/stream (the answer).
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from xml.etree import ElementTree

import aiohttp

ANSWER_S: Final = 15.0  # Twilio waits so long for a webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneCall:
    """Who calls whom."""

    caller: str = "+15005550006"  # Twilio's own number for tests
    called: str = "+15005550100"
    account_sid: str = field(default_factory=lambda: "AC" + secrets.token_hex(16))
    call_sid: str = field(default_factory=lambda: "CA" + secrets.token_hex(16))
    stream_sid: str = field(default_factory=lambda: "MZ" + secrets.token_hex(16))
    direction: str = "inbound"  # or `outbound-api`

    def form(self) -> dict[str, str]:
        """Return what Twilio posts to the voice webhook."""
        return {
            "AccountSid": self.account_sid,
            "ApiVersion": "2010-04-01",
            "CallSid": self.call_sid,
            "CallStatus": "ringing" if self.direction == "inbound" else "in-progress",
            "Called": self.called,
            "Caller": self.caller,
            "Direction": self.direction,
            "From": self.caller,
            "FromCountry": "US",
            "To": self.called,
            "ToCountry": "US",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Twiml:
    """What the answer to the webhook asks for."""

    stream_url: str | None  # of the `<Connect><Stream>`, if there is one
    parameters: Mapping[str, str]
    said: str  # by `<Say>`
    action: str | None = None  # of the `<Connect>`: asked when its stream is over
    told: Mapping[str, str] = field(
        default_factory=dict[str, str]
    )  # to the action, beside the call
    redirect: str | None = None  # where to ask again, after a pause
    pause_s: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)  # of the media socket's handshake


class NotConnectedError(Exception):
    """The agent's side did not take the call."""

    def __init__(self, *, status: int, said: str) -> None:
        super().__init__(f"the webhook answered {status}: {said}")
        self.status = status
        self.said = said  # what the caller heard instead


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentServer:
    """Whose webhooks are asked.

    Attributes:
        base_url: Where the server really is.
        public_url: The address that it believes to have, and that is signed.
        auth_token: Signs.
    """

    base_url: str
    public_url: str
    auth_token: str

    def real(self, url: str) -> str:
        """Return where an address of the server's really leads."""
        for public, base in (
            (self.public_url, self.base_url),
            (_socket_scheme(self.public_url), _socket_scheme(self.base_url)),
        ):
            if url.startswith(public):
                return base + url.removeprefix(public)
        return url


def web_session() -> aiohttp.ClientSession:
    """Return what asks webhooks, each on a connection of its own.

    One that is kept can be let go of by the server in the moment in which it is used again: a
    carrier asks anew then, and nobody can tell whether the first question was heard.
    """
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))


async def ring(
    session: aiohttp.ClientSession,
    form: Mapping[str, str],
    *,
    base_url: str,
    public_url: str,
    auth_token: str,
) -> Twiml:
    """Post a form to the voice webhook and return what the answer asks for.

    Args:
        session: Sends it.
        form: What Twilio tells of the call.
        base_url: Where the server really is.
        public_url: The address that is signed.
        auth_token: Signs it.

    Raises:
        NotConnectedError: The answer opens no stream.
    """
    server = AgentServer(base_url=base_url, public_url=public_url, auth_token=auth_token)
    twiml = await follow(session, f"{public_url}/twilio/voice", form, server=server)
    if twiml.stream_url is None:
        raise NotConnectedError(status=200, said=twiml.said)
    return twiml


async def notify(
    session: aiohttp.ClientSession, url: str, form: Mapping[str, str], *, server: AgentServer
) -> int:
    """Tell one of the agent's addresses something; return the status of its answer."""
    headers = {"X-Twilio-Signature": signature(server.auth_token, url, form)}
    async with (
        asyncio.timeout(ANSWER_S),
        session.post(server.real(url), data=form, headers=headers) as answer,
    ):
        return answer.status


async def follow(
    session: aiohttp.ClientSession, url: str, form: Mapping[str, str], *, server: AgentServer
) -> Twiml:
    """Post a form to one of the agent's addresses and return what the answer asks for.

    Raises:
        NotConnectedError: It answers with something else.
    """
    proof = signature(server.auth_token, url, form)
    headers = {"X-Twilio-Signature": proof, "User-Agent": "TwilioProxy/1.1"}
    async with (
        asyncio.timeout(ANSWER_S),
        session.post(server.real(url), data=form, headers=headers) as answer,
    ):
        text = await answer.text()
        if not answer.ok:
            raise NotConnectedError(status=answer.status, said=text)
    return read_twiml(text)


def signature(auth_token: str, url: str, form: Mapping[str, str]) -> str:
    """Return the `X-Twilio-Signature` of a form posted to `url`."""
    told = url + "".join(name + form[name] for name in sorted(form))
    digest = hmac.new(auth_token.encode(), told.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def read_twiml(text: str) -> Twiml:
    """Return what a TwiML document asks for."""
    root = ElementTree.fromstring(text)  # noqa: S314 - the answer of the server under test
    connect = root.find("./Connect")
    stream = root.find("./Connect/Stream")
    parameters = () if stream is None else stream.findall("Parameter")
    return Twiml(
        stream_url=None if stream is None else stream.get("url"),
        parameters={part.get("name", ""): part.get("value", "") for part in parameters},
        said=" ".join(say.text or "" for say in root.iter("Say")),
        action=None if connect is None else connect.get("action"),
        redirect=root.findtext("Redirect"),
        pause_s=sum(float(pause.get("length", 1)) for pause in root.iter("Pause")),
    )


def start_message(phone: PhoneCall, twiml: Twiml) -> dict[str, Any]:
    """Return the `start` of a stream."""
    return {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": phone.stream_sid,
        "start": {
            "accountSid": phone.account_sid,
            "streamSid": phone.stream_sid,
            "callSid": phone.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": dict(twiml.parameters),
        },
    }


def _socket_scheme(url: str) -> str:
    return url.replace("http", "ws", 1)
