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
TRIES: Final = 2  # of a command with an id, which Telnyx carries out only once
TelnyxAnswer: TypeAlias = dict[str, Any]
"""The JSON of a response: the result is in `data`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TelnyxRest:
    """The REST API of an account, and the format of a call's sound.

    Most commands to a call return the HTTP status of the response, or `NO_ANSWER`. A command with a
    `command_id` that the call has already had is ignored by Telnyx.

    Attributes:
        api_key: The account's key.
        api_url: The API's address.
        codec: The codec of the sound, by Telnyx's name.
        rate_hz: The samples per second of the sound that we send.
        webhook_url: Where Telnyx reports a call from our answer or transfer on; empty for the
            application's address, which may lead to any machine.

    Source: developers.telnyx.com/api-reference/call-commands.
    """

    api_key: SecretStr
    api_url: str = API_URL
    codec: str = "PCMU"
    rate_hz: int = 8000
    webhook_url: str = ""

    async def pick_up(self, call_id: str, *, token: str) -> int:
        """Answer a call; Telnyx sends the token back with all its events. Return the status."""
        fields = {
            "client_state": base64.b64encode(token.encode()).decode(),
            "command_id": "answer",
            **_reported_to(self.webhook_url),
        }
        return await self._send_command(call_id, "answer", fields)

    async def reject(self, call_id: str) -> int:
        """Reject a call, whose caller then hears the busy tone. Return the status."""
        return await self._send_command(call_id, "reject", {"cause": "USER_BUSY"})

    async def speak(self, call_id: str, text: str, *, language: str, command_id: str) -> int:
        """Say a text in Telnyx's own voice; `call.speak.ended` follows. Return the status.

        Source: developers.telnyx.com/api-reference/call-commands/speak-text.

        Args:
            call_id: The call.
            text: The text.
            language: Its language with a region, such as `de-DE`.
            command_id: The id of the command: a repeated one says nothing.
        """
        fields = {
            "payload": text,
            "voice": "female",
            "language": language,
            "command_id": f"speak-{command_id}",
        }
        return await self._send_command(call_id, "speak", fields, tries=TRIES)

    async def start_stream(
        self, call_id: str, *, url: str, token: str, command_id: str = ""
    ) -> int:
        """Open a stream between a call and our socket, in both directions. Return the status.

        Args:
            call_id: The call.
            url: The URL of our socket.
            token: Authenticates the stream at the socket.
            command_id: The id of the command: a repeated one opens no second stream. Empty to use
                the token.
        """
        fields = {
            "stream_url": url,
            "stream_track": "inbound_track",
            "stream_codec": self.codec,
            "stream_bidirectional_mode": "rtp",  # the default is MP3, one message a second
            "stream_bidirectional_codec": self.codec,
            "stream_bidirectional_sampling_rate": self.rate_hz,
            "custom_parameters": [{"name": "token", "value": token}],
            "command_id": f"stream-{command_id or token[:32]}",
        }
        return await self._send_command(call_id, "streaming_start", fields)

    async def complete(self, call_ref: str) -> str | None:
        """End a call, unless it has already ended; return the error, or `None`."""
        status = await self._send_command(call_ref, "hangup", {})
        # 422, with the code 90018, means that the call has already ended.
        over = (HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
        if status in over:
            return None
        return f"hang-up answered {status}" if status else "hang-up not answered"

    async def press(self, call_ref: str, keys: str) -> bool:
        """Send key tones to the far end; return whether Telnyx accepted them."""
        fields = {"digits": keys, "command_id": f"keys-{secrets.token_hex(8)}"}
        return await self._send_command(call_ref, "send_dtmf", fields, tries=TRIES) == HTTPStatus.OK

    async def hand_on(
        self,
        call_id: str,
        number: str,
        *,
        ring_s: float,
        command_id: str,
        state: str,
        own_state: str,
    ) -> int:
        """Ring a person, and connect them with the caller if they answer. Return the status.

        Args:
            call_id: The caller's call.
            number: The number to ring.
            ring_s: How long it may ring; Telnyx accepts five seconds to ten minutes.
            command_id: The id of the command: a repeated one does not ring again.
            state: Sent back by Telnyx with all events of the person's leg.
            own_state: Sent back with all events of the caller's leg from now on.
        """
        fields = {
            "to": number,
            "timeout_secs": max(MIN_RING_S, min(MAX_RING_S, round(ring_s))),
            "client_state": base64.b64encode(own_state.encode()).decode(),
            "target_leg_client_state": base64.b64encode(state.encode()).decode(),
            "command_id": f"transfer-{command_id}",
            **_reported_to(self.webhook_url),  # another machine may have answered the call
        }
        return await self._send_command(call_id, "transfer", fields, tries=TRIES)

    async def note(self, call_id: str, state: str) -> int:
        """Make Telnyx send this state with all further events of a call. Return the status."""
        fields = {"client_state": base64.b64encode(state.encode()).decode()}
        return await self._send_command(call_id, "client_state_update", fields, method="PUT")

    async def ask(
        self,
        method: str,
        resource: str,
        *,
        fields: Mapping[str, Any] | None = None,
        query: Sequence[tuple[str, str]] = (),
        none_for: Sequence[int] = (),
    ) -> TelnyxAnswer | None:
        """Return a response's JSON, for work outside a call; `None` for a status in `none_for`.

        Raises:
            ServiceError: The request failed; see `RestClient.ask`.
        """
        return await self._rest_client.ask(
            method, resource, none_for=none_for, json=fields, params=query
        )

    async def number_setup(self, number: str | None) -> NumberSetup:
        """Return the account's state, and where Telnyx sends the calls of a number.

        Source: developers.telnyx.com, api-reference/phone-number-configurations/list-phone-numbers,
        /call-control-applications/retrieve-a-call-control-application.

        Raises:
            ServiceError: Telnyx refused, or its response is missing or was not understood.
        """
        query = [("filter[phone_number]", number)] if number else [("page[size]", "1")]
        first = first_of(await self.ask("GET", "phone_numbers", query=query), "data")
        if not number or not first:
            return NumberSetup(account="active")
        connection = quote(text_at(first, "connection_id"), safe="")
        if not connection:
            return NumberSetup(account="active", has_number=True, webhook="")
        resource = f"call_control_applications/{connection}"
        shown = await self.ask("GET", resource, none_for=(HTTPStatus.NOT_FOUND,))
        webhook = text_at(shown, "data", "webhook_event_url")
        fallback = text_at(shown, "data", "webhook_event_failover_url") if shown else None
        return NumberSetup(account="active", has_number=True, webhook=webhook, fallback=fallback)

    async def _send_command(
        self,
        call_id: str,
        action: str,
        fields: dict[str, Any],
        *,
        method: str = "POST",
        tries: int = 1,
    ) -> int:
        """Send a command, up to `tries` times until there is a response; return its status.

        A command with an id is carried out only once.
        """
        resource, status = f"calls/{quote(call_id, safe='')}/actions/{action}", NO_ANSWER
        for _ in range(tries):
            status = await self._rest_client.command(method, resource, json=fields, may_repeat=True)
            if status != NO_ANSWER:
                break
        return status

    @property
    def _rest_client(self) -> RestClient:
        """Telnyx's API, version 2."""
        return RestClient(
            carrier="telnyx",
            url=f"{self.api_url.rstrip('/')}/v2",
            authorization=SecretStr(f"Bearer {self.api_key.get_secret_value()}"),
            error_in=_error_in,
        )


def _reported_to(url: str) -> Mapping[str, str]:
    """Return the fields of a command after which Telnyx reports the call to `url`, if any."""
    return {"webhook_url": url, "webhook_url_method": "POST"} if url else {}


def _error_in(body: Any) -> tuple[Any, object]:
    """Return the first entry of `{"errors": [{"code": …}, …]}`, and its code."""
    errors = body.get("errors") if isinstance(body, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    return first, first.get("code") if isinstance(first, dict) else None
