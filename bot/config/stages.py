"""The ladders: for each stage, its rungs in the order of preference."""

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import Field, SecretStr, model_validator

from bot.config.values import (
    Count,
    Language,
    Readings,
    Seconds,
    Section,
    Text,
)
from providers.catalog import PROVIDERS
from providers.provider import Stage

STAGES: Final[tuple[Stage, ...]] = ("stt", "llm", "tts")
URLS: Final = {(provider.stage, provider.kind): provider.url for provider in PROVIDERS}


class ConnectionLimits(Section):
    """How much a rung is asked at once, by all calls together; what is not said has no limit."""

    concurrent: Count | None = None


class RequestLimits(ConnectionLimits):
    """The same of a rung that is asked by single requests."""

    per_minute: Count | None = None


class RungSettings(Section):
    """One provider's place in a ladder."""

    name: Text  # unique in all stages; the kind when not given
    kind: Text
    url: str = ""  # what Pipecat's own class takes; the provider's public one when not given
    model: Text | None = None
    voice: Text | None = None
    language: Language | None = None  # None: the agent's
    api_key_env: str | None = None
    api_key: SecretStr | None = None  # from the environment only
    account: Text | None = None  # the same name for all rungs of one account or project
    insecure: bool = False  # allows plain ws or http to a public address
    timeout_s: Seconds = 10.0  # bounds one request; a turn's deadline is shorter
    options: dict[str, Any] = Field(default_factory=dict)


class ModelSettings(RungSettings):
    """A rung that is asked by single requests."""

    limits: RequestLimits = RequestLimits()


class ConnectedSettings(RungSettings):
    """A rung that holds a connection for each call."""

    limits: ConnectionLimits = ConnectionLimits()
    standby: Literal["warm", "cold"] = "warm"  # cold: not connected before it is needed


class RecogniserSettings(ConnectedSettings):
    """A rung that writes down what the caller says."""

    alternatives: Readings = 1  # asked of the provider, the best one included


Recognisers = Annotated[tuple[RecogniserSettings, ...], Field(min_length=1)]
Models = Annotated[tuple[ModelSettings, ...], Field(min_length=1)]
Ladder = Annotated[tuple[ConnectedSettings, ...], Field(min_length=1)]


def _fill_rung(rung: Any, stage: Stage) -> Any:
    """Give a rung the name and the URL that its kind implies."""
    if not isinstance(rung, dict) or not isinstance(rung.get("kind"), str):
        return rung
    kind = rung["kind"]
    return {"name": kind, "url": URLS.get((stage, kind), ""), **rung}


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
        """Return the stage's standbys that are connected only when they are needed."""
        ladders = {"stt": self.stt, "tts": self.tts}
        return frozenset(
            ladder.name for ladder in ladders.get(stage, ())[1:] if ladder.standby == "cold"
        )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return value | {
            stage: [_fill_rung(rung, stage) for rung in value[stage]]
            for stage in STAGES
            if isinstance(value.get(stage), list)
        }
