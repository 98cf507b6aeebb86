"""Voices and all other speech follow the caller's language."""

from pipecat.frames.frames import Frame, TranscriptionFrame, TTSUpdateSettingsFrame
from pipecat.frames.frames import UserStoppedSpeakingFrame as Stopped
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.tests.utils import run_test
from pipecat.transcriptions.language import Language

from processors.hearing.caller_words import CallerLanguage


def words(text: str, language: Language | None) -> TranscriptionFrame:
    return TranscriptionFrame(text, "", "2026-03-01T12:00:00Z", language)


async def told(*frames: Frame) -> tuple[list[Frame], list[str], FrameProcessor]:
    voice, followed = FrameProcessor(), list[str]()
    language = CallerLanguage(first="en", voices=[voice], follow=followed.append)
    down, _ = await run_test(language, frames_to_send=list(frames))
    kept = (TTSUpdateSettingsFrame, TranscriptionFrame)
    return [item for item in down if isinstance(item, kept)], followed, voice


async def test_a_turn_in_another_language_is_told_to_each_voice_before_its_words() -> None:
    down, followed, voice = await told(words("quiero una cita", Language.ES))

    update, said = down
    assert isinstance(said, TranscriptionFrame)
    assert isinstance(update, TTSUpdateSettingsFrame)
    assert update.service is voice
    assert update.delta is not None
    assert update.delta.language == "es"
    assert not update.interruptible
    assert followed == ["es"]


async def test_an_unchanged_language_is_not_reported() -> None:
    down, followed, _ = await told(
        words("hello", Language.EN), words("hm", None), Stopped(), words("well then", Language.EN)
    )

    assert [type(item) for item in down] == 3 * [TranscriptionFrame]
    assert followed == []
