"""Sends requests to the owner's systems; its errors contain no address and no key."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiohttp

from configuration.values import signing_key
from fallbacks.failure import Failure, Kind, failed
from fallbacks.retry_after import retry_after_s
from runtime.http import UnreadableError, read_body, request

MAX_WAIT_S: Final = 3600.0  # at most, whatever the other side asks for
KINDS: Final[Mapping[int, Kind]] = {
    401: Kind.AUTH,
    403: Kind.AUTH,
    404: Kind.NOT_FOUND,
    408: Kind.TIMEOUT,
    425: Kind.OVERLOADED,
    429: Kind.RATE_LIMITED,
}


class RemoteError(Exception):
    """The other side refused, or did not answer.

    Attributes:
        retry_after_s: The wait that the other side asks for; `None` if it asks for none.
        whom: The refused recipients, for the operator who runs a test; never logged.
        reached_others: Whether other recipients got the message: it must not be sent again.
    """

    def __init__(
        self,
        kind: Kind,
        reason: str,
        *,
        retry_after_s: float | None = None,
        whom: Sequence[str] = (),
        reached_others: bool = False,
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.whom = tuple(whom)
        self.reached_others = reached_others


def remote_failure(stage: str, name: str, error: Exception) -> Failure | None:
    """Return an error as a failure of one system; `None` for an error in our own code."""
    if not isinstance(error, RemoteError):
        return None
    return failed(
        error.kind, stage, provider=name, reason=error.reason, retry_after_s=error.retry_after_s
    )


def refused(status: int, why: str = "", *, retry_after_s: float | None = None) -> RemoteError:
    """Return the error for an HTTP status; one that `KINDS` lacks is transient from 500 on."""
    other = Kind.OVERLOADED if status >= 500 else Kind.BAD_REQUEST
    reason = f"answered {status}{': ' if why else ''}{why}"
    return RemoteError(KINDS.get(status, other), reason, retry_after_s=retry_after_s)


def unanswered(error: Exception) -> RemoteError:
    """Return the error for a failed request, without its text: that may contain the address."""
    if isinstance(error, TimeoutError):
        return RemoteError(Kind.TIMEOUT, "no answer in time")
    if isinstance(error, aiohttp.InvalidURL):
        return RemoteError(Kind.BAD_REQUEST, "the address is invalid")
    return RemoteError(Kind.NETWORK, type(error).__name__)


async def ask_remote(
    method: str,
    url: str,
    *,
    timeout_s: float,
    body: bytes | None,
    headers: Mapping[str, str],
    most_bytes: int = 0,
) -> tuple[int, Mapping[str, str], bytes]:
    """Send a request; return the answer's status, headers and body.

    A status that means a failure is returned, too.

    Args:
        method: The HTTP method; redirects are not followed.
        url: The address.
        timeout_s: For everything from connecting to the end of the answer.
        body: JSON; `None` for no body.
        headers: Headers besides `content-type`.
        most_bytes: The limit for the answer's body; 0 to ignore the body.

    Raises:
        RemoteError: There is no answer, or it is too large.
    """
    sent_headers = {**headers, "content-type": "application/json"}
    try:
        async with (
            asyncio.timeout(timeout_s),
            request(method, url, data=body, headers=sent_headers, allow_redirects=False) as answer,
        ):
            content = answer.content
            text = await read_body(content, most_bytes=most_bytes) if most_bytes else b""
            return answer.status, answer.headers, text
    except UnreadableError as large:
        raise RemoteError(Kind.PROTOCOL, str(large)) from None
    except (TimeoutError, ValueError, aiohttp.ClientError, OSError) as error:
        raise unanswered(error) from None  # its text may hold the address


def check_accepted(status: int, headers: Mapping[str, str], *, now: float | None = None) -> None:
    """Raise unless the status means success.

    Raises:
        RemoteError: The status means a failure; has the wait in `headers`, if any, up to
            `MAX_WAIT_S`.
    """
    if not 200 <= status < 300:
        wait_s = retry_after_s(headers, utc_s=now)  # without `now`, relative to the answer's date
        if wait_s is not None:
            wait_s = min(wait_s, MAX_WAIT_S)
        raise refused(status, retry_after_s=wait_s)


async def post_signed(
    url: str,
    kind: str,
    data: Mapping[str, Any],
    *,
    message_id: str,
    secret: str,
    now: float,
    timeout_s: float,
) -> tuple[int, Mapping[str, str]]:
    """Post a message in the Standard Webhooks format; return the answer's status and headers.

    `timestamp` in the body is the time of this attempt, in seconds, not of the event. A status that
    means a failure is returned, too; pass both values to `check_accepted`.

    Source: https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.

    Args:
        url: The receiver's address.
        kind: The message's type.
        data: Its content.
        message_id: Identifies the message; a repeat has the same one.
        secret: The signing secret; empty for no signature.
        now: The time of this attempt and of its signature, in seconds since 1970.
        timeout_s: From connecting to the end of the answer.

    Raises:
        RemoteError: There is no answer.
    """
    at = str(int(now))
    body = json.dumps({"type": kind, "timestamp": at, "data": data})
    headers = {"webhook-id": message_id, "webhook-timestamp": at}
    if secret:
        headers["webhook-signature"] = signature(secret, f"{message_id}.{at}.{body}")
    # The answer's body is ignored: many servers send plain text, such as "Accepted".
    status, answer_headers, _ = await ask_remote(
        "POST", url, timeout_s=timeout_s, body=body.encode(), headers=headers
    )
    return status, answer_headers


def signature(secret: str, signed: str) -> str:
    """Return the value of `webhook-signature`: version, comma, HMAC-SHA256 in base64.

    The secret is one that `signing_key` can read.
    """
    digest = hmac.new(signing_key(secret), signed.encode(), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
