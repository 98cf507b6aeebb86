"""Two agents in one file: each answers its own number, and the front desk answers all others.

Run it with `.venv/bin/python examples/two_agents.py`; it needs no keys. The agents are defined in
`two_agents.yaml`: copy its `agent` and `agents` into your own `holdline.yaml`.
"""

import asyncio
from pathlib import Path

import yaml
from pydantic import SecretStr

from bot.server.server import Extras, bind_socket, run_server
from calls.entry import Entry
from calls.events import AgentSaid, CallStarted
from lab.process import lab_process, with_lab
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.webhook import PhoneCall
from operations.telemetry import logs

AGENTS = Path(__file__).with_suffix(".yaml")
NUMBERS = ("+15550100", "+15550101", "+15550199")
AUTH_TOKEN = "made up; a real one comes from the environment"  # noqa: S105 - signs our own calls


class Printer:
    """Prints which agent answered each number, and what it said."""

    async def hear(self, entry: Entry) -> None:
        """Print which agent answers, or what it says."""
        match entry.event:
            case CallStarted(called=called, agent=agent):
                print(f"{called} is answered by {agent}")
            case AgentSaid(text=text):
                print(f"  {text}")
            case _:
                pass


async def main() -> None:
    """Call each number and print which agent answers."""
    listener = bind_socket("127.0.0.1", 0)
    tree = yaml.safe_load(AGENTS.read_text(encoding="utf-8")) | {
        "server": {"port": listener.getsockname()[1]},
        "transports": {"twilio": {"enabled": True, "auth_token": SecretStr(AUTH_TOKEN)}},
        "logs": {"dir": Path("out") / "two_agents" / "logs"},
    }
    async with lab_process() as lab:
        settings = with_lab(lab, tree)
        async with run_server(settings, [listener], extras=Extras(listeners=[Printer()])):
            for number in NUMBERS:
                phone = PhoneCall(called=number)
                async with Carrier(settings.server.public_url, AUTH_TOKEN, phone=phone) as call:
                    await call.listen()


if __name__ == "__main__":  # needed: the lab's process imports this file again
    logs.set_up(level="WARNING", folder=None)
    asyncio.run(main())
