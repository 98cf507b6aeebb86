"""The simulators' bounded record: every request, every spoken word."""

import collections
import dataclasses
from dataclasses import dataclass, field
from typing import Any, Final

from lab.simulators.kept_audio import KeptAudio

REQUESTS_KEPT: Final = 2000  # for each instance; a day of drills on one machine stays below
WORDS_KEPT: Final = 50_000  # for each instance; about five hours of speech
MARKS_KEPT: Final = 400  # for each request; a call of 200 turns, if one stream hears all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A moment in a request, which separates the provider's delay from a listener's own.

    Attributes:
        what: `flush` (the client asked for the pending words) and `flushed` (they were sent);
            `sentence` (a language model sent a sentence's last word) and `next` (each of a few
            more, or the end); `text` (a voice got some) and `audio` (its first sound was sent).
        at_s: Seconds after the lab's start.
        words: How many words of the request had been sent, or came with a `text`.
    """

    what: str
    at_s: float
    words: int = 0


@dataclass(slots=True, kw_only=True)
class Request:
    """One request, or one generation in an open websocket; updated until it is over.

    Attributes:
        number: Counts the requests of the instance from 1.
        instance: The simulated provider's name.
        at_s: Seconds after the lab's start.
        ok_auth: The key was the instance's own.
        well_formed: The provider would have understood it.
        outcome: `open`, then its end in one or two words.
        fault: The fault that it met, by name.
        details: Further facts for tests: sizes, texts, counts.
        marks: The newest moments in it.
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
        """Keep a moment; drop the oldest one beyond the limit."""
        self.marks.append(Mark(what=what, at_s=at_s, words=words))
        del self.marks[:-MARKS_KEPT]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenWord:
    """A synthesised word that was sent.

    Attributes:
        request: The number of its request.
        start_s: Its start in that request's audio, in seconds.
        end_s: Its end there.
        sent_at_s: When its audio had been sent, in seconds after the lab's start.
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
        audio: The voices' sound, if it is kept.
    """

    def __init__(self) -> None:
        self.audio = KeptAudio()
        self._requests: dict[str, collections.deque[Request]] = {}
        self._words: dict[str, collections.deque[SpokenWord]] = {}

    def add(self, request: Request) -> None:
        """Keep a request; drop its instance's oldest one beyond the limit."""
        kept = self._requests.setdefault(request.instance, collections.deque(maxlen=REQUESTS_KEPT))
        kept.append(request)

    def spoke(self, word: SpokenWord) -> None:
        """Keep a spoken word; drop its instance's oldest one beyond the limit."""
        kept = self._words.setdefault(word.instance, collections.deque(maxlen=WORDS_KEPT))
        kept.append(word)

    def requests(self, instance: str) -> tuple[Request, ...]:
        """Return the requests of one instance, oldest first."""
        return tuple(self._requests.get(instance, ()))

    def words(self, instance: str | None = None) -> tuple[SpokenWord, ...]:
        """Return the words of one instance or of all, in the order they were sent."""
        if instance is not None:
            return tuple(self._words.get(instance, ()))
        every = [word for kept in self._words.values() for word in kept]
        return tuple(sorted(every, key=lambda word: word.sent_at_s))

    def as_json(self) -> dict[str, Any]:
        """Return everything as values that JSON can hold."""
        return {
            "requests": {
                name: [dataclasses.asdict(request) for request in kept]
                for name, kept in self._requests.items()
            },
            "words": [dataclasses.asdict(word) for word in self.words()],
        }
