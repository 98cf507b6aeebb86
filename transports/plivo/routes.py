"""Plivo's routes: its requests for instructions, its callbacks, and the media socket."""

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
from transports.announcements import Announcement
from transports.media_stream.line import LinePatience
from transports.media_stream.messages import Refusal, Started
from transports.media_stream.sockets import MediaSockets
from transports.media_stream.tokens import (
    AdmittedStream,
    Instructions,
    StreamPass,
    StreamTokens,
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
    is_about_person,
    transfer_url,
)
from transports.plivo.rest import (
    SIP_CODES,
    STATUS_PATH,
    VOICE_PATH,
    PlivoRest,
    ending_of,
)
from transports.plivo.signature import MAX_NONCE_CHARS, is_signed, signed_text
from transports.pool import KeyValues

ORDERS_KEPT_S: Final = 15.0  # no longer than the leg waits for the result


@dataclass(frozen=True, slots=True, kw_only=True)
class PlivoRingOrders:
    """Transfer orders of this account's calls, stored and taken in any process; each is used once.

    To transfer a call, Plivo gets the URL of our instructions. The leg stores the number to ring as
    an order, and the process that Plivo asks takes it. Without an order, no one is rung.
    """

    rest: PlivoRest
    key_values: KeyValues

    async def ring(self, call_ref: str, to: Destination, *, ring_s: float) -> RingTrouble | None:
        """Store an order and redirect the call to it; return the error, or `None`. Never raises.

        After an error the order is removed, so no one is rung, even if Plivo has been reached.
        """
        order_id, place = secrets.token_hex(16), _place_of_order(call_ref)
        order = {"order_id": order_id, "name": to.name, "number": to.number, "ring_s": ring_s}
        await self.key_values.keep(place, order, for_s=ORDERS_KEPT_S)
        url = transfer_url(order_id, public_url=self.rest.public_url)
        error = await self.rest.redirect(call_ref, url)
        if error is None:
            return None
        await self.key_values.take(place)  # so that no one is rung if Plivo asks anyway
        return RingTrouble(words=error)

    async def take(self, call_ref: str, order_id: str | None = None) -> str | None:
        """Take the order of a call; return it as XML, or `None` if there is none.

        The order is removed even if its id is not `order_id`. Then nothing is returned.

        Args:
            call_ref: The call, from Plivo's signed request.
            order_id: The id in the requested URL; `None` for the request after a stream, whose URL
                has no id.
        """
        order = await self.key_values.take(_place_of_order(call_ref))
        if order is None or (order_id is not None and order_id != order["order_id"]):
            return None
        to = Destination(name=order["name"], number=order["number"])
        return dial_verb(to, ring_s=order["ring_s"], public_url=self.rest.public_url)


def _place_of_order(call_ref: str) -> str:
    return f"plivo order {call_ref}"


HANGUP: Final = "Hangup"
MACHINE_DETECTION: Final = "MachineDetection"


def plivo_callback(form: Mapping[str, str], *, ref: str) -> StatusCallback:
    """Return the status in a callback on a call that we placed.

    Source: plivo.com/docs/voice/api/call/make-a-call ("Callbacks") and /machine-detection. The
    duration of the machine detection is not reported.

    Args:
        form: The signed form.
        ref: Our dial id, from the callback's URL; its length has been limited.
    """
    status, code = form.get("CallStatus", ""), form.get("HangupCauseCode", "")
    if is_over(form):
        status = ending_of(status, code)
    return StatusCallback(
        call_ref=form["CallUUID"][:MAX_WORD_CHARS],
        ref=ref,
        status=status,
        answered_by=_answerer_in_form(form),
        reason=code[:MAX_WORD_CHARS] if status == "failed" or code in SIP_CODES else "",
    )


def is_over(form: Mapping[str, str]) -> bool:
    """Return whether a callback reports the end of the call."""
    return form.get("Event") == HANGUP


def _answerer_in_form(form: Mapping[str, str]) -> str:
    """Return who answered, as Plivo judged; empty if it has not.

    `false` means a person only in the machine detection's callback.
    """
    machine = (form.get("Machine") or form.get("machine") or "").lower()
    if machine == "true":
        return "machine"
    return "human" if machine == "false" and form.get("Event") == MACHINE_DETECTION else ""


Form: TypeAlias = Mapping[str, str]
MEDIA_PATH: Final = "/plivo/media"
BUSY: Final = '<Hangup reason="busy"/>'
OVER: Final = "<Hangup/>"


class PlivoRoutes:
    """Plivo's webhooks and media socket.

    Attributes:
        router: To be included in the application.

    Args:
        host: The server's functions.
        auth_token: The account's token, with which Plivo signs webhooks.
        rest: Plivo's API, which redirects and ends calls.
        content_type: The audio format in both directions, by Plivo's name.
        patience: How long the agent waits for a lost line.
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
        """Register four signed webhooks and the media socket in `router`; start nothing."""
        self._host, self._auth_token, self._content_type = host, auth_token, content_type
        self._orders = PlivoRingOrders(rest=rest, key_values=host.pool.key_values)
        self._tokens = StreamTokens(host, "plivo", patience or LinePatience())
        self._progress = StatusCallbacks(host, "plivo")
        answers = {
            VOICE_PATH: self._answer_new_call,
            AFTER_PATH: self._answer_after_stream,
            TRANSFER_PATH: self._answer_transfer,
            STATUS_PATH: self._take_status,
        }
        self.router = APIRouter()
        Webhooks("plivo", host.emit).add_forms(
            self.router, answers, read=read_form, is_signed=self._is_signed, call_key="CallUUID"
        )
        MediaSockets(
            host=host,
            dialect=PLIVO,
            admit=self._admit_stream,
            streamed_calls=self._tokens.streamed_calls,
            ours=CONTENT_TYPES[content_type],
            patience=self._tokens.patience,
            control=rest,
            ring=self._orders.ring if rest.public_url else None,
        ).add_to(self.router, MEDIA_PATH)

    async def _answer_new_call(self, request: Request, form: Form) -> Response:
        """Hold a seat for a new call, and return its instructions; publish a dial's answer."""
        dial_id = dial_id_of(request)
        if dial_id:  # by this request Plivo reports that the callee has answered
            await self._progress.take(plivo_callback(form, ref=dial_id))
        call = call_in(form, call_ref=form["CallUUID"], dial_id=dial_id)
        return self._reply_with(await self._tokens.hold_seat(call))

    async def _answer_after_stream(self, _: Request, form: Form) -> Response:
        """Return the instructions for a call whose stream or transfer has ended.

        A stored order to ring a person is taken, and its instructions are returned instead.
        """
        outcome = dial_outcome(form)
        # When we end a stream for a transfer, Plivo may ask here instead of at the order's URL.
        if outcome is None and (verb := await self._orders.take(form["CallUUID"])):
            return xml(_xml_response(verb))
        return await self._instructions_after(form, outcome)

    async def _answer_transfer(self, request: Request, form: Form) -> Response:
        """Return the instructions for a transfer, once: the number to ring, from the stored order.

        Without an order, the transfer counts as failed.
        """
        order_id = request.query_params.get("order", "")
        verb = await self._orders.take(form["CallUUID"], order_id)
        return xml(_xml_response(verb)) if verb else await self._instructions_after(form, "failed")

    async def _take_status(self, request: Request, form: Form) -> Response:
        """Take a status callback: ringing, machine detection, or the end of a call.

        An answer of a rung person is a result of the caller's transfer. An end is told to the leg,
        and what is stored of the call is deleted.
        """
        if is_about_person(form):  # about the person's leg, with the id of the caller's call
            if caller := answered_for(form):
                await self._tokens.streamed_calls.find(caller, handed_on="connected")
            return Response(status_code=HTTPStatus.NO_CONTENT)
        await self._progress.take(plivo_callback(form, ref=dial_id_of(request)))
        if is_over(form):
            await self._tokens.end(form["CallUUID"], form.get("HangupSource", ""))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _admit_stream(self, started: Started, _: WebSocket) -> AdmittedStream | Refusal:
        """Admit a new stream by the token that Plivo got for its call."""
        return await self._tokens.admit(started, started.parameters.get("token", ""))

    def _is_signed(self, request: Request, path: str, form: Form) -> bool:
        """Return whether Plivo signed a form, for any of the addresses that lead to us."""
        nonce = request.headers.get("x-plivo-signature-v3-nonce", "")
        if not nonce or len(nonce) > MAX_NONCE_CHARS:
            return False
        signatures = request.headers.get("x-plivo-signature-v3", "")
        texts = (
            signed_text(f"{address}{path}", request.url.query, form, nonce)
            for address in self._host.addresses_for(request.scope)
        )
        token = self._auth_token.get_secret_value()
        return any(is_signed(token, text, signatures) for text in texts)

    async def _instructions_after(self, form: Form, outcome: Handover | None) -> Response:
        """Return the instructions for a call after its stream or transfer."""
        call = call_in(form, call_ref=form["CallUUID"])
        return self._reply_with(await self._tokens.follow(call, handed_on=outcome))

    def _reply_with(self, answer: Instructions) -> Response:
        return reply(
            answer,
            stream=self._xml_to_stream,
            say=self._xml_to_say,
            busy=_xml_response(BUSY),
            over=_xml_response(OVER),
        )

    def _xml_to_say(self, announced: Announcement) -> str:
        """Return XML that says a sentence; then Plivo asks again, or the call ends."""
        language = quoteattr(announced.language)
        said = f"<Speak language={language}>{escape(announced.text)}</Speak>"
        return _xml_response(said + (self._redirect_verb() if announced.asks_again else OVER))

    def _redirect_verb(self) -> str:
        """Return the verb that makes Plivo ask for the next instructions."""
        return (
            f'<Redirect method="POST">{escape(f"{self._host.public_url}{AFTER_PATH}")}</Redirect>'
        )

    def _xml_to_stream(self, admitted: StreamPass) -> str:
        """Return XML that opens a stream, and makes Plivo ask for instructions after it."""
        stream = (
            f'<Stream bidirectional="true" keepCallAlive="true" audioTrack="inbound"'
            f' contentType={quoteattr(self._content_type)} extraHeaders="token={admitted.token}">'
            f"{escape(self._host.socket_url(MEDIA_PATH, admitted.worker))}</Stream>"
        )
        return _xml_response(stream + self._redirect_verb())


def _xml_response(verbs: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{verbs}</Response>'
