"""Your own tool: a Python function that the model may use during a call.

Run it with `.venv/bin/python examples/own_tool.py`; it needs no keys. To use the tool in your own
configuration, put this file next to your `holdline.yaml` and add the two lines below. The model
learns the rest from the function's name, docstring and types:

    agent:
      tools: [{entry_point: "own_tool:opening_hours"}]
"""

import asyncio
from pathlib import Path

from bot.workers.process import open_process
from calls.events import AgentSaid, ToolCalled, TranscriptFinal
from lab.process import lab_process, with_lab
from lab.recording import read_recording
from lab.replay import KeptEntries, replay_one
from operations.telemetry import logs

RECORDING = Path(__file__).parents[1] / "tests" / "fixtures" / "callers" / "01_hours.wav"
OUT = Path("out") / "own_tool"


def opening_hours() -> str:
    """Say when the shop is open."""
    return "from seven to seven on weekdays, closed on Sunday"


async def main() -> None:
    """Replay a caller who asks for the opening hours."""
    notes = KeptEntries()
    agent = {"tools": [{"entry_point": "own_tool:opening_hours"}]}
    async with lab_process() as lab:
        settings = with_lab(lab, {"agent": agent, "logs": {"dir": OUT / "logs"}})
        async with open_process(settings, words=True, listeners=[notes]) as process:
            replayed = await replay_one(
                process, notes, read_recording(RECORDING), path=RECORDING, folder=OUT
            )
    for event in replayed.events:
        match event:
            case TranscriptFinal():
                print(f"caller: {event.text}")
            case ToolCalled():
                print(f"tool:   {event.tool} {event.outcome} after {event.took_s:.3f} s")
            case AgentSaid():
                print(f"agent:  {event.text}")
            case _:
                pass


if __name__ == "__main__":  # needed: the lab's process imports this file again
    logs.set_up(level="WARNING", folder=None)
    asyncio.run(main())
