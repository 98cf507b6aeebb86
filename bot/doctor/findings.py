"""Checks of the doctor: the server's port, the health share, the database."""

import asyncio
import errno
import json
import os
import secrets
import socket
import sqlite3
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bot import clock
from bot.config.sections import near_address
from bot.config.settings import ServerSettings
from bot.config.share_address import file_of, masked
from bot.health.readiness_rules import Readiness

if TYPE_CHECKING:
    from operations.database.provider_board import ProviderBoard


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorFinding:
    """The result of one check."""

    about: str
    text: str
    ok: bool


ANSWER_S: Final = 5.0  # chosen: as in the doctor's other checks
MOST_BYTES: Final = 4096  # of an answer; Holdline's has about 100
ABOUT_PORT: Final = "server.port"
SAYS: Final = frozenset(field_.name for field_ in fields(Readiness))  # specific to Holdline


async def port_finding(server: ServerSettings) -> DoctorFinding:
    """Check the server's address; a running Holdline server there is not a problem.

    Without the token, the doctor cannot find out which configuration that server uses. So the
    finding always says what the running server means for another start.
    """
    where = f"{server.host}:{server.port}"
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((server.host, server.port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE and (told := await _told(server)) is not None:
            reasons = ", ".join(map(str, told["reasons"]))
            says = f"; GET /readyz says {reasons}" if reasons else ""
            whose = "is already used by Holdline, with this or another configuration"
            text = f"{where} {whose}; another start there would fail{says}"
            return DoctorFinding(about=ABOUT_PORT, text=text, ok=True)
        text = f"{where} cannot be listened on: {error.strerror or error}"
        return DoctorFinding(about=ABOUT_PORT, text=text, ok=False)
    return DoctorFinding(about=ABOUT_PORT, text=f"{where} is free", ok=True)


async def _told(server: ServerSettings) -> dict[str, Any] | None:
    """Return the readiness that the server there reports; `None` if it is not Holdline."""
    # aiohttp takes a while to import, and every command imports this module.
    import aiohttp  # noqa: PLC0415

    patience = aiohttp.ClientTimeout(total=ANSWER_S)
    url = f"{near_address(server.host, server.port)}/readyz"
    try:
        async with (
            aiohttp.ClientSession(timeout=patience) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            told = json.loads(await answer.content.read(MOST_BYTES))
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
    ours = isinstance(told, dict) and told.keys() == SAYS and isinstance(told["reasons"], list)
    return told if ours else None


LEASE_S: Final = 5.0  # the lease of an interrupted doctor expires after this
ABOUT_SHARE: Final = "resilience.share"


async def share_finding(share: str) -> DoctorFinding:
    """Check the share at this address."""
    from operations.database.boards import board_at  # noqa: PLC0415 - SQLAlchemy takes a while
    from operations.database.database import StorageError  # noqa: PLC0415 - as above

    file = file_of(share)
    if file is not None and not file.exists():
        return _can_be_made(file)
    holder = f"doctor-{secrets.token_hex(4)}"
    board = board_at(share, holder=holder)
    try:
        async with asyncio.timeout(ANSWER_S):
            text, ok = await _leases(board, holder)
    except StorageError as error:
        text, ok = f"cannot be used: {error}", False
    except TimeoutError:
        text, ok = f"did not answer within {ANSWER_S:g} s", False
    await _close(board)
    return DoctorFinding(about=ABOUT_SHARE, text=f"{masked(share)} {text}", ok=ok)


async def _leases(board: "ProviderBoard", place: str) -> tuple[str, bool]:
    """Lease a rung that does not exist and return it; report the result."""
    began_s = clock.monotonic()
    await board.clock_s()
    took_s = clock.monotonic() - began_s
    held = await board.lease([place], for_s=LEASE_S)
    await board.leave()
    if place not in held:
        return "answers, but gives no lease", False
    return f"answers in {took_s:.3f} s and gives leases", True


async def _close(board: "ProviderBoard") -> None:
    from operations.database.database import StorageError  # noqa: PLC0415 - as above

    try:
        async with asyncio.timeout(ANSWER_S):
            await board.close()
    except (StorageError, TimeoutError):
        return  # the finding already describes the problem


def _can_be_made(file: Path) -> DoctorFinding:
    """Check whether the file could be created, without creating it."""
    folder = next(parent for parent in file.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return DoctorFinding(
            about=ABOUT_SHARE, text=f"{file} cannot be created in {folder}", ok=False
        )
    return DoctorFinding(about=ABOUT_SHARE, text=f"the first process will create {file}", ok=True)


ABOUT_STORAGE: Final = "storage.url"
SQLITE: Final = "sqlite+aiosqlite"
POSTGRESQL: Final = "postgresql+asyncpg"


async def storage_finding(url: str) -> DoctorFinding:
    """Check the database at this address."""
    scheme = url.partition("://")[0]
    if scheme == SQLITE:
        opened = await asyncio.to_thread(_file_finding, url)
        return await _version_finding(url) or opened if opened.ok else opened
    if scheme == POSTGRESQL:
        opened = await _server_finding(url)
        return await _version_finding(url) or opened if opened.ok else opened
    cure = f"use {SQLITE}:///holdline.db or {POSTGRESQL}://USER:PASSWORD@HOST/DATABASE"
    return DoctorFinding(about=ABOUT_STORAGE, text=f"{scheme} is not available; {cure}", ok=False)


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
            Path(path).unlink(missing_ok=True)  # the check leaves nothing behind
    except (sqlite3.Error, OSError) as error:
        return DoctorFinding(
            about=ABOUT_STORAGE, text=f"{path} cannot be opened: {error}", ok=False
        )
    return DoctorFinding(about=ABOUT_STORAGE, text=f"{path} opens for writing", ok=True)


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
    return DoctorFinding(about=ABOUT_STORAGE, text=f"{masked(url)} {text}", ok=ok)


async def _version_finding(url: str) -> DoctorFinding | None:
    """Return a finding if the database needs an upgrade; `None` if it does not."""
    from operations.database.database import StorageError  # noqa: PLC0415 - as above
    from operations.database.upgrading import find_lag  # noqa: PLC0415

    try:
        async with asyncio.timeout(ANSWER_S):
            lag = await find_lag(url)
    except StorageError as error:
        lag = f"cannot be checked: {error}"
    except TimeoutError:
        lag = f"did not answer within {ANSWER_S:g} s"
    return (
        DoctorFinding(about=ABOUT_STORAGE, text=f"{masked(url)} {lag}", ok=False) if lag else None
    )
