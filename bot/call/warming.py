"""What would be done for the first call alone is done before there is one.

Libraries import, compile and set up on first use: eighty modules, a few patterns, both models. All
of that would be the first caller's wait, in the loop that serves the others.
"""

import asyncio
import inspect
from typing import Final

from pipecat.audio.vad.vad_analyzer import VADAnalyzer
from pipecat.utils.context.word_completion_tracker import WordCompletionTracker

from bot import clock
from bot.call.models import VoiceModels
from bot.config.settings import TurnSettings
from processors.turn.judges import WIDTH, TurnJudges
from providers.tls import tls_context

RATES_HZ: Final = (8000, 16_000)  # of a telephone; of everything else
PIECE_BYTES: Final = 640
PIECES: Final = 10
AT_ONCE: Final = min(WIDTH, 2)  # looks; a second takes 20 MB more, a third is rare (measured)
TIMES: Final = 2  # the first time they need not overlap


async def warm_up(models: VoiceModels) -> None:
    """Have everything used once that every call uses; takes a few tenths of a second."""
    await asyncio.to_thread(_listen_once, models)
    await _judge_at_once(models)
    await asyncio.to_thread(_compile_patterns)
    await asyncio.to_thread(tls_context)


def _listen_once(models: VoiceModels) -> None:
    for rate_hz in RATES_HZ:
        vad: VADAnalyzer = models.vad(TurnSettings())
        vad.set_sample_rate(rate_hz)
        vad.voice_confidence(bytes(2 * vad.num_frames_required()))


async def _judge_at_once(models: VoiceModels) -> None:
    """Look for two callers at the same time: what that takes, a process keeps (decision 0004)."""
    judges = TurnJudges(clock=clock.monotonic)
    for _ in range(TIMES):
        await asyncio.gather(*(_judge_once(models, judges) for _ in range(AT_ONCE)))
    judges.close()


async def _judge_once(models: VoiceModels, judges: TurnJudges) -> None:
    turn = TurnSettings()
    vad = models.vad(turn)
    vad.set_sample_rate(RATES_HZ[-1])
    detector = models.turn_detector(
        turn, vad, judges=judges, clock=clock.monotonic, tell=lambda event: None
    )
    detector.set_sample_rate(RATES_HZ[-1])
    for _ in range(PIECES):
        detector.append_audio(bytes(PIECE_BYTES), is_speech=True)
    await detector.analyze_end_of_turn()
    await detector.cleanup()


def _compile_patterns() -> None:
    inspect.getsource(warm_up)  # FastAPI looks up where each of its handlers stands
    WordCompletionTracker("a word")  # of a voice that says when each is spoken
