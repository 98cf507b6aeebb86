"""Outbound calls through Exotel: ordering one, and looking one up by Exotel's id.

One order dials a number and connects the answered call to our media socket ("Connect Voice AI"),
without asking us for instructions. Exotel knows no call by an id of ours, and its lists leave out
live calls. So only callbacks tell the result of an order that got no answer.

Exotel signs nothing that it sends. A callback or stream is authenticated by a proof in its address:
an HMAC of our own id of the dial with the account's secret token.

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
MOST_ANSWER_BYTES: Final = 64 * 1024  # a call's answer has 1 kB
PIECE_BYTES: Final = 8 * 1024
Form: TypeAlias = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExotelRest:
    """The account for outbound calls, and the address of its API.

    Source: developer.exotel.com/docs/voice-v1/overview, /api/make-a-call-api ("just append .json").
    """

    account_sid: SecretStr
    api_key: SecretStr
    api_token: SecretStr
    api_url: str = API_URL

    async def ask(self, method: str, resource: str, form: Form = ()) -> dict[str, Any] | None:
        """Return the JSON of an answer, names in lower case; `None` if the resource does not exist.

        Exotel's pages write the same names as `Sid` and as `sid`.

        Raises:
            ServiceError: It failed; tells how, and whether a retry may help.
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
    """Return an answer's JSON; `None` if it is malformed or too long."""
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
    """Exotel's record of a call.

    Attributes:
        outcome: `None` while the call goes on. The record never shows that the callee answered: a
            call is `in-progress` from its order on.
        cost: In the account's currency; `None` if it is not known yet.
    """

    call_sid: str
    outcome: LegOutcome | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExotelCalls:
    """Places calls of one account; callbacks and media come to our address.

    Every method raises a classified `ServiceError`; transient failures may be retried. A dial that
    got no answer may have been placed anyway.
    """

    rest: ExotelRest
    public_url: str

    async def dial(self, order: DialOrder) -> str:
        """Order a call; return Exotel's id."""
        answer = await self.rest.ask("POST", "Calls/connect.json", self._form(order))
        call_sid = text(part(answer or {}, "call"), "sid")
        if not is_id(call_sid):
            raise dial_error(PROVIDER, Kind.PROTOCOL, "the answer to an order lacks the call's id")
        return call_sid

    async def fetch(self, call_sid: str) -> ExotelRecord | None:
        """Return a call's record; `None` if Exotel does not know it, or not yet."""
        answer = await self.rest.ask("GET", f"Calls/{quote(call_sid, safe='')}.json")
        return None if answer is None else _record(call_sid, part(answer, "call"))

    def _form(self, order: DialOrder) -> Form:
        return (
            ("From", order.to),  # the number that Exotel calls first, and here the only one
            ("CallerId", order.caller),
            ("StreamUrl", self._address(MEDIA_PATH, order.ref, "media").replace("http", "ws", 1)),
            ("StreamType", "bidirectional"),
            ("CustomField", order.ref),
            ("StatusCallback", self._address(STATUS_PATH, order.ref, "status")),
            *(("StatusCallbackEvents[]", event) for event in EVENTS),
        )

    def _address(self, path: str, ref: str, purpose: Purpose) -> str:
        """Return an address with its proof in the path, because a query may be stripped."""
        proof = dial_proof(self.rest.api_token, ref, purpose)
        return f"{self.public_url}{path}/{quote(ref, safe='')}/{proof}"


def dial_proof(token: SecretStr, ref: str, purpose: Purpose) -> str:
    """Return the proof for an address of one dial: 64 hexadecimal digits.

    Args:
        token: The account's secret.
        ref: Our own id of the dial, never reused.
        purpose: What the address admits; a proof is valid for one purpose only.
    """
    said = f"holdline {purpose} of dial {ref}".encode()
    return hmac.new(token.get_secret_value().encode(), said, hashlib.sha256).hexdigest()


def is_proven(token: SecretStr, ref: str, shown: str, purpose: Purpose) -> bool:
    """Return whether we issued this address for this dial."""
    if not ref or len(ref) > MOST_REF_CHARS:
        return False
    return hmac.compare_digest(dial_proof(token, ref, purpose).encode(), shown.encode())


def ending_of(status: str) -> str:
    """Return how a call ended, in the terms shared by all carriers; empty while it goes on.

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
