"""The interface of a provider: how it is built and probed."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast
from urllib.parse import urlsplit

from calls.sentences import Vendor
from calls.transcript import Transcript
from fallbacks.classification import classify_error, classify_http
from fallbacks.failure import Failure, failed
from providers.facts import RungFacts
from runtime.hosts import is_loopback

if TYPE_CHECKING:  # importing Pipecat prints a banner, and configuration is read before that
    from pipecat.processors.frame_processor import FrameProcessor

Stage: TypeAlias = Literal["stt", "llm", "tts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RungSpec:
    """One place in a stage's ladder, with everything its service is built from."""

    name: str
    stage: Stage
    kind: str
    url: str
    sample_rate_hz: int  # the leg's; the provider is asked for the same, so nothing is resampled
    language: str = "en"  # empty: the service's own, which may detect it
    model: str | None = None  # `None`: the provider's default, named in its module
    voice: str | None = None
    api_key: str = field(default="", repr=False)
    vendor: Vendor | None = None  # named in sentences about failures; `None` in trials
    timeout_s: float = 10.0  # for one request; a turn's deadline is shorter, and set elsewhere
    alternatives: int = 1  # readings to ask a recogniser for, the best one included
    shared: Any = None  # shared by all calls on this rung, from `Provider.share`
    instructions: str = ""  # a language model's system message
    tools: tuple[Any, ...] = ()  # Pipecat's schemas of the tools that a model's real probe offers
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    facts: RungFacts = field(default_factory=RungFacts)
    service: str = ""  # of `kind: pipecat`: `module:Class`
    init: Mapping[str, Any] = field(default_factory=dict[str, Any])  # its constructor's arguments
    rate_hz: int = 0  # the rate that the service is asked for; 0 stands for the leg's

    @property
    def symptoms(self) -> str:
        """The vendor whose wording its server uses, as in `fallbacks/symptoms.py`."""
        return self.facts.symptoms or self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeRecording:
    """A recording in a file.

    Attributes:
        content: The file's bytes, in any container format.
        language: The spoken language; `None` if the recogniser should detect it.
    """

    content: bytes = field(repr=False)
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PenQuestion:
    """A question to a model outside a call: an instruction and its subject."""

    instruction: str = field(repr=False)
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PenAnswer:
    """A model's answer and its billed tokens.

    Attributes:
        model: The model, as the provider names it.
        prompt_tokens: Including those in the provider's cache; `None` if it did not say.
    """

    text: str = field(repr=False)
    model: str
    prompt_tokens: int | None = None
    cached_tokens: int = 0
    completion_tokens: int = 0


class ProbeFailedError(Exception):
    """A provider refused or did not answer a probe; the text is one redacted line.

    Attributes:
        status: The status of the HTTP answer, if there was one.
        body: Its body, as JSON or text; it may contain the key, so it is never shown.
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
        """Whether our timeout ended the probe."""
        return isinstance(self.__cause__, TimeoutError)

    def failure(self, rung: RungSpec) -> Failure:
        """Return the error as a failure of the probed rung, classified unless that was done."""
        if self._failure is not None:
            return self._failure
        if self.status is None:
            found = classify_error(self)
        else:
            found = classify_http(rung.symptoms, self.status, self.body)
        return failed(found, rung.stage, provider=rung.name, reason=str(self))


class ProviderModule(Protocol):
    """The interface of a provider's module; `probe_real` is in `requests`, if that is named."""

    def build(self, rung: RungSpec) -> "FrameProcessor":
        """Return the Pipecat service that speaks to this rung."""
        ...

    async def probe(self, rung: RungSpec, *, timeout_s: float) -> None:
        """Send a cheap authenticated request.

        Raises:
            ProbeFailedError: The provider refused, or did not answer in time.
        """
        ...

    async def probe_real(self, rung: RungSpec, *, timeout_s: float) -> None:
        """Ask for a little text, speech or recognition, as a caller needs it.

        Raises:
            ProbeFailedError: The provider refused, or the word did not arrive in time.
        """
        ...


class BatchEar(Protocol):
    """The interface of a recogniser's module for whole recordings."""

    async def transcribe(self, rung: RungSpec, recording: WholeRecording) -> Transcript:
        """Return what a recording says.

        Raises:
            ServiceError: The rung failed; holds the failure.
        """
        ...


class BatchVoice(Protocol):
    """The interface of a voice's module for whole texts."""

    async def synthesise(self, rung: RungSpec, text: str) -> bytes:
        """Return a text as linear 16-bit little-endian samples at the rung's rate.

        Raises:
            ServiceError: The rung failed; holds the failure.
        """
        ...


class BatchPen(Protocol):
    """The interface of a language model's module for complete answers."""

    async def write(self, rung: RungSpec, question: PenQuestion) -> PenAnswer:
        """Return one complete answer.

        Raises:
            ServiceError: The rung failed; holds the failure.
        """
        ...


class SharedService(Protocol):
    """A resource that outlives calls."""

    async def close(self) -> None:
        """Release it."""
        ...


class Sharing(Protocol):
    """The additional interface of a provider's module whose facts say `shares`."""

    def share(self, rung: RungSpec) -> SharedService:
        """Return the resource that all calls share on this rung."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One vendor in one stage, as the catalogue lists it."""

    stage: Stage
    kind: str
    module: str  # loaded only when a call needs it
    title: str  # the vendor's name
    requests: str = ""  # the module of the real probe and of work outside calls; else `module`
    url: str = ""
    key_env: str | None = None  # `None`: needs no key
    service: str = ""  # the Pipecat service that the adapter builds, `module:Class`
    facts: RungFacts  # unless the rung's configuration states others

    def owns(self, host: str) -> bool:
        """Return whether a host is the vendor's own: in the domain of its usual address."""
        domain = ".".join((urlsplit(self.url).hostname or "").split(".")[-2:])
        return bool(domain) and f".{host}".endswith(f".{domain}")

    def serves(self, url: str, name: str) -> bool:
        """Return whether a rung's server is the vendor's own, or a simulated one.

        A rung on this machine that is named for its kind counts as simulated.
        """
        host = urlsplit(url).hostname or ""
        is_simulated = is_loopback(host) and name.startswith(self.kind)
        return not host or self.owns(host) or is_simulated

    def build(self, rung: RungSpec) -> "FrameProcessor":
        """Return the Pipecat service that speaks to this rung; imports its modules if necessary."""
        return self.load().build(rung)

    def share(self, rung: RungSpec) -> "SharedService | None":
        """Return what a process's calls share on this rung, if anything; the owner closes it.

        Importing its modules and loading models may block for seconds.
        """
        return cast("Sharing", self.load()).share(rung) if self.facts.shares else None

    async def probe(self, rung: RungSpec, *, timeout_s: float) -> None:
        """Send the rung's server a cheap authenticated request.

        Its modules are imported if necessary, which blocks.

        Raises:
            ProbeFailedError: The provider refused, or did not answer in time.
        """
        await self.load().probe(rung, timeout_s=timeout_s)

    async def probe_for_real(self, rung: RungSpec, *, timeout_s: float) -> None:
        """Ask the rung for a little text, speech or recognition, as a caller needs it.

        Its module for requests is imported if necessary, which blocks.

        Raises:
            ProbeFailedError: The provider refused, or the word did not arrive in time.
        """
        await cast(ProviderModule, self._load_requests()).probe_real(rung, timeout_s=timeout_s)

    def load_batch_ear(self) -> BatchEar:
        """Import the module for whole recordings."""
        return cast(BatchEar, self._load_requests())

    def load_batch_voice(self) -> BatchVoice:
        """Import the module for whole texts."""
        return cast(BatchVoice, self._load_requests())

    def load_batch_pen(self) -> BatchPen:
        """Import the module for complete answers."""
        return cast(BatchPen, self._load_requests())

    def load(self) -> ProviderModule:
        """Import the provider's modules. The first import takes up to 3 s: do it before a call."""
        self._load_requests()
        return cast(ProviderModule, importlib.import_module(self.module))

    def _load_requests(self) -> ModuleType:
        return importlib.import_module(self.requests or self.module)
