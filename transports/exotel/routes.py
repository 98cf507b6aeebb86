"""Exotel's routes: the media socket of its Voicebot applet, status callbacks, and our own calls.

Exotel sends no webhook before the stream and signs nothing. An inbound call is authenticated by the
name and password in the applet's URL (`wss://KEY:TOKEN@…`), or by the network address from which
Exotel connects. A call that we place, and its callbacks, are authenticated by a proof in the URLs
that we gave to Exotel with the call request.
"""

import hmac
import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

import aiohttp
from fastapi import APIRouter, Request, Response, WebSocket
from pydantic import SecretStr

from calls.events import CallRefused, InputRefused
from calls.leg_progress import StatusCallback
from transports.announcements import WaitingCall
from transports.exotel.dialect import EXOTEL
from transports.exotel.dialling import MEDIA_PATH, STATUS_PATH, ending_of, is_proven
from transports.leg import is_taken
from transports.media_stream.leg import CarriedCall
from transports.media_stream.line import LinePatience
from transports.media_stream.messages import POLICY, Refusal, Started, is_id
from transports.media_stream.sockets import TRY_LATER, MediaSockets
from transports.media_stream.tokens import AdmittedStream, StreamedCalls
from transports.media_stream.webhooks import (
    MAX_WORD_CHARS,
    CarrierHost,
    StatusCallbacks,
    Webhooks,
    read_form,
)
from transports.parked import Parked
from transports.pool import ELSEWHERE, SEAT_S, HeldSeat, seat_for

STATUSES: Final[Mapping[str, str]] = {"ringing": "ringing", "answered": "in-progress"}
"""Call status by event type; the `Status` in a callback is unreliable while the call goes on."""

OVER: Final = "terminal"  # the event type of the last callback


def read_callback(body: bytes, content_type: str) -> dict[str, str] | None:
    """Return an authenticated callback's fields with lower-case names; `None` if there are none.

    Source: developer.exotel.com/docs/voice-v1/api-reference/status-callback and /api/statuscallback
    (the fields), support.exotel.com/support/solutions/articles/48278 ("as multipart/form-data").

    Args:
        body: A form in either encoding, or JSON if the account is set to it, of limited length.
        content_type: The header's value.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json":
        fields = _json_fields(body)
    elif kind == "multipart/form-data":
        fields = _multipart_fields(body, content_type)
    else:
        fields = read_form(body)
    return {name.lower(): value for name, value in fields.items()} if fields else None


def exotel_callback(fields: Mapping[str, str], *, ref: str) -> StatusCallback | None:
    """Return the status in a callback; `None` if it names no call.

    Args:
        fields: From `read_callback`.
        ref: Our dial id, from the URL, whose proof was checked.
    """
    call_sid = fields.get("callsid", "")
    if not is_id(call_sid):
        return None
    event, given = fields.get("eventtype", "").lower(), fields.get("status", "").lower()
    status = STATUSES.get(event) or ending_of(given)
    if event == OVER and not status:
        status = "failed"  # the call has ended, with an undocumented status
    is_undocumented = status == "failed" and given != "failed"
    return StatusCallback(
        call_ref=call_sid,
        ref=ref,
        status=status,
        reason=given[:MAX_WORD_CHARS] if is_undocumented else "",
    )


def _json_fields(body: bytes) -> dict[str, str] | None:
    """Return the texts in a JSON object, without other values; `None` for any other body."""
    try:
        parsed: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict):
        return None
    fields = cast("dict[str, Any]", parsed)
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def _multipart_fields(body: bytes, content_type: str) -> dict[str, str]:
    """Return the fields of a multipart form; empty if it cannot be parsed as one."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    parts = cast("list[object] | str", message_from_bytes(head + body).get_payload())
    return dict(_name_and_text(part) for part in parts if isinstance(part, Message))


def _name_and_text(part: Message) -> tuple[str, str]:
    """Return name and text of a part; both are empty where the part lacks them."""
    name = part.get_param("name", header="content-disposition")
    value = part.get_payload(decode=True)
    text = value.decode(errors="replace") if isinstance(value, bytes) else ""
    return (name if isinstance(name, str) else ""), text


RETURNS_S: Final = 5.0  # chosen: after a lost stream, Exotel takes its flow's next step at once
DIAL_SUFFIX: Final = "/{dial}/{proof}"  # of the URLs of a call that we place


@dataclass(frozen=True, slots=True, kw_only=True)
class ExotelAuthenticator:
    """Authenticates the handshakes of media sockets, and the callbacks on calls that we placed.

    The handshake of an inbound call needs the credentials; if they are not configured, its address
    alone must be known. The handshake and the callbacks of a call that we placed need its proof
    (see `dial_proof`). If `addresses` are configured, each handshake must come from one of them.

    Attributes:
        key: The account's API key.
        token: The account's secret, which also makes the proofs.
        addresses: The networks from which Exotel connects; empty if they are not checked.
    """

    key: SecretStr | None = None
    token: SecretStr | None = None
    addresses: Sequence[str] = ()

    def accepts_inbound(self, authorization: str, address: str) -> bool:
        """Return whether the handshake of an inbound call is authentic.

        Args:
            authorization: The header `Authorization`.
            address: The network address that it comes from.
        """
        if self.key and self.token:
            pair = self.key.get_secret_value(), self.token.get_secret_value()
            expected = aiohttp.encode_basic_auth(*pair)
            if not hmac.compare_digest(authorization.encode(), expected.encode()):
                return False
            return not self.addresses or self._is_known(address)
        return self._is_known(address)

    def accepts_dial(self, dial_id: str, proof: str, address: str) -> bool:
        """Return whether the handshake of a call that we placed is authentic.

        Args:
            dial_id: Our id of the dial, from the URL.
            proof: From the URL.
            address: The network address that it comes from.
        """
        if self.token is None or not is_proven(self.token, dial_id, proof, "media"):
            return False
        return not self.addresses or self._is_known(address)

    def accepts_callback(self, dial_id: str, proof: str) -> bool:
        """Return whether a callback on a call that we placed is authentic."""
        return self.token is not None and is_proven(self.token, dial_id, proof, "status")

    def _is_known(self, address: str) -> bool:
        """Return whether an address is in one of the configured networks."""
        try:
            host = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(host in ipaddress.ip_network(text) for text in self.addresses)


class ExotelRoutes:
    """Exotel's media socket and status callbacks.

    Attributes:
        router: To be included in the application.

    Args:
        host: The server's functions.
        authenticator: Authenticates the handshakes and callbacks.
    """

    def __init__(self, host: CarrierHost, *, authenticator: ExotelAuthenticator) -> None:
        """Register two media sockets and the status callback in `router`; start nothing."""
        self._host = host
        self._authenticator = authenticator
        self._webhooks = Webhooks("exotel", host.emit)
        self._progress = StatusCallbacks(host, "exotel")
        self._streamed_calls = StreamedCalls(host.pool, "exotel")
        self._parked = Parked(host.pool, "exotel")
        self._sockets = MediaSockets(
            host=host,
            dialect=EXOTEL,
            admit=self._admit_stream,
            streamed_calls=self._streamed_calls,
            patience=LinePatience(returns_within_s=RETURNS_S),
        )
        self.router = APIRouter()
        for path in (MEDIA_PATH, MEDIA_PATH + DIAL_SUFFIX):  # inbound calls; calls that we placed
            self.router.add_api_websocket_route(path, self._accept_media)
        self.router.add_api_route(STATUS_PATH + DIAL_SUFFIX, self._take_status, methods=["POST"])

    async def _accept_media(self, websocket: WebSocket) -> None:
        """Accept an authenticated handshake; answer 403 to any other."""
        if not self._is_authentic(websocket):
            self._host.emit(InputRefused(transport="exotel", reason="wrong_credentials"))
            await websocket.close(POLICY)
            return
        await self._sockets.media(websocket)

    async def _take_status(self, request: Request, dial: str, proof: str) -> Response:
        """Take Exotel's report on a call that we placed; Exotel repeats it unless it gets 200."""
        refuse = self._webhooks.refuse
        if not self._authenticator.accepts_callback(dial, proof):
            return refuse("wrong_credentials", HTTPStatus.FORBIDDEN)
        body = await self._webhooks.body(request)
        if isinstance(body, Response):
            return body
        fields = read_callback(body, request.headers.get("content-type", ""))
        if fields is None:
            return refuse("webhook_is_no_form", HTTPStatus.BAD_REQUEST)
        callback = exotel_callback(fields, ref=dial)
        if callback is None:
            return refuse("webhook_without_call_id", HTTPStatus.BAD_REQUEST)
        # Stored by the dial's id, which is proven: anyone could write another call's id in a form.
        await self._progress.take(callback, store_key=dial)
        return Response(status_code=HTTPStatus.OK)

    async def _admit_stream(
        self, started: Started, websocket: WebSocket
    ) -> AdmittedStream | Refusal:
        """Reserve a seat for a stream; after a refusal, Exotel takes the applet's next step.

        The stream of a call that we placed is published as its answer, also if it is refused then.
        """
        pool, dial_id = self._host.pool, websocket.path_params.get("dial", "")
        if dial_id:  # its stream starts when the callee answers
            picked_up = StatusCallback(call_ref=started.call_sid, ref=dial_id, status="in-progress")
            await self._progress.take(picked_up, store_key=dial_id)
        found = await self._streamed_calls.find(started.call_sid)
        if found is not None and not found.moved:
            if dial_id or not found.goes_on:
                return Refusal(reason="call_goes_on", close_code=POLICY)
            if admitted := await self._stream_of_lost_leg(started):
                return admitted
        lost = await self._parked.look(started.call_sid)
        within_s = SEAT_S if lost else 0.0
        admitted = await seat_for(started.call_sid, pool, self._host.clock, within_s=within_s)
        if not isinstance(admitted, HeldSeat):
            if lost and self._host.waiting and admitted.reason != ELSEWHERE:
                # Exotel says no sentence for us, and may not come back.
                number = _carried_call(started, dial_id).other_party
                await self._host.waiting.call_back(
                    WaitingCall(call_id=lost.call_id, number=number, language=lost.language)
                )
            self._host.emit(CallRefused(transport="exotel", reason=admitted.reason))
            return Refusal(reason="no_seat", close_code=TRY_LATER)
        # Claimed after the seat: a dial may have one admitted stream, and a refused one may retry.
        # The stream of a call that has lost its process is another one of that call.
        if dial_id and not lost and not await pool.peers.claim(f"exotel stream of {dial_id}"):
            pool.end(admitted.seat)
            return Refusal(reason="stream_used", close_code=POLICY)
        return AdmittedStream(call=_carried_call(started, dial_id), seat=admitted.seat)

    async def _stream_of_lost_leg(self, started: Started) -> AdmittedStream | None:
        """Return a stream for a leg here that has lost its own; `None` if it cannot go on there."""
        leg = self._streamed_calls.find_resumable(started.call_sid)
        if leg is None or leg.facts.sample_rate_hz != started.codec.rate_hz or await is_taken(leg):
            return None
        resume = partial(leg.resume, stream_id=started.stream_sid)
        return AdmittedStream(call=_carried_call(started, ""), seat=0, taker=resume)

    def _is_authentic(self, websocket: WebSocket) -> bool:
        """Return whether a handshake is authentic; one with a dial's URL needs the dial's proof."""
        address = websocket.client.host if websocket.client else ""
        if "dial" in websocket.path_params:
            dial_id, proof = websocket.path_params["dial"], websocket.path_params["proof"]
            return self._authenticator.accepts_dial(dial_id, proof, address)
        authorization = websocket.headers.get("authorization", "")
        return self._authenticator.accepts_inbound(authorization, address)


def _carried_call(started: Started, dial_id: str) -> CarriedCall:
    """Return the numbers and direction of a started stream; a dial's id marks an outbound call."""
    if not dial_id:
        return CarriedCall(call_ref=started.call_sid, caller=started.caller, called=started.called)
    # Exotel's `from` is the party that it calls first: in an outbound call, the callee.
    return CarriedCall(
        call_ref=started.call_sid,
        caller=started.called,
        called=started.caller,
        direction="outbound",
        dial_id=dial_id,
    )
