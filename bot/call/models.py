"""The models for voice activity and the end of a turn, loaded once and shared by all calls.

Pipecat loads both for every call, which takes 40 MB and blocks the event loop for 0.16 s (measured
on two cores). A session of the ONNX runtime keeps no state between runs, and several threads may
call its `Run` at once, so calls share the sessions and each keeps its own state.

Calls also share the threads of the turn detector (`processors/turn/detector.py`).
"""

import asyncio
import inspect
import random
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import as_file, files
from typing import Any, Final

import onnxruntime
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams
from pipecat.utils.context.word_completion_tracker import WordCompletionTracker

from calls.entry import Emit
from configuration.settings import TurnSettings
from processors.speaking.aligner import align_sound
from processors.speaking.alignment_rules import AlignSound
from processors.turn.detector import WIDTH, DetectorSettings, TurnDetector, TurnJudges
from processors.turn.echo import EchoEar
from processors.turn.speech_rules import START_S, Background
from processors.turn.voice_activity import SharedSilero
from providers.sockets import tls_context
from runtime import clock
from runtime.pcm import SAMPLE_BYTES


@dataclass(frozen=True, slots=True)
class VoiceModels:
    """The loaded models; pass one instance to every call of a process."""

    _silero: Any
    _smart_turn: Any

    @classmethod
    def load(cls) -> "VoiceModels":
        """Load both from Pipecat's wheel. Takes a few tenths of a second: call it in a thread."""
        return cls(SileroVADAnalyzer()._model.session, _load_smart_turn())  # noqa: SLF001 - no public way

    def vad(
        self,
        turn: TurnSettings,
        *,
        echo: EchoEar | None = None,
        background: Background | None = None,
    ) -> SharedSilero:
        """Return a voice activity detector for one call.

        Args:
            turn: The settings for the end of the caller's turn.
            echo: Recognises our own voice; `None` to take it for the caller's.
            background: Recognises speech behind the caller; `None` to take it for the caller's.
        """
        params = VADParams(
            confidence=turn.vad_confidence,
            start_secs=START_S,
            stop_secs=turn.vad_stop_s,
            min_volume=turn.vad_min_volume,
        )
        return SharedSilero(self._silero, params=params, echo=echo, background=background)

    def turn_detector(
        self,
        turn: TurnSettings,
        vad: SharedSilero,
        *,
        judges: TurnJudges,
        clock: Callable[[], float],
        emit: Emit,
    ) -> TurnDetector:
        """Return an end-of-turn detector for one call.

        Args:
            turn: The settings for the end of the caller's turn.
            vad: The call's voice activity detector.
            judges: Run the turn model for all calls.
            clock: Monotonic, in seconds.
            emit: Takes the event of each judged pause.
        """
        settings = DetectorSettings(
            unfinished_s=turn.smart_turn_stop_s,
            within_s=turn.decide_within_s,
            stop_s=turn.vad_stop_s,
            early=turn.decide_early,
        )
        return TurnDetector(
            self._smart_turn,
            vad=vad,
            faintness=vad.faintness,
            settings=settings,
            judges=judges,
            clock=clock,
            emit=emit,
        )


_IN_PIPECAT: Final = files("pipecat.audio.turn.smart_turn.data").iterdir()
SMART_TURN: Final = max(
    (file for file in _IN_PIPECAT if file.name.endswith("-cpu.onnx")), key=lambda file: file.name
)
"""The newest version of the model that Pipecat's wheel has."""


def _load_smart_turn() -> Any:
    """Load Pipecat's model of finished turns, so that it judges alike on all processors.

    Its weights have 8 bits. On x86 processors without VNNI, the runtime multiplies them with
    instructions that overflow, unless this option is set: 33 of 160 judgements were different from
    those of exact arithmetic without it, and 11 with it, which takes a tenth more time (measured).
    Other processors ignore it.
    """
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")
    with as_file(SMART_TURN) as path:
        return onnxruntime.InferenceSession(path, options)


RATES_HZ: Final = (8000, 16_000)  # telephones; everything else
PIECE_BYTES: Final = 640  # 20 ms at 16 kHz
PIECES_OF_TURN: Final = 10
JUDGEMENTS_AT_ONCE: Final = min(WIDTH, 2)  # the second takes 20 MB more, a third is rare (measured)
ROUNDS: Final = 2  # rounds; in the first, the judgements may not overlap


async def warm_up(models: VoiceModels) -> None:
    """Run once what every call runs; takes a few tenths of a second.

    Libraries import modules, compile patterns and set up models on first use (eighty modules, a few
    patterns, both models). Without this, the first caller would wait for that, and so would all
    others in the same event loop.
    """
    await asyncio.to_thread(_warm_up_voice_activity, models)
    await _judge_at_once(models)
    await asyncio.to_thread(_align_once)
    await asyncio.to_thread(_fill_caches)
    await asyncio.to_thread(tls_context)


def _warm_up_voice_activity(models: VoiceModels) -> None:
    """Use the voice activity model once at each rate, as its first use is slow; blocks."""
    for rate_hz in RATES_HZ:
        vad: VADAnalyzer = models.vad(TurnSettings())
        vad.set_sample_rate(rate_hz)
        vad.voice_confidence(bytes(SAMPLE_BYTES * vad.num_frames_required()))


def _align_once() -> None:
    """Align a second of noise, as the first sentences of each voice are aligned; blocks."""
    asked = AlignSound(
        attempt=0,
        words=("Hello", "there."),
        text="Hello there.",
        pcm=random.Random(0).randbytes(SAMPLE_BYTES * RATES_HZ[0]),  # noqa: S311 - a second of noise
        first=0,
        from_s=0.0,
        received_s=1.0,
    )
    align_sound(asked, language="en", rate_hz=RATES_HZ[0])


async def _judge_at_once(models: VoiceModels) -> None:
    """Judge two turns at once, so that their memory is taken now and kept (decision 0004)."""
    judges = TurnJudges(clock=clock.monotonic)
    for _ in range(ROUNDS):
        await asyncio.gather(*(_judge_once(models, judges) for _ in range(JUDGEMENTS_AT_ONCE)))
    judges.close()


async def _judge_once(models: VoiceModels, judges: TurnJudges) -> None:
    """Judge a silent turn, so that no caller waits for the slow first use of the model."""
    turn = TurnSettings()
    vad = models.vad(turn)
    vad.set_sample_rate(RATES_HZ[-1])
    detector = models.turn_detector(
        turn, vad, judges=judges, clock=clock.monotonic, emit=lambda event: None
    )
    detector.set_sample_rate(RATES_HZ[-1])
    for _ in range(PIECES_OF_TURN):
        detector.append_audio(bytes(PIECE_BYTES), is_speech=True)
    await detector.analyze_end_of_turn()
    await detector.cleanup()


# Anyio imports these on first use.
LAZY_MODULES: Final = ("anyio._core._sockets", "anyio._core._streams")


def _fill_caches() -> None:
    """Import modules, read source and compile patterns that libraries keep after the first use.

    Blocks.
    """
    for name in LAZY_MODULES:
        import_module(name)
    inspect.getsource(warm_up)  # FastAPI looks up the source of its handlers
    WordCompletionTracker("a word")  # for voices that report word times
