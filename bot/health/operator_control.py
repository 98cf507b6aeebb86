"""`holdline providers`: asks a running server for its providers and shows them as a table."""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from rich.console import Console
from rich.table import Table
from rich.text import Text

from calls.sentences import sentence
from configuration.errors import nearest
from configuration.running_demo import demo_addresses
from configuration.sections import near_address
from configuration.settings import ServerSettings, Settings
from runtime.exits import CommandError, UsageError
from runtime.http import parse_json, read_body

SERVER_CONTROL_S: Final = 5.0
STYLES: Final = {"closed": "green", "half_open": "yellow", "open": "bold red"}
COLUMNS: Final = ("stage", "name", "breaker", "condition", "p50", "last probe")


async def show(settings: Settings) -> None:
    """Print the health of every rung.

    Raises:
        CommandError: No server answers, or it refuses access or fails.
    """
    await _ask_and_print(settings, "GET", "")


async def reset(settings: Settings, name: str) -> None:
    """Reset a rung, so that it may be tried at once, and print its health.

    Raises:
        UsageError: The server has no rung of that name.
        CommandError: No server answers, or it refuses access or fails.
    """
    await _ask_and_print(settings, "POST", f"/{quote(name, safe='')}/reset", name=name)


async def _ask_and_print(settings: Settings, method: str, path: str, *, name: str = "") -> None:
    """Send a request to the server; print the rungs in its answer, and what is wrong with them."""
    address, rungs = await _ask_servers(settings, method, path, name=name)
    console = Console(soft_wrap=True, highlight=False)
    console.print(table(rungs))
    for rung in rungs:
        probe = rung["last_probe"]
        if probe and not probe["ok"]:
            problem = f"{sentence(probe['error'])} {sentence(probe.get('cure', ''))}"
            console.print(f"{rung['name']}: {problem.rstrip()}", markup=False)
    if address not in server_addresses(settings.server):
        console.print(f"from the demo at {address}; the configured server does not answer")


def table(rungs: Sequence[dict[str, Any]]) -> Table:
    """Return the server's rungs as a table of less than 80 columns."""
    shown = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        shown.add_column(column, no_wrap=True)
    for rung in rungs:
        shown.add_row(
            rung["stage"],
            rung["name"],
            Text(rung["state"].replace("_", "-"), STYLES.get(rung["state"], "")),
            _describe_condition(rung),
            "-" if rung["p50_s"] is None else f"{rung['p50_s']:.2f} s",
            _describe_probe(rung["last_probe"]),
        )
    return shown


def _describe_condition(rung: dict[str, Any]) -> str:
    if rung["state"] == "open" and rung["retired"]:
        return "needs a person"
    if rung.get("withdrawn"):
        return "out of rotation"
    if rung["rests_s"]:
        return f"rests {rung['rests_s']:g} s"
    return "suspect" if rung["suspect"] else "well"


def _describe_probe(probe: dict[str, Any] | None) -> str:
    if probe is None:
        return "none yet"
    return f"{'ok' if probe['ok'] else 'failed'}, {probe['ago_s']:.0f} s ago"


def server_addresses(server: ServerSettings) -> tuple[str, ...]:
    """Return the addresses of the server: its own host and port, then `public_url`."""
    return tuple(dict.fromkeys((near_address(server.host, server.port), server.public_url)))


async def _ask_servers(
    settings: Settings, method: str, path: str, *, name: str
) -> tuple[str, list[dict[str, Any]]]:
    """Return the address of the first server that answers, and its rungs; raise as `reset` does.

    Only the configured server gets the token: the demo needs none, and another program on the
    demo's port must not see it.
    """
    token = settings.server.token
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    configured, demos = server_addresses(settings.server), demo_addresses()
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=SERVER_CONTROL_S)
    ) as session:
        for address in dict.fromkeys((*configured, *demos)):
            url = f"{address}/api/providers{path}"
            sent_headers = headers if address in configured else {}
            try:
                async with session.request(method, url, headers=sent_headers) as answer:
                    return address, await _parse_answer(answer, address, name=name)
            except (aiohttp.ClientError, TimeoutError, ValueError):
                continue
    others = " or ".join(address for address in demos if address not in configured)
    demo = f", and no demo at {others}" if others else ""
    raise CommandError(
        f"no server answers at {' or '.join(configured)}{demo}; start one with `holdline serve`"
    )


async def _parse_answer(answer: aiohttp.ClientResponse, address: str, *, name: str) -> Any:
    """Return the rungs in an answer; raise `ValueError` if it does not come from Holdline."""
    if answer.status == 401:
        raise CommandError(f"{address} refuses access; set HOLDLINE_TOKEN to that server's token")
    found = parse_json(await read_body(answer.content))
    if answer.status == 404 and isinstance(found, dict) and "names" in found:
        names = found["names"]
        close = nearest(name, names)
        guess = f'did you mean "{close}"? ' if close else ""
        raise UsageError(f'there is no provider "{name}"; {guess}({", ".join(names)})')
    if answer.status != 200:
        raise CommandError(f"{address} answered {answer.status}")
    if not _are_rungs(found):
        raise ValueError("the answer is not Holdline's")
    return found


def _are_rungs(found: Any) -> bool:
    """Return whether another process's reply is a list of rungs with the fields that we read."""
    return isinstance(found, list) and all(
        isinstance(item, dict) and item.keys() >= {"stage", "name", "state", "last_probe"}
        for item in found
    )
