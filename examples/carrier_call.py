"""A telephone call without a telephone: the lab's carrier calls a real server as Twilio does.

Run it with `.venv/bin/python examples/carrier_call.py`; it needs no keys.
"""

import asyncio
from pathlib import Path

from pydantic import SecretStr

from bot.server.server import Extras, bind_socket, run_server
from calls.entry import Entry
from calls.events import AgentSaid, TranscriptFinal
from lab.process import lab_process, with_lab
from lab.recording import read_recording, write_recording
from lab.simulators.carrier.carrier import Carrier
from operations.telemetry import logs

RECORDING = Path(__file__).parents[1] / "tests" / "fixtures" / "callers" / "04_hours_band.wav"
OUT = Path("out") / "carrier_call"
AUTH_TOKEN = "made up; a real one comes from the environment"  # noqa: S105 - signs our own calls
RATE_HZ = 8_000  # the sample rate of telephone lines


class Printer:
    """Prints the conversation as it happens."""

    async def hear(self, entry: Entry) -> None:
        """Print the words of an event, if it has any."""
        if isinstance(entry.event, TranscriptFinal | AgentSaid):
            print(f"{type(entry.event).__name__}: {entry.event.text}")


async def main() -> None:
    """Call, ask one question, hear the answer, hang up."""
    listener = bind_socket("127.0.0.1", 0)
    async with lab_process() as lab:
        tree = {
            "server": {"port": listener.getsockname()[1]},
            "transports": {"twilio": {"enabled": True, "auth_token": SecretStr(AUTH_TOKEN)}},
            "logs": {"dir": OUT / "logs"},
        }
        settings = with_lab(lab, tree)
        async with run_server(settings, [listener], extras=Extras(listeners=[Printer()])):
            async with Carrier(settings.server.public_url, AUTH_TOKEN) as call:
                # The recording begins with a pause, for the greeting.
                await call.say(read_recording(RECORDING, rate_hz=RATE_HZ).samples)
                await call.listen(within_s=20)
            heard = call.heard()
    write_recording(OUT / "heard.wav", heard, rate_hz=RATE_HZ)
    print(f"What the caller heard is in {OUT / 'heard.wav'}.")


if __name__ == "__main__":  # needed: the lab's process imports this file again
    logs.set_up(level="WARNING", folder=None)
    asyncio.run(main())
