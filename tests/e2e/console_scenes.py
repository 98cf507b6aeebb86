"""Scenes of a stand-in's console: calls, rungs, alerts and answers, in plain JSON values."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Locator, Page

from scripts.picture_notes import IMAGES, write_note
from tests.e2e.stand_in import StandIn
from tests.e2e.test_pages import WELL

KEEP: Final = bool(os.environ.get("KEEP_PICTURES"))  # in docs/images, as the documents show them
LADDERS: Final = {
    "stt": ("deepgram", "deepgram-b"),
    "llm": ("openai", "openai-b"),
    "tts": ("cartesia", "elevenlabs"),
}
KINDS: Final = {"deepgram-b": "deepgram", "openai-b": "openai"}


def now() -> datetime:
    return datetime.now(UTC)


def lately(**said: Any) -> dict[str, Any]:
    """Return a rung's figures for the last 15 minutes."""
    return {
        "answers": 214,
        "p50_s": 0.21,
        "p95_s": 0.34,
        "failures": 0,
        "failovers": 0,
        "last_failure": None,
        **said,
    }


def rungs(**changed: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every rung, healthy except these, by name."""
    return [
        WELL
        | {"stage": stage, "name": name, "kind": KINDS.get(name, name), "rank": rank}
        | {"recent": lately(answers=214 if rank == 1 else 0), "withdrawn": False}
        | changed.get(name.replace("-", "_"), {})
        for stage, names in LADDERS.items()
        for rank, name in enumerate(names, 1)
    ]


def live_call(number: int, **said: Any) -> dict[str, Any]:
    return {
        "id": f"call{number}",
        "agent": "desk",
        "transport": "twilio",
        "caller": f"+1555****{number:02d}",
        "called": "+1555****99",
        "direction": "inbound",
        "ending": f"01{number:02d}",
        "started_at": (now() - timedelta(seconds=40 + 7 * number)).isoformat(),
        "state": ("listening", "processing", "speaking")[number % 3],
        "providers": {stage: names[0] for stage, names in LADDERS.items()},
        "turn": 1 + number % 4,
        "v2v_s": 0.8 + 0.05 * (number % 8),
        "slowest_s": 1.2,
        "verdict": "served",
        "failures": 0,
        "failovers": 0,
        "barge_ins": 0,
        "down": [],
        "step": "",
        "step_says": "",
        "last": "",
        "last_says": "",
        **said,
    }


def past_call(number: int, **said: Any) -> dict[str, Any]:
    return {
        "id": f"past{number}",
        "transport": "twilio",
        "caller": f"+1555****{30 + number}",
        "started_at": (now() - timedelta(minutes=2 + 3 * number)).isoformat(),
        "length_s": 65.0 + 11 * number,
        "state": "ended",
        "reason": "caller_hung_up",
        "ended_says": "the caller hung up",
        "why_says": "",
        "failovers": 0,
        "failures": 0,
        "cost": 0.0123,
        "currency": "USD",
        **said,
    }


def alert(**said: Any) -> dict[str, Any]:
    began = now() - timedelta(seconds=140)
    return {
        "key": "tts-cartesia-1",
        "revision": 1,
        "status": "open",
        "severity": "HIGH",
        "stage": "tts",
        "provider": "cartesia",
        "kind": "network",
        "title": "HIGH: Cartesia cannot be reached",
        "reason": "the connection was reset",
        "instead": "elevenlabs is used instead",
        "cure": "check its url",
        "began_at": began.isoformat(timespec="seconds"),
        "resolved_at": None,
        "resolved_how": "",
        "lasted_s": None,
        "callers_hurt": 2,
        "escalated": False,
        "seen_by": "",
        **said,
    }


def answers(*, slow_s: float = 0.0) -> list[list[Any]]:
    """Return ten minutes of answers; the last two minutes are this much slower."""
    begin = now().timestamp() - 600
    return [
        [
            begin + 6 * at,
            0.82 + 0.07 * (at * 7 % 5) + (slow_s if at > 80 and at % 3 == 0 else 0.0),
            f"call{at % 5}",
        ]
        for at in range(100)
    ]


def healthy(it: StandIn) -> None:
    """Show five calls and no incident."""
    it.providers = rungs()
    it.calls |= {
        "live": [live_call(index) for index in range(5)],
        "turns": answers(),
        "recent": [past_call(index) for index in range(6)],
        "today": {"since": now().isoformat(), "cost": 3.4217, "currency": "USD"},
    }
    it.show_calls(it.calls["live"])


def outage(it: StandIn) -> None:
    """Show the preferred voice as down for two minutes, and its standby in use."""
    failure = {"at": now().isoformat(), "kind": "network", "says": "Cartesia cannot be reached"}
    lost = lately(failures=9, failovers=5, last_failure=failure)
    open_voice = {"state": "open", "usable": False, "half_opens_in_s": 12.4, "recent": lost}
    moved = {
        "providers": {"stt": "deepgram", "llm": "openai", "tts": "elevenlabs"},
        "failures": 1,
        "failovers": 1,
        "last": "cartesia: network",
        "last_says": "Cartesia cannot be reached",
        "verdict": "degraded",
    }
    healthy(it)
    it.providers = rungs(cartesia=open_voice, elevenlabs={"recent": lately(answers=31, p50_s=0.28)})
    it.alerts = [alert()]
    it.calls |= {
        "live": [live_call(index, **moved) for index in range(5)],
        "turns": answers(slow_s=0.8),
        "lately": {"served": 20, "degraded": 5, "hurt": 2, "lost": 0, "failovers": 5},
    }
    it.show_calls(it.calls["live"])
    told = {"call_id": "call1", "at": now().isoformat(), "stage": "tts"}
    it.emit(
        **told, number=3, event="AttemptFailed", provider="cartesia", kind="network", after_s=0.4
    )
    chosen = {"before": "cartesia", "after": "elevenlabs", "cause": "failover"}
    it.emit(**told, number=4, event="RungChosen", **chosen)
    opened = {"provider": "cartesia", "before": "closed", "after": "open", "cause": "failures"}
    it.emit(**told, number=5, event="BreakerMoved", **opened, after_s=60.0)


async def picture(page: Page, name: str, folder: Path, *, part: Locator | None = None) -> None:
    """Take a picture of the whole page, or a part of it; for the documents if pictures are kept."""
    await page.mouse.move(0, 0)
    await page.evaluate("window.scrollTo(0, 0); document.activeElement.blur()")
    path = (IMAGES if KEEP else folder) / f"console-{name}.png"
    if part is None:
        await page.screenshot(path=path, full_page=True)
    else:
        await part.screenshot(path=path)
    if KEEP:
        write_note(path.stem)
