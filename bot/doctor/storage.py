"""Looks whether what callers leave behind could be kept: the database opens and can be written."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Final

from bot.config.share_address import masked
from bot.doctor.finding import DoctorFinding

ANSWER_S: Final = 5.0  # a database that takes longer to open is of no use to a call
ABOUT: Final = "storage.url"
SQLITE: Final = "sqlite+aiosqlite"
POSTGRESQL: Final = "postgresql+asyncpg"


async def storage_finding(url: str) -> DoctorFinding:
    """Return what was found of the database at this address."""
    scheme = url.partition("://")[0]
    if scheme == SQLITE:
        opened = await asyncio.to_thread(_file_finding, url)
        return await _version_finding(url) or opened if opened.ok else opened
    if scheme == POSTGRESQL:
        opened = await _server_finding(url)
        return await _version_finding(url) or opened if opened.ok else opened
    cure = f"use {SQLITE}:///holdline.db or {POSTGRESQL}://USER:PASSWORD@HOST/DATABASE"
    return DoctorFinding(about=ABOUT, text=f"{scheme} is not available; {cure}", ok=False)


def _file_finding(url: str) -> DoctorFinding:
    path = url.partition(":///")[2].partition("?")[0] or ":memory:"
    existed = path == ":memory:" or Path(path).exists()
    try:
        connection = sqlite3.connect(path, timeout=ANSWER_S)
        try:
            connection.execute("BEGIN IMMEDIATE")  # the lock that a writer needs
            connection.execute("PRAGMA user_version").fetchone()  # reads the file's header
            connection.rollback()
        finally:
            connection.close()
        if not existed:
            Path(path).unlink(missing_ok=True)  # looking leaves nothing behind
    except (sqlite3.Error, OSError) as error:
        return DoctorFinding(about=ABOUT, text=f"{path} cannot be opened: {error}", ok=False)
    return DoctorFinding(about=ABOUT, text=f"{path} opens for writing", ok=True)


async def _server_finding(url: str) -> DoctorFinding:
    # SQLAlchemy takes a while to import, and every command imports this module.
    from operations.database.database import StorageError  # noqa: PLC0415
    from operations.database.rehearsal import rehearse  # noqa: PLC0415

    try:
        async with asyncio.timeout(ANSWER_S):
            await rehearse(url)
    except ModuleNotFoundError as error:
        cure = 'install it with .venv/bin/pip install "holdline[postgres]"'
        text, ok = f"needs {error.name}, which is not installed; {cure}", False
    except StorageError as error:
        text, ok = f"cannot be used: {error}", False
    except TimeoutError:
        text, ok = f"did not answer within {ANSWER_S:g} s", False
    else:
        text, ok = "opens and takes a row", True
    return DoctorFinding(about=ABOUT, text=f"{masked(url)} {text}", ok=ok)


async def _version_finding(url: str) -> DoctorFinding | None:
    """Return that a database is behind, and the cure; None: it is not."""
    from operations.database.database import StorageError  # noqa: PLC0415 - as above
    from operations.database.upgrading import find_lag  # noqa: PLC0415

    try:
        async with asyncio.timeout(ANSWER_S):
            lag = await find_lag(url)
    except StorageError as error:
        lag = f"cannot be looked at: {error}"
    except TimeoutError:
        lag = f"did not answer within {ANSWER_S:g} s"
    return DoctorFinding(about=ABOUT, text=f"{masked(url)} {lag}", ok=False) if lag else None
