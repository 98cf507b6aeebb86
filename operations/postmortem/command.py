"""`holdline evidence`: reads the record, and writes a page and a JSON file."""

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from configuration.database_urls import mask_password
from configuration.folders import check_database
from configuration.rungs import vendors_of
from configuration.settings import Settings
from operations.database.database import StorageError
from operations.database.upgrading import find_version_problem
from operations.postmortem.gathering import gather
from operations.postmortem.page import as_page
from operations.postmortem.story import tell_story
from runtime import clock
from runtime.exits import CommandError, UsageError

PAGE: Final = "evidence.html"
VALUES: Final = "evidence.json"


async def write_evidence(settings: Settings, span: timedelta, out: Path) -> Mapping[str, Any]:
    """Write a report about the last `span` into the folder `out`; return its values.

    Raises:
        UsageError: There is no database, or the folder cannot be written.
        CommandError: The database does not answer, or has an older version.
    """
    url = settings.storage.url
    await _check_database(url)
    until = clock.utc_now()
    try:
        found = await gather(url, until - span, until)
    except StorageError as error:
        raise CommandError(f"{mask_password(url)} cannot be read: {error}") from error
    story = tell_story(
        found,
        budget_s=settings.latency.budget_s,
        made_at=until,
        vendors=vendors_of(settings),
    )
    values = json.dumps(story, ensure_ascii=False, indent=1)
    await asyncio.to_thread(_write_files, out, {PAGE: as_page(story), VALUES: values})
    return story


async def _check_database(url: str) -> None:
    """Raise `CommandError` if the database cannot be read, or has another version's tables."""
    await asyncio.to_thread(check_database, url)
    try:
        problem = await find_version_problem(url)
    except StorageError as error:
        raise CommandError(f"{mask_password(url)} cannot be read: {error}") from error
    if problem:
        raise CommandError(f"{mask_password(url)} {problem}")


def _write_files(out: Path, texts: Mapping[str, str]) -> None:
    """Write files, each completely or not at all; blocks. Raises `UsageError` on failure."""
    for name, text in texts.items():
        part = out / f".{name}.part"
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(out / name)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise UsageError(f"{out / name} cannot be written: {error.strerror}") from error
