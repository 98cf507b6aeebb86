"""Shared parts of the carriers' webhooks: the server's functions, forms, status callbacks."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response

from calls.caller import attestation_from
from calls.entry import Emit
from calls.events import InputRefused
from calls.leg_progress import LegEvent, LegProgress, StatusCallback
from runtime.clock import Clock
from runtime.machines import addresses_under, machine_path, machine_path_of
from transports.announcements import WaitingAnswers
from transports.leg import Leg
from transports.media_stream.leg import CarriedCall
from transports.media_stream.messages import is_id
from transports.pool import CallPool, PoolLocks, read_stored

MAX_WEBHOOK_BYTES: Final = 64 * 1024  # a voice webhook has 1 to 3 kB
MAX_FIELDS: Final = 200  # of a form; a webhook has about twenty
WEBHOOK_S: Final = 5.0  # to receive the body
MAX_WORD_CHARS: Final = 64  # of a carrier's value, and of our dial id

HasBrief: TypeAlias = Callable[[str], Awaitable[bool]]
"""Returns whether there is an agent for the call of a dial; the id is empty for other calls."""
FormT = TypeVar("FormT", bound=Mapping[str, str])
IsSigned: TypeAlias = Callable[[Request, str, FormT], bool]
AnswerForm: TypeAlias = Callable[[Request, FormT], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierHost:
    """The server's functions for the routes of all carriers.

    Attributes:
        addresses: Our addresses, for which a carrier may sign a webhook: scheme, host and perhaps a
            path. The first one is given to carriers, and belongs to this server alone.
        answer: Runs a call on a leg until it ends; raises `SwitchboardFullError`.
        emit: Publishes events, such as refusals.
        clock: Monotonic, in seconds.
        pool: Holds a seat from a call's first webhook to its end.
        has_brief: Returns whether there is an agent for the call of a dial; `None` without
            campaigns.
        machine: The name of this machine; empty if it is the only one.
        waiting: What is said to callers whose call has lost its process while no seat is free;
            `None` to end such calls.
    """

    addresses: tuple[str, ...]
    answer: Callable[[Leg], Awaitable[None]]
    emit: Emit
    clock: Clock
    pool: CallPool
    has_brief: HasBrief | None = None
    machine: str = ""
    waiting: WaitingAnswers | None = None

    @property
    def public_url(self) -> str:
        """The address that is given to carriers."""
        return self.addresses[0]

    def addresses_for(self, scope: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the addresses that this request's signature may cover, with its machine's path."""
        return addresses_under(self.addresses, machine_path_of(scope))

    def is_ours(self, scope: Mapping[str, Any]) -> bool:
        """Return whether a request is for this machine, or for a server of one machine."""
        return not self.machine or machine_path_of(scope) == machine_path(self.machine)

    def socket_url(self, path: str, worker: str = "") -> str:
        """Return the URL of a media socket, of one worker if `worker` is not empty."""
        scheme, _, rest = self.public_url.partition("://")
        url = f"{'wss' if scheme == 'https' else 'ws'}://{rest}{path}"
        return f"{url}/{worker}" if worker else url


def read_form(body: bytes) -> dict[str, str] | None:
    """Return a form's fields; `None` if it is malformed, or has a field twice."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        return None
    form = dict(pairs)
    return form if len(form) == len(pairs) else None


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Reads the webhooks of one carrier; refuses those that are too big, malformed or unsigned."""

    carrier: str
    emit: Emit

    def refuse(self, reason: str, status: HTTPStatus) -> Response:
        """Publish that a webhook was refused; return a response without details."""
        self.emit(InputRefused(transport=self.carrier, reason=reason))
        return _plain_response(status)

    async def body(self, request: Request) -> bytes | Response:
        """Return a request's body; if it is too big or too slow, return the response for that."""
        body = bytearray()
        try:
            async with asyncio.timeout(WEBHOOK_S):
                async for piece in request.stream():
                    body += piece
                    if len(body) > MAX_WEBHOOK_BYTES:
                        return self._too_big()
        except TimeoutError:
            return self._too_big()
        return bytes(body)

    def add_forms(
        self,
        router: APIRouter,
        answers: Mapping[str, AnswerForm[FormT]],
        *,
        read: Callable[[bytes], FormT | None],
        is_signed: IsSigned[FormT],
        call_key: str,
    ) -> None:
        """Add a route for each path; requests other than signed forms of a call are refused.

        Args:
            router: The router to add to.
            answers: The function that answers a form, by path.
            read: Reads a body; returns `None` if it is not a form.
            is_signed: Returns whether the carrier signed a form for this path.
            call_key: The field with the carrier's id of the call.
        """

        def add(path: str, answer: AnswerForm[FormT]) -> None:
            """Add a route that answers signed forms with a call's id, and refuses all others."""

            async def take(request: Request) -> Response:
                body = await self.body(request)
                if isinstance(body, Response):
                    return body
                form = read(body)
                if form is None:
                    return self.refuse("webhook_is_no_form", HTTPStatus.BAD_REQUEST)
                if not is_signed(request, path, form):
                    return self.refuse("wrong_signature", HTTPStatus.FORBIDDEN)
                if not is_id(form.get(call_key)):
                    return self.refuse("webhook_without_call_id", HTTPStatus.BAD_REQUEST)
                return await answer(request, form)

            router.add_api_route(path, take, methods=["POST"])

        for path, answer in answers.items():
            add(path, answer)

    def _too_big(self) -> Response:
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return self.refuse("webhook_too_big_or_too_slow", status)


def fallback_response() -> Response:
    """Return the response (503) after which a carrier asks the fallback URL, on another machine."""
    return _plain_response(HTTPStatus.SERVICE_UNAVAILABLE)


def _plain_response(status: HTTPStatus) -> Response:
    return Response(status.phrase, status_code=status, media_type="text/plain")


def dial_id_of(request: Request) -> str:
    """Return our id of a dial from the request's URL; empty if there is none."""
    return request.query_params.get("dial", "")[:MAX_WORD_CHARS]


def call_in(form: Mapping[str, str], *, call_ref: str, dial_id: str = "") -> CarriedCall:
    """Return the call that a form describes, with the field names of Twilio and Plivo."""
    outbound = form.get("Direction", "").startswith("outbound")
    return CarriedCall(
        call_ref=call_ref,
        caller=form.get("From", ""),
        called=form.get("To", ""),
        direction="outbound" if outbound else "inbound",
        dial_id=dial_id,
        attestation=attestation_from(form.get("StirVerstat", "")),
    )


CALLBACKS_KEPT_S: Final = (
    4 * 3600.0
)  # the carriers' limit of a call, in which callbacks may be repeated


class StatusCallbacks:
    """Publishes the new events in a carrier's status callbacks and machine detection results.

    The progress of each call is stored in the worker pool's store, because a callback may reach any
    process, and two callbacks on a call may reach two processes at once.
    """

    def __init__(self, host: CarrierHost, carrier: str) -> None:
        """Serve one carrier's calls."""
        self._host = host
        self._carrier = carrier
        self._locks = PoolLocks(host.pool.peers)

    async def take(self, callback: StatusCallback, *, store_key: str = "") -> Sequence[LegEvent]:
        """Publish and return the new events of an authenticated callback; none if it is repeated.

        While the store is away, a repeated callback may be published again.

        Args:
            callback: The callback.
            store_key: The key of the call's progress; if empty, the carrier's id of the call.
        """
        events, _ = await self._apply_callback(callback, store_key or callback.call_ref)
        for event in events:
            self._host.emit(event)
        return events

    async def is_over(self, call_ref: str) -> bool:
        """Return whether a callback has reported the end of a call; False if the store is away.

        If nothing was stored of the call, its progress is stored from now on.
        """
        _, after = await self._apply_callback(StatusCallback(call_ref=call_ref), call_ref)
        return after.ended

    async def _apply_callback(
        self, callback: StatusCallback, store_key: str
    ) -> tuple[Sequence[LegEvent], LegProgress]:
        """Apply a callback to the call's stored progress; return the new events and progress.

        A lock is held, because another process may handle another callback on the call.
        """
        place, key_values = f"{self._carrier} progress {store_key}", self._host.pool.key_values
        async with self._locks.hold(place):
            kept, now = await key_values.take(place), self._host.clock()
            before = read_stored(LegProgress, kept) or LegProgress(began_at=now)
            after, events = before.apply(callback, now)
            await key_values.keep(
                place, asdict(after), for_s=CALLBACKS_KEPT_S, moments=("began_at",)
            )
        return events, after
