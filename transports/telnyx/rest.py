"""What we ask of Telnyx: to answer, stream, refuse, hand on and end a call; and what it answers."""

import asyncio
import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr

from fallbacks.classification import classify_http
from fallbacks.failure import ServiceError
from transports.carrier_answers import ASK_S, answered, dial_error
from transports.http_requests import request

PROVIDER: Final = "telnyx"
API_URL: Final = "https://api.telnyx.com"
LEAST_RING_S: Final = 5
MOST_RING_S: Final = 600
NO_ANSWER: Final = 0  # in place of a status: the question was not answered
ASKED: Final = 2  # times: what was not answered may have been done, and is done once
TelnyxAnswer: TypeAlias = dict[str, Any]
"""The JSON of an answer: what was asked for stands in `data`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TelnyxRest:
    """Whose calls may be commanded, where, and how their sound is to come.

    Source: developers.telnyx.com/api-reference/call-commands. A command with the same `command_id`
    for the same call is done once, however often it is asked for.
    """

    api_key: SecretStr
    api_url: str = API_URL
    codec: str = "PCMU"
    rate_hz: int = 8000

    async def pick_up(self, call_id: str, *, token: str) -> int:
        """Answer a call; the token comes back with all that is told of it. Return the status."""
        state = base64.b64encode(token.encode()).decode()
        fields = {"client_state": state, "command_id": "answer"}
        return await self._command(call_id, "answer", fields)

    async def reject(self, call_id: str) -> int:
        """Have a caller hear the busy tone. Return the status."""
        return await self._command(call_id, "reject", {"cause": "USER_BUSY"})

    async def start_stream(self, call_id: str, *, url: str, token: str, once: str = "") -> int:
        """Have a call's sound come to `url`, and ours go back. Return the status.

        Args:
            call_id: Whose.
            url: Of our socket.
            token: Lets the stream in there.
            once: Names the stream, so that a call has no second one of the same name; empty: by its
                token.
        """
        fields = {
            "stream_url": url,
            "stream_track": "inbound_track",
            "stream_codec": self.codec,
            "stream_bidirectional_mode": "rtp",  # the usual one is MP3, a message a second
            "stream_bidirectional_codec": self.codec,
            "stream_bidirectional_sampling_rate": self.rate_hz,
            "custom_parameters": [{"name": "token", "value": token}],
            "command_id": f"stream-{once or token[:32]}",
        }
        return await self._command(call_id, "streaming_start", fields)

    async def complete(self, call_ref: str) -> str | None:
        """End a call; one that has ended already (422, code 90018) is fine."""
        status = await self._command(call_ref, "hangup", {})
        over = (HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
        if status in over:
            return None
        return f"hang-up answered {status}" if status else "hang-up not answered"

    async def press(self, call_ref: str, keys: str) -> bool:
        """Send keys to the far end; what was not answered is asked again, and is done once."""
        fields = {"digits": keys, "command_id": f"keys-{secrets.token_hex(8)}"}
        return await self._insist(call_ref, "send_dtmf", fields) == HTTPStatus.OK

    async def hand_on(
        self, call_id: str, number: str, *, ring_s: float, once: str, state: str, own_state: str
    ) -> int:
        """Have somebody rung and connected with the caller; asked again if it was not answered.

        Return the status.

        Args:
            call_id: The caller's.
            number: Who is rung.
            ring_s: How long; Telnyx takes five seconds to ten minutes.
            once: Names the ring: asked for again by this name, nobody is rung twice.
            state: Comes back with all that is told of the leg that is rung.
            own_state: From now on, with all that is told of the caller's.
        """
        fields = {
            "to": number,
            "timeout_secs": max(LEAST_RING_S, min(MOST_RING_S, round(ring_s))),
            "client_state": base64.b64encode(own_state.encode()).decode(),
            "target_leg_client_state": base64.b64encode(state.encode()).decode(),
            "command_id": f"transfer-{once}",
        }
        return await self._insist(call_id, "transfer", fields)

    async def note(self, call_id: str, state: str) -> int:
        """Have this come back with all that is told of a call from now on. Return the status."""
        fields = {"client_state": base64.b64encode(state.encode()).decode()}
        return await self._command(call_id, "client_state_update", fields, method="PUT")

    async def ask(
        self,
        method: str,
        resource: str,
        *,
        fields: Mapping[str, Any] | None = None,
        query: Sequence[tuple[str, str]] = (),
        but: Sequence[int] = (),
    ) -> TelnyxAnswer | None:
        """Return the JSON of an answer, for work outside a call; None: one of the statuses `but`.

        Raises:
            ServiceError: It failed; says how, and whether asking again may help.
        """
        status, body = await answered(PROVIDER, self._send(method, resource, fields, query))
        if status in but:
            return None
        if status >= HTTPStatus.BAD_REQUEST or not isinstance(body, dict):
            raise _refusal(status, body)
        return body

    async def _insist(self, call_id: str, action: str, fields: dict[str, Any]) -> int:
        """Give a command that has a name, once more if it was not answered: it is done once."""
        status = NO_ANSWER
        for _ in range(ASKED):
            status = await self._command(call_id, action, fields)
            if status != NO_ANSWER:
                break
        return status

    async def _command(
        self, call_id: str, action: str, fields: dict[str, Any], *, method: str = "POST"
    ) -> int:
        try:
            async with asyncio.timeout(ASK_S):
                resource = f"calls/{quote(call_id, safe='')}/actions/{action}"
                status, _ = await self._send(method, resource, fields, (), reads=False)
        except (TimeoutError, aiohttp.ClientError):
            return NO_ANSWER
        return status

    async def _send(
        self,
        method: str,
        resource: str,
        fields: Mapping[str, Any] | None,
        query: Sequence[tuple[str, str]],
        *,
        reads: bool = True,
    ) -> tuple[int, Any]:
        """Send a request; return the answer's status and its JSON, `None` when it has none.

        A command, whose answer is not read, may be given twice.
        """
        url = f"{self.api_url.rstrip('/')}/v2/{resource}"
        headers = {"Authorization": f"Bearer {self.api_key.get_secret_value()}"}
        async with request(
            method, url, twice=not reads, json=fields, params=query, headers=headers
        ) as answer:
            is_json = reads and answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else None


def _refusal(status: int, body: Any) -> ServiceError:
    """Return what a refusal means: `{"errors": [{"code": …}, …]}`, of which the first counts."""
    errors = body.get("errors") if isinstance(body, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    code = first.get("code") if isinstance(first, dict) else None
    reason = f"HTTP {status}" + (f", Telnyx error {code}" if code else "")
    return dial_error(PROVIDER, classify_http(PROVIDER, status, first), reason)
