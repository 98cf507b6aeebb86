"""The drill's rig with a real browser between caller and agent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from lab.control import LabControl
from lab.drill.rig import Rig
from lab.drill.rows import Row
from lab.drill.servers import GREETING
from lab.process import LabOptions, lab_process
from tests.bot.serving import free_port
from tests.e2e.browser_telephone import BrowserTelephone
from tests.e2e.hearing import BROWSER
from tests.e2e.severable_serve import severable

CHANGES: Final[dict[str, Any]] = {"agent": {"greeting": GREETING}, "hold": {"render": False}}


@asynccontextmanager
async def open_browser_rig(row: Row, folder: Path, *, run: int = 1) -> AsyncIterator[Rig]:
    """Start a lab and a server that browsers call, and stop both with the block.

    Args:
        row: The row; its plan breaks what is to be broken.
        folder: For the files of all parts.
        run: Seeds the lab's dice.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    options = LabOptions(seed=run, steady=row.steady, keep_audio=True, uncapped=row.uncapped)
    async with (
        lab_process(options=options) as lab,
        LabControl(lab) as control,
        severable(lab, folder, free_port(), changes=CHANGES, environment={}) as server,
    ):
        yield Rig(
            row=row,
            lab=lab,
            control=control,
            ring=lambda: BrowserTelephone(server.url),
            calls=folder / "logs" / "calls",
            path=BROWSER,
        )
