"""A carrier's webhook requests, and how it reads the answers, as Twilio does both.

Source: twilio.com/docs/usage/security (the signature), /voice/twiml/stream (the answer).
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self
from xml.etree import ElementTree

import aiohttp
from aiohttp import web


class LoopbackServer:
    """Serves an application during the block.

    Attributes:
        url: Its address.
        app: The application.
    """

    def __init__(self) -> None:
        self.url = ""
        self.app = web.Application()
        self._runner = web.AppRunner(self.app)
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        await self._tasks.__aenter__()
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work in the background, at most until the block ends; its error cancels the block."""
        self._running.append(self._tasks.create_task(work))

    async def __aexit__(self, *raised: Any) -> None:
        """Cancel the background work, and stop listening."""
        for task in self._running:
            task.cancel()
        try:
            await self._tasks.__aexit__(*raised)
        finally:
            await self._runner.cleanup()


WEBHOOK_ANSWER_S: Final = 15.0  # Twilio's timeout for a webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneCall:
    """A call's numbers and ids."""

    caller: str = "+15005550006"  # Twilio's own number for tests
    called: str = "+15005550100"
    account_sid: str = field(default_factory=lambda: "AC" + secrets.token_hex(16))
    call_sid: str = field(default_factory=lambda: "CA" + secrets.token_hex(16))
    stream_sid: str = field(default_factory=lambda: "MZ" + secrets.token_hex(16))
    direction: str = "inbound"  # or `outbound-api`

    def form(self) -> dict[str, str]:
        """Return the form that Twilio posts to the voice webhook."""
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
class CallInstructions:
    """What the agent's server tells the carrier to do; the fields follow Twilio's TwiML."""

    stream_url: str | None  # the media address, if a stream is to be opened
    parameters: Mapping[str, str]  # sent in the stream's `start`
    said: str  # the carrier's announcement to the caller
    action: str | None = None  # the address to ask when the stream is over; `None` ends the call
    action_fields: Mapping[str, str] = field(
        default_factory=dict[str, str]
    )  # posted to `action`, in addition to the call's form
    redirect: str | None = None  # the next address to ask, after a pause
    pause_s: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)  # of the media socket's handshake


class NotConnectedError(Exception):
    """The agent's side refused the call."""

    def __init__(self, *, status: int, said: str) -> None:
        super().__init__(f"the webhook answered {status}: {said}")
        self.status = status
        self.said = said  # the caller heard this instead


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentServer:
    """The agent's server, which receives the webhooks.

    Attributes:
        base_url: Its real address, to which requests are sent.
        public_url: Its configured address, for which requests are signed.
        auth_token: Signs requests.
    """

    base_url: str
    public_url: str
    auth_token: str

    def real(self, url: str) -> str:
        """Return the real target of one of the server's addresses; others are unchanged."""
        for public, base in (
            (self.public_url, self.base_url),
            (_socket_scheme(self.public_url), _socket_scheme(self.base_url)),
        ):
            if url.startswith(public):
                return base + url.removeprefix(public)
        return url


def web_session() -> aiohttp.ClientSession:
    """Return a session for webhooks that opens a new connection for each request.

    A server may close a kept connection just when it is reused. A carrier then repeats the request,
    without knowing whether the first one arrived.
    """
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))


async def ring(
    session: aiohttp.ClientSession,
    form: Mapping[str, str],
    *,
    base_url: str,
    public_url: str,
    auth_token: str,
) -> CallInstructions:
    """Post a form to the voice webhook and return the instructions in the answer.

    Args:
        session: Sends it.
        form: The call's form.
        base_url: The server's real address.
        public_url: The server's configured address, for which the form is signed.
        auth_token: Signs the form.

    Raises:
        NotConnectedError: The status is an error, or the answer opens no stream.
    """
    server = AgentServer(base_url=base_url, public_url=public_url, auth_token=auth_token)
    twiml = await follow(session, f"{public_url}/twilio/voice", form, server=server)
    if twiml.stream_url is None:
        raise NotConnectedError(status=200, said=twiml.said)
    return twiml


async def post(
    session: aiohttp.ClientSession,
    url: str,
    data: Any,
    headers: Mapping[str, str],
    *,
    server: AgentServer,
) -> tuple[int, str]:
    """Post to one of the agent's addresses; return the status and the text of its answer.

    Raises:
        TimeoutError: There is no answer within `WEBHOOK_ANSWER_S`.
    """
    async with (
        asyncio.timeout(WEBHOOK_ANSWER_S),
        session.post(server.real(url), data=data, headers=headers) as answer,
    ):
        return answer.status, await answer.text()


async def ask(
    session: aiohttp.ClientSession,
    url: str,
    form: Mapping[str, str],
    headers: Mapping[str, str],
    *,
    server: AgentServer,
) -> str:
    """Post a form to one of the agent's addresses and return its answer.

    Raises:
        NotConnectedError: The status is an error.
    """
    status, text = await post(session, url, form, headers, server=server)
    if status >= web.HTTPBadRequest.status_code:
        raise NotConnectedError(status=status, said=text)
    return text


async def notify(
    session: aiohttp.ClientSession, url: str, form: Mapping[str, str], *, server: AgentServer
) -> int:
    """Post a form to one of the agent's addresses, signed as by Twilio; return the status."""
    headers = {"X-Twilio-Signature": signature(server.auth_token, url, form)}
    status, _ = await post(session, url, form, headers, server=server)
    return status


async def follow(
    session: aiohttp.ClientSession, url: str, form: Mapping[str, str], *, server: AgentServer
) -> CallInstructions:
    """Post a form to one of the agent's addresses, signed as by Twilio; return the instructions.

    Raises:
        NotConnectedError: The status is an error.
    """
    proof = signature(server.auth_token, url, form)
    headers = {"X-Twilio-Signature": proof, "User-Agent": "TwilioProxy/1.1"}
    return read_twiml(await ask(session, url, form, headers, server=server))


def signature(auth_token: str, url: str, form: Mapping[str, str]) -> str:
    """Return the `X-Twilio-Signature` of a form posted to `url`."""
    signed = url + "".join(name + form[name] for name in sorted(form))
    digest = hmac.new(auth_token.encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def read_twiml(text: str) -> CallInstructions:
    """Return the instructions in a TwiML document."""
    root = ElementTree.fromstring(text)  # noqa: S314 - the answer of the server under test
    connect = root.find("./Connect")
    stream = root.find("./Connect/Stream")
    parameters = () if stream is None else stream.findall("Parameter")
    return CallInstructions(
        stream_url=None if stream is None else stream.get("url"),
        parameters={part.get("name", ""): part.get("value", "") for part in parameters},
        said=" ".join(say.text or "" for say in root.iter("Say")),
        action=None if connect is None else connect.get("action"),
        redirect=root.findtext("Redirect"),
        pause_s=sum(float(pause.get("length", 1)) for pause in root.iter("Pause")),
    )


def start_message(phone: PhoneCall, instructions: CallInstructions) -> dict[str, Any]:
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
            "customParameters": dict(instructions.parameters),
        },
    }


def _socket_scheme(url: str) -> str:
    return url.replace("http", "ws", 1)
