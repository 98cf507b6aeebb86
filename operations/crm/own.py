"""The contacts of our own database and of a CSV file: a CRM without an external system."""

import asyncio
import json
from pathlib import Path
from typing import Final

from loguru import logger
from sqlalchemy import select

from fallbacks.failure import Kind
from operations.contact_files import ContactFileError, open_contacts
from operations.crm.customer import CrmContact, CrmReport
from operations.database.database import Database, StorageError
from operations.database.tables import CONTACTS
from operations.numbers import CallableNumber, read_number
from operations.remote import RemoteError

MAX_ROWS: Final = 200_000  # of a file; larger ones belong in the database


class OwnContacts:
    """Contacts that campaigns imported, the newest first; then the file's."""

    name = "own"

    def __init__(self, database: Database, *, file: Path | None = None, region: str = "") -> None:
        """Look contacts up in this database, then in the file; `region` is its owner's country."""
        self._database = database
        self._file = file
        self._region = region
        self._of_file: dict[str, CrmContact] | None = None

    async def look_up(self, number: str) -> CrmContact | None:
        """Return our contact with a number."""
        newest = select(CONTACTS).where(CONTACTS.c.number == number)
        try:
            async with self._database.reading() as connection:
                found = await connection.execute(
                    newest.order_by(CONTACTS.c.imported_s.desc()).limit(1)
                )
                row = found.first()
        except StorageError as error:
            raise RemoteError(Kind.NETWORK, str(error)) from error
        if row is None:
            return await self._in_file(number)
        return CrmContact(id=str(row.id), name=row.name, fields=json.loads(row.fields or "{}"))

    async def write(self, report: CrmReport) -> None:
        """Do nothing: the report is in our own database already."""
        del report

    async def close(self) -> None:
        """Do nothing: the database is not ours."""

    async def _in_file(self, number: str) -> CrmContact | None:
        if self._file is None:
            return None
        if self._of_file is None:
            try:
                self._of_file = await asyncio.to_thread(read_contacts, self._file, self._region)
            except (OSError, ValueError, ContactFileError) as error:
                raise RemoteError(Kind.BAD_REQUEST, f"{self._file.name} {error}") from error
        return self._of_file.get(digits(number))


def read_contacts(path: Path, region: str) -> dict[str, CrmContact]:
    """Return a file's contacts by the digits of each of their numbers; blocks.

    Args:
        path: CSV.
        region: The country of numbers without a country code; empty if unknown.

    Raises:
        ContactFileError: It is not CSV, has no column for the number, or too many rows.
        OSError: It cannot be read.
    """
    people: dict[str, CrmContact] = {}
    unread = 0
    with open_contacts(path, region=region) as opened:
        for at, (_, cells) in enumerate(opened.rows):
            if at >= MAX_ROWS:
                raise ContactFileError(f"has more than {MAX_ROWS} rows; import it instead")
            if cells is None:
                unread += 1
                continue
            keys = [_key(number, region) for number in cells.numbers]
            fields = {heading.lower(): cell for heading, cell in cells.fields.items()}
            for key in filter(None, keys):
                contact = CrmContact(id=key, name=cells.name, fields=fields)
                people.setdefault(key, contact)
    said = f"{path.name}: {len(people)} numbers ({opened.encoding.name}), {unread} unreadable rows"
    logger.info("contacts of callers are read from {}", said)
    if opened.encoding.sample:
        logger.warning("{} is not UTF-8; save it as CSV UTF-8 to be sure of its names", path.name)
    return people


def _key(number: str, region: str) -> str:
    """Return a number's digits, with the country code if it can be read."""
    read = read_number(number, region=region)
    return digits(read.e164 if isinstance(read, CallableNumber) else number)


def digits(number: str) -> str:
    """Return a number's digits, which identify it in any notation."""
    return "".join(item for item in number if item.isdigit())
