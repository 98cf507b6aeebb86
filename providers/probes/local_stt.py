"""The local recogniser: start a process, load its models, recognise half a second."""

import asyncio

from providers.probes.morsels import speech
from providers.provider import ProbeFailedError, RungSpec
from providers.sphinx_ear import Ear
from providers.sphinx_process import SphinxProcess
from providers.sphinx_worker import Command


async def probe(rung: RungSpec, *, timeout_s: float) -> None:
    """Recognise half a second of speech, in whatever language.

    Raises:
        ProbeFailedError: The recogniser does not start, or does not answer.
    """
    samples, rate_hz = speech()
    process = SphinxProcess(Ear(**{**rung.options, "rate_hz": rate_hz}))
    try:
        async with asyncio.timeout(timeout_s):
            await process.start()
            process.send(Command.BEGIN)
            process.send(Command.AUDIO, samples)
            process.send(Command.FINISH)
            trouble = await _trouble_of(process)
    except (TimeoutError, OSError) as wrong:
        raise ProbeFailedError(f"{rung.name}: the recogniser does not answer") from wrong
    finally:
        await process.close()
    if trouble:
        raise ProbeFailedError(f"{rung.name}: {trouble}")


async def _trouble_of(process: SphinxProcess) -> str:
    """Return what went wrong; empty if it answered."""
    async for heard in process.results():
        if heard.what == "final":
            return ""
        if heard.what == "failed":
            return heard.text
    return "the recogniser ended"
