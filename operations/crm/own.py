"""The contacts of our own database and of a CSV file: a CRM without an external system."""

import asyncio
import json
from pathlib import Path
from typing import Final

from loguru import logger
from sqlalchemy import select

from contacts.contact_files import ContactFileError, open_contacts
from contacts.numbers import CallableNumber, read_number
from contacts.person_names import with_names_cut
from fallbacks.failure import Kind
from operations.crm.customer import CrmContact, CrmReport
from operations.database.database import Database, StorageError
from operations.database.tables import CONTACTS
from operations.remote import RemoteError

MAX_ROWS: Final = 200_000  # of a file; larger ones belong in the database


class OwnContacts:
    """Looks contacts up among those that campaigns imported, the newest first, then in a file."""

    name = "own"

    def __init__(self, database: Database, *, file: Path | None = None, region: str = "") -> None:
        """Use this database, then the file; see `read_contacts` for `region`."""
        self._database = database
        self._file = file
        self._region = region
        self._file_contacts: dict[str, CrmContact] | None = None

    async def look_up(self, number: str) -> CrmContact | None:
        """Return our newest contact with a number, or else the one in the file, or else `None`.

        Raises:
            RemoteError: The database or the file cannot be read.
        """
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
            return await self._find_in_file(number)
        fields = with_names_cut({"name": row.name, **json.loads(row.fields or "{}")})
        return CrmContact(id=str(row.id), name=fields.pop("name"), fields=fields)

    async def write(self, report: CrmReport) -> None:
        """Do nothing: the report is in our own database already."""
        del report

    async def close(self) -> None:
        """Do nothing: the database is not ours."""

    async def _find_in_file(self, number: str) -> CrmContact | None:
        """Return the file's contact with a number, or `None`.

        The file is read once: later changes of it need a restart. A failed reading is repeated.
        """
        if self._file is None:
            return None
        if self._file_contacts is None:
            try:
                self._file_contacts = await asyncio.to_thread(
                    read_contacts, self._file, self._region
                )
            except (OSError, ValueError, ContactFileError) as error:
                raise RemoteError(Kind.BAD_REQUEST, f"{self._file.name} {error}") from error
        return self._file_contacts.get(digits(number))


def read_contacts(path: Path, region: str) -> dict[str, CrmContact]:
    """Read a CSV file of contacts; return them by the digits of each of their numbers.

    Rows that cannot be read are skipped and counted in the log. If several rows have a number, the
    first counts. Blocks.

    Args:
        path: The file.
        region: The country of the file's owner, ISO 3166-1: numbers without a country code are
            read as numbers of this country, and it helps to guess the encoding. Empty if unknown.

    Raises:
        ContactFileError: The file is not CSV, has no column for the number, or has too many rows.
        OSError: The file cannot be read.
    """
    contacts: dict[str, CrmContact] = {}
    bad_rows = 0
    with open_contacts(path, region=region) as opened:
        for index, (_, cells) in enumerate(opened.rows):
            if index >= MAX_ROWS:
                raise ContactFileError(f"has more than {MAX_ROWS} rows; import it instead")
            if cells is None:
                bad_rows += 1
                continue
            keys = [_digits_for_comparison(number, region) for number in cells.numbers]
            fields = {heading.lower(): cell for heading, cell in cells.fields.items()}
            fields = with_names_cut({**fields, "name": cells.name})
            name = fields.pop("name")
            for key in filter(None, keys):
                contact = CrmContact(id=key, name=name, fields=fields)
                contacts.setdefault(key, contact)
    line = (
        f"{path.name}: {len(contacts)} numbers ({opened.encoding.name}), {bad_rows} unreadable rows"
    )
    logger.info("contacts for looking callers up: {}", line)
    if opened.encoding.sample:  # the encoding was guessed
        logger.warning("{} is not UTF-8, so names may be wrong; save it as CSV UTF-8", path.name)
    return contacts


def _digits_for_comparison(number: str, region: str) -> str:
    """Return a number's digits; with the country code if the number can be parsed."""
    read = read_number(number, region=region)
    return digits(read.e164 if isinstance(read, CallableNumber) else number)


def digits(number: str) -> str:
    """Return the digits of a number, without plus and separators."""
    return "".join(item for item in number if item.isdigit())
