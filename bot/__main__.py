"""The command line: `holdline COMMAND`, which is `python -m bot COMMAND`."""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from bot.cli.alerts import send_test_alert
from bot.cli.campaign import manage_campaign
from bot.cli.clips import render_clips
from bot.cli.db import upgrade_database
from bot.cli.dial import dial_number
from bot.cli.dnc import manage_do_not_call_list
from bot.cli.doctor import check_setup
from bot.cli.evidence import write_post_mortem
from bot.cli.export import export_record
from bot.cli.forget import erase_caller
from bot.cli.inbox import show_or_change_inbox
from bot.cli.init import write_first_configuration
from bot.cli.mic import talk_by_microphone
from bot.cli.providers import manage_providers
from bot.cli.say import write_text_as_speech
from bot.cli.serve import serve_calls
from bot.cli.sip import register_numbers
from bot.cli.texts import print_texts
from bot.cli.transcribe import transcribe_file
from bot.programs.guard import guard
from configuration.environment import use_one_thread_for_arrays
from configuration.folders import keep_private
from lab.cli.demo import run_demo
from lab.cli.drill import DrillCommand, run_drill
from lab.cli.lab import run_simulated_providers
from lab.cli.replay import replay_callers
from lab.cli.try_ import talk_by_text

app = typer.Typer(
    name="holdline",
    help="A telephone agent that never goes silent.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(run_demo)
app.command("init")(write_first_configuration)
app.command("serve")(serve_calls)
app.command("mic")(talk_by_microphone)
app.command("try")(talk_by_text)
app.command("replay")(replay_callers)
app.command("drill", cls=DrillCommand)(run_drill)
app.command("lab")(run_simulated_providers)
app.command("clips")(render_clips)
app.command("doctor")(check_setup)
app.command("providers")(manage_providers)
app.command("alerts")(send_test_alert)
app.command("db")(upgrade_database)
app.command("evidence")(write_post_mortem)
app.command("forget")(erase_caller)
app.command("inbox")(show_or_change_inbox)
app.command("export")(export_record)
app.command("sip")(register_numbers)
app.command("campaign")(manage_campaign)
app.command("dial")(dial_number)
app.command("dnc")(manage_do_not_call_list)
app.command("texts")(print_texts)
app.command("transcribe")(transcribe_file)
app.command("say")(write_text_as_speech)


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
