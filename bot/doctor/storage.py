"""Checks the database by writing a row, and the shared health board by taking a lease."""

import asyncio
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bot.doctor.finding import SERVER_ANSWER_S, DoctorFinding
from configuration.database_urls import file_of, mask_password
from runtime import clock

if TYPE_CHECKING:
    from operations.database.provider_board import ProviderBoard

LEASE_S: Final = 5.0  # how long the lease of an interrupted check remains
ABOUT_SHARE: Final = "resilience.share"


async def check_share(share: str) -> DoctorFinding:
    """Check that the board at this address, `resilience.share`, grants leases or can be created."""
    from bot.health.sharing import board_at  # noqa: PLC0415 - SQLAlchemy takes a while
    from operations.database.database import StorageError  # noqa: PLC0415 - as above

    file = file_of(share)
    if file is not None and not file.exists():
        return _check_creatable(file)
    holder = f"doctor-{secrets.token_hex(4)}"
    board = board_at(share, holder=holder)
    try:
        async with asyncio.timeout(SERVER_ANSWER_S):
            text, ok = await _try_lease(board, holder)
    except StorageError as error:
        text, ok = f"cannot be used: {error}", False
    except TimeoutError:
        text, ok = f"did not answer within {SERVER_ANSWER_S:g} s", False
    await _close_board(board)
    return DoctorFinding(about=ABOUT_SHARE, text=f"{mask_password(share)} {text}", ok=ok)


async def _try_lease(board: "ProviderBoard", place: str) -> tuple[str, bool]:
    """Take and give up the lease of `place`, which no rung has.

    Returns:
        The result in words, and whether the lease was granted.
    """
    began_s = clock.monotonic()
    await board.clock_s()
    took_s = clock.monotonic() - began_s
    held = await board.lease([place], for_s=LEASE_S)
    await board.leave()
    if place not in held:
        return "answers, but grants no lease", False
    return f"answers in {took_s:.3f} s and grants leases", True


async def _close_board(board: "ProviderBoard") -> None:
    """Close the board within `SERVER_ANSWER_S`; a failure is not raised."""
    from operations.database.database import StorageError  # noqa: PLC0415 - as above

    try:
        async with asyncio.timeout(SERVER_ANSWER_S):
            await board.close()
    except (StorageError, TimeoutError):
        return  # the finding already describes the problem


def _check_creatable(file: Path) -> DoctorFinding:
    """Check whether the file could be created, without creating it."""
    folder = next(parent for parent in file.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return DoctorFinding(
            about=ABOUT_SHARE, text=f"{file} cannot be created in {folder}", ok=False
        )
    return DoctorFinding(about=ABOUT_SHARE, text=f"the first process will create {file}", ok=True)


ABOUT_STORAGE: Final = "storage.url"


async def check_storage(url: str) -> DoctorFinding:
    """Check that the database at this address can be written and, if it existed, needs no upgrade.

    A database file that did not exist is removed again.
    """
    file = file_of(url)
    existed = file is None or file.exists()
    finding = await _row_finding(url)
    if finding.ok and existed:
        finding = await _version_finding(url) or finding
    if file is not None and not existed:
        await asyncio.to_thread(_remove_database, file)
    return finding


def _remove_database(file: Path) -> None:
    """Remove a database file that the check created, and its journals."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with suppress(OSError):  # for example, the disk is read-only
            Path(f"{file}{suffix}").unlink(missing_ok=True)


async def _row_finding(url: str) -> DoctorFinding:
    """Return whether a row can be written to the database, within `SERVER_ANSWER_S`."""
    # SQLAlchemy takes a while to import, and every command imports this module.
    from operations.database.database import StorageError  # noqa: PLC0415
    from operations.database.rehearsal import rehearse  # noqa: PLC0415

    try:
        async with asyncio.timeout(SERVER_ANSWER_S):
            await rehearse(url)
    except StorageError as error:
        text, ok = f"cannot be used: {error}", False
    except TimeoutError:
        text, ok = f"did not answer within {SERVER_ANSWER_S:g} s", False
    else:
        text, ok = "can be written", True
    return DoctorFinding(about=ABOUT_STORAGE, text=f"{mask_password(url)} {text}", ok=ok)


async def _version_finding(url: str) -> DoctorFinding | None:
    """Return a finding if the database needs an upgrade or cannot be checked; else `None`."""
    from operations.database.database import StorageError  # noqa: PLC0415 - as above
    from operations.database.upgrading import find_version_problem  # noqa: PLC0415

    try:
        async with asyncio.timeout(SERVER_ANSWER_S):
            problem = await find_version_problem(url)
    except StorageError as error:
        problem = f"cannot be checked: {error}"
    except TimeoutError:
        problem = f"did not answer within {SERVER_ANSWER_S:g} s"
    return (
        DoctorFinding(about=ABOUT_STORAGE, text=f"{mask_password(url)} {problem}", ok=False)
        if problem
        else None
    )
