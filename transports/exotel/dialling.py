"""Campaigns over Exotel, whose callbacks report the result of a dial.

One call request dials a number and connects the answered call to our media socket ("Connect Voice
AI"), without asking us for instructions.

Exotel's API finds a call only by Exotel's own id, and its lists leave out live calls. If the
response to a call request is lost, we do not have that id. Only the callbacks and the stream of the
call, which carry our own id, then show the result of the dial. As the call may have been placed,
the dial is never repeated. It is certain that no call was placed only if Exotel refused the request
or never received it.

Exotel signs nothing that it sends. A callback or stream is authenticated by a proof in its address:
an HMAC of our own id of the dial with the account's secret token.

Source: developer.exotel.com/docs/agentstream/developer-guide ("Connect Voice AI"),
docs.exotel.com/exotel-agentstream (the same, with its names in capitals), developer.exotel.com
/docs/voice-v1/api-reference/call-details, /api/call-details-bulk ("will not provide ongoing calls'
details"). Not tried on a live account: see decision 0024.
"""

import asyncio
import hashlib
import hmac
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr

from calls.leg_progress import OUTCOMES
from calls.outbound import DialOutcome
from fallbacks.failure import Kind, ServiceError
from transports.dialling import (
    CarrierNews,
    DialPace,
    DialRequest,
    FoundCall,
    HeardLeg,
    carrier_errors,
    dial_outcome_of,
    remember,
)
from transports.exotel.rest import ExotelRest, Form
from transports.media_stream.messages import is_id, part, text
from transports.rest import dial_error, number_of

STATUS_PATH: Final = "/exotel/status"
MEDIA_PATH: Final = "/exotel/media"
EVENTS: Final = ("ringing", "answered", "terminal")
MAX_REF_CHARS: Final = 64  # of our own id of a dial; Exotel's `CustomField` takes 128
Purpose: TypeAlias = Literal["media", "status"]


def dial_proof(token: SecretStr, ref: str, purpose: Purpose) -> str:
    """Return the proof for an address of one dial: 64 hexadecimal digits.

    Args:
        token: The account's secret.
        ref: Our own id of the dial, never reused.
        purpose: What the address admits; a proof is valid for one purpose only.
    """
    statement = f"holdline {purpose} of dial {ref}".encode()
    return hmac.new(token.get_secret_value().encode(), statement, hashlib.sha256).hexdigest()


def is_proven(token: SecretStr, ref: str, proof: str, purpose: Purpose) -> bool:
    """Return whether a proof is valid for this dial and purpose; the sender is untrusted."""
    if not ref or len(ref) > MAX_REF_CHARS:
        return False
    return hmac.compare_digest(dial_proof(token, ref, purpose).encode(), proof.encode())


def ending_of(status: str) -> str:
    """Return how a call ended, in the terms shared by all carriers.

    Empty while it goes on, or for an undocumented status.

    Source: developer.exotel.com/docs/references/error-codes ("Call Status Values").
    """
    word = status.lower()
    return word if word in OUTCOMES else ""


LIMITED_S: Final = 15.0  # chosen: Exotel refuses more than 200 requests a minute
# How long Exotel may report nothing about a dial before its outcome counts as unknown (chosen: a
# minute of ringing, and repeated callbacks).
UNREPORTED_S: Final = 120.0
MAX_EXOTEL_CALL_S: Final = (
    3600.0 + UNREPORTED_S
)  # the same after an answer: Exotel ends a stream at 60 minutes
UNPLACED_KINDS: Final = frozenset(
    {Kind.AUTH, Kind.QUOTA, Kind.BAD_REQUEST, Kind.NOT_FOUND, Kind.RATE_LIMITED}
)
"""Failures that show that no call was placed; after any other failure there may be one."""


@dataclass(slots=True, kw_only=True)
class ExotelCarrier:
    """One account and one of its numbers; callbacks and media come to our address.

    Attributes:
        rest: The account's API.
        public_url: Our address.
        number: Our number, which the callee sees.
        news: What callbacks have reported.
        calls_per_s: How many calls the account may place.
    """

    rest: ExotelRest
    public_url: str
    number: str
    news: CarrierNews
    calls_per_s: float = 2.0
    _pace: DialPace = field(init=False)
    # Dials that placed no call: the request was refused, or did not reach Exotel.
    _unplaced: dict[str, bool] = field(default_factory=dict[str, bool])
    # When Exotel first reported nothing about a dial that we asked for, on the loop's clock.
    _unreported_since: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        """Create the pacing."""
        self._pace = DialPace(calls_per_s=self.calls_per_s, rate_limit_s=LIMITED_S)

    async def dial(self, request: DialRequest) -> str:
        """Place a call; return its SID. Exotel alone decides how long it rings."""
        call_sid = await self._pace.place(lambda: self._request_call(request), request)
        self.news.refs[request.dial_id] = call_sid
        return call_sid

    def recall(self, dial_id: str, provider_call_id: str) -> None:
        """Remember the carrier's id of a dial that another process placed."""
        self.news.refs.setdefault(dial_id, provider_call_id)

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return the state of a dial; `None` if it is certain that no call was placed.

        An outcome in the callbacks decides; without one, Exotel's record of the call is read. If
        there is no record either, the call counts as in progress, and after a while its outcome
        counts as unknown.

        Args:
            dial_id: Our id.
            to: Unused: Exotel does not find a call by its number.
            since_s: Unused, like `to`.
        """
        reported = await self.news.heard(dial_id)
        if reported is not None and reported.outcome is not None:
            self._unreported_since.pop(dial_id, None)
            return reported.found
        call_sid = reported.call_ref if reported else self.news.refs.get(dial_id, "")
        if not call_sid:
            return (
                None if dial_id in self._unplaced else self._call_without_report(dial_id, "", None)
            )
        with carrier_errors():
            found = await self._fetch_call(call_sid)
        if found is None:
            return self._call_without_report(dial_id, call_sid, reported)
        self._unreported_since.pop(dial_id, None)
        self.news.refs[dial_id] = call_sid
        return replace(
            found, answered=found.answered or (reported is not None and reported.answered)
        )

    async def cost_of(self, provider_call_id: str) -> float | None:
        """Return the price of a call; `None` until Exotel knows it."""
        with carrier_errors():
            found = await self._fetch_call(provider_call_id)
        return found.cost if found else None

    async def _request_call(self, request: DialRequest) -> str:
        """Request a call and return Exotel's id; remember the dial if no call was placed.

        Raises:
            ServiceError: It was refused, or the response is lost or has no id: then it may ring.
        """
        self._unplaced.pop(request.dial_id, None)
        try:
            answer = await self.rest.ask("POST", "Calls/connect.json", self._dial_form(request))
        except ServiceError as error:
            unsent = isinstance(error.__cause__, aiohttp.ClientConnectorError)
            if unsent or error.failure.kind in UNPLACED_KINDS:
                remember(self._unplaced, request.dial_id, value=True)
            raise
        call_sid = text(part(answer or {}, "call"), "sid")
        if not is_id(call_sid):
            raise dial_error("exotel", Kind.PROTOCOL, "the answer to an order lacks the call's id")
        return call_sid

    async def _fetch_call(self, call_sid: str) -> FoundCall | None:
        """Return a call from its record; `None` if Exotel does not have it, or not yet.

        While a call goes on, its record does not show whether the callee has answered: the status
        is `in-progress` as soon as the call is requested.
        """
        answer = await self.rest.ask("GET", f"Calls/{quote(call_sid, safe='')}.json")
        if answer is None:
            return None
        call = part(answer, "call")
        ending = ending_of(str(call.get("status") or ""))
        return FoundCall(
            provider_call_id=call_sid,
            outcome=dial_outcome_of(OUTCOMES.get(ending), machine=False),
            answered=ending == "completed",
            cost=number_of(call.get("price")) if ending else None,
        )

    def _dial_form(self, request: DialRequest) -> Form:
        """Return the form that requests a call; its addresses prove that they come from us."""
        stream_url = self._address_with_proof(MEDIA_PATH, request.dial_id, "media").replace(
            "http", "ws", 1
        )
        return (
            ("From", request.to),  # the number that Exotel calls first, and here the only one
            ("CallerId", self.number),
            ("StreamUrl", stream_url),
            ("StreamType", "bidirectional"),
            ("CustomField", request.dial_id),
            ("StatusCallback", self._address_with_proof(STATUS_PATH, request.dial_id, "status")),
            *(("StatusCallbackEvents[]", event) for event in EVENTS),
        )

    def _address_with_proof(self, path: str, ref: str, purpose: Purpose) -> str:
        """Return an address with its proof in the path, because a query may be stripped."""
        proof = dial_proof(self.rest.api_token, ref, purpose)
        return f"{self.public_url}{path}/{quote(ref, safe='')}/{proof}"

    def _call_without_report(
        self, dial_id: str, call_sid: str, reported: HeardLeg | None
    ) -> FoundCall:
        """Return a call whose outcome Exotel does not report.

        From the first time that this is asked about a dial, it counts as in progress for
        `UNREPORTED_S`, after an answer for `MAX_EXOTEL_CALL_S`; then its outcome is unknown.
        """
        now = asyncio.get_running_loop().time()
        if dial_id not in self._unreported_since:
            remember(self._unreported_since, dial_id, now)
        answered = reported is not None and reported.answered
        until_s = self._unreported_since[dial_id] + (
            MAX_EXOTEL_CALL_S if answered else UNREPORTED_S
        )
        return FoundCall(
            provider_call_id=call_sid,
            outcome=DialOutcome.UNKNOWN if now >= until_s else None,
            answered=answered,
        )
