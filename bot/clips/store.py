"""What was rendered ahead: texts as sound in the voices of the agent's rungs, kept by content."""

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
import soxr
import yaml
from numpy.typing import NDArray

from bot.config.errors import ConfigError, Problem
from bot.config.settings import Settings
from bot.config.yaml_text import value_of
from processors.holding.utterance_rules import FallbackText, utterances_of
from providers.provider import RungSpec

BUILT_IN: Final = Path(__file__).parents[2] / "processors" / "holding" / "utterances.yaml"


def load_utterances(file: Path | None = None) -> tuple[FallbackText, ...]:
    """Return the texts in `file`, or those that come with Holdline.

    Raises:
        ConfigError: The file cannot be read, or holds something that is no text.
    """
    path = file or BUILT_IN
    try:
        texts = value_of(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError([Problem(where=str(path), text=f"cannot be read: {error}")]) from error
    if not isinstance(texts, dict):
        raise ConfigError(
            [Problem(where=str(path), text="holds no languages; see the one we bring")]
        )
    try:
        return utterances_of(texts)
    except ValueError as wrong:
        lines = str(wrong).splitlines()
        raise ConfigError([Problem(where=str(path), text=line) for line in lines]) from wrong


RATE_HZ: Final = 16_000  # what clips are kept at; a telephone's 8000 are made of it
KEPT: Final = 256  # clips in memory: some 15 texts for each voice and rate
LOAD_S: Final = 0.3  # for one that is not; then the local voice says it: a disk may hang (chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A text in a voice.

    Attributes:
        kind: The provider's.
        spoken: What decides how it sounds: voice, model, language, options, as one line.
        text: What is said.
    """

    kind: str
    spoken: str
    text: str

    @classmethod
    def of(cls, rung: RungSpec, text: str) -> "Clip":
        """Return the clip of a text in a rung's voice."""
        spoken = [rung.voice, rung.model, rung.language, dict(rung.options)]
        return cls(kind=rung.kind, spoken=json.dumps(spoken, sort_keys=True), text=text)

    @property
    def name(self) -> str:
        """What it is kept under: the same for the same sound, another for any other."""
        content = "\n".join((self.kind, self.spoken, str(RATE_HZ), self.text))
        return hashlib.sha256(content.encode()).hexdigest()[:32]


def clips_folder(settings: Settings) -> Path:
    """Return where clips are kept."""
    return settings.hold.clips_dir or settings.logs.dir / "clips"


class ClipStore:
    """A folder of wav files, and the latest of them in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        # A thread of its own: a disk that hangs takes none that the local voice needs.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="clips")

    def has(self, clip: Clip) -> bool:
        """Say whether it is there."""
        return self._path(clip).is_file()

    def save(self, clip: Clip, samples: NDArray[np.int16]) -> None:
        """Keep 16-bit mono samples at `RATE_HZ`; whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._path(clip).with_suffix(".partial")
        soundfile.write(str(partial), samples, RATE_HZ, subtype="PCM_16", format="WAV")
        partial.replace(self._path(clip))

    async def load(self, clip: Clip, rate_hz: int) -> bytes | None:
        """Return a clip as 16-bit mono at that rate; None: there is none, or not in time."""
        key = (clip.name, rate_hz)
        if key not in self._loaded:
            pcm = await self._read_in_time(clip, rate_hz)
            if pcm is None:
                return None
            self._loaded[key] = pcm
            if len(self._loaded) > KEPT:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(key)
        return self._loaded[key]

    async def _read_in_time(self, clip: Clip, rate_hz: int) -> bytes | None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LOAD_S):
                return await loop.run_in_executor(self._thread, self._read, clip, rate_hz)
        except TimeoutError:
            return None

    def _read(self, clip: Clip, rate_hz: int) -> bytes | None:
        try:
            samples, found_hz = soundfile.read(str(self._path(clip)), dtype="int16")
        except (OSError, soundfile.LibsndfileError):
            return None
        if found_hz != rate_hz:
            samples = soxr.resample(samples, found_hz, rate_hz)
        return np.asarray(samples, dtype="<i2").tobytes()

    def _path(self, clip: Clip) -> Path:
        return self._folder / f"{clip.name}.wav"


class CallVoice:
    """Says texts in one call: in the voice that speaks now if rendered, else in the local one."""

    def __init__(
        self,
        store: ClipStore,
        *,
        voices: Mapping[str, RungSpec],
        following: Collection[str] = (),
        speaking: Callable[[], str | None],
        local: Callable[[str, str], bytes],
        rate_hz: int,
    ) -> None:
        """Choose among clips for one call.

        Args:
            store: What was rendered.
            voices: The rungs that speak, by name, the preferred one first.
            following: The names of those that speak the caller's language.
            speaking: Returns the name of the one that speaks now; None: none has spoken yet.
            local: Speaks a text in a language at `rate_hz`; runs in a thread.
            rate_hz: Of the caller's line.
        """
        self._store = store
        self._voices = voices
        self._following = following
        self._speaking = speaking
        self._local = local
        self._rate_hz = rate_hz

    async def say(self, text: str, language: str) -> bytes:
        """Return a clip in the voice that speaks now; without one, the local voice."""
        rung = self._voices.get(self._speaking() or next(iter(self._voices)))
        if rung and rung.name in self._following:
            rung = replace(rung, language=language)
        pcm = await self._store.load(Clip.of(rung, text), self._rate_hz) if rung else None
        return pcm or await self.say_locally(text, language)

    async def say_locally(self, text: str, language: str) -> bytes:
        """Return the local voice."""
        return await asyncio.to_thread(self._local, text, language)
