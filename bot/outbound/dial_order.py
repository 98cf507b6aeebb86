"""Asks a running server to call one number, and prints the result."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp

from bot.health.operator_control import server_addresses
from calls.outbound import DialOutcome
from calls.sentences import dialled
from configuration.settings import Settings
from runtime.exits import DONE, FAILED, CommandError, UsageError
from runtime.http import parse_json, read_body

MAX_OUTCOME_WAIT_S: Final = 2 * 3600.0  # for the outcome, which comes when the call has ended
CONNECT_S: Final = 5.0
GOOD: Final = frozenset({DialOutcome.COMPLETED, DialOutcome.VOICEMAIL})


async def order_dial(settings: Settings, number: str, *, say: Callable[[str], None]) -> int:
    """Ask the server to call a number, wait until the call ends, and print the outcome.

    Returns:
        0 if a person or a voicemail was reached, else 1.

    Raises:
        UsageError: The number is invalid, or the server's configuration does not allow the call.
        CommandError: No server answers, or it refuses, cannot call or did not report the outcome.
    """
    result = await _post_order(settings, number)
    length = f", {result['length_s']:.0f} s" if result["length_s"] else ""
    say(f"{number}: {dialled(result['outcome'], result['reason'])}{length}")
    return DONE if result["outcome"] in GOOD else FAILED


async def _post_order(settings: Settings, number: str) -> Mapping[str, Any]:
    """Post the order to the first address that can be connected to; return the outcome's fields."""
    token = settings.server.token
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=MAX_OUTCOME_WAIT_S, connect=CONNECT_S)
    urls = server_addresses(settings.server)
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        for address in urls:
            try:
                request = {"number": number, "source": "command"}
                async with session.post(f"{address}/api/dials", json=request) as answer:
                    return await _parse_answer(answer, address)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
                continue  # no request was sent, so trying the next address cannot call twice
            except (aiohttp.ClientError, TimeoutError, ValueError) as lost:
                raise CommandError(
                    f"{address} may have placed the call but did not report its outcome"
                ) from lost
    where = " or ".join(urls)
    raise CommandError(f"no server answers at {where}; start one with `holdline serve`")


async def _parse_answer(answer: aiohttp.ClientResponse, address: str) -> Mapping[str, Any]:
    """Return the outcome's fields; raise `ValueError` if the answer does not come from Holdline."""
    if answer.status == 401:
        raise CommandError(f"{address} refuses access; set HOLDLINE_TOKEN to that server's token")
    if answer.status == 503 and answer.content_type == "text/plain":  # no worker took the request
        raise CommandError(
            f"the server at {address} is starting or stopping and places no calls now"
        )
    body = parse_json(await read_body(answer.content))
    wanted = {"outcome", "reason", "length_s"} if answer.status == 200 else set[str]()
    if not (isinstance(body, dict) and body.keys() >= wanted):
        raise ValueError("the answer is not Holdline's")
    if answer.status == 200:
        return body
    detail = body.get("detail", f"the server answered {answer.status}")
    raise (UsageError if answer.status in (400, 409) else CommandError)(detail)
