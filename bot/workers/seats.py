"""Where calls of all workers get their seats, until the house is closed."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import h11
from pydantic import SecretStr
from twilio.request_validator import RequestValidator

from bot.clock import Clock
from bot.config.settings import Settings
from bot.workers.admission_rules import HouseSeats
from bot.workers.connections import NOBODY, STARTING
from bot.workers.worker_process import Worker
from transports.twilio.webhook import (
    VOICE_PATH,
    Form,
    busy_twiml,
    is_outbound,
    is_signed,
    read_form,
)

DRAINING: Final = "draining"  # as `bot.call.switchboard` has it


class SeatTable:
    """Gives out the seats of a house, and none once it stops."""

    def __init__(self, seats: HouseSeats, workers: Mapping[str, Worker], *, clock: Clock) -> None:
        """Open; who is there, by name, others keep."""
        self._seats = seats
        self._workers = workers
        self._clock = clock
        self._stopping = False

    @property
    def why_closed(self) -> str:
        """The name of the reason why no call is taken, or nothing."""
        return DRAINING if self._stopping else self._seats.why_closed(self._clock())

    @property
    def why_nobody(self) -> str:
        """The name of the reason why no worker is there, if none is."""
        return DRAINING if self._stopping else STARTING

    def stop(self) -> None:
        """Give out no more."""
        self._stopping = True

    def hold(self, call: str) -> str:
        """Hold a seat for the call of a name; return why there is none, or nothing."""
        if not any(worker.ready.is_set() for worker in self._workers.values()):
            return ""  # nobody answers: the carrier asks its fallback only if it is told so
        return "" if self._seat(call) is not None else self._why_not

    def serve(self, worker: Worker) -> None:
        """Seat the calls of a worker, and hear when they begin and end."""
        wire, seats = worker.wire, self._seats
        wire.on("begin", lambda said: seats.begin(said["seat"], worker.number, self._clock()))
        wire.on("end", lambda said: seats.end(said["seat"], self._clock()))
        wire.answer("admit", self._admit)

    async def _admit(self, said: Mapping[str, Any]) -> Mapping[str, Any]:
        seat = self._seat(said["call"])
        return {"reason": self._why_not} if seat is None else {"seat": seat}

    @property
    def _why_not(self) -> str:
        return self.why_closed or "full"

    def _seat(self, call: str) -> int | None:
        return None if self._stopping else self._seats.admit(self._clock(), call=call)


VOICE: Final = f"POST {VOICE_PATH}".encode()

Admit = Callable[[str], str]
"""Holds a seat for the call of a name; returns why there is none, or nothing."""


class NoRoom:
    """Answers the voice webhook of a call that cannot be taken.

    Calls that are let in keep the workers' loops busy just then: a dozen pipelines are put together
    while the others wait to be refused, in many small steps among theirs. The supervisor's loop
    has nothing else to do (docs/decisions/0031). What is not whole at once, or not signed, or finds
    room, goes on to a worker, which asks for the same seat by the same name.
    """

    def __init__(
        self, settings: Callable[[], Settings], *, admit: Admit, tell: Callable[[str], None]
    ) -> None:
        """Open.

        Args:
            settings: As they are now; they change on SIGHUP.
            admit: Holds a seat.
            tell: Is told why somebody was refused.
        """
        self._settings = settings
        self._admit = admit
        self._tell = tell

    def answer(self, request: bytes) -> bytes:
        """Return the whole answer to what has come so far; nothing: a worker is to see to it."""
        settings = self._settings()
        twilio = settings.transports.twilio
        if not (request.startswith(VOICE) and twilio.enabled and twilio.auth_token):
            return b""
        form = _form_of(request, settings.server.addresses, twilio.auth_token)
        call = form.get("CallSid", "") if form else ""
        if not form or not call or not (reason := self._admit(call)):
            return b""
        self._tell(reason)
        leaving = reason == DRAINING and not is_outbound(form)
        return NOBODY if leaving else _http(busy_twiml(form))  # another machine may take it


def _form_of(request: bytes, addresses: Sequence[str], token: SecretStr) -> Form | None:
    """Return what a whole and signed webhook says, or nothing."""
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
        form = read_form(body)
        path, _, query = head.target.decode().partition("?")
    except (h11.RemoteProtocolError, ValueError):
        return None  # a worker says what is wrong with it
    proof = dict(head.headers).get(b"x-twilio-signature", b"").decode("latin-1")
    validator = RequestValidator(token.get_secret_value())
    signed = is_signed(validator, form, addresses=addresses, query=query, proof=proof)
    return form if signed and path == VOICE_PATH else None


def _http(twiml: str) -> bytes:
    body = twiml.encode()
    head = (
        f"HTTP/1.1 {HTTPStatus.OK.value} {HTTPStatus.OK.phrase}",
        "Content-Type: text/xml; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join((*head, "", "")).encode() + body
