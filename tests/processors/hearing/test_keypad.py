"""Which keys belong to an entry, and which have another meaning."""

import asyncio
from collections.abc import Callable

import pytest
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import InputDTMFFrame
from pipecat.tests.utils import SleepFrame, run_test

from calls.keyed_entry import PAUSE_S
from calls.line import CallerLine
from calls.turn import Turn
from processors.hearing.keypad import KeyedFrame, Keypad
from processors.turn.floor import Floor, FloorEvent, KeyGiven

pytestmark = pytest.mark.virtual_time


async def pressed(
    keys: str, *, own: str = "", taken: Callable[[], bool] = lambda: False
) -> tuple[str, list[str]]:
    """Return the first letter of each key's owner, and the entries for the model."""
    clock = asyncio.get_running_loop().time
    floor, turn, owners = Floor(CallerLine()), Turn(budget_s=1.5), list[str]()

    def listen(event: FloorEvent) -> None:
        if isinstance(event, KeyGiven):
            owners.append(event.owner[0])

    floor.listeners.append(listen)
    keypad = Keypad(own_keys=own, is_taken=taken, floor=floor, turn=turn, clock=clock)
    frames = [InputDTMFFrame(button=KeypadEntry(key)) for key in keys]
    down, _ = await run_test(keypad, frames_to_send=[*frames, SleepFrame(PAUSE_S + 0.5)])
    return "".join(owners), [frame.recorded for frame in down if isinstance(frame, KeyedFrame)]


@pytest.mark.parametrize(
    ("keys", "own", "owners", "entries"),
    [
        ("47", "", "ee", ["Keys pressed: **"]),
        ("0", "0", "a", []),
        ("470", "0", "eee", ["Keys pressed: ***"]),
        ("47#0", "0", "eeea", ["Keys pressed: **"]),
    ],
)
async def test_a_key_with_its_own_meaning_is_a_digit_within_an_entry(
    keys: str, own: str, owners: str, entries: list[str]
) -> None:
    assert await pressed(keys, own=own) == (owners, entries)


async def test_keys_of_the_menu_do_not_reach_the_model() -> None:
    assert await pressed("1", taken=lambda: True) == ("m", [])


async def test_keys_before_the_menu_do_not_reach_the_model_with_the_menus() -> None:
    answers = iter([False, False, True])

    assert await pressed("471", taken=lambda: next(answers)) == ("eem", [])
