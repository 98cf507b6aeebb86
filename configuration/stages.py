"""The ladders: for each stage, its rungs in order of preference."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, PrivateAttr, SecretStr, model_validator

from configuration.values import (
    Alternatives,
    Count,
    Language,
    Seconds,
    Section,
    Text,
)
from providers.catalog import provider
from providers.provider import Stage

STAGES: Final[tuple[Stage, ...]] = ("stt", "llm", "tts")


Fact: TypeAlias = Literal["word_times", "cancels", "finalises", "interim", "says_why"]


class ConnectionLimits(Section):
    """Limits of a rung for all calls together; a value that is not set means no limit."""

    concurrent: Count | None = None
    """Requests or connections at once, for all calls together, warm standbys included. By default
    no limit.
    """


class RequestLimits(ConnectionLimits):
    """Limits of a rung that is used request by request."""

    per_minute: Count | None = None
    """Requests per minute. After a quiet minute, that many may be made at once. By default no
    limit.
    """


class RungSettings(Section):
    """One provider's place in a ladder."""

    name: Text
    """The rung's name, unique in all stages. By default the kind."""
    kind: Text
    """The provider. stt: `deepgram`, `soniox`, `assemblyai`, `local`, `pipecat`; llm: `openai`,
    `anthropic`, `gemini`, `pipecat`; tts: `cartesia`, `elevenlabs`, `aura`, `openai`, `local`,
    `pipecat`. `aura` is Deepgram's voice, `pipecat` any of Pipecat's services.
    """
    url: str = ""
    """A server that speaks the provider's protocol; by default the provider's own. Deepgram (also
    `aura`) and ElevenLabs take the base URL, Cartesia, Soniox and AssemblyAI the whole websocket
    URL, OpenAI the base with `/v1`, Anthropic and Gemini the base without a version, `pipecat` what
    the service's constructor takes. A redirect counts as a failure.
    """
    model: Text | None = None
    """The model. By default the provider's default."""
    voice: Text | None = None
    """The voice. By default the provider's default."""
    language: Language | None = None
    """The language. By default the agent's."""
    api_key_env: str | None = None
    """The variable that holds the key. By default the vendor's usual one, such as
    `OPENAI_API_KEY`, unless `url` points to another vendor. `local` needs none. A rung whose
    variable is not set is left out with a warning if its stage has another rung.
    """
    api_key: SecretStr | None = None  # from the environment only
    account: Text | None = None
    """A name that all rungs of a kind share whose keys belong to one account or project. A rejected
    key or exhausted credit then takes all of them out at once.
    """
    insecure: bool = False
    """Allow plain ws or http to a public address."""
    timeout_s: Seconds = 10.0
    """The longest that one request may take."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options for Pipecat's settings of the service; for `local` voices, `words_per_minute` and
    `pitch`. An unknown option is an error at the start. A `pipecat` rung has `settings` instead.
    """
    service: str = ""
    """For `kind: pipecat`: a subclass of Pipecat's `STTService`, `LLMService` or `TTSService`, as
    `module:Class`, such as `pipecat.services.minimax.tts:MiniMaxHttpTTSService`. It may be your
    own, in a module in the folder of this file.
    """
    init: dict[str, Any] = Field(default_factory=dict)
    """For `kind: pipecat`: further arguments of the service's constructor."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """For `kind: pipecat`: further values of the service's `Settings`, or of its `InputParams`."""
    rate_hz: Count | None = None
    """For `kind: pipecat`: the sample rate that the service is asked for. By default the line's, or
    one that the service supports. The sound is resampled.
    """
    facts: dict[Fact, bool] = Field(default_factory=dict)
    """For `kind: pipecat`: what the service can do, if that differs from Holdline's table of
    services, or from the careful values for others. A voice reports `word_times`, and `cancels`: it
    falls silent without being reconnected. A recogniser `finalises` on request, and sends
    `interim` results. A model `says_why` an answer ended.
    """
    _namesakes: int = PrivateAttr(default=0)

    @property
    def is_one_of_several(self) -> bool:
        """Whether another rung of its stage has its kind and service; False before `compare`."""
        return self._namesakes > 1

    def compare(self, ladder: Sequence["RungSettings"]) -> None:
        """Set how many rungs of its ladder, itself included, have its kind and service."""
        mine = self.kind, self.service
        self._namesakes = sum((rung.kind, rung.service) == mine for rung in ladder)


class ModelSettings(RungSettings):
    """A rung that is used request by request."""

    limits: RequestLimits = RequestLimits()


class ConnectedSettings(RungSettings):
    """A rung that holds a connection for each call."""

    limits: ConnectionLimits = ConnectionLimits()
    standby: Literal["warm", "cold"] = "warm"
    """`warm`: may be connected before it is needed. `cold`: connected only when it is needed. The
    first rung is always connected.
    """


class RecogniserSettings(ConnectedSettings):
    """A rung that transcribes the caller's speech."""

    alternatives: Alternatives = 1
    """How many transcripts to ask for, including the best one. The others are only recorded.
    Deepgram's `nova-2` and `nova-3` reject the parameter and are then asked without it.
    """


Recognisers = Annotated[tuple[RecogniserSettings, ...], Field(min_length=1)]
Models = Annotated[tuple[ModelSettings, ...], Field(min_length=1)]
Ladder = Annotated[tuple[ConnectedSettings, ...], Field(min_length=1)]


def _fill_rung(rung: Any, stage: Stage) -> Any:
    """Return a rung with the name and the URL that its kind implies, unless it has its own.

    A rung that is no mapping, or has no kind, is returned as it is.
    """
    if not isinstance(rung, dict) or not isinstance(rung.get("kind"), str):
        return rung
    kind, service = rung["kind"], rung.get("service")
    try:
        url = provider(stage, kind, service if isinstance(service, str) else "").url
    except KeyError:
        url = ""  # the kind is unknown, which `checks` reports
    return {"name": kind, "url": url, **rung}


class StagesSettings(Section):
    """The three ladders."""

    stt: Recognisers
    llm: Models
    tts: Ladder

    def rungs(self) -> Iterator[tuple[Stage, ModelSettings | ConnectedSettings]]:
        """Yield every rung of every stage, in order."""
        ladders = (self.stt, self.llm, self.tts)
        for stage, ladder in zip(STAGES, ladders, strict=True):
            for rung in ladder:
                yield stage, rung

    def cold(self, stage: Stage) -> frozenset[str]:
        """Return the names of a stage's standbys that connect only when needed; none for `llm`."""
        ladders = {"stt": self.stt, "tts": self.tts}
        return frozenset(rung.name for rung in ladders.get(stage, ())[1:] if rung.standby == "cold")

    @model_validator(mode="after")
    def _compare_rungs(self) -> "StagesSettings":
        """Let each rung count the rungs of its stage with its kind and service."""
        for stage, rung in self.rungs():
            rung.compare(getattr(self, stage))
        return self

    @model_validator(mode="before")
    @classmethod
    def _fill_rungs(cls, value: Any) -> Any:
        """Fill in the rungs of each ladder; what is no ladder is left to the validation."""
        if not isinstance(value, dict):
            return value
        return value | {
            stage: [_fill_rung(rung, stage) for rung in value[stage]]
            for stage in STAGES
            if isinstance(value.get(stage), list)
        }
