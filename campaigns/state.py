"""`holdline campaign`: all of its actions but import."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO, TypeVar

from calls.outbound import CampaignState
from calls.sentences import HELD, OUTCOMES, phrase
from campaigns.model import campaign_of
from campaigns.order_gate import rules_in
from campaigns.order_rules import NOTHING_ALLOWED
from campaigns.refusals import CURES, reason_lines
from campaigns.report import (
    CampaignHealth,
    campaign_health,
    contact_lines,
    figure_lines,
    key_figures,
    page,
    spans_of,
)
from campaigns.store.figures import CampaignStanding, Figures, OutcomeFigures
from campaigns.store.queue import Queue, take_out
from campaigns.store.unfinished import UnfinishedContacts
from campaigns.summary import summarize
from configuration.prices import load_prices
from configuration.settings import Settings
from contacts.numbers import readings_of
from operations.database.database import Database, StorageError
from operations.masking import mask_number, one_line
from runtime.clock import utc_now
from runtime.exits import FAILED, CommandError, UsageError

Say = Callable[[str], None]
T = TypeVar("T")
MOVES: Final[Mapping[str, tuple[frozenset[CampaignState], CampaignState]]] = {
    "start": (frozenset({"ready", "paused", "done"}), "running"),
    "pause": (frozenset({"running"}), "paused"),
    "resume": (frozenset({"paused"}), "running"),
}
"""For each action, the states in which it is allowed, and the state to which it leads."""


def change_state(
    settings: Settings, campaign: str, action: str, *, say: Say, confirm: Callable[[], bool]
) -> int:
    """Start, pause or resume a campaign; the dialers notice the change within seconds.

    Before a start, a summary is printed, and `confirm` returns whether to go on; if it returns
    False, the exit code is `FAILED`, and nothing changes.

    Raises:
        UsageError: The campaign's state does not allow the action, it has no contacts, or no
            number may be called.
        CommandError: No contact can be called, or the database fails.
    """
    if MOVES[action][1] == "running" and not rules_in(settings).opened:
        raise UsageError(NOTHING_ALLOWED)
    return _run_reporting_failures(_change_checked_state(settings, campaign, action, say, confirm))


def remove_contact(settings: Settings, campaign: str, number: str, *, say: Say) -> int:
    """Take the contact with a number, in any notation, out of a campaign; return the exit code 0.

    Raises:
        UsageError: The number is none, or may be several.
        CommandError: It is no contact of the campaign, or the database fails.
    """
    region = campaign_of(campaign, settings.campaigns[campaign]).region or settings.server.region
    readings = readings_of(number, region=region)
    if not readings:
        raise UsageError(CURES["not_a_number"])

    async def change() -> Sequence[str]:
        async with Database(settings.storage.url) as database:
            return await take_out(database, campaign, readings)

    found = _run_reporting_failures(change())
    if len(found) > 1:
        raise UsageError(f"this may be {' or '.join(found)}; write the one that you mean")
    if not found:
        raise CommandError(f"{campaign} has no contact with this number")
    say(f"{mask_number(found[0])} is not dialled again by {campaign}")
    return 0


def print_status(settings: Settings, campaign: str | None, *, say: Say) -> int:
    """Print the state of one campaign, or of each if `campaign` is `None`; return the exit code 0.

    Raises:
        UsageError: There is no such campaign.
        CommandError: The database fails.
    """
    return _run_reporting_failures(_print_campaigns(settings, campaign, say))


def write_report(settings: Settings, campaign: str, folder: Path, *, say: Say) -> int:
    """Write the report of a campaign into a folder; see `report_campaign`."""
    url, currency = settings.storage.url, load_prices(settings.prices.file).currency
    return _run_reporting_failures(
        report_campaign(url, campaign, folder, say=say, currency=currency)
    )


def _run_reporting_failures(work: Coroutine[None, None, T]) -> T:
    """Run a coroutine in a loop of its own; report a database failure as a `CommandError`."""
    try:
        return asyncio.run(work)
    except StorageError as error:
        raise CommandError(f"storage.url: {error}") from error


async def _change_checked_state(
    settings: Settings, campaign: str, action: str, say: Say, confirm: Callable[[], bool]
) -> int:
    """Check and change a campaign's state as `change_state` does; return the exit code."""
    now = utc_now().timestamp()
    async with Database(settings.storage.url) as database:
        standing = await Figures(database).standing(campaign)
        if standing is None or not standing.contacts:
            raise UsageError(f"{campaign} has no contacts; add some with: holdline campaign import")
        begins, becomes = MOVES[action]
        if standing.state not in begins:
            raise UsageError(
                f"{campaign} is {standing.state}; {action} needs {_join_with_or(begins)}"
            )
        if action == "start":
            await _show_start(settings, campaign, database, say, now)
            if not confirm():
                say(f"{campaign} is not started")
                return FAILED
        await Queue(database).move(campaign, becomes, reason="operator", now=now)
    say(f"{campaign} is {becomes}")
    return 0


async def _show_start(
    settings: Settings, campaign: str, database: Database, say: Say, now: float
) -> None:
    """Print a summary of what a start would do.

    Raises:
        CommandError: No contact can be called.
    """
    configured = campaign_of(campaign, settings.campaigns[campaign])
    currency = load_prices(settings.prices.file).currency
    summary = await summarize(configured, database, currency=currency, now=now)
    if summary.why_none:
        raise CommandError(summary.why_none)
    for line in summary.lines():
        say(one_line(line))


async def _print_campaigns(settings: Settings, campaign: str | None, say: Say) -> int:
    """Print campaigns as `print_status` does; exclusions only for those in the settings."""
    currency = load_prices(settings.prices.file).currency
    async with Database(settings.storage.url) as database:
        figures = Figures(database)
        standings = await figures.standings()
        found = [standing for standing in standings if campaign in (None, standing.name)]
        if not found:
            raise UsageError("there is no such campaign; create it with: holdline campaign import")
        for standing in found:
            outcomes = await figures.outcomes(standing.name)
            for line in _status_lines(standing, outcomes, currency):
                say(line)
            if standing.name in settings.campaigns:
                configured = campaign_of(standing.name, settings.campaigns[standing.name])
                excluded = await UnfinishedContacts(database).excluded(standing.name)
                for line in reason_lines(excluded, configured):
                    say(f"  excluded: {line}")
    return 0


async def report_campaign(
    url: str, campaign: str, folder: Path, *, say: Say, currency: str = ""
) -> int:
    """Write the report of a campaign as an HTML and a CSV file, and print its key figures.

    Earlier files of the same name are replaced. Returns the exit code 0.

    Raises:
        UsageError: There is no such campaign, or the folder cannot be written.
        StorageError: The database does not answer.
    """
    now = utc_now().timestamp()
    async with Database(url) as database:
        figures = Figures(database)
        standing = await figures.standing(campaign)
        if standing is None:
            raise UsageError(f"{campaign} has no contacts; add some with: holdline campaign import")
        outcomes = await figures.outcomes(campaign)
        pool = await _pool_health(figures, campaign, now)
        reached = await figures.reached(campaign)
        keys = key_figures(standing, outcomes, reached=reached, pool=pool)
        csv_path, html_path = folder / f"{campaign}.csv", folder / f"{campaign}.html"
        try:
            folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - a command does one thing
            with _write_atomically(csv_path) as file, _write_atomically(html_path) as shown:
                async for line in contact_lines(figures.contacts(campaign), currency=currency):
                    file.write(line)
                shown.write(page(standing, keys, outcomes, now, currency=currency))
        except OSError as error:
            raise UsageError(f"--out: {folder} cannot be written: {error.strerror}") from error
    for figure, value in figure_lines(keys, currency=currency):
        say(f"{figure}: {value}")
    say(f"wrote {html_path} and {csv_path}")
    return 0


@contextmanager
def _write_atomically(path: Path) -> Iterator[TextIO]:
    """Write a file atomically: the old one stays until the new one is complete."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


async def _pool_health(figures: Figures, campaign: str, now: float) -> CampaignHealth:
    """Return the worker pool's health while a campaign called."""
    spans = spans_of(await figures.dial_spans(campaign, now=now))
    if not spans:
        return campaign_health((), (), ())
    since_s, until_s = spans[0][0], spans[-1][1]
    spells = await figures.spells_of_open_breakers(since_s, until_s)
    return campaign_health(spans, spells, await figures.alerts(since_s, until_s))


def _status_lines(
    standing: CampaignStanding, outcomes: Sequence[OutcomeFigures], currency: str
) -> list[str]:
    """Return a campaign's state, contacts and outcomes as three lines for the terminal."""
    reason = f" ({phrase(HELD, standing.reason)})" if standing.reason else ""
    contacts = ", ".join(f"{count} {state}" for state, count in sorted(standing.contacts.items()))
    results = ", ".join(f"{row.dials} {phrase(OUTCOMES, row.outcome)}" for row in outcomes)
    return [
        f"{standing.name}: {standing.state}{reason}, {standing.calls_now} calls now",
        f"  contacts: {contacts or 'none'}",
        f"  outcomes: {results or 'none'}; cost {standing.cost:.4f} {currency}".rstrip(),
    ]


def _join_with_or(states: frozenset[CampaignState]) -> str:
    return " or ".join(sorted(states))
