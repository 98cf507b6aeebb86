"""Rows of the drill on a real telephone line: what the caller hears when providers fail.

How soon it is heard depends on the machine; `benchmarks/sip_door.py` measures that.
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


async def test_a_silent_model_loses_no_word(media_server: MediaServer, tmp_path: Path) -> None:
    run = await played("llm-silent", media_server, tmp_path)

    (turn,) = run.turns
    assert turn.verdict.whole, (turn.verdict.missing, turn.verdict.extra)
    assert {"openai", "openai-b"} <= {request.provider for request in turn.requests}


async def test_a_voice_that_is_cut_is_finished_by_another(
    media_server: MediaServer, tmp_path: Path
) -> None:
    run = await played("tts-cut-reset", media_server, tmp_path)

    (turn,) = run.turns
    assert turn.verdict.whole, (turn.verdict.missing, turn.verdict.extra)
    assert turn.verdict.voices == ("cartesia", "elevenlabs")


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
