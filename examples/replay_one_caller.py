"""One recorded caller against the fault lab: what was said, and where the time of each turn went.

Run it with `.venv/bin/python examples/replay_one_caller.py [RECORDING.wav]`; it needs no keys.
"""

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path

from bot.workers.process import open_process
from calls.events import AgentSaid, AnswerHeard, TranscriptFinal
from lab.process import lab_process, with_lab
from lab.recording import read_recording
from lab.replay import KeptEntries, replay_one
from operations.telemetry import logs

RECORDING = Path(__file__).parents[1] / "tests" / "fixtures" / "callers" / "01_hours.wav"
OUT = Path("out") / "replay_one_caller"


async def main(recording: Path) -> None:
    """Replay one recording; print the conversation, with the parts of each answer's delay."""
    notes = KeptEntries()
    async with lab_process() as lab:
        settings = with_lab(lab, {"logs": {"dir": OUT / "logs"}})
        async with open_process(settings, words=True, listeners=[notes]) as process:
            replayed = await replay_one(
                process, notes, read_recording(recording), path=recording, folder=OUT
            )
    for event in replayed.events:
        match event:
            case TranscriptFinal():
                print(f"caller: {event.text}")
            case AgentSaid():
                print(f"agent:  {event.text}")
            case AnswerHeard():
                parts = ", ".join(
                    f"{name} {took:.2f}" for name, took in asdict(event.parts).items()
                )
                print(f"        answered in {event.v2v_s:.2f} s ({parts})")
            case _:
                pass
    print(f"What the caller heard is in {OUT / 'heard.wav'}.")


if __name__ == "__main__":  # needed: the lab's process imports this file again
    logs.set_up(level="WARNING", folder=None)
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else RECORDING))
