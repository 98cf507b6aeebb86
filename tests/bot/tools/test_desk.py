"""What is done for a caller who chose it from the menu of keys."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from sqlalchemy import event

from bot.call.last_resort import LastResort, _ear, _steps
from bot.clips.store import ClipStore
from bot.clips.utterances import load_utterances
from bot.tools.desk import CallDesk, Unkept
from fallbacks.descent import STEPS, Step
from fallbacks.utterances import FallbackText, Situation
from processors.on_device_words import NoEar
from providers.menu_ear import MenuEar
from storage.callbacks import Callbacks
from storage.database import Database
from transports.leg import LegFacts

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


async def hang_up(reason: str) -> None:
    del reason


def desk(
    database: Database, folder: Path, *, caller: str = "+15550101", call_id: str = "c1"
) -> CallDesk:
    return CallDesk(
        callbacks=Callbacks(database),
        messages=folder / "messages",
        call_id=call_id,
        facts=LegFacts(transport="twilio", sample_rate_hz=8000, caller=caller),
        end=hang_up,
        utc_now=lambda: AT,
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/holdline.db"


async def test_a_callback_is_kept_with_the_callers_number(url: str, tmp_path: Path) -> None:
    database = Database(url)

    kept = await desk(database, tmp_path).call_back("llm is down")

    (waiting,) = await Callbacks(database).waiting()
    await database.close()
    assert kept
    assert (waiting.number, waiting.reason, waiting.asked_at) == ("+15550101", "llm is down", AT)


@pytest.mark.parametrize("caller", ["", "anonymous", "+1"])
async def test_nobody_is_promised_a_call_whose_number_is_not_known(
    url: str, tmp_path: Path, caller: str
) -> None:
    database = Database(url)

    assert not await desk(database, tmp_path, caller=caller).call_back("llm is down")
    assert await Callbacks(database).waiting() == []
    await database.close()


async def test_nobody_is_promised_a_call_that_could_not_be_noted(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/file/holdline.db")

    assert not await desk(database, tmp_path).call_back("llm is down")
    await database.close()


async def test_nobody_is_promised_a_call_that_a_full_disk_did_not_take(
    url: str, tmp_path: Path
) -> None:
    database = Database(url)
    engine = await database.engine()
    async with engine.connect() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()

    def fill(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(engine.sync_engine, "connect", fill)
    await engine.dispose()
    room = [desk(database, tmp_path, call_id=f"c{n}") for n in range(20)]  # a page takes eleven

    kept = [await each.note_callback("x" * 290) for each in room]

    assert kept[0] is None
    assert kept[-1] is Unkept.NOT_STORED
    assert len(await Callbacks(database).waiting()) == kept.count(None)
    await database.close()


async def test_a_number_that_is_not_known_is_another_reason_than_a_lost_wish(
    url: str, tmp_path: Path
) -> None:
    database = Database(url)

    assert await desk(database, tmp_path, caller="").note_callback("billing") is Unkept.NO_NUMBER
    assert await desk(database, tmp_path).note_callback("billing") is None
    await database.close()


async def test_a_message_is_a_wav_file_of_the_call(url: str, tmp_path: Path) -> None:
    database = Database(url)
    pcm = np.arange(8000, dtype="<i2").tobytes()

    kept = await desk(database, tmp_path).keep_message(pcm, 8000)

    samples, rate_hz = soundfile.read(str(tmp_path / "messages" / "c1.wav"), dtype="int16")
    assert kept
    assert rate_hz == 8000
    assert samples.tobytes() == pcm
    await database.close()


async def test_a_message_that_the_disk_does_not_take_is_told_as_lost(
    url: str, tmp_path: Path
) -> None:
    database = Database(url)
    (tmp_path / "messages").touch()

    assert not await desk(database, tmp_path).keep_message(b"\0\0" * 80, 8000)
    await database.close()


def test_no_menu_of_keys_is_read_to_a_caller_without_keys() -> None:
    assert _steps(STEPS, keys=True) == [
        *(Step.CLIP, Step.WORDS, Step.KEYPAD, Step.CHOSEN, Step.GOODBYE)
    ]
    assert _steps(STEPS, keys=False) == [Step.CLIP, Step.WORDS, Step.CHOSEN, Step.GOODBYE]
    without = [each for each in STEPS if each is not Step.WORDS]
    assert _steps(without, keys=False) == [Step.CLIP, Step.GOODBYE]


OURS = load_utterances()
OF_AN_OWNER = tuple(each for each in OURS if each.situation is not Situation.ASK_PERSON)
KEYS_ALONE = tuple(each for each in STEPS if each is not Step.WORDS)


@pytest.mark.parametrize(
    ("utterances", "steps", "listens"),
    [(OURS, STEPS, True), (OURS, KEYS_ALONE, False), (OF_AN_OWNER, STEPS, False)],
    ids=["ours", "keys alone", "texts that ask for no words"],
)
async def test_words_are_heard_where_they_are_wanted_and_there_are_texts_that_ask_for_them(
    url: str,
    tmp_path: Path,
    utterances: tuple[FallbackText, ...],
    steps: tuple[Step, ...],
    *,
    listens: bool,
) -> None:
    database = Database(url)
    shared = LastResort(
        utterances=utterances,
        clips=ClipStore(tmp_path),
        database=database,
        callbacks=Callbacks(database),
        messages=tmp_path,
        ear=MenuEar(),
    )

    found = [_ear(shared, steps, keys=keys) for keys in (True, False)]

    assert [isinstance(each, NoEar) for each in found] == [not listens] * 2
    await shared.close()
