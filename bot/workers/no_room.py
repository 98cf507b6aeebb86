"""Tells a caller for whom there is no room so at the door, before a worker has to."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

import h11
from pydantic import SecretStr
from twilio.request_validator import RequestValidator

from bot.config.settings import Settings
from bot.workers.connections import NOBODY
from bot.workers.seats import DRAINING
from transports.twilio.webhook import (
    VOICE_PATH,
    Form,
    busy_twiml,
    is_outbound,
    is_signed,
    read_form,
)

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
