"""Names rungs that promise their callers less than usual, and ladders of one vendor."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from bot.doctor.finding import DoctorFinding
from calls.sentences import callers_get
from engines.espeak import UnknownVoiceError
from providers.catalog import ADAPTED, PROVIDERS, known_services, provider
from providers.provider import RungSpec, Stage
from runtime.hosts import is_loopback

PROMISE: Final = "every word once, within 1.5 s"
SLOW_ANSWER_S: Final = 2.5  # of a recogniser that finishes by itself (providers/data/services.yaml)
WORD_TIMES: Final = "word_times"


class Weakness(NamedTuple):
    """One reason why a rung promises less, and what its owner can do."""

    text: str
    cure: str


# The consequence for callers if a rung's service cannot do something, by stage and fact.
WEAK: Final[Mapping[Stage, Mapping[str, str]]] = {
    "stt": {
        "finalises": "it does not finish on request, so callers lose no word, but may wait"
        f" {SLOW_ANSWER_S:g} s for an answer instead of 1.5 s",
        "interim": "it sends nothing while the caller speaks, so that its failure is noticed only"
        f" afterwards, and the answer may then take {SLOW_ANSWER_S:g} s instead of 1.5 s",
    },
    "llm": {
        "says_why": "it does not say why an answer ended, so an answer that was cut may pass for a"
        " whole one",
    },
    "tts": {
        "cancels": "it is reconnected at each interruption, so the next answer waits for its"
        " handshake",
        WORD_TIMES: "it reports no word times and espeak-ng does not know the language, so its"
        " words are estimated: after a failure one may be lost, or spoken twice",
    },
}


def weaknesses_of(rung: RungSpec) -> Iterator[Weakness]:
    """Yield why a rung promises less than `PROMISE`."""
    for fact, text in WEAK[rung.stage].items():
        if getattr(rung.facts, fact) or (fact == WORD_TIMES and can_align(rung.language)):
            continue
        able = [
            item.kind
            for item in PROVIDERS
            if item.stage == rung.stage and getattr(item.facts, fact) and not item.facts.is_local
        ]
        cure = f"put a rung before it that does not have this limit: {', '.join(able)}"
        yield Weakness(text=text, cure=cure)


def can_align(language: str) -> bool:
    """Return whether the words of a voice without word times can be found in its sound."""
    from processors.speaking.aligner import reference_of  # noqa: PLC0415 - loads espeak-ng

    try:
        reference_of(("1",), "1", language)
    except (UnknownVoiceError, RuntimeError, ValueError):
        return False
    return True


def check_ladder(
    stage: Stage, rungs: Sequence[RungSpec], steps: Collection[str]
) -> Iterator[DoctorFinding]:
    """Yield a finding if an outage of one vendor leaves a stage without a rung of its quality.

    The local recogniser and the local voice are no second vendor: they are what is left then.

    Args:
        stage: The stage.
        rungs: Its rungs, in order.
        steps: The enabled steps of the outage menu.
    """
    others = [rung.name for rung in rungs if rung.kind == "local"]
    owners = {owner_of(rung) for rung in rungs if rung.kind != "local"}
    if len(owners) != 1:
        return
    (owner,) = owners
    instead = callers_get(others, steps, stage=stage)
    kinds = dict.fromkeys(
        item.kind
        for item in PROVIDERS
        if item.stage == stage and item.kind not in (ADAPTED, "local") and item.title != owner
    )
    text = (
        f"depends on one vendor, {owner}; when it is down, {instead}. Add a rung of another vendor,"
        f" such as {' or '.join(kinds) or 'any service of Pipecat'}"
    )
    yield DoctorFinding(about=f"stages.{stage}", text=text, ok=True)


def owner_of(rung: RungSpec) -> str:
    """Return who runs a rung's server: by its host, whatever the kind; without one, by the kind."""
    vendor, address = provider(rung.stage, rung.kind, rung.service), urlsplit(rung.url)
    host = address.hostname or ""
    if vendor.serves(rung.url, rung.name):
        return vendor.title
    if is_loopback(host) or host.replace(".", "").isdecimal() or ":" in host:
        return address.netloc.rpartition("@")[2]
    services = (provider(rung.stage, ADAPTED, name) for name in known_services(rung.stage))
    known = (item.title for item in (*PROVIDERS, *services) if item.owns(host))
    return next(known, _registered_domain(host))


def _registered_domain(host: str) -> str:
    """Return the part of a host's name that one owner registers, such as `own.example`."""
    labels = host.lower().split(".")
    is_deep = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3  # `own.co.uk`
    return ".".join(labels[-3 if is_deep else -2 :])
