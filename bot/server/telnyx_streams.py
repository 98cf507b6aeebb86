"""The streams of Telnyx's calls: asked for, asked for anew, and the end of a call that gets none.

Telnyx goes on with a call whose stream is over, or never came: its caller would hear nothing until
they hang up.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fastapi import Response

from bot.server.door_frame import DoorFrame
from bot.server.telnyx_transfers import TelnyxTransfers
from bot.server.token_desk import StreamPass, TokenDesk, TurnedAway
from calls.events import ProviderFailed
from transports.media_stream.leg import CarriedCall
from transports.telnyx.dial import is_handed_on, state_text
from transports.telnyx.rest import NO_ANSWER, TelnyxRest

MEDIA_PATH: Final = "/telnyx/media"
OK: Final = Response(status_code=HTTPStatus.OK)
LATER: Final = Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)
AGAIN_AFTER_S: Final = (0.25, 0.5, 1.0, 2.0, 4.0)  # the caller has picked up, and hears nothing yet
OPENS_WITHIN_S: Final = 10.0  # all tries together; then the call is ended


@dataclass(frozen=True, slots=True, kw_only=True)
class TelnyxStreams:
    """Asks Telnyx for them; returns what its news of a call is answered."""

    frame: DoorFrame
    rest: TelnyxRest
    desk: TokenDesk
    waiting: TelnyxTransfers

    async def open(self, call_id: str, given: StreamPass, *, once: str = "") -> Response:
        """Have a call's stream opened; a call that Telnyx opens no stream for is ended.

        What fails on Telnyx's side is asked for again here: it delivers its news again too, but
        only a few times, and then nobody would end a call whose caller hears nothing.
        """
        status = await self._start(call_id, given, once)
        if status == HTTPStatus.OK:
            return OK
        # A call that is somewhere in the house is its leg's, which waits for a stream and then ends
        # it: perhaps the stream that was refused is only a second one, for news that came twice.
        if _passes(status):
            return await self._give_up(call_id)
        return OK if await self.desk.returns.find(call_id) else await self.end(call_id)

    async def follow(
        self, call: CarriedCall, payload: dict[str, Any], *, news_id: str = ""
    ) -> Response:
        """Have another stream opened for a call whose stream is over and which is not.

        News that is delivered again, as Telnyx does after two seconds without an answer, opens no
        other one: that would be the end of the first, of which there would be news again.

        One that gets none is ended, unless we had its caller handed on: they talk with somebody, or
        will in a moment. That stands in the call's state, so that a process which knows nothing of
        the call can tell. A call without a state of ours is somebody else's.
        """
        given = await self.desk.follow(call, news_id=news_id)
        if isinstance(given, StreamPass):
            return await self.open(call.call_ref, given, once=news_id)
        if given is TurnedAway.GOES_ON:
            return OK
        state = payload.get("client_state")
        handed_on = is_handed_on(state) or self.waiting.is_connected(call.call_ref)
        if handed_on or not state_text(state):
            return OK
        return await self.end(call.call_ref)

    async def end(self, call_id: str) -> Response:
        """End a call that gets no stream; have its news come again where Telnyx does not."""
        error = await self.rest.complete(call_id)
        if error is None:
            return OK
        self._tell(error)
        return LATER

    def answer(self, command: str, status: int) -> Response:
        """Return what Telnyx is told: to ask us again when it was its own side that failed."""
        if status == HTTPStatus.OK:
            return OK
        self._tell(f"{command} answered {status}" if status else f"{command} not answered")
        return LATER if _passes(status) else OK

    async def _start(self, call_id: str, given: StreamPass, once: str) -> int:
        """Ask for a stream until it is opened, or refused for good; return the last status."""
        url, status = self.frame.socket_url(MEDIA_PATH, given.worker), NO_ANSWER
        with suppress(TimeoutError):
            async with asyncio.timeout(OPENS_WITHIN_S):
                for pause_s in (0.0, *AGAIN_AFTER_S):
                    await asyncio.sleep(pause_s)
                    status = await self.rest.start_stream(
                        call_id, url=url, token=given.token, once=once
                    )
                    if self.answer("streaming_start", status) is OK:
                        break
        return status

    async def _give_up(self, call_id: str) -> Response:
        """End a call that never had a stream; whatever else becomes of it is not known here."""
        kept = await self.desk.give_up(call_id)
        if kept is None:
            return LATER
        ended = await self.end(call_id)
        if ended is LATER:
            await self.desk.returns.keep(kept)  # for the news that comes again
        return ended

    def _tell(self, error: str) -> None:
        self.frame.tell(ProviderFailed(stage="transport", provider="telnyx", error=error))


def _passes(status: int) -> bool:
    """Return whether a failure is Telnyx's own, and may pass."""
    return status in (NO_ANSWER, HTTPStatus.TOO_MANY_REQUESTS) or status >= 500
