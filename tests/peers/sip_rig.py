"""The drill's rig with a real telephone line between caller and agent."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from lab.control import LabControl
from lab.drill.matrix import FULL
from lab.drill.rig import Rig
from lab.drill.rows import Row
from lab.drill.servers import GREETING
from lab.process import LabOptions, lab_process
from tests.e2e.hearing import BROWSER
from tests.peers.agent import answering
from tests.peers.media_server import MediaServer
from tests.peers.sip_telephone import SipTelephone

# The exchange encodes the agent's voice as a browser does; mu-law after that loses nothing more.
SIP_PATH: Final = BROWSER
CHANGES: Final[dict[str, Any]] = {"agent": {"greeting": GREETING}, "hold": {"render": False}}


def row_of(name: str) -> Row:
    """Return a row of the drill."""
    return next(item for item in FULL if item.name == name)


@asynccontextmanager
async def open_sip_rig(
    row: Row, media_server: MediaServer, folder: Path, *, run: int = 1
) -> AsyncIterator[Rig]:
    """Start a lab and a server for a LiveKit's calls, and stop both with the block.

    Args:
        row: The row; its plan breaks what is to be broken.
        media_server: Has a number already.
        folder: For the files of all parts.
        run: Seeds the lab's dice.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    options = LabOptions(seed=run, steady=row.steady, keep_audio=True, uncapped=row.uncapped)
    numbers = itertools.count(1)

    def ring() -> SipTelephone:
        return SipTelephone(folder / f"phone-{next(numbers)}", media_server.uri())

    async with (
        lab_process(options=options) as lab,
        LabControl(lab) as control,
        answering(media_server, folder, lab=lab, changes=CHANGES) as served,
    ):
        calls = served.logs / "calls"
        yield Rig(row=row, lab=lab, control=control, ring=ring, calls=calls, path=SIP_PATH)
