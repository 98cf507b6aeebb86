"""Looks whether processes could share what they know: the board answers, and its leases work."""

import asyncio
import os
import secrets
from pathlib import Path
from typing import Final

from bot import clock
from bot.config.share_address import board_at, file_of, masked
from bot.doctor.finding import DoctorFinding
from operations.database.database import StorageError
from operations.database.provider_board import ProviderBoard

ANSWER_S: Final = 5.0
LEASE_S: Final = 5.0  # a doctor that is stopped in the middle leaves nothing for longer
ABOUT: Final = "resilience.share"


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
    return DoctorFinding(about=ABOUT, text=f"{masked(share)} {text}", ok=ok)


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
    folder = next(each for each in file.absolute().parents if each.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return DoctorFinding(about=ABOUT, text=f"{file} cannot be made in {folder}", ok=False)
    return DoctorFinding(about=ABOUT, text=f"{file} will be made by the first process", ok=True)
