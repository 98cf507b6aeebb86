"""The command line: `holdline COMMAND`, which is `python -m bot COMMAND`."""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from bot.cli import (
    alerts,
    campaign,
    clips,
    db,
    dial,
    dnc,
    doctor,
    evidence,
    export,
    forget,
    inbox,
    init,
    mic,
    providers,
    say,
    serve,
    sip,
    texts,
    transcribe,
)
from bot.programs.guard import guard
from configuration.environment import use_one_thread_for_arrays
from configuration.folders import keep_private
from lab.cli import demo, drill, lab, replay, try_

app = typer.Typer(
    name="holdline",
    help="A telephone agent that never goes silent.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.command)
app.command("init")(init.command)
app.command("serve")(serve.command)
app.command("mic")(mic.command)
app.command("try")(try_.command)
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
app.command("inbox")(inbox.command)
app.command("export")(export.command)
app.command("sip")(sip.command)
app.command("campaign")(campaign.command)
app.command("dial")(dial.command)
app.command("dnc")(dnc.command)
app.command("texts")(texts.command)
app.command("transcribe")(transcribe.command)
app.command("say")(say.command)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer's signature
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
    """Run the command that the arguments name, and exit with its exit code."""
    use_one_thread_for_arrays()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code: 0 done, 1 ran and failed, 2 bad usage.

    The files that a command writes are readable by their owner only.
    """
    keep_private()
    return guard(lambda: app(args=list(arguments), prog_name="holdline", standalone_mode=False))


if __name__ == "__main__":
    main()
