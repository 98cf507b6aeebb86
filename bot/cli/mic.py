"""`holdline mic`: the same pipeline on this machine's microphone and loudspeaker."""

from typing import Annotated, Any, TypeAlias

import typer

from bot.cli.options import ConfigOption
from configuration.folders import check_folders
from configuration.loading import load
from runtime.loops import run

HeadphonesOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--headphones",
        help="You wear headphones, so the microphone stays on and you can interrupt the agent.",
    ),
]


def talk_by_microphone(
    list_devices: Annotated[
        bool, typer.Option("--list-devices", help="List microphones and loudspeakers, and exit.")
    ] = False,
    microphone: Annotated[
        str | None,
        typer.Option("--input", metavar="DEVICE", help="The microphone's number or name."),
    ] = None,
    loudspeaker: Annotated[
        str | None,
        typer.Option("--output", metavar="DEVICE", help="The loudspeaker's number or name."),
    ] = None,
    headphones: HeadphonesOption = False,
    config: ConfigOption = None,
) -> None:
    """Talk with the agent by microphone and loudspeaker.

    Without headphones the microphone is off while the agent speaks. Ctrl-C ends the call with a
    goodbye.
    """
    if list_devices:
        from bot.programs.mic import print_devices  # noqa: PLC0415 - only needed here

        print_devices()
        return
    flags: dict[str, Any] = {
        "transports.local.input": microphone,
        "transports.local.output": loudspeaker,
        "transports.local.headphones": headphones or None,
    }
    loaded = load(config, flags=flags)
    check_folders(loaded)
    from bot.programs.mic import talk  # noqa: PLC0415 - loads the sound library

    run(talk(loaded.settings))
