"""`holdline campaign import`: imports contacts from a file, a URL or the CRM.

Refused rows are written into a file.
"""

import asyncio
import csv
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO
from urllib.parse import urlsplit

from calls.events import Event
from calls.sentences import cure_of as cure_of_failure
from calls.sentences import explain, planned_retry, vendor_at
from campaigns.importing import (
    ContentRefusedError,
    FetchError,
    ImportPlan,
    ImportRefusedError,
    ImportTally,
    RefusedRow,
    fetch_file,
    import_contacts,
)
from campaigns.model import Campaign, campaign_of
from campaigns.order_gate import rules_in
from campaigns.refusals import cure_of, reason_lines
from campaigns.store.contacts import Contacts
from configuration.errors import shown
from configuration.rungs import vendors_of
from configuration.settings import Settings
from contacts.contact_columns import KNOWN
from fallbacks.events import RetryPlanned
from fallbacks.failure import ServiceError
from operations.crm.configured_crm import crm_of
from operations.crm.people import PeopleMapping, people_mapping, write_people
from operations.crm.port import STAGE
from operations.crm.rest import RestCrm, RestRequest
from operations.csv_cells import safe_cell
from operations.database.database import Database, StorageError
from operations.masking import one_line
from operations.remote import RemoteError, remote_failure
from operations.retrying import Retries, run_with_retries
from runtime.clock import utc_now
from runtime.exits import DONE, FAILED, CommandError, UsageError
from runtime.http import open_connections

PAGE_BYTES: Final = 8 << 20  # of a page of a hundred people, even with many fields
MAX_FETCH_S: Final = 4 * 3600.0  # for a million people, at a page of a hundred per second


async def fetch_people(
    settings: Settings, database: Database, folder: Path, *, say: Callable[[str], None]
) -> Path:
    """Return a CSV file with all people in the configured CRM; for `own`, its configured file.

    Args:
        settings: The configuration.
        database: The database of `storage.url`.
        folder: Where the file may be written.
        say: Prints a line before each retry.

    Raises:
        UsageError: No CRM is configured that can list people.
        CommandError: The CRM did not list them.
    """
    crm = settings.crm
    if crm.kind == "own" and crm.file is not None:
        return crm.file
    mapping, client = people_mapping(crm), crm_of(settings, database)
    if mapping is None or not isinstance(client, RestCrm):
        raise UsageError(_why_no_people(settings))
    target = folder / "contacts.csv"
    try:
        async with asyncio.timeout(MAX_FETCH_S), open_connections():
            await _write_people(settings, client, mapping, target, say)
    except (ServiceError, RemoteError) as failed:
        cause = failed.failure if isinstance(failed, ServiceError) else failed
        vendor = vendor_at(vendors_of(settings), STAGE, client.name)
        why = f"{explain(cause.kind, cause.reason, vendor)}; {cure_of_failure(cause.kind)}"
        raise CommandError(f"crm: no people were listed: {why}") from failed
    except TimeoutError:
        raise CommandError(f"crm: {client.name} was not read within {MAX_FETCH_S:g} s") from None
    return target


async def _write_people(
    settings: Settings,
    client: RestCrm,
    mapping: PeopleMapping,
    target: Path,
    say: Callable[[str], None],
) -> None:
    """Write all people in the CRM into `target`; retry failed requests, and say so."""

    def say_retry(event: Event) -> None:
        if isinstance(event, RetryPlanned):
            say(planned_retry(event, vendors_of(settings)))

    retries = Retries(settings=settings.resilience.retry_settings(), emit=say_retry)

    async def ask(request: RestRequest) -> Any:
        return await run_with_retries(
            lambda: client.ask(request, {}, most_bytes=PAGE_BYTES),
            asked=(STAGE, client.name),
            classify=partial(remote_failure, STAGE, client.name),
            retries=retries,
        )

    await write_people(mapping, ask, target)


def _why_no_people(settings: Settings) -> str:
    """Return why the configured CRM cannot list people, and what to change."""
    crm = settings.crm
    cures = {
        "none": "set it to own (with `file`), hubspot or rest",
        "own": "it has no `file`; name one, or import it as a file",
        "webhook": "a webhook only receives calls and cannot list people; use hubspot or rest",
        "rest": "its `mapping` has no `people`; describe the request for a page of people there",
    }
    return f"--crm: crm.kind is {crm.kind}: {cures.get(crm.kind, '')}"


MAX_ROW_LENGTH: Final = 200  # characters of a row printed in the terminal
MAX_SHOWN: Final = 10  # refused rows printed in the terminal; the file has all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """The command line of an import."""

    source: str  # a file or its URL; empty for the configured CRM
    columns: tuple[str, ...] = ()
    encoding: str = ""
    preview: bool = False  # change nothing
    refused_file: Path | None = None  # `None` for CAMPAIGN.refused.csv in the working directory


class RefusedFile:
    """The CSV file of refused rows, which is created by the first one."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path = path
        self._say = say
        self._file: TextIO | None = None
        self.rows = 0

    def add(self, row: RefusedRow) -> None:
        """Write a row, and print it if it is one of the first `MAX_SHOWN`.

        Raises:
            UsageError: The file cannot be written.
        """
        with self._report_write_errors():
            if self._file is None:
                self._file = self._path.open("w", encoding="utf-8", newline="")
                csv.writer(self._file).writerow(("line", "reason", "row"))
            cells = (safe_cell(cell) for cell in row.cells)
            csv.writer(self._file).writerow((str(row.line), row.reason, *cells))
        self.rows += 1
        if self.rows <= MAX_SHOWN:
            shown = f"line {row.line}: {row.reason} {', '.join(row.cells)}"[:MAX_ROW_LENGTH]
            self._say(one_line(shown))  # without control characters, which a terminal would run

    def close(self) -> None:
        """Close the file, if there is one; raises `UsageError` if its last rows are not written."""
        with self._report_write_errors():
            if self._file is not None:
                self._file.close()

    @contextmanager
    def _report_write_errors(self) -> Iterator[None]:
        """Report write errors as errors of this file, not of the contacts file."""
        try:
            yield
        except OSError as error:
            raise UsageError(f"--out: {self._path} cannot be written: {error.strerror}") from error


def run_import(
    settings: Settings, campaign: str, options: ImportOptions, *, say: Callable[[str], None]
) -> int:
    """Import, print the counts, and return the exit code: 1 if every row was refused.

    Refused rows go into `options.refused_file`, or else into a file in the working folder.

    Raises:
        UsageError: The options or the file are wrong, or the refused rows cannot be written.
        CommandError: The file has no usable content or was not fetched, or the database fails.
    """
    if unknown := [name for name in options.columns if not name]:
        raise UsageError(f"--columns has {len(unknown)} empty name(s); {_known_columns()}")
    path = options.refused_file or Path(f"{campaign}.refused.csv")
    refused = RefusedFile(path, say)
    try:
        tally = asyncio.run(_fetch_and_import(settings, campaign, options, refused, say))
    except ContentRefusedError as error:
        raise CommandError(str(error)) from error
    except ImportRefusedError as error:
        raise UsageError(str(error)) from error
    except (FetchError, StorageError, OSError) as error:
        raise CommandError(str(error)) from error
    finally:
        refused.close()
    for line in tally_lines(tally, campaign_of(campaign, settings.campaigns[campaign])):
        say(line)
    if options.preview:
        say("nothing was changed: this was a preview")
    if refused.rows:
        say(f"all refused rows are in {path}")
    return DONE if tally.in_campaign else FAILED


async def _fetch_and_import(
    settings: Settings,
    campaign: str,
    options: ImportOptions,
    refused: RefusedFile,
    say: Callable[[str], None],
) -> ImportTally:
    """Fetch the contacts unless a local file has them, and import them or preview that.

    A fetched file is deleted at the end.
    """
    async with Database(settings.storage.url) as database:
        with tempfile.TemporaryDirectory(prefix="holdline-import-") as folder:
            file = Path(options.source)
            if not options.source:
                file = await fetch_people(settings, database, Path(folder), say=say)
            elif _is_url(options.source):
                file = Path(folder) / "contacts.csv"
                await fetch_file(options.source, file)
            plan = ImportPlan(
                file=file,
                campaign=campaign_of(campaign, settings.campaigns[campaign]),
                now=utc_now().timestamp(),
                encoding=options.encoding,
                region=settings.server.region or "",
                columns=options.columns,
                order_rules=rules_in(settings),
            )
            contacts = Contacts(database, dry=options.preview)
            return await import_contacts(plan, contacts, refused.add)


def _is_url(source: str) -> bool:
    """Return whether a source is a URL, and not a path.

    Raises:
        UsageError: It begins like a URL, but is not valid.
    """
    if not source.lower().startswith(("http://", "https://")):
        return False
    try:
        parts = urlsplit(source)
        reachable = bool(parts.hostname) and (parts.port or 0) >= 0  # reading the port validates it
    except ValueError:  # an invalid port or IPv6 address
        reachable = False
    if not reachable:
        cure = "give one such as https://example.com/contacts.csv"
        raise UsageError(f"FILE is {shown(source)}, which is not a valid URL; {cure}")
    return True


def tally_lines(tally: ImportTally, campaign: Campaign) -> Iterator[str]:
    """Yield the lines that summarise an import, with the cure for each reason of a refusal."""
    updated = f" ({tally.updated} of them completed)" if tally.updated else ""
    yield (
        f"{tally.rows} rows ({tally.encoding}): {tally.added} added, "
        f"{tally.known + tally.updated} known before{updated}, {tally.refused.total()} refused"
    )
    for reason, count in tally.refused.most_common():
        yield f"  {reason}: {count}: {cure_of(reason, campaign)}"
    for line in reason_lines(tally.never, campaign):
        yield f"taken, but cannot be called now: {line}"
    if tally.about_columns:
        yield tally.about_columns
    if tally.sample:
        cells = one_line(", ".join(tally.sample))
        yield f"the encoding is a guess; names in it: {cells}. If they are wrong, give --encoding"


def _known_columns() -> str:
    return f"known: {', '.join(KNOWN)}; other columns are kept as fields of the contact"
