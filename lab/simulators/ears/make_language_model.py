"""Builds the recogniser's language model and dictionary; run it after editing the phrases.

    python -m lab.simulators.ears.make_language_model

An interpolated Witten-Bell trigram model in ARPA form. Witten-Bell weights unseen words by the
number of different words seen after a history, which suits a small corpus of templates.

Sources: Witten and Bell, "The zero-frequency problem", IEEE Trans. Information Theory 37(4), 1991;
the ARPA form as in Young et al., "The HTK Book" (2006), section "ARPA-MIT LM format".
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from engines.sphinx import ENGLISH_DICTIONARY
from lab.simulators.ears.domain import (
    DATA,
    Templates,
    count_sentences,
    phrases,
    read_templates,
    sample,
    vocabulary,
    words_of,
)

LANGUAGE_MODEL_FILE: Final = DATA / "domain.lm"
DICTIONARY_FILE: Final = DATA / "domain.dict"
ADDITIONS_FILE: Final = DATA / "additions.dict"  # pronunciations that the wheel's dictionary lacks

ORDER: Final = 3
LISTED_WEIGHT: Final = 12  # a listed phrase counts as this many samples: measured by test_ears
SAMPLES_MIN: Final = 6
SAMPLES_MAX: Final = 240
SEED: Final = 20_26

NGram = tuple[str, ...]


def sentences(templates: Templates, listed: Iterable[str]) -> Iterator[NGram]:
    """Yield the training sentences, each with its start and end marks; the same in every run."""
    rng = random.Random(SEED)  # noqa: S311 - a corpus, not a secret
    for text in listed:
        yield from [_with_marks(text)] * LISTED_WEIGHT
    for line in templates.lines:
        wanted = min(
            SAMPLES_MAX, max(SAMPLES_MIN, math.isqrt(count_sentences(templates, line)) * 6)
        )
        for _ in range(wanted):
            yield _with_marks(sample(templates, line, rng=rng))


def count(corpus: Iterable[NGram]) -> list[Counter[NGram]]:
    """Return the n-gram counts; those of length n have the index n-1."""
    counts: list[Counter[NGram]] = [Counter() for _ in range(ORDER)]
    for sentence in corpus:
        for n in range(1, ORDER + 1):
            counts[n - 1].update(sentence[i : i + n] for i in range(len(sentence) - n + 1))
    del counts[0][("<s>",)]  # it is never predicted, because it only begins a history
    return counts


class WittenBell:
    """Probabilities of the next word, from counts of n-grams.

    Args:
        counts: as `count` returns them.
        words: every word the model must know, seen or not.
    """

    def __init__(self, counts: list[Counter[NGram]], words: frozenset[str]) -> None:
        self._counts = counts
        self._words = words
        self._totals: Counter[NGram] = Counter()
        followers: defaultdict[NGram, set[str]] = defaultdict(set)
        for counter in counts:
            for gram, times in counter.items():
                self._totals[gram[:-1]] += times
                followers[gram[:-1]].add(gram[-1])
        self._kinds = {history: len(seen) for history, seen in followers.items()}

    def probability(self, gram: NGram) -> float:
        """Return P(last word of `gram` | the words before it)."""
        if not gram:
            return 1 / (len(self._words) + 1)  # the end mark is a word, too
        history = gram[:-1]
        lower = self.probability(gram[1:]) if len(gram) > 1 else self.probability(())
        total, kinds = self._totals[history], self._kinds.get(history, 0)
        if not total:
            return lower
        return (self._counts[len(gram) - 1][gram] + kinds * lower) / (total + kinds)

    def backoff(self, history: NGram) -> float:
        """Return the weight of the shorter history for words not seen after `history`."""
        kinds = self._kinds.get(history, 0)
        return kinds / (self._totals[history] + kinds) if kinds else 1.0


def arpa(counts: list[Counter[NGram]], words: frozenset[str]) -> str:
    """Return the model as the text of an ARPA file."""
    model = WittenBell(counts, words)
    grams = [sorted({*counts[0], *((word,) for word in words)})]
    grams += [sorted(counter) for counter in counts[1:]]
    lines = ["\\data\\", f"ngram 1={len(grams[0]) + 1}"]
    lines += [f"ngram {n}={len(group)}" for n, group in enumerate(grams[1:], start=2)]
    for n, group in enumerate(grams, start=1):
        lines += ["", f"\\{n}-grams:"]
        if n == 1:
            lines.append(f"-99.0000 <s> {math.log10(model.backoff(('<s>',))):.4f}")
        lines += [_arpa_line(model, gram, last=n == ORDER) for gram in group]
    return "\n".join([*lines, "", "\\end\\", ""])


def dictionary(words: frozenset[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return the dictionary lines for `words`, all pronunciations of each.

    Raises:
        ValueError: a word has no pronunciation; add it to additions.dict.
    """
    lines = [line for line in known if line.partition(" ")[0].partition("(")[0] in words]
    missing = words - {line.partition(" ")[0].partition("(")[0] for line in lines}
    if missing:
        message = f"no pronunciation for {sorted(missing)}; add them to {ADDITIONS_FILE.name}"
        raise ValueError(message)
    return tuple(sorted(lines))


def main() -> None:
    """Write domain.lm and domain.dict."""
    templates, listed = read_templates(), phrases()
    words = vocabulary(templates, listed)
    model = arpa(count(sentences(templates, listed)), words)
    LANGUAGE_MODEL_FILE.write_text(model, "utf-8")
    wheel = ENGLISH_DICTIONARY.read_text("utf-8").splitlines()
    added = ADDITIONS_FILE.read_text("utf-8").splitlines() if ADDITIONS_FILE.exists() else []
    DICTIONARY_FILE.write_text("\n".join(dictionary(words, [*wheel, *added])) + "\n", "utf-8")


def _with_marks(text: str) -> NGram:
    return ("<s>", *words_of(text), "</s>")


def _arpa_line(model: WittenBell, gram: NGram, *, last: bool) -> str:
    line = f"{math.log10(model.probability(gram)):.4f} {' '.join(gram)}"
    if last or gram[-1] == "</s>":
        return line
    return f"{line} {math.log10(model.backoff(gram)):.4f}"


if __name__ == "__main__":
    main()
