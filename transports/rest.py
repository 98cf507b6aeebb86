"""The REST API of a carrier's account."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import aiohttp
from pydantic import SecretStr

from fallbacks.classification import classify_error, classify_http
from fallbacks.failure import Finding, Kind, ServiceError, error_of, failed
from runtime.http import parse_json, read_body, request

STAGE: Final = "dial"
CARRIER_REQUEST_S: Final = 5.0  # the time limit of a request: a caller may be waiting
NO_ANSWER: Final = 0  # in place of a status, if there was no response

Read: TypeAlias = Callable[[aiohttp.ClientResponse], Awaitable[Any]]
"""Returns the JSON of a response; `None` if it has none."""


async def read_json(answer: aiohttp.ClientResponse) -> Any:
    """Return a response's JSON; `None` for another content type.

    Raises:
        ValueError: It is not JSON, although its content type says so.
    """
    if answer.content_type != "application/json":
        return None
    return parse_json(await read_body(answer.content))


def whole_body(body: Any) -> tuple[Any, object]:
    """Return an error response's body as it is, and no code."""
    return body, None


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberSetup:
    """The setup of an account and one of its numbers at the carrier.

    Attributes:
        account: The account's state; `active` if calls are possible.
        has_number: Whether the number belongs to the account.
        webhook: The address for the number's calls, empty if none is set; `None` if unknown.
        fallback: The address that is asked after an error at `webhook`, likewise.
    """

    account: str
    has_number: bool = False
    webhook: str | None = None
    fallback: str | None = None


def text_at(body: object, *keys: str) -> str:
    """Return the text at a path in an untrusted response; empty if there is none."""
    for key in keys:
        body = body.get(key) if isinstance(body, dict) else None
    return body if isinstance(body, str) else ""


def first_of(body: object, key: str) -> dict[str, Any]:
    """Return the first object of a list in an untrusted response; empty if there is none."""
    items = body.get(key) if isinstance(body, dict) else None
    first = items[0] if isinstance(items, list) and items else None
    return first if isinstance(first, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class RestClient:
    """Sends the requests of one account, over the process's shared connections.

    Attributes:
        carrier: The carrier's name, as in events.
        url: The URL of the account's resources, without a slash at the end.
        authorization: The value of the header `Authorization`.
        read: Reads a response.
        error_in: Returns the part of an error response that explains it, and the carrier's code.
        may_be_empty: Whether a successful response to a change may have no JSON.
    """

    carrier: str
    url: str
    authorization: SecretStr
    read: Read = read_json
    error_in: Callable[[Any], tuple[Any, object]] = whole_body
    may_be_empty: bool = False

    async def ask(
        self, method: str, resource: str, *, none_for: Sequence[int] = (), **arguments: Any
    ) -> dict[str, Any] | None:
        """Return a response's JSON object, for work outside a call.

        `None` is returned for a status in `none_for`, such as "not found", and `{}` for a response
        to a change without JSON, if it may be empty.

        Raises:
            ServiceError: The request failed, or the response was not understood; the error says
                how, and whether a retry may help.
        """
        try:
            async with asyncio.timeout(CARRIER_REQUEST_S):
                status, body = await self.send(method, resource, **arguments)
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            found = classify_error(error)
            raise dial_error(self.carrier, found, type(error).__name__) from error
        if status in none_for:
            return None
        may_be_empty = self.may_be_empty and method != "GET"
        if status < HTTPStatus.BAD_REQUEST and body is None and may_be_empty:
            return {}
        if status >= HTTPStatus.BAD_REQUEST or not isinstance(body, dict):
            raise self._error_of_refusal(status, body)
        return body

    async def command(self, method: str, resource: str, **arguments: Any) -> int:
        """Return the status of a response, or `NO_ANSWER` if there was none; never raises.

        After `NO_ANSWER`, the carrier may have carried the command out.
        """
        try:
            async with asyncio.timeout(CARRIER_REQUEST_S):
                return (await self.send(method, resource, reads=False, **arguments))[0]
        except (TimeoutError, aiohttp.ClientError):
            return NO_ANSWER

    async def send(
        self,
        method: str,
        resource: str,
        *,
        reads: bool = True,
        may_repeat: bool = False,
        **arguments: Any,
    ) -> tuple[int, Any]:
        """Send a request; return the response's status and its JSON.

        Args:
            method: The HTTP method.
            resource: The account's resource.
            reads: Whether to read the body of the response.
            may_repeat: Whether the request may be repeated if the host has just closed a connection
                that was kept open.
            arguments: Further arguments of `aiohttp.ClientSession.request`.
        """
        url = f"{self.url}/{resource}"
        headers = {"Authorization": self.authorization.get_secret_value()}
        async with request(
            method, url, may_repeat=may_repeat, headers=headers, **arguments
        ) as answer:
            return answer.status, await self.read(answer) if reads else None

    def _error_of_refusal(self, status: int, body: Any) -> ServiceError:
        explained, code = self.error_in(body)
        reason = f"HTTP {status}" + (f", {self.carrier.title()} error {code}" if code else "")
        return dial_error(self.carrier, classify_http(self.carrier, status, explained), reason)


def dial_error(carrier: str, found: Finding | Kind, reason: str) -> ServiceError:
    """Return the exception for a carrier's failure; the caller raises it. `reason` is one line."""
    return error_of(failed(found, STAGE, provider=carrier, reason=reason))


def basic_auth(user: str, password: SecretStr) -> SecretStr:
    """Return the value of `Authorization` for a name and a password."""
    return SecretStr(aiohttp.encode_basic_auth(user, password.get_secret_value()))


def number_of(value: object) -> float | None:
    """Return a finite number that is given as a number or a text; `None` for anything else."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
