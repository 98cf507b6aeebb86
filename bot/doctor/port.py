"""Looks whether a server could listen where it should, or one of ours does already."""

import errno
import json
import socket
from dataclasses import fields
from typing import Any, Final

from bot.config.near_address import near_address
from bot.config.settings import ServerSettings
from bot.doctor.finding import DoctorFinding
from bot.health.readiness_rules import Readiness

ANSWER_S: Final = 5.0  # chosen: as the doctor's other questions
MOST_BYTES: Final = 4096  # of an answer of ours, which has some 100
ABOUT: Final = "server.port"
SAYS: Final = frozenset(each.name for each in fields(Readiness))  # as nobody else does


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
            return DoctorFinding(about=ABOUT, text=text, ok=True)
        text = f"{where} cannot be listened on: {error.strerror or error}"
        return DoctorFinding(about=ABOUT, text=text, ok=False)
    return DoctorFinding(about=ABOUT, text=f"{where} is free", ok=True)


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
