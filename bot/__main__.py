"""The command line: `holdline COMMAND`, which is `python -m bot COMMAND`."""

import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from bot.cli import (
    alerts,
    campaign,
    clips,
    db,
    demo,
    dial,
    doctor,
    drill,
    evidence,
    export,
    forget,
    lab,
    mic,
    providers,
    replay,
    say,
    serve,
    sip,
    transcribe,
)
from bot.config.environment import use_one_thread_for_arrays
from bot.config.errors import ConfigError, without_secrets
from bot.exits import BAD_USAGE, DONE, FAILED, CommandError, UsageError
from telemetry.known_secrets import KNOWN

INTERRUPTED = 130  # what shells expect after Ctrl-C

app = typer.Typer(
    name="holdline",
    help="A telephone agent that never goes silent.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.command)
app.command("serve")(serve.command)
app.command("mic")(mic.command)
app.command("replay")(replay.command)
app.command("drill", cls=drill.DrillCommand)(drill.command)
app.command("lab")(lab.command)
app.command("clips")(clips.command)
app.command("doctor")(doctor.command)
app.command("providers")(providers.command)
app.command("alerts")(alerts.command)
app.command("db")(db.command)
app.command("evidence")(evidence.command)
app.command("forget")(forget.command)
app.command("export")(export.command)
app.command("sip")(sip.command)
app.command("campaign")(campaign.command)
app.command("dial")(dial.command)
app.command("transcribe")(transcribe.command)
app.command("say")(say.command)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer hands it over so
    if wanted:
        typer.echo(f"holdline {version('holdline')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[  # noqa: FBT002 - an option is a parameter
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """A telephone agent that never goes silent."""


def main() -> None:
    """Run the command that the arguments name and leave with its exit code."""
    use_one_thread_for_arrays()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Return the exit code of a command: 0 done, 1 ran and failed, 2 bad usage."""
    return guard(lambda: app(args=list(arguments), prog_name="holdline", standalone_mode=False))


def guard(command: Callable[[], object]) -> int:
    """Return the exit code of what a command does.

    Whatever goes wrong is told in one line on stderr for each problem, never in a traceback.
    """
    try:
        result = command()
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the top of the process: a line, not a traceback
        code, lines = _describe(error)
        for line in lines:
            print(KNOWN.hide(" ".join(line.split())), file=sys.stderr)  # noqa: T201 - for the terminal
        return code
    return result if isinstance(result, int) else DONE


def _describe(error: Exception) -> tuple[int, Sequence[str]]:
    match error:
        case ConfigError():
            return BAD_USAGE, [each.line for each in error.problems]
        case typer.TyperException():
            return BAD_USAGE, [
                f"holdline: {error.format_message()} (holdline --help lists what there is)"
            ]
        case UsageError() | CommandError():
            return error.code, [f"holdline: {error}"]
        case ExceptionGroup():
            return _describe(error.exceptions[0])
        case _:
            return FAILED, [_describe_mistake(error)]


def _describe_mistake(error: Exception) -> str:
    """Name a mistake of ours and where it happened, since there is no traceback to read it from."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"holdline failed: {type(error).__name__}: {without_secrets(str(error))}{place}"


if __name__ == "__main__":
    main()
