"""The store of clips: texts as audio in the voices of the TTS rungs, in files named by content."""

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
from numpy.typing import NDArray

from configuration.settings import Settings
from configuration.texts import read_texts
from processors.holding.own_voice import LOCAL, SpokenClip
from processors.holding.utterance_rules import FallbackText, built_in_texts
from providers.provider import RungSpec


def load_utterances(file: Path | None = None) -> tuple[FallbackText, ...]:
    """Return the fallback texts in `file`; without it, Holdline's own.

    Raises:
        ConfigError: The file cannot be read or is not a valid list of texts.
    """
    return read_texts(file) if file else built_in_texts()


RATE_HZ: Final = 16_000  # of stored clips; resampled to 8000 for telephone calls
MAX_LOADED: Final = 256  # clips in memory; about 15 are needed for each voice and sample rate
LOAD_S: Final = 0.3  # to read a clip from disk; after this, the local voice is used (chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A text in a voice.

    Attributes:
        kind: The rung's kind, such as `cartesia`.
        spoken: Everything else that determines the sound, as JSON: voice, model, language, options,
            and a service of Pipecat's with its constructor's arguments. Not the URL: behind another
            one, the same voice is expected.
        text: The text.
    """

    kind: str
    spoken: str
    text: str

    @classmethod
    def of(cls, rung: RungSpec, text: str) -> "Clip":
        """Return the clip of a text in a rung's voice."""
        spoken = [rung.voice, rung.model, rung.language, dict(rung.options)]
        if rung.service:
            spoken += [rung.service, dict(rung.init)]
        content = json.dumps(spoken, sort_keys=True, default=str)
        return cls(kind=rung.kind, spoken=content, text=text)

    @property
    def name(self) -> str:
        """The file name: equal for equal audio, and different otherwise."""
        content = "\n".join((self.kind, self.spoken, str(RATE_HZ), self.text))
        return hashlib.sha256(content.encode()).hexdigest()[:32]


def clips_folder(settings: Settings) -> Path:
    """Return the folder of the clips, by default `clips` in the log folder."""
    return settings.hold.clips_dir or settings.logs.dir / "clips"


class ClipStore:
    """A folder of wav files, with the most recently used ones in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        # A thread of its own, so that a hanging disk does not occupy the local voice's threads.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="clips")

    def has(self, clip: Clip) -> bool:
        """Return whether the clip exists; blocks."""
        return self._path_of_clip(clip).is_file()

    def save(self, clip: Clip, samples: NDArray[np.int16]) -> None:
        """Save 16-bit mono samples at `RATE_HZ` atomically; blocks."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._path_of_clip(clip).with_suffix(".partial")
        soundfile.write(str(partial), samples, RATE_HZ, subtype="PCM_16", format="WAV")
        partial.replace(self._path_of_clip(clip))

    async def load(self, clip: Clip, rate_hz: int) -> bytes | None:
        """Return 16-bit mono at that rate; `None` if there is no clip, or not within `LOAD_S`.

        A clip that was read stays in memory; one that was not is tried again each time.
        """
        key = (clip.name, rate_hz)
        if key not in self._loaded:
            pcm = await self._read_in_time(clip, rate_hz)
            if pcm is None:
                return None
            self._loaded[key] = pcm
            if len(self._loaded) > MAX_LOADED:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(key)
        return self._loaded[key]

    async def _read_in_time(self, clip: Clip, rate_hz: int) -> bytes | None:
        """Read a clip in the store's thread; `None` after `LOAD_S`, while the thread goes on."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LOAD_S):
                return await loop.run_in_executor(self._thread, self._read_clip, clip, rate_hz)
        except TimeoutError:
            return None

    def _read_clip(self, clip: Clip, rate_hz: int) -> bytes | None:
        """Return a clip, resampled if necessary; `None` if it cannot be read. Blocks."""
        try:
            samples, found_hz = soundfile.read(str(self._path_of_clip(clip)), dtype="int16")
        except (OSError, soundfile.LibsndfileError):
            return None
        if found_hz != rate_hz:
            samples = soxr.resample(samples, found_hz, rate_hz)
        return np.asarray(samples, dtype="<i2").tobytes()

    def _path_of_clip(self, clip: Clip) -> Path:
        return self._folder / f"{clip.name}.wav"


class CallVoice:
    """Speaks fallback texts in one call: by a clip in the active voice, or with the local voice."""

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
        """Create the voice of one call.

        Args:
            store: The rendered clips.
            voices: The rungs of the TTS stage by name, the preferred one first.
            following: The names of the rungs that speak the caller's language.
            speaking: Returns the name of the active rung; `None` before the first speech.
            local: Returns a text in a language as audio at `rate_hz`; runs in a thread.
            rate_hz: The sample rate of the call.
        """
        self._store = store
        self._voices = voices
        self._following = following
        self._speaking = speaking
        self._local = local
        self._rate_hz = rate_hz

    async def say(self, text: str, language: str) -> SpokenClip:
        """Return the clip in the active voice; without a clip, the text in the local voice.

        Before the first speech, the preferred voice is used. `language` is the text's.
        """
        rung = self._voices.get(self._speaking() or next(iter(self._voices)))
        if rung and rung.name in self._following:
            rung = replace(rung, language=language)
        pcm = await self._store.load(Clip.of(rung, text), self._rate_hz) if rung else None
        if rung and pcm:
            return SpokenClip(pcm, rung.name)
        return SpokenClip(await self.say_locally(text, language), LOCAL)

    async def say_locally(self, text: str, language: str) -> bytes:
        """Return the text in the local voice, as 16-bit mono at the call's rate; uses a thread."""
        return await asyncio.to_thread(self._local, text, language)
