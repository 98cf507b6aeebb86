"""`holdline try`: a conversation by text with one's own agent."""

import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, TextIO

import typer

from bot.cli.options import ConfigOption, one_number
from bot.tools.owner_threads import in_thread
from configuration.settings import Settings
from operations.telemetry import logs
from runtime.exits import CommandError
from runtime.loops import run

if TYPE_CHECKING:
    from transports.leg import LegFacts

LINE_CHARACTERS: Final = 10_000  # a longer line is read as two (chosen)
STDIN: Final = 0


def talk_by_text(
    config: ConfigOption = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Use the lab's simulated model, as without keys.")
    ] = False,
    caller: Annotated[
        str | None,
        typer.Option("--caller", metavar="NUMBER", help="The number that you call from."),
    ] = None,
    called: Annotated[
        str, typer.Option("--called", metavar="NUMBER", help="The number that you call.")
    ] = "",
) -> None:
    """Talk with your agent by text, and see its tool calls.

    Each line of the input is what you say. Instructions, tools and models are those of a call;
    tools really run. Nothing is stored, and nobody is called or connected. Ctrl-D ends.
    """
    logs.set_up(level="WARNING", folder=None)
    from bot.batch.batch import has_no_key, load_for_stage  # noqa: PLC0415 - as in `serve`

    settings, missing = load_for_stage(config, "llm")
    simulated = simulated or (missing is not None and has_no_key(settings, "llm"))
    if missing and not simulated:
        raise missing
    number = one_number(caller, region=settings.server.region) if caller else ""
    from bot.workers.configuration import check_tools  # noqa: PLC0415 - imports Pipecat, after the log set-up
    from transports.leg import LegFacts  # noqa: PLC0415 - as above

    check_tools(settings)
    facts = LegFacts(transport="text", sample_rate_hz=8000, caller=number, called=called)
    run(
        _talk_to_simulated_model(settings, facts)
        if simulated
        else _hold_conversation(settings, facts)
    )


async def _talk_to_simulated_model(settings: Settings, facts: "LegFacts") -> None:
    """Hold the conversation with the lab's model in place of the configured ones."""
    from lab.process import LabOptions, lab_process, with_lab  # noqa: PLC0415 - only here

    typer.echo("holdline: a simulated model answers, by a script", err=True)
    async with lab_process(options=LabOptions(text_only=True)) as lab:
        ladder = with_lab(lab).stages.llm
        stages = settings.stages.model_copy(update={"llm": ladder})
        await _hold_conversation(settings.model_copy(update={"stages": stages}), facts)


async def _hold_conversation(settings: Settings, facts: "LegFacts") -> None:
    """Hold the conversation until the input or the call ends.

    Raises:
        CommandError: A line got no answer, because no model could give one.
    """
    from bot.call.text_call import open_text_call  # noqa: PLC0415 - imports Pipecat, after the log set-up

    # Not `sys.stdin`: Python cannot end while a thread still reads from that.
    source = os.fdopen(STDIN, encoding="utf-8", errors="replace", closefd=False)
    async with open_text_call(settings, facts, _print_line) as call:
        call.greet()
        while (line := await _read_line(source)) and await call.say(line):
            pass
    if call.failed:
        raise CommandError("at least one line got no answer")


def _print_line(what: str, text: str) -> None:
    """Print a line of the conversation; a failure goes to stderr."""
    failed = what == "failed"
    typer.echo(f"{'holdline' if failed else what}: {text}", err=failed)


async def _read_line(source: TextIO) -> str:
    """Return a line of the input with its end; empty at the end of the input."""
    if source.isatty():
        typer.echo("you: ", nl=False)
    # In a daemon thread, so that Ctrl-C ends the program at once.
    return await in_thread(partial(source.readline, LINE_CHARACTERS), threading.BoundedSemaphore())
