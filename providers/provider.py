"""What a provider is to the rest of Holdline: how it is built, and how it is probed."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast

from calls.transcript import Transcript
from fallbacks.classification import classify_error, classify_http
from fallbacks.clauses import ClauseRule
from fallbacks.failure import Failure, failed

if TYPE_CHECKING:  # importing Pipecat prints a banner, and configuration is read before that
    from pipecat.processors.frame_processor import FrameProcessor

Stage: TypeAlias = Literal["stt", "llm", "tts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RungSpec:
    """One place in a stage's ladder, with all that its service is built from."""

    name: str
    stage: Stage
    kind: str
    url: str
    sample_rate_hz: int  # of the leg; the provider is asked for the same, so nothing is resampled
    language: str = "en"
    model: str | None = None  # None: the provider's default, named in its file
    voice: str | None = None
    api_key: str = field(default="", repr=False)
    timeout_s: float = 10.0  # bounds one request; a turn's deadline is shorter and not set here
    alternatives: int = 1  # readings that a recogniser is asked for, the best one included
    shared: Any = None  # what all calls share of this rung, from `Provider.share`
    instructions: str = ""  # a language model's system message
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeRecording:
    """A recording as it lies on the disk.

    Attributes:
        content: The file's bytes, in whatever container.
        language: What is spoken in it; None: the recogniser is to find out.
    """

    content: bytes = field(repr=False)
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PenQuestion:
    """What a model is asked outside a call: an instruction, and what it is about."""

    instruction: str = field(repr=False)
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PenAnswer:
    """What a model wrote, and what it will be billed.

    Attributes:
        model: Who wrote it, as the provider names it.
        prompt_tokens: Those in the provider's cache among them; None: it did not say.
    """

    text: str = field(repr=False)
    model: str
    prompt_tokens: int | None = None
    cached_tokens: int = 0
    completion_tokens: int = 0


class ProbeFailedError(Exception):
    """A provider refused or did not answer a probe; the text is one redacted line.

    Attributes:
        status: Of the HTTP answer, if there was one.
        body: Of that answer, as JSON or text; it may hold the key, so it is never shown.
    """

    def __init__(
        self,
        text: str,
        *,
        failure: Failure | None = None,
        status: int | None = None,
        body: object = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.body = body
        self._failure = failure

    @property
    def timed_out(self) -> bool:
        """Whether it was our time that ran out, whatever that says of the rung."""
        return isinstance(self.__cause__, TimeoutError)

    def failure(self, rung: RungSpec) -> Failure:
        """Return what it means for the rung that was probed."""
        if self._failure is not None:
            return self._failure
        if self.status is not None:
            found = classify_http(rung.kind, self.status, self.body)
        else:
            found = classify_error(self)
        return failed(found, rung.stage, provider=rung.name, reason=str(self))


class ProviderModule(Protocol):
    """What a provider's file defines."""

    def build(self, rung: RungSpec) -> "FrameProcessor":
        """Return the Pipecat service that speaks to this rung."""
        ...

    async def probe(self, rung: RungSpec, *, timeout_s: float) -> None:
        """Ask a cheap authenticated question.

        Raises:
            ProbeFailedError: The provider refused, or did not answer in time.
        """
        ...


class BatchEar(Protocol):
    """What the batch file of a recogniser defines."""

    async def transcribe(self, rung: RungSpec, recording: WholeRecording) -> Transcript:
        """Return what a recording says.

        Raises:
            ServiceError: The rung did not do it; holds the failure.
        """
        ...


class BatchVoice(Protocol):
    """What the batch file of a voice defines."""

    async def synthesise(self, rung: RungSpec, text: str) -> bytes:
        """Return a text as linear 16-bit little-endian samples at the rung's rate.

        Raises:
            ServiceError: The rung did not do it; holds the failure.
        """
        ...


class BatchPen(Protocol):
    """What the batch file of a language model defines."""

    async def write(self, rung: RungSpec, question: PenQuestion) -> PenAnswer:
        """Return an answer in one piece.

        Raises:
            ServiceError: The rung did not do it; holds the failure.
        """
        ...


class SharedService(Protocol):
    """Something that outlives calls."""

    async def close(self) -> None:
        """Let it go."""
        ...


class Sharing(Protocol):
    """What the file of a provider with `shares` defines, too."""

    def share(self, rung: RungSpec) -> SharedService:
        """Return what all calls share of this rung."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One vendor in one stage, as the catalogue lists it."""

    stage: Stage
    kind: str
    module: str  # loaded only when a call needs it
    real_probe: str = ""  # the module of the probe of the real kind; empty: the cheap one is all
    batch: str = ""  # what works outside calls: on recordings, texts, questions; empty: it cannot
    url: str = ""
    schemes: tuple[str, ...] = ()  # what `url` may begin with, the safe one first
    key_env: str | None = None  # None: needs no key
    shares: bool = False  # its module has `share`: something that calls share, such as connections
    clause: ClauseRule | None = None  # what a voice may be given of a sentence; None: all of it
    word_times: bool = False  # says when each word is spoken; otherwise it is estimated

    def build(self, rung: RungSpec) -> "FrameProcessor":
        """Return the Pipecat service that speaks to this rung."""
        return self.load().build(rung)

    def share(self, rung: RungSpec) -> "SharedService | None":
        """Return what all calls of a process share of this rung; the owner closes it."""
        return cast("Sharing", self.load()).share(rung) if self.shares else None

    async def probe(self, rung: RungSpec, *, timeout_s: float) -> None:
        """Ask the rung's server a cheap authenticated question.

        Raises:
            ProbeFailedError: The provider refused, or did not answer in time.
        """
        await self.load().probe(rung, timeout_s=timeout_s)

    async def probe_for_real(self, rung: RungSpec, *, timeout_s: float) -> None:
        """Ask the rung for a morsel of what a caller needs: a word written, spoken or recognised.

        Raises:
            ProbeFailedError: It did not come in time.
        """
        module = importlib.import_module(self.real_probe) if self.real_probe else self.load()
        await cast(ProviderModule, module).probe(rung, timeout_s=timeout_s)

    def load_batch_ear(self) -> BatchEar:
        """Import what takes whole recordings."""
        return cast(BatchEar, importlib.import_module(self.batch))

    def load_batch_voice(self) -> BatchVoice:
        """Import what takes whole texts."""
        return cast(BatchVoice, importlib.import_module(self.batch))

    def load_batch_pen(self) -> BatchPen:
        """Import what answers in one piece."""
        return cast(BatchPen, importlib.import_module(self.batch))

    def load(self) -> ProviderModule:
        """Import the provider's files: they take up to 3 s the first time; do it before a call."""
        if self.real_probe:
            importlib.import_module(self.real_probe)
        return cast(ProviderModule, importlib.import_module(self.module))
