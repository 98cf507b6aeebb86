"""Telnyx's routes: the Call Control webhook and the media socket."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import APIRouter, Request, Response, WebSocket

from calls.events import ProviderFailed
from transports.announcements import Announcement
from transports.media_stream.leg import CarriedCall
from transports.media_stream.line import LinePatience
from transports.media_stream.messages import Codec, Refusal, Started, is_id, part, text
from transports.media_stream.sockets import MediaSockets
from transports.media_stream.tokens import AdmittedStream, StreamPass, StreamTokens, TurnedAway
from transports.media_stream.webhooks import (
    CarrierHost,
    StatusCallbacks,
    Webhooks,
    fallback_response,
)
from transports.rest import NO_ANSWER
from transports.telnyx.dialect import CODECS, MAX_REF_CHARS, TELNYX
from transports.telnyx.dialling import VOICE_PATH
from transports.telnyx.events import (
    attestation_of,
    is_handed_on,
    progress_in,
    ref_of,
    state_text,
)
from transports.telnyx.rest import TelnyxRest
from transports.telnyx.signature import signature_trouble
from transports.telnyx.transfer import MARK, PICKED_UP, TelnyxTransfers, transfer_result

MEDIA_PATH: Final = "/telnyx/media"
STREAM_OVER: Final = ("streaming.failed", "streaming.stopped")
SPOKEN: Final = "call.speak.ended"
OK: Final = Response(status_code=HTTPStatus.OK)
LATER: Final = Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)
AGAIN_AFTER_S: Final = (0.25, 0.5, 1.0, 2.0, 4.0)  # short, because the caller hears silence
OPENS_WITHIN_S: Final = 10.0  # all attempts together; then the call is ended


@dataclass(frozen=True, slots=True, kw_only=True)
class TelnyxStreams:
    """Requests streams from Telnyx; returns the responses to its webhooks.

    If the stream of a call has ended or was never opened, Telnyx keeps the call alive, and the
    caller would hear nothing until they hang up. So we request another stream, or end the call.
    """

    host: CarrierHost
    rest: TelnyxRest
    tokens: StreamTokens
    transfers: TelnyxTransfers

    async def open(self, call_id: str, admitted: StreamPass, *, command_id: str = "") -> Response:
        """Open a call's stream; if Telnyx does not open one, end the call unless it already runs.

        Temporary failures of Telnyx are retried here. Telnyx also repeats its webhook, but only a
        few times, and then the call would go on in silence.

        Args:
            call_id: The call.
            admitted: The token of the stream, and its worker.
            command_id: See `TelnyxRest.start_stream`.
        """
        status = await self._request_stream(call_id, admitted, command_id)
        if status == HTTPStatus.OK:
            return OK
        # A call that runs in some process is ended by its leg, after the wait for a stream. The
        # refused stream may be only a second one, for a repeated webhook.
        if _is_temporary(status):
            return await self._end_unopened(call_id)
        return OK if await self.tokens.streamed_calls.find(call_id) else await self.end(call_id)

    async def follow(
        self,
        call: CarriedCall,
        payload: dict[str, Any],
        *,
        news_id: str = "",
        is_ours: bool = True,
    ) -> Response:
        """Open another stream for a call that has lost its stream and goes on.

        A repeated webhook, which Telnyx sends if it has no response after two seconds, opens no
        further stream: that would end the first one, and cause another webhook.

        A call that gets no new stream is ended, with three exceptions. If we transferred its
        caller, the caller talks with a person, or will in a moment; the call's state shows this
        also to a process that does not know the call. A call without our state belongs to another
        application. A call of another machine may go on there.
        """
        answer = await self.tokens.follow(call, news_id=news_id, stream_id=_stream_in(payload))
        if isinstance(answer, StreamPass):
            return await self.open(call.call_ref, answer, command_id=news_id)
        if isinstance(answer, Announcement):
            return await self.say(call.call_ref, answer, command_id=news_id)
        if answer is TurnedAway.LEAVING:
            return fallback_response()
        state = payload.get("client_state")
        transferred = is_handed_on(state) or self.transfers.is_connected(call.call_ref)
        if answer is TurnedAway.GOES_ON or transferred or not state_text(state) or not is_ours:
            return OK
        return await self.end(call.call_ref)

    async def say(self, call_id: str, announced: Announcement, *, command_id: str) -> Response:
        """Say a sentence; the webhook about its end asks for more, or ends the call.

        If that fails, Telnyx has to repeat its webhook, so that we try again.
        """
        status = await self.rest.speak(
            call_id, announced.text, language=announced.language, command_id=command_id
        )
        return LATER if self.answer("speak", status) is LATER or status != HTTPStatus.OK else OK

    async def end(self, call_id: str) -> Response:
        """End a call that gets no stream; if that fails, make Telnyx repeat its webhook."""
        error = await self.rest.complete(call_id)
        if error is None:
            return OK
        self._emit_failure(error)
        return LATER

    def answer(self, command: str, status: int) -> Response:
        """Return the response to a webhook, which Telnyx repeats after a temporary failure.

        Args:
            command: The command that was sent because of the webhook.
            status: The status of Telnyx's response to it.
        """
        if status == HTTPStatus.OK:
            return OK
        self._emit_failure(f"{command} answered {status}" if status else f"{command} not answered")
        return LATER if _is_temporary(status) else OK

    async def _request_stream(self, call_id: str, admitted: StreamPass, command_id: str) -> int:
        """Request a stream until it opens or is refused for good; return the last status.

        After temporary failures, the requests are repeated for up to `OPENS_WITHIN_S`.
        """
        url, status = self.host.socket_url(MEDIA_PATH, admitted.worker), NO_ANSWER
        with suppress(TimeoutError):
            async with asyncio.timeout(OPENS_WITHIN_S):
                for pause_s in (0.0, *AGAIN_AFTER_S):
                    await asyncio.sleep(pause_s)
                    status = await self.rest.start_stream(
                        call_id, url=url, token=admitted.token, command_id=command_id
                    )
                    if self.answer("streaming_start", status) is OK:  # also if refused for good
                        break
        return status

    async def _end_unopened(self, call_id: str) -> Response:
        """End a call that never had a stream; leave any other call alone.

        If the call cannot be ended, Telnyx has to repeat its webhook, so that we try again.
        """
        kept = await self.tokens.give_up(call_id)
        if kept is None:
            return LATER
        ended = await self.end(call_id)
        if ended is LATER:
            await self.tokens.streamed_calls.keep(kept)  # for the repeated webhook
        return ended

    def _emit_failure(self, error: str) -> None:
        self.host.emit(ProviderFailed(stage="transport", provider="telnyx", error=error))


def _is_temporary(status: int) -> bool:
    """Return whether a failure is on Telnyx's side and temporary."""
    return status in (NO_ANSWER, HTTPStatus.TOO_MANY_REQUESTS) or status >= 500


TOKEN_HEADER: Final = "x-telnyx-streaming-auth-token"  # noqa: S105 - a header's name


class TelnyxRoutes:
    """Telnyx's webhook and media socket.

    Attributes:
        router: To be included in the application.

    Args:
        host: The server's functions.
        key: The account's public key, which verifies webhooks.
        rest: Telnyx's API, which answers calls, streams their audio, and ends them.
        utc_s: Returns the seconds since 1970, to check the age of signed webhooks.
        patience: How long the agent waits for a lost line.
    """

    def __init__(
        self,
        host: CarrierHost,
        *,
        key: Ed25519PublicKey,
        rest: TelnyxRest,
        utc_s: Callable[[], float],
        patience: LinePatience | None = None,
    ) -> None:
        """Register the webhook's route and the media socket in `router`; start nothing."""
        self._key, self._rest, self._utc_s = key, rest, utc_s
        self._webhooks = Webhooks("telnyx", host.emit)
        self._tokens = tokens = StreamTokens(host, "telnyx", patience or LinePatience())
        self._transfers = TelnyxTransfers(host.pool, rest)
        self._streams = TelnyxStreams(
            host=host, rest=rest, tokens=tokens, transfers=self._transfers
        )
        self._progress = StatusCallbacks(host, "telnyx")
        self.router = APIRouter()
        self.router.add_api_route(VOICE_PATH, self._act_on_webhook, methods=["POST"])
        MediaSockets(
            host=host,
            dialect=TELNYX,
            admit=self._admit_stream,
            streamed_calls=tokens.streamed_calls,
            ours=Codec(encoding=CODECS[rest.codec].encoding, rate_hz=rest.rate_hz),
            patience=tokens.patience,
            control=rest,
            transfer=self._transfers.transfer,
            end=rest.complete,
        ).add_to(self.router, MEDIA_PATH)

    async def _act_on_webhook(self, request: Request) -> Response:
        """Act on a signed webhook about a call; refuse any other. A 503 makes Telnyx repeat it."""
        body = await self._read_signed(request)
        if isinstance(body, Response):
            return body
        event, payload, news_id = _read_event(body)
        call_id = payload.get("call_control_id")
        if not is_id(call_id, MAX_REF_CHARS):
            return self._webhooks.refuse("webhook_without_call_id", HTTPStatus.BAD_REQUEST)
        if (attempt_id := _attempt_id_in(payload)) is not None:
            return await self._handle_person(attempt_id, event, payload)
        is_ours = self._streams.host.is_ours(request.scope)
        return await self._handle_call(call_id, event, payload, news_id, is_ours=is_ours)

    async def _handle_call(
        self, call_id: str, event: str, payload: dict[str, Any], news_id: str, *, is_ours: bool
    ) -> Response:
        """Act on a webhook about an inbound call, or one that we placed."""
        ref = ref_of(payload.get("client_state"))
        if event in STREAM_OVER:
            call = _carried_call(call_id, payload, ref)
            # Both "streaming.failed" and "streaming.stopped" may report the same loss.
            loss_id = _stream_in(payload) or news_id
            return await self._streams.follow(call, payload, news_id=loss_id, is_ours=is_ours)
        if event == SPOKEN:
            calls = self._tokens.streamed_calls
            found = await calls.find(call_id)
            # Another webhook has got the call a seat in the meantime, unless its process was only
            # frozen, and has woken while the caller waits.
            if found and not (found.goes_on and await calls.wait_no_longer(call_id)):
                return OK
            call = _carried_call(call_id, payload, ref)
            # After the last sentence, no machine has the call: so it is ended here in any case.
            return await self._streams.follow(call, payload, news_id=news_id)
        if ref:
            return await self._handle_dial(ref, call_id, event, payload)
        handlers = {
            "call.initiated": self._handle_initiated,
            "call.answered": self._handle_answered,
            "call.hangup": self._handle_hangup,
        }
        return await handlers[event](call_id, payload) if event in handlers else OK

    async def _read_signed(self, request: Request) -> bytes | Response:
        """Return the body of a signed request; refuse any other."""
        body = await self._webhooks.body(request)
        if isinstance(body, Response):
            return body
        trouble = signature_trouble(self._key, request.headers, body, now=self._utc_s())
        return body if trouble is None else self._webhooks.refuse(trouble, HTTPStatus.FORBIDDEN)

    async def _handle_person(
        self, attempt_id: str, event: str, payload: dict[str, Any]
    ) -> Response:
        """Act on a webhook about the leg of a person who is rung for a caller."""
        outcome = transfer_result(event, text(payload, "hangup_cause"))
        if outcome is not None or event == PICKED_UP:
            await self._transfers.emit(attempt_id, outcome)
        return OK

    async def _handle_dial(
        self, ref: str, call_id: str, event: str, payload: dict[str, Any]
    ) -> Response:
        """Act on a webhook about a call that we placed: publish its progress, open its stream.

        The webhook about the answer may be repeated, because our response was late or the stream
        did not open. So it opens a stream unless the call has already begun.
        """
        callback = progress_in(call_id, event, payload, ref)
        news = await self._progress.take(callback) if callback else ()
        if event == "call.hangup":
            await self._tokens.end(call_id, text(payload, "hangup_source"))
        if event != "call.answered" or (not news and await self._has_begun(call_id)):
            return OK
        answer = await self._tokens.hold_seat(_carried_call(call_id, payload, ref))
        if answer is TurnedAway.NO_SEAT:
            return await self._streams.end(call_id)  # rather than leave the callee in silence
        if not isinstance(answer, StreamPass):
            return OK
        # With the dial's id, Telnyx ignores a second request, after a repeated webhook.
        return await self._streams.open(call_id, answer, command_id=ref)

    async def _has_begun(self, call_id: str) -> bool:
        """Return whether a call already runs or has ended, which shows a repeated webhook."""
        if await self._tokens.streamed_calls.find(call_id) is not None:
            return True
        return await self._progress.is_over(call_id)

    async def _handle_initiated(self, call_id: str, payload: dict[str, Any]) -> Response:
        """Answer an inbound call that gets a seat; reject one that does not.

        The token of its stream becomes the call's state, and comes back with `call.answered`.
        """
        incoming = payload.get("direction") == "incoming"
        if not incoming or await self._tokens.streamed_calls.find(call_id) is not None:
            return OK  # a repeated webhook: the call already has a seat
        answer = await self._tokens.hold_seat(_carried_call(call_id, payload))
        if answer is TurnedAway.LEAVING:
            return fallback_response()
        if answer is TurnedAway.NO_SEAT:
            return self._streams.answer("reject", await self._rest.reject(call_id))
        if not isinstance(answer, StreamPass):
            return OK
        status = await self._rest.pick_up(call_id, token=answer.token)
        return self._streams.answer("answer", status)

    async def _handle_answered(self, call_id: str, payload: dict[str, Any]) -> Response:
        """Open the stream of an inbound call that we answered; its state is the stream's token."""
        token = state_text(payload.get("client_state"))
        if not token:
            return OK  # answered by another application
        return await self._streams.open(call_id, StreamPass(token=token))

    async def _handle_hangup(self, call_id: str, payload: dict[str, Any]) -> Response:
        """End an inbound call, and delete what is stored of it."""
        await self._tokens.end(call_id, text(payload, "hangup_source"))
        return OK

    async def _admit_stream(
        self, started: Started, websocket: WebSocket
    ) -> AdmittedStream | Refusal:
        """Admit a new stream by the token that Telnyx got for its call."""
        token = started.parameters.get("token") or websocket.headers.get(TOKEN_HEADER, "")
        return await self._tokens.admit(started, token)


def _carried_call(call_id: str, payload: dict[str, Any], dial_id: str = "") -> CarriedCall:
    """Return a webhook's numbers and direction; a dial's id marks an outbound call."""
    return CarriedCall(
        call_ref=call_id,
        caller=text(payload, "from"),
        called=text(payload, "to"),
        direction="outbound" if dial_id else "inbound",
        dial_id=dial_id,
        attestation=attestation_of(payload),
    )


def _stream_in(payload: dict[str, Any]) -> str:
    """Return the id of the stream that an event is about; empty if there is none."""
    stream_id = text(payload, "stream_id")
    return stream_id if is_id(stream_id) else ""


def _read_event(body: bytes) -> tuple[str, dict[str, Any], str]:
    """Return an event's type, payload and id; a repeated webhook has the same id."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return "", {}, ""
    data = part(parsed, "data") if isinstance(parsed, dict) else {}
    news_id = text(data, "id")
    return text(data, "event_type"), part(data, "payload"), news_id if is_id(news_id) else ""


def _attempt_id_in(payload: dict[str, Any]) -> str | None:
    """Return the id of the attempt if this is a rung person's leg; `None` for any other leg."""
    state = state_text(payload.get("client_state"))
    return state.removeprefix(MARK) if state.startswith(MARK) else None
