"""Plivo's routes: the answer webhook, the request after a stream, callbacks, the media socket."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeAlias
from xml.sax.saxutils import escape, quoteattr

from fastapi import APIRouter, Request, Response, WebSocket
from pydantic import SecretStr

from calls.handover import Destination, Handover, RingTrouble
from calls.leg_progress import StatusCallback
from transports.media_stream.line import LinePatience
from transports.media_stream.messages import Refusal, Started
from transports.media_stream.sockets import MediaSockets
from transports.media_stream.tokens import (
    AdmittedStream,
    StreamPass,
    StreamTokens,
    TurnedAway,
    reply,
    xml,
)
from transports.media_stream.webhooks import (
    MAX_WORD_CHARS,
    CarrierHost,
    StatusCallbacks,
    Webhooks,
    call_in,
    dial_id_of,
    read_form,
)
from transports.plivo.dialect import (
    AFTER_PATH,
    CONTENT_TYPES,
    PLIVO,
    TRANSFER_PATH,
    answered_for,
    dial_outcome,
    dial_verb,
    is_dial_news,
    transfer_url,
)
from transports.plivo.rest import STATUS_PATH, VOICE_PATH, PlivoRest, ending_of
from transports.plivo.signature import MAX_NONCE_CHARS, is_signed, signed_text
from transports.pool import KeyValues

# Transfer orders, kept in the worker pool until Plivo asks for them, once.
#
# Plivo gets one of our URLs instead of a number. The process that Plivo asks takes the order that a
# leg has stored. A request without an order rings no one.

KEPT_S: Final = 15.0  # no longer than the leg waits for the result


@dataclass(frozen=True, slots=True, kw_only=True)
class PlivoRingOrders:
    """Transfer orders of this account's calls, stored and taken in any process."""

    rest: PlivoRest
    key_values: KeyValues

    async def ring(self, call_ref: str, to: Destination, *, ring_s: float) -> RingTrouble | None:
        """Store an order and redirect the call to it; return the failure, or `None`."""
        order_id, place = secrets.token_hex(16), _place(call_ref)
        said = {"order_id": order_id, "name": to.name, "number": to.number, "ring_s": ring_s}
        await self.key_values.keep(place, said, for_s=KEPT_S)
        url = transfer_url(order_id, public_url=self.rest.public_url)
        error = await self.rest.redirect(call_ref, url)
        if error is None:
            return None
        await self.key_values.take(place)  # if Plivo asks anyway, no one is rung
        return RingTrouble(words=error)

    async def take(self, call_ref: str, order_id: str | None = None) -> str | None:
        """Return the XML verb of a call's order, once; `None` if there is no order.

        A request with a wrong id uses the order up, because its leg no longer waits for it.

        Args:
            call_ref: The call, from Plivo's signed request.
            order_id: From the requested URL; `None` for the request after a stream, which has no
                id.
        """
        said = await self.key_values.take(_place(call_ref))
        if said is None or (order_id is not None and order_id != said["order_id"]):
            return None
        to = Destination(name=said["name"], number=said["number"])
        return dial_verb(to, ring_s=said["ring_s"], public_url=self.rest.public_url)


def _place(call_ref: str) -> str:
    return f"plivo order {call_ref}"


# Plivo's callbacks on a call that we placed.
#
# Source: plivo.com/docs/voice/api/call/make-a-call ("Callbacks") and /machine-detection. `Machine`
# is documented as true for a machine. False means a person if it comes from the machine detection
# itself. The duration of the detection is not reported.

HANGUP: Final = "Hangup"
JUDGED: Final = "MachineDetection"


def plivo_callback(form: Mapping[str, str], *, ref: str) -> StatusCallback:
    """Return the status in a callback.

    Args:
        form: The signed form.
        ref: Our dial id, from the callback's URL, with bounded length.
    """
    status, code = form.get("CallStatus", ""), form.get("HangupCauseCode", "")
    if is_over(form):
        status = ending_of(status, code)
    return StatusCallback(
        call_ref=form["CallUUID"][:MAX_WORD_CHARS],
        ref=ref,
        status=status,
        answered_by=_answerer(form),
        reason=code[:MAX_WORD_CHARS] if status == "failed" else "",
    )


def is_over(form: Mapping[str, str]) -> bool:
    """Return whether a callback reports the end of the call."""
    return form.get("Event") == HANGUP


def _answerer(form: Mapping[str, str]) -> str:
    said = (form.get("Machine") or form.get("machine") or "").lower()
    if said == "true":
        return "machine"
    return "human" if said == "false" and form.get("Event") == JUDGED else ""


Form: TypeAlias = Mapping[str, str]
MEDIA_PATH: Final = "/plivo/media"
BUSY: Final = '<Hangup reason="busy"/>'
OVER: Final = "<Hangup/>"


class PlivoRoutes:
    """Plivo's routes.

    Attributes:
        router: The routes.

    Args:
        host: The server's side.
        auth_token: Of the account; signs webhooks.
        rest: Plivo's API, which redirects and ends calls.
        content_type: Audio format in both directions, as Plivo names it.
        patience: How long a lost line is waited for.
    """

    def __init__(
        self,
        host: CarrierHost,
        *,
        auth_token: SecretStr,
        rest: PlivoRest,
        content_type: str,
        patience: LinePatience | None = None,
    ) -> None:
        self._host, self._auth_token, self._content_type = host, auth_token, content_type
        self._orders = PlivoRingOrders(rest=rest, key_values=host.pool.key_values)
        self._tokens = StreamTokens(host, "plivo", patience or LinePatience())
        self._progress = StatusCallbacks(host, "plivo")
        answers = {
            VOICE_PATH: self._voice,
            AFTER_PATH: self._after,
            TRANSFER_PATH: self._transfer,
            STATUS_PATH: self._status,
        }
        self.router = APIRouter()
        Webhooks("plivo", host.emit).add_forms(
            self.router, answers, read=read_form, is_signed=self._is_signed, call_key="CallUUID"
        )
        MediaSockets(
            host=host,
            dialect=PLIVO,
            admit=self._admit,
            returns=self._tokens.returns,
            ours=CONTENT_TYPES[content_type],
            patience=self._tokens.patience,
            control=rest,
            ring=self._orders.ring if rest.public_url else None,
        ).add_to(self.router, MEDIA_PATH)

    async def _voice(self, request: Request, form: Form) -> Response:
        """Answer what to do with a call."""
        dial_id = dial_id_of(request)
        if dial_id:  # this request is how Plivo reports an answer
            await self._progress.take(plivo_callback(form, ref=dial_id))
        call = call_in(form, call_ref=form["CallUUID"], dial_id=dial_id)
        return self._reply(await self._tokens.begin(call))

    async def _after(self, _: Request, form: Form) -> Response:
        """Answer what to do with a call whose stream has ended."""
        outcome = dial_outcome(form)
        # A stream that we end for an order may make Plivo continue here instead.
        if outcome is None and (verb := await self._orders.take(form["CallUUID"])):
            return xml(_response(verb))
        return await self._follow(form, outcome)

    async def _transfer(self, request: Request, form: Form) -> Response:
        """Answer which person to connect a caller with, from the stored order."""
        order_id = request.query_params.get("order", "")
        verb = await self._orders.take(form["CallUUID"], order_id)
        return xml(_response(verb)) if verb else await self._follow(form, "failed")

    async def _status(self, request: Request, form: Form) -> Response:
        """Take a status callback: ringing, machine detection, the end."""
        if is_dial_news(form):  # about another leg, under the id of the caller's call
            if caller := answered_for(form):
                await self._tokens.returns.find(caller, handed_on="connected")
            return Response(status_code=HTTPStatus.NO_CONTENT)
        await self._progress.take(plivo_callback(form, ref=dial_id_of(request)))
        if is_over(form):
            await self._tokens.end(form["CallUUID"], form.get("HangupSource", ""))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _admit(self, started: Started, _: WebSocket) -> AdmittedStream | Refusal:
        """Return the call of a new stream: its token was given to Plivo for one call."""
        return await self._tokens.admit(started, started.parameters.get("token", ""))

    def _is_signed(self, request: Request, path: str, form: Form) -> bool:
        nonce = request.headers.get("x-plivo-signature-v3-nonce", "")
        if not nonce or len(nonce) > MAX_NONCE_CHARS:
            return False
        proofs = request.headers.get("x-plivo-signature-v3", "")
        texts = (
            signed_text(f"{address}{path}", request.url.query, form, nonce)
            for address in self._host.addresses
        )
        token = self._auth_token.get_secret_value()
        return any(is_signed(token, text, proofs) for text in texts)

    async def _follow(self, form: Form, outcome: Handover | None) -> Response:
        """Answer what follows a call's stream or transfer."""
        call = call_in(form, call_ref=form["CallUUID"])
        return self._reply(await self._tokens.follow(call, handed_on=outcome))

    def _reply(self, given: StreamPass | TurnedAway) -> Response:
        return reply(given, stream=self._stream, busy=_response(BUSY), over=_response(OVER))

    def _stream(self, given: StreamPass) -> str:
        """Return XML for a stream, and for the request after it; the call outlives the stream."""
        said = (
            f'<Stream bidirectional="true" keepCallAlive="true" audioTrack="inbound"'
            f' contentType={quoteattr(self._content_type)} extraHeaders="token={given.token}">'
            f"{escape(self._host.socket_url(MEDIA_PATH, given.worker))}</Stream>"
        )
        after = escape(f"{self._host.public_url}{AFTER_PATH}")
        return _response(f'{said}<Redirect method="POST">{after}</Redirect>')


def _response(verbs: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{verbs}</Response>'
