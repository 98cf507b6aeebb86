"""Calls that we place through Exotel: asking for one, and looking one up by its own id.

One order dials a number and connects whoever picks up to our media socket ("Connect Voice AI"):
nobody is asked what to do with the call. Exotel knows no call by an id of ours, and its lists leave
out calls that go on; so what became of an order without an answer is told by callbacks alone.

Nothing that Exotel sends is signed. What lets a callback or a stream in is a proof that stands in
its address: of our own id of the dial, made with the account's token, which nobody else knows.

Source: developer.exotel.com/docs/agentstream/developer-guide ("Connect Voice AI"),
docs.exotel.com/exotel-agentstream (the same, with its names in capitals), developer.exotel.com
/docs/voice-v1/api-reference/call-details, /api/call-details-bulk ("will not provide ongoing calls'
details"). Not tried on a live account: see decision 0024.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Literal, TypeAlias, cast
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr

from calls.leg_events import LegOutcome
from calls.leg_progress import OUTCOMES
from fallbacks.classification import classify_http
from fallbacks.failure import Kind
from transports.http_requests import DialOrder, answered, dial_error, number_of, request
from transports.media_stream.messages import is_id, part, text

API_URL: Final = "https://api.exotel.com"
PROVIDER: Final = "exotel"
MOST_ANSWER_BYTES: Final = 64 * 1024  # a call has 1 kB
PIECE_BYTES: Final = 8 * 1024
Form: TypeAlias = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExotelRest:
    """Whose calls may be placed, and where to ask for it.

    Source: developer.exotel.com/docs/voice-v1/overview, /api/make-a-call-api ("just append .json").
    """

    account_sid: SecretStr
    api_key: SecretStr
    api_token: SecretStr
    api_url: str = API_URL

    async def ask(self, method: str, resource: str, form: Form = ()) -> dict[str, Any] | None:
        """Return the JSON of an answer, its names in lower case; None: there is no such thing.

        Exotel's pages write the same names as `Sid` and as `sid`.

        Raises:
            ServiceError: It failed; says how, and whether asking again may help.
        """
        status, told = await answered(PROVIDER, self._send(method, resource, form))
        body = cast("dict[str, Any]", told) if isinstance(told, dict) else {}
        if status == HTTPStatus.NOT_FOUND and method == "GET":
            return None
        if status >= HTTPStatus.BAD_REQUEST:
            found = classify_http(PROVIDER, status, part(body, "restexception"))
            raise dial_error(PROVIDER, found, f"HTTP {status}")
        return body

    async def _send(self, method: str, resource: str, form: Form) -> tuple[int, Any]:
        account = quote(self.account_sid.get_secret_value(), safe="")
        url = f"{self.api_url.rstrip('/')}/v1/Accounts/{account}/{resource}"
        key, token = self.api_key.get_secret_value(), self.api_token.get_secret_value()
        proof = {"Authorization": aiohttp.encode_basic_auth(key, token)}
        async with request(method, url, data=form or None, headers=proof) as answer:
            return answer.status, await _json(answer)


async def _json(answer: aiohttp.ClientResponse) -> Any:
    """Return what an answer says; None: it is no JSON, or too long."""
    body = bytearray()
    async for piece in answer.content.iter_chunked(PIECE_BYTES):
        body += piece
        if len(body) > MOST_ANSWER_BYTES:
            return None
    try:
        return json.loads(body, object_pairs_hook=_lowered)
    except (ValueError, RecursionError):
        return None


def _lowered(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    return {name.lower(): value for name, value in pairs}


STATUS_PATH: Final = "/exotel/status"
MEDIA_PATH: Final = "/exotel/media"
EVENTS: Final = ("ringing", "answered", "terminal")
MOST_REF_CHARS: Final = 64  # of our own id of a dial; Exotel's `CustomField` takes 128
Purpose: TypeAlias = Literal["media", "status"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExotelRecord:
    """What Exotel says of a call.

    Attributes:
        outcome: None: it goes on. That somebody picked up is not said before: a call is
            `in-progress` from its order on.
        cost: In the account's currency; None: it is not known yet.
    """

    call_sid: str
    outcome: LegOutcome | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExotelCalls:
    """Places calls of one account, whose callbacks and media come to our address.

    Every method raises `ServiceError`, classified: what is transient may be asked for again. A dial
    that was not answered may have been placed all the same.
    """

    rest: ExotelRest
    public_url: str

    async def dial(self, order: DialOrder) -> str:
        """Ask for a call; return Exotel's id of it."""
        answer = await self.rest.ask("POST", "Calls/connect.json", self._form(order))
        call_sid = text(part(answer or {}, "call"), "sid")
        if not is_id(call_sid):
            raise dial_error(PROVIDER, Kind.PROTOCOL, "an order was answered without the call's id")
        return call_sid

    async def fetch(self, call_sid: str) -> ExotelRecord | None:
        """Return what has become of a call; None: Exotel does not know it, or not yet."""
        answer = await self.rest.ask("GET", f"Calls/{quote(call_sid, safe='')}.json")
        return None if answer is None else _record(call_sid, part(answer, "call"))

    def _form(self, order: DialOrder) -> Form:
        return (
            ("From", order.to),  # whom Exotel calls first, and here alone
            ("CallerId", order.caller),
            ("StreamUrl", self._address(MEDIA_PATH, order.ref, "media").replace("http", "ws", 1)),
            ("StreamType", "bidirectional"),
            ("CustomField", order.ref),
            ("StatusCallback", self._address(STATUS_PATH, order.ref, "status")),
            *(("StatusCallbackEvents[]", event) for event in EVENTS),
        )

    def _address(self, path: str, ref: str, purpose: Purpose) -> str:
        """Return an address that proves itself; in its path, since a query may be taken off."""
        proof = dial_proof(self.rest.api_token, ref, purpose)
        return f"{self.public_url}{path}/{quote(ref, safe='')}/{proof}"


def dial_proof(token: SecretStr, ref: str, purpose: Purpose) -> str:
    """Return what an address of one dial must hold: 64 hexadecimal digits.

    Args:
        token: The account's.
        ref: Our own id of the dial, which is never used for another one.
        purpose: What the address lets in; one is no good for the other.
    """
    said = f"holdline {purpose} of dial {ref}".encode()
    return hmac.new(token.get_secret_value().encode(), said, hashlib.sha256).hexdigest()


def is_proven(token: SecretStr, ref: str, shown: str, purpose: Purpose) -> bool:
    """Return whether an address is one that we gave out for this dial."""
    if not ref or len(ref) > MOST_REF_CHARS:
        return False
    return hmac.compare_digest(dial_proof(token, ref, purpose).encode(), shown.encode())


def ending_of(status: str) -> str:
    """Return how a call ended, in the words that all carriers' are read in; empty: it goes on.

    Source: developer.exotel.com/docs/references/error-codes ("Call Status Values").
    """
    word = status.lower()
    return word if word in OUTCOMES else ""


def _record(call_sid: str, call: Mapping[str, Any]) -> ExotelRecord:
    over = ending_of(str(call.get("status") or ""))
    return ExotelRecord(
        call_sid=call_sid,
        outcome=OUTCOMES[over] if over else None,
        cost=number_of(call.get("price")) if over else None,
    )
