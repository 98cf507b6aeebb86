"""Looks whether what callers leave behind could be kept: the database opens and can be written."""

import asyncio
import errno
import json
import os
import secrets
import socket
import sqlite3
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from bot import clock
from bot.config.sections import near_address
from bot.config.settings import ServerSettings
from bot.config.share_address import board_at, file_of, masked
from bot.health.readiness_rules import Readiness
from operations.database.database import StorageError
from operations.database.provider_board import ProviderBoard


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorFinding:
    """One thing that was looked at."""

    about: str
    text: str
    ok: bool


ANSWER_S: Final = 5.0  # chosen: as the doctor's other questions
MOST_BYTES: Final = 4096  # of an answer of ours, which has some 100
ABOUT_PORT: Final = "server.port"
SAYS: Final = frozenset(field_.name for field_ in fields(Readiness))  # as nobody else does


async def port_finding(server: ServerSettings) -> DoctorFinding:
    """Return what was found at the address; a server of ours that has it is no problem.

    Whether it is the one of this configuration nobody can tell from here: it says what it goes by
    to nobody without the token. So what that means for a start is said in any case.
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
            whose = "is Holdline's already, started with this configuration or another"
            text = f"{where} {whose}; one more start there would fail{says}"
            return DoctorFinding(about=ABOUT_PORT, text=text, ok=True)
        text = f"{where} cannot be listened on: {error.strerror or error}"
        return DoctorFinding(about=ABOUT_PORT, text=text, ok=False)
    return DoctorFinding(about=ABOUT_PORT, text=f"{where} is free", ok=True)


async def _told(server: ServerSettings) -> dict[str, Any] | None:
    """Return what who listens there says of a call that comes now; None: it is not Holdline."""
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


LEASE_S: Final = 5.0  # a doctor that is stopped in the middle leaves nothing for longer
ABOUT_SHARE: Final = "resilience.share"


async def share_finding(share: str) -> DoctorFinding:
    """Return what was found of the share at this address."""
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


async def _leases(board: ProviderBoard, place: str) -> tuple[str, bool]:
    """Lease a rung that nobody has and give it back; say how that went."""
    began_s = clock.monotonic()
    await board.clock_s()
    took_s = clock.monotonic() - began_s
    held = await board.lease([place], for_s=LEASE_S)
    await board.leave()
    if place not in held:
        return "answers, but gives no lease", False
    return f"answers in {took_s:.3f} s and gives leases", True


async def _close(board: ProviderBoard) -> None:
    try:
        async with asyncio.timeout(ANSWER_S):
            await board.close()
    except (StorageError, TimeoutError):
        return  # it has been told what is wrong with it


def _can_be_made(file: Path) -> DoctorFinding:
    """Looking leaves nothing behind, so a file that is not there is not made."""
    folder = next(parent for parent in file.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return DoctorFinding(about=ABOUT_SHARE, text=f"{file} cannot be made in {folder}", ok=False)
    return DoctorFinding(
        about=ABOUT_SHARE, text=f"{file} will be made by the first process", ok=True
    )


ABOUT_STORAGE: Final = "storage.url"
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
            Path(path).unlink(missing_ok=True)  # looking leaves nothing behind
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
    return (
        DoctorFinding(about=ABOUT_STORAGE, text=f"{masked(url)} {lag}", ok=False) if lag else None
    )
