"""Which language a caller speaks in a turn: the one that most of its words are of."""

from collections import Counter


class TurnLanguage:
    """Follows a caller from turn to turn.

    A recogniser names the language of each of its results, and a turn may have several: one short
    word that could be of any language must not outweigh the sentence before it.

    Attributes:
        current: The language that is spoken with the caller.
    """

    def __init__(self, first: str) -> None:
        self.current = first
        self._words = Counter[str]()  # of this turn, by language

    def heard(self, text: str, language: str | None) -> bool:
        """Count a result; return whether the turn's language is another now."""
        if not language:
            return False
        self._words[language] += len(text.split())
        before, most = self.current, max(self._words.values())
        if self._words[before] < most:
            self.current = next(each for each, n in self._words.items() if n == most)
        return self.current != before

    def turn_over(self) -> None:
        """Begin to count anew: what follows is another turn's."""
        self._words.clear()
