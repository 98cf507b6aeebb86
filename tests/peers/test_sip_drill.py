"""Rows of the drill on a real telephone line: what the caller hears when providers fail.

How soon it is heard depends on the machine; `benchmarks/doors.py` measures that. A cut voice
and a silent model, which concern no line, are rows of the drill.
"""

from pathlib import Path

from lab.drill.measured import MeasuredRun
from lab.drill.plans import play
from lab.drill.rows import LOST
from tests.peers.media_server import MediaServer
from tests.peers.sip_rig import open_sip_rig, row_of

SPOKEN_S = 4.0  # of an answer of six, interrupted at its beginning


async def played(name: str, media_server: MediaServer, folder: Path) -> MeasuredRun:
    await media_server.add_number()
    run = MeasuredRun()
    async with open_sip_rig(row_of(name), media_server, folder) as rig:
        await play(rig, run)
    await media_server.remove_all()
    return run


async def test_with_everything_dead_the_caller_is_spoken_to(
    media_server: MediaServer, tmp_path: Path
) -> None:
    run = await played("all-dead", media_server, tmp_path)

    assert run.measures["first_speech_s"] < LOST


async def test_the_agent_stops_for_a_caller_who_interrupts(
    media_server: MediaServer, tmp_path: Path
) -> None:
    run = await played("barge-in-failover", media_server, tmp_path)

    assert run.measures["nothing_to_break"] == 0
    assert run.measures["quiet_s"] < SPOKEN_S  # else it has said everything
    assert run.turns[-1].verdict.whole
