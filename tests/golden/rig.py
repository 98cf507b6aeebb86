"""The environment of a golden call: server, lab and telephones in one process.

A call is played as the drill plays it, with the drill's own `Rig`, but on virtual time
(tests/virtual_time.py), so that it takes seconds and repeats exactly.
"""

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.control import LabControl
from lab.drill.rig import Rig
from lab.drill.rows import Row
from lab.simulators.carrier.carrier import Carrier
from tests.bot.judged_call import AUTH_TOKEN, JudgedCall, listening
from tests.kit.near import running

SEED = 11  # of `random`, which spreads the waits between two attempts


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRig:
    """The drill's rig and the parts that a golden call needs in addition.

    Attributes:
        rig: The drill's own.
        server: The server in this process, and its events.
        carriers: The carriers of the calls so far, in order.
    """

    rig: Rig
    server: JudgedCall
    carriers: list[Carrier]


@asynccontextmanager
async def open_golden_rig(
    row: Row, folder: Path, changes: Mapping[str, Any]
) -> AsyncIterator[GoldenRig]:
    """Run a server and a lab while the block runs.

    Args:
        row: What breaks, and when.
        folder: Where the server's files go.
        changes: Configuration sections to merge over the rig's own.
    """
    random.seed(SEED)
    carriers: list[Carrier] = []
    async with listening(folder, changes, None) as server:
        lab = running(server.lab)

        def ring() -> Carrier:
            carriers.append(Carrier(server.url, AUTH_TOKEN))
            return carriers[-1]

        async with LabControl(lab) as control:
            calls = server.logs / "calls"
            rig = Rig(row=row, lab=lab, control=control, ring=ring, calls=calls)
            yield GoldenRig(rig=rig, server=server, carriers=carriers)
