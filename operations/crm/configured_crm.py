"""Builds the configured CRM, and runs its lookups and reports while a server runs."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from calls.entry import Emit, Entry
from configuration.sections import CrmMappingSettings, CrmRequestSettings, CrmSettings
from configuration.settings import Settings
from contacts.numbers import one_reading
from operations.crm.crm_outbox import CrmOutbox
from operations.crm.own import OwnContacts
from operations.crm.port import Crm, CrmLookup, availability_of
from operations.crm.report_rules import report_of_cut
from operations.crm.reporting import CrmPoster, CrmReporter
from operations.crm.rest import HUBSPOT, HUBSPOT_URL, RestCrm, RestMapping, RestRequest
from operations.crm.webhook import WebhookCrm
from operations.database.database import Database
from operations.database.database_clock import DatabaseClock
from operations.keep_running import at_work, keep_running
from operations.retrying import Retries
from runtime import clock


@dataclass(slots=True)
class CrmListener:
    """Passes events to the CRM reporter, which is created later, or never.

    Attributes:
        follows: Whether to pass events on; if not, the after-call work adds the reports.
    """

    follows: bool = True
    reporter: CrmReporter | None = field(default=None)

    async def hear(self, entry: Entry) -> None:
        """Pass an event on."""
        if self.follows and self.reporter is not None:
            await self.reporter.hear(entry)

    def report_cut(self, row: Mapping[str, Any]) -> None:
        """Report a call whose process died, from its row in the record."""
        if self.reporter is not None:
            written = partial(one_reading, region=self.reporter.region)
            self.reporter.add(report_of_cut(row, written=written))


def crm_of(settings: Settings, database: Database) -> Crm | None:
    """Return the configured CRM; `None` if there is none."""
    crm = settings.crm
    match crm.kind:
        case "own":
            return OwnContacts(database, file=crm.file, region=settings.server.region or "")
        case "webhook":
            secret = crm.token.get_secret_value() if crm.token else ""
            return WebhookCrm(crm.url or "", secret, timeout_s=crm.timeout_s, utc_s=clock.utc_s)
        case "hubspot":
            return _rest_crm(crm, HUBSPOT, HUBSPOT_URL)
        case "rest" if crm.mapping:
            return _rest_crm(crm, _rest_mapping(crm.mapping), "")
        case _:
            return None


@asynccontextmanager
async def open_crm(
    settings: Settings, database: Database, listener: CrmListener, *, emit: Emit
) -> AsyncIterator[CrmLookup | None]:
    """Run the CRM's lookups and reports during the block; yield `None` without a CRM.

    Gives `listener` its reporter. After the block, stores the reports that still wait.
    """
    crm = crm_of(settings, database)
    if crm is None:
        yield None
        return
    now = DatabaseClock(database, utc_s=clock.utc_s, monotonic=clock.monotonic)
    outbox = CrmOutbox(database, clock=now)
    availability = availability_of(crm, clock.monotonic())
    retries = Retries(
        settings=settings.resilience.retry_settings(), emit=emit, availability=availability
    )
    reporter = CrmReporter(outbox=outbox, utc_s=now.now_s, region=settings.server.region)
    poster = CrmPoster(crm, outbox, retries=retries, utc_s=now.now_s)
    lookup = CrmLookup(
        crm=crm,
        availability=availability,
        clock=clock.monotonic,
        region=settings.server.region,
        emit=emit,
    )
    listener.reporter = reporter
    try:
        async with at_work(
            reports=keep_running("reports to the CRM", reporter.run), posts=poster.run()
        ):
            yield lookup
    finally:
        await reporter.write()
        await lookup.close()


def _rest_crm(crm: CrmSettings, mapping: RestMapping, url: str) -> RestCrm:
    token = {"authorization": f"Bearer {crm.token.get_secret_value()}"} if crm.token else {}
    return RestCrm(crm.kind, mapping, url=crm.url or url, headers=token, timeout_s=crm.timeout_s)


def _rest_mapping(settings: CrmMappingSettings) -> RestMapping:
    """Return the configured mapping as the CRM client takes it."""
    return RestMapping(
        look_up=_request_from_settings(settings.look_up),
        found=settings.found,
        contact_id=settings.contact_id,
        name=settings.name,
        fields=settings.fields,
        write=_request_from_settings(settings.write),
        key_header=settings.idempotency_header,
    )


def _request_from_settings(settings: CrmRequestSettings | None) -> RestRequest | None:
    if settings is None:
        return None
    return RestRequest(method=settings.method, path=settings.path, body=settings.body)
