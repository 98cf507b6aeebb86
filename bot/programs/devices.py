"""The list of this machine's microphones and loudspeakers."""

from rich.console import Console
from rich.table import Table

from bot.exits import UsageError
from transports.local.sound_card import list_devices
from transports.local.sound_devices import NAMES, NoAudioError, SoundDevice


def print_devices() -> None:
    """Print every device with its number.

    Raises:
        UsageError: They cannot be listed; one line that says what to install.
    """
    try:
        devices = list_devices()
    except NoAudioError as missing:
        raise UsageError(str(missing)) from missing
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    if not devices:
        console.print("this machine has no sound device")
        return
    table = Table(box=None, pad_edge=False)
    for each in ("number", "name", "microphone", "loudspeaker", "default"):
        table.add_column(each)
    for each in devices:
        table.add_row(*_row(each))
    console.print(table)


def _row(device: SoundDevice) -> tuple[str, ...]:
    able = ("yes" if count else "" for count in (device.inputs, device.outputs))
    defaults = ", ".join(NAMES[side] for side in device.default_for)
    return str(device.number), device.name, *able, defaults
