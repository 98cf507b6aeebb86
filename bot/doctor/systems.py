"""Checks the other systems that are configured: CRM, spreadsheet, alerts, tools, campaigns."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from bot.doctor.finding import DoctorFinding, reach, reach_port
from configuration.sections import SheetsSettings
from configuration.settings import Settings
from runtime import clock

TRIED_NUMBER: Final = "+10000000000"  # unassigned; only to see whether the CRM answers a look-up
NO_DIALLER: Final = "none of the enabled carriers has a number to call from"


async def check_systems(settings: Settings, *, online: bool) -> AsyncIterator[DoctorFinding]:
    """Yield a finding for each configured system and campaign.

    Keys are sent only with `online`: to look up a number in the CRM and to read the spreadsheet.
    """
    checks = [_check_connection(about, url) for about, url in _addresses_to_reach(settings)]
    if settings.alerts.email.sender and settings.alerts.email.to:
        checks.append(_check_mail_server(settings))
    for finding in await asyncio.gather(*checks):
        yield finding
    if settings.crm.kind == "own" and settings.crm.file:
        yield await _check_contacts_file(settings.crm.file, settings.server.region or "")
    if settings.crm.kind in ("rest", "hubspot"):
        yield await _check_crm(settings, online=online)
    if settings.sheets.enabled and settings.sheets.credentials_file:
        yield await _check_sheets(settings.sheets, settings.sheets.credentials_file, online=online)
    for finding in _check_campaigns(settings):
        yield finding


def _addresses_to_reach(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the label and the URL of each system that is checked only by connecting to it."""
    alerts, crm = settings.alerts, settings.crm
    if alerts.telegram.bot_token and alerts.telegram.chat_id:
        yield "alerts.telegram", alerts.telegram.api_url
    if alerts.webhook.url:
        yield "alerts.webhook", alerts.webhook.url
    if settings.transfer.webhook_url:
        yield "transfer.webhook_url", settings.transfer.webhook_url
    if crm.kind == "webhook" and crm.url:
        yield "crm", crm.url
    for agent in settings.all_agents:
        for tool in agent.tools:
            if tool.url:
                yield f"tool {tool.name}", tool.url


async def _check_connection(about: str, url: str) -> DoctorFinding:
    text, ok = await reach(url)
    return DoctorFinding(about=about, text=text, ok=ok)


async def _check_mail_server(settings: Settings) -> DoctorFinding:
    email = settings.alerts.email
    text, ok = await reach_port(email.server, email.port)
    return DoctorFinding(about="alerts.email", text=text, ok=ok)


async def _check_contacts_file(file: Path, region: str) -> DoctorFinding:
    """Check that the file can be read and has numbers; `region` as in `server.region`."""
    from contacts.contact_files import ContactFileError  # noqa: PLC0415 - as below
    from operations.crm.own import read_contacts  # noqa: PLC0415 - SQLAlchemy takes a while

    try:
        contacts = await asyncio.to_thread(read_contacts, file, region)
    except (OSError, ContactFileError) as error:
        return DoctorFinding(about="crm.file", text=f"{file}: {error}", ok=False)
    return DoctorFinding(
        about="crm.file", text=f"{file} has {len(contacts)} numbers", ok=bool(contacts)
    )


async def _check_crm(settings: Settings, *, online: bool) -> DoctorFinding:
    """Connect to the CRM; with `online`, look up a number, which shows that it accepts the key."""
    from operations.crm.configured_crm import crm_of  # noqa: PLC0415 - SQLAlchemy takes a while
    from operations.crm.rest import HUBSPOT_URL  # noqa: PLC0415
    from operations.database.database import Database  # noqa: PLC0415
    from operations.remote import RemoteError  # noqa: PLC0415

    text, ok = await reach(settings.crm.url or HUBSPOT_URL)
    crm = crm_of(settings, Database(settings.storage.url)) if ok and online else None
    if crm is not None:
        try:
            await crm.look_up(TRIED_NUMBER)
        except RemoteError as error:
            text, ok = f"a look-up with the key of {settings.crm.token_env} {error}", False
        else:
            text = "answers a look-up"
    return DoctorFinding(about="crm", text=text, ok=ok)


async def _check_sheets(sheets: SheetsSettings, file: Path, *, online: bool) -> DoctorFinding:
    """Connect to the API and check the service account's key file.

    With `online`, also read the first column of each tab.
    """
    from operations.sheets.sheet import (  # noqa: PLC0415 - google-auth is an extra
        ServiceAccount,
        Sheet,
        SheetError,
    )

    account = ServiceAccount(file, clock=clock.monotonic)
    text, ok = await reach(sheets.url)
    try:
        await account.check()
        if ok and online:
            sheet, tabs = Sheet(sheets, account), (sheets.calls_tab, sheets.alerts_tab)
            for tab in tabs:
                await sheet.keys(tab)
            text = f"the tabs {' and '.join(tabs)} can be read"
    except SheetError as error:
        text, ok = f"{error} (the account of {sheets.credentials_file_env})", False
    return DoctorFinding(about="sheets", text=text, ok=ok)


def _check_campaigns(settings: Settings) -> Iterator[DoctorFinding]:
    """Yield for each campaign whether any enabled carrier has what it needs to dial."""
    carriers = settings.transports
    dialling = [
        name
        for name in ("twilio", "telnyx", "plivo", "exotel")
        if (carrier := getattr(carriers, name)).enabled and carrier.number
    ]
    if carriers.livekit.enabled and carriers.livekit.sip.server:
        dialling.append("livekit")
    for name in settings.campaigns:
        text = f"can be dialled over {' or '.join(dialling)}" if dialling else NO_DIALLER
        yield DoctorFinding(about=f"campaigns.{name}", text=text, ok=bool(dialling))
