"""Telnyx's REST API: commands to a call."""

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from pydantic import SecretStr

from transports.rest import NO_ANSWER, NumberSetup, RestClient, first_of, text_at

API_URL: Final = "https://api.telnyx.com"
MIN_RING_S: Final = 5
MAX_RING_S: Final = 600
ASKED: Final = 2  # times: an unanswered command is repeated, but is carried out only once
TelnyxAnswer: TypeAlias = dict[str, Any]
"""The JSON of an answer: the result is in `data`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TelnyxRest:
    """The REST account for commands, and the format of a call's sound.

    Source: developers.telnyx.com/api-reference/call-commands. Repeating a command with the same
    `command_id` for the same call has no effect.
    """

    api_key: SecretStr
    api_url: str = API_URL
    codec: str = "PCMU"
    rate_hz: int = 8000

    async def pick_up(self, call_id: str, *, token: str) -> int:
        """Answer a call; the token returns with all its events. Return the status."""
        state = base64.b64encode(token.encode()).decode()
        fields = {"client_state": state, "command_id": "answer"}
        return await self._command(call_id, "answer", fields)

    async def reject(self, call_id: str) -> int:
        """Play the busy tone to a caller. Return the status."""
        return await self._command(call_id, "reject", {"cause": "USER_BUSY"})

    async def start_stream(self, call_id: str, *, url: str, token: str, once: str = "") -> int:
        """Stream a call's sound to `url`, and ours back. Return the status.

        Args:
            call_id: The call.
            url: The address of our socket.
            token: Authorises the stream there.
            once: Names the stream, so that a call cannot have two of the same name; empty to use
                its token.
        """
        fields = {
            "stream_url": url,
            "stream_track": "inbound_track",
            "stream_codec": self.codec,
            "stream_bidirectional_mode": "rtp",  # the default is MP3, one message a second
            "stream_bidirectional_codec": self.codec,
            "stream_bidirectional_sampling_rate": self.rate_hz,
            "custom_parameters": [{"name": "token", "value": token}],
            "command_id": f"stream-{once or token[:32]}",
        }
        return await self._command(call_id, "streaming_start", fields)

    async def complete(self, call_ref: str) -> str | None:
        """End a call; one that has already ended (422, code 90018) is fine."""
        status = await self._command(call_ref, "hangup", {})
        over = (HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
        if status in over:
            return None
        return f"hang-up answered {status}" if status else "hang-up not answered"

    async def press(self, call_ref: str, keys: str) -> bool:
        """Send keys to the far end; repeated if unanswered, but carried out once."""
        fields = {"digits": keys, "command_id": f"keys-{secrets.token_hex(8)}"}
        return await self._insist(call_ref, "send_dtmf", fields) == HTTPStatus.OK

    async def hand_on(
        self, call_id: str, number: str, *, ring_s: float, once: str, state: str, own_state: str
    ) -> int:
        """Ring a person and connect them with the caller; repeated if it was not answered.

        Return the status.

        Args:
            call_id: The caller's call.
            number: The number to ring.
            ring_s: How long; Telnyx accepts five seconds to ten minutes.
            once: Names the ringing: a repeat with this name does not ring again.
            state: Returns with all events of the ringing leg.
            own_state: Returns with all events of the caller's leg from now on.
        """
        fields = {
            "to": number,
            "timeout_secs": max(MIN_RING_S, min(MAX_RING_S, round(ring_s))),
            "client_state": base64.b64encode(own_state.encode()).decode(),
            "target_leg_client_state": base64.b64encode(state.encode()).decode(),
            "command_id": f"transfer-{once}",
        }
        return await self._insist(call_id, "transfer", fields)

    async def note(self, call_id: str, state: str) -> int:
        """Attach this state to all of a call's events from now on. Return the status."""
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
        """Return the JSON of an answer, for work outside a call; `None` for a status in `but`.

        Raises:
            ServiceError: It failed; tells how, and whether a retry may help.
        """
        return await self._client.ask(method, resource, but=but, json=fields, params=query)

    async def number_setup(self, number: str | None) -> NumberSetup:
        """Return whether the key works, and the webhook of a number's application.

        Source: developers.telnyx.com, api-reference/phone-number-configurations/list-phone-numbers,
        /call-control-applications/retrieve-a-call-control-application.

        Raises:
            ServiceError: Telnyx refused, or did not answer.
        """
        query = [("filter[phone_number]", number)] if number else [("page[size]", "1")]
        first = first_of(await self.ask("GET", "phone_numbers", query=query), "data")
        if not number or not first:
            return NumberSetup(account="active")
        connection = quote(text_at(first, "connection_id"), safe="")
        if not connection:
            return NumberSetup(account="active", has_number=True, webhook="")
        resource = f"call_control_applications/{connection}"
        told = await self.ask("GET", resource, but=(HTTPStatus.NOT_FOUND,))
        webhook = text_at(told, "data", "webhook_event_url")
        return NumberSetup(account="active", has_number=True, webhook=webhook)

    async def _insist(self, call_id: str, action: str, fields: dict[str, Any]) -> int:
        """Send a named command, twice if it gets no answer: it is carried out once."""
        status = NO_ANSWER
        for _ in range(ASKED):
            status = await self._command(call_id, action, fields)
            if status != NO_ANSWER:
                break
        return status

    async def _command(
        self, call_id: str, action: str, fields: dict[str, Any], *, method: str = "POST"
    ) -> int:
        resource = f"calls/{quote(call_id, safe='')}/actions/{action}"
        return await self._client.command(method, resource, json=fields, twice=True)

    @property
    def _client(self) -> RestClient:
        return RestClient(
            carrier="telnyx",
            url=f"{self.api_url.rstrip('/')}/v2",
            authorization=SecretStr(f"Bearer {self.api_key.get_secret_value()}"),
            error_in=_error_in,
        )


def _error_in(body: Any) -> tuple[Any, object]:
    """Return the first entry of `{"errors": [{"code": …}, …]}`, and its code."""
    errors = body.get("errors") if isinstance(body, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    return first, first.get("code") if isinstance(first, dict) else None
