"""Reserves seats for the calls of all workers, and refuses calls in the supervisor."""

import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import h11
from pydantic import SecretStr
from twilio.request_validator import RequestValidator

from bot.workers.admission_rules import PoolAdmission, PublicLimits
from bot.workers.agent_check import check_line
from bot.workers.connections import NO_WORKER, STARTING
from bot.workers.worker_process import Worker
from configuration.settings import Settings
from runtime.clock import Clock
from runtime.machines import ANY_MACHINE, addresses_under, split_path
from transports.pool import DRAINING, ELSEWHERE
from transports.twilio.webhook import (
    VOICE_PATH,
    Form,
    busy_twiml,
    is_outbound,
    is_signed,
    read_form,
)


def public_limits(settings: Settings) -> PublicLimits:
    """Return the configured limits of public callers."""
    webrtc = settings.transports.webrtc
    return PublicLimits(share=webrtc.public_share, per_address=webrtc.public_per_address)


class SeatTable:
    """Reserves the seats of the pool; none after `stop`.

    Attributes:
        room_elsewhere: Returns how many more calls the other machines of the store can take.
    """

    def __init__(
        self, seats: PoolAdmission, workers: Mapping[str, Worker], *, clock: Clock
    ) -> None:
        """Reserve seats for `workers`, by name; the owner of the mapping keeps it up to date."""
        self._seats = seats
        self._workers = workers
        self._clock = clock
        self._stopping = False
        self.room_elsewhere: Callable[[], int] = lambda: 0

    @property
    def why_closed(self) -> str:
        """Why no call is taken, such as `full`; empty if calls are taken."""
        return DRAINING if self._stopping else self._seats.why_closed(self._clock())

    @property
    def why_not_ready(self) -> str:
        """Why no worker is ready, if none is: `draining` or `starting`."""
        return DRAINING if self._stopping else STARTING

    @property
    def is_stopping(self) -> bool:
        """Whether no more seats are reserved."""
        return self._stopping

    @property
    def room(self) -> int:
        """How many more calls can be taken; 0 after `stop`."""
        return 0 if self._stopping else self._seats.room(self._clock())

    def check_line(self) -> bytes:
        """Return the response to the load balancer's check."""
        is_open = not self._stopping and any(item.ready.is_set() for item in self._workers.values())
        return check_line(
            why_not_ready="" if is_open else self.why_not_ready,
            room=self.room,
            seats=self._seats.seats,
            calls=self._seats.taken,
        )

    def stop(self) -> None:
        """Reserve no more seats."""
        self._stopping = True

    def hold(self, call: str) -> str:
        """Reserve a seat for a call; return why the call is refused, or empty.

        Also empty, without a seat, if no worker is ready: the request then gets an error, which
        makes the carrier use its fallback.
        """
        if not any(worker.ready.is_set() for worker in self._workers.values()):
            return ""
        return "" if self._reserve_seat(call) is not None else self._why_refused()

    def serve(self, worker: Worker) -> None:
        """Answer a worker's requests for seats, and record when its calls begin and end."""
        wire, seats = worker.wire, self._seats
        wire.on("begin", lambda message: seats.begin(message["seat"], worker.number, self._clock()))
        wire.on("end", lambda message: seats.end(message["seat"], self._clock()))
        wire.answer("admit", self._answer_admission)

    async def _answer_admission(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Reply to a worker that wants to admit a call: a seat's number, or why there is none."""
        call, address = message["call"], message["address"]
        goes_on = message.get("goes_on", False)  # an older version does not send it
        seat = self._reserve_seat(call, address, goes_on=goes_on)
        return {"reason": self._why_refused(address)} if seat is None else {"seat": seat}

    def _why_refused(self, address: str = "") -> str:
        """Return why there is no seat; for a public caller (`address`), never `ELSEWHERE`."""
        if self._stopping:
            return DRAINING
        if not address and self.room_elsewhere():
            return ELSEWHERE
        return self._seats.why_closed(self._clock(), address) or "full"

    def _reserve_seat(self, call: str, address: str = "", *, goes_on: bool = False) -> int | None:
        """Reserve a seat; return its number, `None` without room or while the server stops."""
        if self._stopping:
            return None
        return self._seats.admit(self._clock(), call=call, address=address, goes_on=goes_on)


# Exotel opens its stream without asking first.
EXOTEL_STREAM: Final = re.compile(rb"GET %s/exotel/media[ ?]" % ANY_MACHINE.encode())
FAILED: Final = "ErrorCode"  # a field of requests to the fallback URL
VOICE_REQUEST: Final = re.compile(f"POST {ANY_MACHINE}{re.escape(VOICE_PATH)}".encode())

Admit = Callable[[str], str]
"""Reserves a seat for a call, by the carrier's id; returns why it is refused, or empty."""


def refuse(request: bytes, settings: Settings, *, admit: Admit, emit: Callable[..., None]) -> bytes:
    """Return the complete response to the webhook of a call that gets no seat; else empty.

    Workers would refuse too late: when many calls arrive at once, their loops are busy building the
    pipelines of the admitted ones. The supervisor's loop has nothing else to do
    (docs/decisions/0031). A request that is incomplete or unsigned, or that gets a seat, goes to a
    worker, which asks for the same seat by the same id. So does a request to the fallback URL: it
    may be about a call that has lost its machine.

    Args:
        request: The part of the request that has arrived.
        settings: The current settings.
        admit: Reserves a seat.
        emit: Called with the `reason` of each refusal.
    """
    twilio = settings.transports.twilio
    if not (VOICE_REQUEST.match(request) and twilio.enabled and twilio.auth_token):
        return b""
    form = _signed_form(request, settings.server.addresses, twilio.auth_token)
    call = form.get("CallSid", "") if form else ""
    if not form or not call or FAILED in form or not (reason := admit(call)):
        return b""
    if reason == ELSEWHERE and not is_outbound(form):
        return NO_WORKER  # an error, after which the balancer asks another machine
    emit(reason=reason)
    if reason == DRAINING and not is_outbound(form):
        return NO_WORKER  # the same, or the carrier uses its fallback
    return _http_response(busy_twiml(form))  # tells the caller


def _signed_form(request: bytes, addresses: Sequence[str], token: SecretStr) -> Form | None:
    """Return the form of a complete, correctly signed webhook at `VOICE_PATH`; else `None`."""
    reader = h11.Connection(h11.SERVER)
    try:
        reader.receive_data(request)
        head, body = reader.next_event(), b""
        if not isinstance(head, h11.Request):
            return None
        while isinstance(event := reader.next_event(), h11.Data):
            body += event.data
        if not isinstance(event, h11.EndOfMessage):
            return None
        target, _, query = head.target.decode().partition("?")
    except (h11.RemoteProtocolError, ValueError):
        return None  # a worker responds with the error
    form = read_form(body)
    if form is None:
        return None
    signature = dict(head.headers).get(b"x-twilio-signature", b"").decode("latin-1")
    validator = RequestValidator(token.get_secret_value())
    machine, path = split_path(target)
    signed = is_signed(
        validator,
        form,
        addresses=addresses_under(addresses, machine),
        query=query,
        signature=signature,
    )
    return form if signed and path == VOICE_PATH else None


def _http_response(twiml: str) -> bytes:
    """Return a complete HTTP response with the TwiML, as bytes; the connection is to be closed."""
    body = twiml.encode()
    head = (
        f"HTTP/1.1 {HTTPStatus.OK.value} {HTTPStatus.OK.phrase}",
        "Content-Type: text/xml; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join((*head, "", "")).encode() + body
