"""The contacts of our own database and of a CSV file: a CRM without an external system."""

import asyncio
import csv
import json
from pathlib import Path
from typing import Final

from sqlalchemy import select

from fallbacks.failure import Kind
from operations.crm.customer import CrmContact, CrmReport
from operations.database.database import Database, StorageError
from operations.database.tables import CONTACTS
from operations.remote import RemoteError

NUMBERS: Final = ("number", "phone", "telephone")  # possible columns of a file
MAX_ROWS: Final = 200_000  # of a file; larger ones belong in the database


class OwnContacts:
    """Contacts that campaigns imported, the newest first; then the file's."""

    name = "own"

    def __init__(self, database: Database, *, file: Path | None = None) -> None:
        """Look contacts up in this database, then in the file."""
        self._database = database
        self._file = file
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
                self._of_file = await asyncio.to_thread(read_contacts, self._file)
            except (OSError, ValueError, csv.Error) as error:
                raise RemoteError(Kind.BAD_REQUEST, f"{self._file.name}: {error}") from error
        return self._of_file.get(digits(number))


def read_contacts(path: Path) -> dict[str, CrmContact]:
    """Return a file's contacts by the digits of their number; blocks."""
    people: dict[str, CrmContact] = {}
    with path.open(encoding="utf-8-sig", newline="") as lines:
        for at, row in enumerate(csv.DictReader(lines)):
            if at >= MAX_ROWS:
                raise ValueError(f"it has more than {MAX_ROWS} rows; import it instead")
            said = {str(key).strip().lower(): str(value or "") for key, value in row.items()}
            number = next((digits(said[item]) for item in NUMBERS if said.get(item)), "")
            if number:
                name = said.pop("name", "")
                fields = {key: value for key, value in said.items() if key not in NUMBERS}
                people[number] = CrmContact(id=number, name=name, fields=fields)
    return people


def digits(number: str) -> str:
    """Return a number's digits, which identify it in any notation."""
    return "".join(item for item in number if item.isdigit())
