"""The simulators' bounded record: every request, every spoken word."""

import collections
import dataclasses
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from lab.simulators.samples import Samples

SAMPLES_KEPT: Final = 24_000_000  # of all requests: 50 minutes at 8000 Hz, 48 MB


@dataclass(slots=True, kw_only=True)
class Take:
    """The sound of one request so far.

    Attributes:
        instance: The simulated provider's name.
        request: The request's number there.
        at_s: When its first piece was sent, in seconds after the lab's start.
        rate_hz: The rate of the samples.
    """

    instance: str
    request: int
    at_s: float
    rate_hz: int
    pieces: list[tuple[int, Samples]] = field(default_factory=list)

    @property
    def length(self) -> int:
        """The number of samples, gaps included."""
        return max((at + piece.size for at, piece in self.pieces), default=0)

    def samples(self) -> Samples:
        """Return all samples in one array, with silence where nothing was sent."""
        whole = np.zeros(self.length, np.int16)
        for at, piece in self.pieces:
            whole[at : at + piece.size] = piece
        return whole

    def as_json(self) -> dict[str, Any]:
        """Return its description, without samples."""
        return {
            "instance": self.instance,
            "request": self.request,
            "at_s": self.at_s,
            "rate_hz": self.rate_hz,
            "samples": self.length,
        }


class KeptAudio:
    """The newest takes, up to `limit` samples in total; none by default."""

    def __init__(self) -> None:
        self.limit = 0  # total samples
        self._takes: collections.OrderedDict[tuple[str, int], Take] = collections.OrderedDict()
        self._held = 0

    def add(self, take: Take, samples: Samples, *, start_s: float) -> None:
        """Keep a piece of a request's audio; above the limit, drop the oldest requests.

        The only remaining request is never dropped, even if it exceeds the limit.

        Args:
            take: The request's take; later pieces are added to the take of the first one.
            samples: The piece.
            start_s: Its start in the request's audio.
        """
        if not self.limit:
            return
        kept = self._takes.setdefault((take.instance, take.request), take)
        kept.pieces.append((round(start_s * kept.rate_hz), samples))
        self._held += samples.size
        while self._held > self.limit and len(self._takes) > 1:
            _, oldest = self._takes.popitem(last=False)
            self._held -= sum(piece.size for _, piece in oldest.pieces)

    def takes(self) -> tuple[Take, ...]:
        """Return the kept takes, oldest first."""
        return tuple(self._takes.values())

    def take(self, instance: str, request: int) -> Take | None:
        """Return one request's take; `None` if it is not kept."""
        return self._takes.get((instance, request))


REQUESTS_KEPT: Final = 2000  # for each instance; a day of drills on one machine stays below
WORDS_KEPT: Final = 50_000  # for each instance; about five hours of speech
MARKS_KEPT: Final = 400  # for each request; enough for a call of 200 turns on one stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A moment in a request; shows how much of a delay is the provider's and how much the client's.

    Attributes:
        what: `flush` (the client asked for the pending words), `flushed` (they were sent),
            `sentence` (a language model sent a sentence's last word), `next` (it sent one of the
            few words after that, or the end), `text` (a voice received text) or `audio` (it sent
            its first audio).
        at_s: Seconds after the lab's start.
        words: How many words of the request had been sent; with `text`, how many it has.
    """

    what: str
    at_s: float
    words: int = 0


@dataclass(slots=True, kw_only=True)
class Request:
    """One request, or one generation in an open websocket; it is updated until its end.

    Attributes:
        number: Counts the requests of the instance from 1.
        instance: The simulated provider's name.
        at_s: Seconds after the lab's start.
        ok_auth: Whether the key was the instance's own.
        well_formed: Whether the real provider would have understood it.
        outcome: `open`, then how it ended, in a few words.
        fault: The name of the fault that hit it, if any.
        details: Further facts for tests: sizes, texts, counts.
        marks: The newest marks in it.
    """

    number: int
    instance: str
    at_s: float
    method: str
    path: str
    ok_auth: bool = True
    well_formed: bool = True
    outcome: str = "open"
    fault: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)

    def mark(self, what: str, at_s: float, *, words: int = 0) -> None:
        """Add a mark; drop the oldest one beyond the limit."""
        self.marks.append(Mark(what=what, at_s=at_s, words=words))
        del self.marks[:-MARKS_KEPT]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenWord:
    """A word whose audio was sent.

    Attributes:
        request: The number of its request.
        start_s: Its start in that request's audio, in seconds.
        end_s: Its end there.
        sent_at_s: When all of its audio had been sent, in seconds after the lab's start.
    """

    instance: str
    request: int
    text: str
    start_s: float
    end_s: float
    sent_at_s: float


class Record:
    """The newest requests and words of every instance.

    Attributes:
        audio: The voices' audio, if it is kept.
    """

    def __init__(self) -> None:
        self.audio = KeptAudio()
        self._requests: dict[str, collections.deque[Request]] = {}
        self._words: dict[str, collections.deque[SpokenWord]] = {}

    def add(self, request: Request) -> None:
        """Keep a request; drop its instance's oldest one beyond the limit."""
        kept = self._requests.setdefault(request.instance, collections.deque(maxlen=REQUESTS_KEPT))
        kept.append(request)

    def add_word(self, word: SpokenWord) -> None:
        """Keep a spoken word; drop its instance's oldest one beyond the limit."""
        kept = self._words.setdefault(word.instance, collections.deque(maxlen=WORDS_KEPT))
        kept.append(word)

    def requests(self, instance: str) -> tuple[Request, ...]:
        """Return the requests of one instance, oldest first."""
        return tuple(self._requests.get(instance, ()))

    def words(self, instance: str | None = None) -> tuple[SpokenWord, ...]:
        """Return the words of one instance, or of all, in the order in which they were sent."""
        if instance is not None:
            return tuple(self._words.get(instance, ()))
        every = [word for kept in self._words.values() for word in kept]
        return tuple(sorted(every, key=lambda word: word.sent_at_s))

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "requests": {
                name: [dataclasses.asdict(request) for request in kept]
                for name, kept in self._requests.items()
            },
            "words": [dataclasses.asdict(word) for word in self.words()],
        }
