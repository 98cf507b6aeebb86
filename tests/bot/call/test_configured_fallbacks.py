"""The outage menu that the settings and the line allow."""

from pathlib import Path

import pytest

from bot.call.configured_fallbacks import menu_ear, menu_steps
from bot.call.last_resort import LastResort
from bot.clips.store import ClipStore, load_utterances
from operations.database.database import Database
from operations.record.callbacks import Callbacks
from processors.holding.on_device_words import NoEar
from processors.holding.outage_rules import STEPS, Step
from processors.holding.utterance_rules import FallbackText, Situation
from providers.menu_ear import MenuEar


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'holdline.db'}"


def test_no_keypad_menu_is_read_to_a_caller_without_a_keypad() -> None:
    assert menu_steps(STEPS, keys=True) == [
        *(Step.CLIP, Step.WORDS, Step.KEYPAD, Step.CHOSEN, Step.GOODBYE)
    ]
    assert menu_steps(STEPS, keys=False) == [Step.CLIP, Step.WORDS, Step.CHOSEN, Step.GOODBYE]
    without = [step for step in STEPS if step is not Step.WORDS]
    assert menu_steps(without, keys=False) == [Step.CLIP, Step.GOODBYE]


OURS = load_utterances()
OF_AN_OWNER = tuple(text for text in OURS if text.situation is not Situation.ASK_PERSON)
KEYS_ALONE = tuple(step for step in STEPS if step is not Step.WORDS)


@pytest.mark.parametrize(
    ("utterances", "steps", "listens"),
    [(OURS, STEPS, True), (OURS, KEYS_ALONE, False), (OF_AN_OWNER, STEPS, False)],
    ids=["ours", "keys alone", "texts that ask for no words"],
)
async def test_spoken_choices_are_heard_where_enabled_and_have_their_texts(
    url: str,
    tmp_path: Path,
    utterances: tuple[FallbackText, ...],
    steps: tuple[Step, ...],
    *,
    listens: bool,
) -> None:
    shared = LastResort(
        utterances=utterances,
        clips=ClipStore(tmp_path),
        callbacks=Callbacks(Database(url)),
        messages=tmp_path,
        ear=MenuEar(),
    )

    found = [menu_ear(shared, steps, keys=keys) for keys in (True, False)]

    assert [isinstance(item, NoEar) for item in found] == [not listens] * 2
    await shared.close()
