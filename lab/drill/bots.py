"""Plays rows on a developer's own Pipecat bot, and says when a call proves nothing.

A bot that does not use the lab's providers, or not the one that a row breaks, would hold the row
without having met its fault. A bot that no healthy call can reach ends the drill.
"""

import asyncio
from collections.abc import Iterator
from typing import Final

import aiohttp

from lab.drill.measured import MeasuredRun
from lab.drill.plans import play
from lab.drill.rig import Rig
from lab.drill.rows import HEALTHY, LOST
from lab.process import STAGE_OF
from runtime.exits import CommandError, UsageError

ASK_S: Final = 5.0
HEALTHY_S: Final = 120.0  # for healthy calls, which a bot that blocks its process never ends
CURES: Final = {
    "stt": "recogniser; give yours DEEPGRAM_API_KEY and DEEPGRAM_BASE_URL",
    "llm": "model; give yours OPENAI_API_KEY and OPENAI_BASE_URL",
    "tts": "voice; give yours CARTESIA_API_KEY and CARTESIA_BASE_URL, or those of ELEVENLABS",
}


async def play_bot(rig: Rig, run: MeasuredRun, side: str) -> None:
    """Play the rig's row once on a bot.

    Args:
        rig: The rig.
        run: Keeps the measures so far, even if this raises.
        side: The bot's file, for messages.

    Raises:
        CommandError: The call proves nothing about the row, or `bot()` has raised an error.
        UsageError: The same in a healthy call: no row can be played.
    """
    try:
        async with asyncio.timeout(HEALTHY_S if rig.row.name == HEALTHY else None):
            await play(rig, run)
    except Exception as error:
        if why := await _why_unjudged(rig, run):
            raise _error_of_run(rig, f"{side}: {why}") from error
        raise
    if why := await _why_unjudged(rig, run):
        raise _error_of_run(rig, f"{side}: {why}")


def _error_of_run(rig: Rig, text: str) -> Exception:
    """Return the exception to raise: `UsageError` in the healthy row, which blames the bot."""
    return UsageError(text) if rig.row.name == HEALTHY else CommandError(text)


async def _why_unjudged(rig: Rig, run: MeasuredRun) -> str:
    """Return why a call proves nothing; empty if it proves something."""
    asked = {name for name in rig.control.names if await rig.control.requests(name)}
    if _was_silent(run) and (raised := await _last_raised(rig)):
        return raised
    broken = {fault.provider for fault in rig.row.breaks}
    if broken and not broken & asked:
        return f"it made no request to {' or '.join(sorted(broken))}, which this row breaks"
    if rig.row.name != HEALTHY:
        return ""
    heard = "; the caller heard nothing" if _was_silent(run) else ""
    if missing := next(_unasked_stages(rig, asked), ""):
        return (
            f"a healthy call asked no simulated {CURES[missing]} from the environment"
            f" (docs/drill.md, Your own bot){heard}"
        )
    return "the caller heard nothing in a healthy call" if _was_silent(run) else ""


def _unasked_stages(rig: Rig, asked: set[str]) -> Iterator[str]:
    stages = {STAGE_OF[item["kind"]] for item in rig.lab.instances if item["name"] in asked}
    return (stage for stage in CURES if stage not in stages)


def _was_silent(run: MeasuredRun) -> bool:
    greeted = run.measures.get("greeting_s", LOST) != LOST
    return not greeted and all(turn.verdict.first_speech_s is None for turn in run.turns)


async def _last_raised(rig: Rig) -> str:
    """Return the error that `bot()` raised last; empty if there was none."""
    if rig.agent is None:
        return ""
    timeout = aiohttp.ClientTimeout(total=ASK_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{rig.agent.url}/raised") as answer,
        ):
            return str(await answer.json())
    except aiohttp.ClientConnectorError:
        return "its process has ended"
    except (aiohttp.ClientError, TimeoutError):
        return "it does not answer HTTP requests any more; does it block the event loop?"
