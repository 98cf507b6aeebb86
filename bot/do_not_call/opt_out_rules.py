"""Recognises by patterns that a person wants no further calls, or wants them again.

Rules: while a model answers, the model judges, with its tools or when it is asked about a sentence
in which `may_name_calls` finds a reason to ask. The patterns of this module decide only when no
model does. Then a turn is an opt-out if one of its sentences is unmistakable: it tells us to stop
calling or to take the person or their number off a list, or says that the person wants this. "Take
me off speaker", "off the email list" and "off the waiting list" are not opt-outs. It must not be a
question ("I wonder whether you still call me", too), negated, or a report of what others said, and
a request about calls must have no time limit ("before noon"). A polite question ("Could you take me
off your list?") counts as a request. Recognisers write without punctuation: a request that does not
depend on the word before it is one, whatever was asked, denied or told earlier in the same breath.

A listed number is taken off only after an explicit wish and a clear yes to our question; in doubt
it stays listed.

All languages of `opt_out_words` are searched, because a person may not answer in the agent's
language.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from bot.do_not_call.opt_out_words import ANY, LANGUAGES, Language
from calls.languages.facts import base_of

MOST_BEGGED: Final = 6  # words in "Would you be so kind as to take" (chosen)
MOST_FIRST: Final = 100  # characters of first words: "I told you to"; more take too long (chosen)
NEAR: Final = 6  # words after a request in which a time limit applies to it (chosen)
MAX_CHARACTERS: Final = 2000  # of a turn that are searched
MAX_YES_WORDS: Final = 8  # a longer answer is not a plain yes (chosen)
_CALLS: Final = re.compile(ANY["of_calls"])
_LETTERS: Final = str.maketrans({"ł": "l", "\u0131": "i", "ø": "o"})
_OTHER_LISTS: Final = re.compile(rf"\b({ANY['other_lists']})\b")
_BEFORE_OTHER_LIST: Final = re.compile(r"( \w+){0,3} __")  # "my number from the __"
_NAMES_A_LIST: Final = re.compile(r"lis[tk]|lijst|elenco|спис")
_LIST_NAMES: Final = re.compile(ANY["list_names"])
_NO: Final = re.compile(rf"\b({ANY['noes']})\b")
_SENTENCE: Final = re.compile(r"[^.!?\u2026\n]+[.!?\u2026\n]*")
_CLAUSE: Final = re.compile(r"[,;:()\u2013\u2014]")
_APOSTROPHES: Final = re.compile("['\u2019\u02bc`]")
_LEADS: Final = re.compile(rf"(({ANY['leads']}) )+")
_TAG: Final = re.compile(rf"\b({ANY['tags']})$")
_JOINTS: Final = re.compile(rf"\b({ANY['joints']})\b")
_COMPLEMENTS: Final = re.compile(rf"({ANY['complements']})\b")
_INDIRECT: Final = re.compile(rf"\b({ANY['indirect']})\b")
_WONDERS: Final = re.compile(  # "se" is "whether" only here
    rf"\b({ANY['wonders']})( \w+){{0,2}} (?P<asks>{ANY['indirect']}|se)\b"
)
_SUBJECTS: Final = re.compile(rf"({ANY['persons']}|{ANY['subjects']})\b")
_PERSONS: Final = re.compile(rf"\b({ANY['persons']})\b")


def wants_no_calls(said: str) -> bool:
    """Return whether the first `MAX_CHARACTERS` of a turn ask not to be called again."""
    sentences = _SENTENCE.findall(said[:MAX_CHARACTERS])
    return any(_is_opt_out(sentence) for sentence in sentences)


def may_name_calls(said: str, language: str) -> bool:
    """Return whether the words of a turn may be about calls, so that a model is worth asking.

    In a language without patterns, all words may be. `language` is a tag.
    """
    words, _ = _words_and_clauses(said[:MAX_CHARACTERS])
    if base_of(language) not in LANGUAGES:
        return bool(words)
    suspected = any(re.search(rf"\b{item.suspects}\b", words) for item in LANGUAGES.values())
    return suspected or wants_no_calls(said)


def wants_calls_after_all(said: str) -> bool:
    """Return whether the words of a turn explicitly wish further calls; ask before acting on it."""
    return any(_is_wish(sentence) for sentence in _SENTENCE.findall(said[:MAX_CHARACTERS]))


def is_clear_yes(said: str) -> bool:
    """Return whether the words of a turn are a yes to a question, and nothing else.

    Beside words of a yes and polite ones, only an explicit wish for calls may be among them.
    """
    words, _ = _words_and_clauses(said[:MAX_CHARACTERS])
    if len(words.split()) > MAX_YES_WORDS or _NO.search(words) or "?" in said:
        return False
    for item in LANGUAGES.values():
        wish = re.search(rf"\b{item.back}", words)
        rest = words.replace(wish[0], " ") if wish and _CALLS.search(wish[0]) else words
        yes = rf"{item.agrees}|{ANY['hesitations']}|{ANY['polite']}"
        if (
            re.search(rf"\b{item.agrees}\b", words)
            and not re.sub(rf"\b({yes})\b", "", rest).strip()
        ):
            return True
    return False


def _is_wish(sentence: str) -> bool:
    """Return whether a sentence explicitly wishes calls: not a question, negated or of others."""
    words, starts = _words_and_clauses(sentence)
    if sentence.rstrip().endswith("?") and not _TAG.search(words):
        return False
    begin = max((start for start in starts if _LEADS.fullmatch(words[:start])), default=0)
    words = words[begin:]  # "No, you can still call me": but "No quiero" is one clause
    for language in LANGUAGES.values():
        if re.search(rf"\b{language.back}", words):
            bare = _LIST_NAMES.sub("", words)
            if not re.search(rf"\b(?:{language.denies}|{language.others})\b", bare):
                return True
    return False


def _is_opt_out(sentence: str) -> bool:
    """Return whether a sentence has a request that passes all rules of this module."""
    words, starts = _words_and_clauses(sentence)
    is_asked = sentence.rstrip().endswith("?") and not _TAG.search(words)
    for language in LANGUAGES.values():
        if re.search(rf"\b{language.threats}", words):
            return True
        requests = list(_find_requests(language, words))
        wishes = _find_wishes(language, words) if requests else []
        for found, limit_matters in requests:
            begin = _start_of_clause(words, starts, found.start())
            own = None if is_asked else _start_of_own(language, words, found)
            if own is None and _is_not_asked_for(language, words, found, begin, is_asked=is_asked):
                continue
            if _is_about_other(language, words, found, wishes):
                continue
            if limit_matters and _has_limit(language, words, found, starts, begin, own):
                continue
            return True
    return False


def _start_of_clause(words: str, starts: list[int], at: int) -> int:
    """Return the start of a clause with what it depends on: "Ich will nicht, dass Sie …"."""
    before = [start for start in starts if start <= at]
    while len(before) > 1 and _COMPLEMENTS.match(words, before[-1]):
        before.pop()
    return before[-1]


def _start_of_own(language: Language, words: str, found: re.Match[str]) -> int | None:
    """Return the start of a request with its first words: "could you"; `None` if it depends.

    It depends on a word directly before it, such as "why", "said" or "never". What stands further
    before changes nothing: "I don't know why you call me stop calling me".
    """
    first_words = rf"(\b({language.begins}|{ANY['joints']}) )+$"
    near = words[max(0, found.start() - MOST_FIRST) : found.start()]
    start = found.start() - len(near) + len(re.sub(first_words, "", near))
    parted = f"{words[:start].rstrip()}/ {words[start:]}"
    return None if re.search(rf"\b{language.governs}/", parted) else start


def _is_not_asked_for(
    language: Language, words: str, found: re.Match[str], begin: int, *, is_asked: bool
) -> bool:
    """Return whether words before a request, in its clause from `begin`, make it none."""
    before, clause = words[: found.start()], words[begin : found.start()]
    return (
        _is_negated_or_reported(language, before, clause)
        or _is_wondered(before, clause)
        or _is_question(language, words, found, begin, is_asked=is_asked)
    )


def _find_requests(language: Language, words: str) -> Iterator[tuple[re.Match[str], bool]]:
    """Yield each request, and whether a time limit would make it something else."""
    words = _OTHER_LISTS.sub(lambda found: "_" * len(found[0]), words)
    for found in _find_all(language.calls, words):
        yield found, True
    for found in _find_all(language.lists, words):
        if _NAMES_A_LIST.search(found[0]) or not _BEFORE_OTHER_LIST.match(words, found.end()):
            yield found, False


def _find_all(pattern: str, words: str) -> Iterator[re.Match[str]]:
    """Yield each match, also of words that belong to an earlier one."""
    request, at = re.compile(rf"\b{pattern}"), 0
    while found := request.search(words, at):
        yield found
        at = found.start() + 1


def _is_negated_or_reported(language: Language, before: str, clause: str) -> bool:
    """Return whether a request is negated, or is not the person's own.

    Args:
        language: The language of the patterns.
        before: The words before the request; anywhere among them, others may be named.
        clause: The words before it in its own clause; a negation counts in their last part.
    """
    near = _JOINTS.split(clause)[-1]
    denied = re.search(rf"\b{language.denies}\b", near)
    return bool(denied or re.search(rf"\b{language.others}\b", before))


def _is_wondered(before: str, clause: str) -> bool:
    """Return whether the words before a request, the last in its `clause`, ask it indirectly."""
    begin = len(before) - len(_JOINTS.split(clause)[-1])
    return any(found.start("asks") >= begin for found in _WONDERS.finditer(before))


def _find_wishes(language: Language, words: str) -> list[re.Match[str]]:
    """Return each wish to be called that does not depend on the word before it."""
    found = re.finditer(rf"\b{language.back}", words)
    return [wish for wish in found if _start_of_own(language, words, wish) is not None]


def _is_about_other(
    language: Language, words: str, found: re.Match[str], wishes: list[re.Match[str]]
) -> bool:
    """Return whether a request is about letters or emails, or calls are welcome."""
    if any(wish.end() <= found.start() or wish.start() >= found.end() for wish in wishes):
        return True
    return bool(re.search(rf"\b{language.channels}\b", words) and not _CALLS.search(found[0]))


def _is_question(
    language: Language, words: str, found: re.Match[str], begin: int, *, is_asked: bool
) -> bool:
    """Return whether a sentence with a request asks a question; a polite request does not.

    `begin` is the start of the request's clause: "Who are you, stop calling me" is a request.
    `is_asked` is whether the sentence ends like a question.
    """
    lead = _LEADS.match(words)
    first = lead.end() if lead else 0
    until_end = words[: found.end()]
    begs = re.search(rf"\b{language.begs}", until_end)
    asks = re.match(rf"{language.asks}\b", words[first:]) if begin <= first else None
    if asks and begs and begs.start() >= first + asks.end():  # "Why would you stop calling me?"
        return True
    if begs and len(until_end[begs.end() : max(begs.end(), found.start())].split()) <= MOST_BEGGED:
        indirect = _INDIRECT.search(until_end, begs.end())  # "Can you explain why I should stop"
        return indirect is not None and indirect.start() < found.start()
    return is_asked or asks is not None


def _has_limit(
    language: Language,
    words: str,
    found: re.Match[str],
    starts: list[int],
    begin: int,
    own: int | None,
) -> bool:
    """Return whether a time or a condition limits a request.

    It may stand in the request's clause, which begins at `begin`, in the clause before it, or in
    the `NEAR` words after the request. If the request has its `own` start, an explanation before
    it in the same breath limits nothing: "I am at work stop calling me".
    """
    before = [start for start in starts if start < begin]
    if before and not _SUBJECTS.match(words, before[-1]):  # "Before noon, don't call me."
        begin = before[-1]
    elif own is not None and _SUBJECTS.match(words, begin):
        begin = max(begin, own)
    ends = (start for start in starts if start >= found.end() and _SUBJECTS.match(words, start))
    after = _PERSONS.split(words[found.end() : min(ends, default=len(words))])[0].split()[:NEAR]
    near = f"{words[begin : found.start()]} {found[0]} {' '.join(after)}"
    return bool(re.search(rf"\b{language.limits}\b", near))


def _words_and_clauses(text: str) -> tuple[str, list[int]]:
    """Return the words in lower case without accents and punctuation, and each clause's start."""
    words, starts = "", [0]
    for clause in _CLAUSE.split(_APOSTROPHES.sub("", text.casefold())):
        bare = "".join(
            item for item in unicodedata.normalize("NFD", clause) if not unicodedata.combining(item)
        ).translate(_LETTERS)
        plain = " ".join(re.sub(r"[^\w ]", " ", bare).split())
        if plain and words:
            starts.append(len(words) + 1)
        words = f"{words} {plain}".strip()
    return words, starts
