"""Emits the events of twenty calls, like a server, until it is killed; prints what was stored.

Each line is `KIND NAME`: a callback, voicemail or alert that was stored, or a turn that was told.
"""

import asyncio
import sys
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from bot.tools.caller_requests import RecordedMessage
from calls.entry import Emit
from calls.events import AgentSaid, CallStarted, MessageLeft, TurnDecided
from calls.incident import IncidentBegan
from configuration.settings import Settings
from fallbacks.failure import Severity
from operations.database.database import Database
from operations.notify.alert_outbox import AlertOutbox, ReportedEvent
from operations.record.callbacks import Callback, Callbacks
from operations.record.record_listener import keep_record, make_record_listener
from operations.telemetry.emitter import Emitter
from runtime import clock

CALLS = 20
STAGES = {
    "stt": [{"name": "ears", "kind": "local"}],
    "llm": [{"name": "mind", "kind": "openai", "url": "http://127.0.0.1:9/v1", "api_key": "k"}],
    "tts": [{"name": "voice", "kind": "local"}],
}


def accepted(what: str, which: object) -> None:
    print(what, which, flush=True)  # noqa: T201 - read by the test


async def talk(emit: Emit, number: int) -> None:
    emit(CallStarted(transport="loopback", agent="desk", caller=f"+155501{number:02}"))
    for turn in count(1):
        emit(TurnDecided(turn=turn, at_s=clock.monotonic()))
        emit(AgentSaid(turn=turn, text=f"sentence {turn}"))
        if number == 0:
            accepted("told", f"{turn}@{clock.utc_now().timestamp()}")
        await asyncio.sleep(0.1)


async def call_back(callbacks: Callbacks) -> None:
    for number in count():
        wish = Callback(
            call_id=f"b{number}", number="+15550101", reason="r", asked_at=datetime.now(UTC)
        )
        await callbacks.add(wish)
        accepted("callback", wish.call_id)
        await asyncio.sleep(0.02)


async def leave(folder: Path, emitter: Emitter) -> None:
    for number in count():
        call_id = f"m{number}"
        emit = emitter.emit_for(call_id)
        emit(CallStarted(transport="loopback", agent="desk", caller="+15550101"))
        message = RecordedMessage(folder / f"{call_id}.wav", rate_hz=8000)
        message.add(b"\1\0" * 800)
        if await message.finish():
            emit(MessageLeft(length_s=0.1))
            accepted("voicemail", call_id)
        await asyncio.sleep(0.02)


async def report(outbox: AlertOutbox) -> None:
    for number in count():
        began = IncidentBegan(
            stage="tts", rung=str(number), kind="auth", severity=Severity.HIGH, reason="", then=""
        )
        await outbox.report([ReportedEvent(fact=began, at_s=1_800_000_000.0, holder="x")])
        accepted("alert", number)
        await asyncio.sleep(0.02)


async def main(url: str, folder: Path) -> None:
    tree = {"stages": STAGES, "logs": {"dir": folder}, "storage": {"url": url}}
    settings = Settings.model_validate(tree)
    database = Database(url)
    record_listener = make_record_listener(settings, database)
    emitter = Emitter(listeners=[record_listener], utc_now=clock.utc_now)
    async with (
        keep_record(record_listener, settings, emit=emitter.emit_for("")),
        emitter,
        asyncio.TaskGroup() as tasks,
    ):
        for number in range(CALLS):
            tasks.create_task(talk(emitter.emit_for(f"c{number}"), number))
        tasks.create_task(call_back(Callbacks(database)))
        tasks.create_task(leave(folder / "messages", emitter))
        tasks.create_task(report(AlertOutbox(database)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
