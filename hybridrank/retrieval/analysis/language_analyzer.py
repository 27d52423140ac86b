"""The analyzer: one object that converts documents and queries to terms."""

from __future__ import annotations

import hashlib
import threading
import unicodedata
from collections.abc import Mapping
from importlib import resources
from typing import Any

from hybridrank.errors import InputError
from hybridrank.retrieval.analysis.compounds import SYMBOLS
from hybridrank.retrieval.analysis.folding import OWN_LETTERS, Folding
from hybridrank.retrieval.analysis.languages import NONE, language_name
from hybridrank.retrieval.analysis.words import SCHEME, Alphabet, split

__all__ = ["Analyzer", "analyzer"]

_SPELLING: Mapping[str, Mapping[str, str]] = {
    "catalan": {"'": " "},  # l'aigua; the other stemmers know the elided articles of their languages
    "turkish": {"I": "ı", "İ": "i"},  # two letters that case folding would merge
}
"""What a language reads otherwise than `hybridrank.retrieval.analysis.words` does."""

_STOP_LIST: Mapping[str, str] = {"dutch_porter": "dutch", "porter": "english"}
"""Whose stop words a language uses that has none under its own name."""

_LONGEST_QUERY = 2**16
"""Words of a query, about, that are read."""

_COMPOUND = 0.5
"""The weight of a compound in a query. With 1, nDCG@10 falls on Cranfield and SciFact: prose has hyphens, too."""

_PLAIN_STEMMERS = frozenset({"english", "indonesian", "porter", "sesotho"})
"""Stemmers of languages without accents: they are given folded words alone."""

_LONGEST = 256
"""A longer word is a hash or a run of noise: what follows is cut off, and it is not stemmed."""


class _Stemmer(threading.local):
    """A Snowball stemmer per thread, since threads must not share one. It has no cache; callers do."""

    def __init__(self, language: str) -> None:
        import Stemmer

        self.stem = Stemmer.Stemmer(language, 0).stemWord


class Analyzer:
    """Converts text to the terms of one language; created by `analyzer`, immutable, and thread-safe.

    `identity` is a short string to save with an index: two analyzers of equal identity give equal terms. It has
    the scheme, Python's Unicode tables, the language, the folding of accents, the stemmer's version and a hash of
    the stop words. `stop_words` numbers the stop words from 0.

    >>> english = analyzer("english")
    >>> english.words("The dog's ＤＩＮＮＥＲ at the café")
    ['the', "dog's", 'dinner', 'at', 'the', 'café']
    >>> english.terms("The dog's ＤＩＮＮＥＲ at the café")
    ['dog', 'dinner', 'cafe']
    >>> english.terms("snake_case")
    ['snake', 'case', 'snake_case']
    """

    __slots__ = ("_folding", "_stemmer", "alphabet", "fold_accents", "identity", "language", "stop_words")

    language: str | None
    fold_accents: bool | None
    identity: str
    alphabet: Alphabet
    stop_words: Mapping[str, int]

    def __init__(self, name: str, fold_accents: bool | None = None) -> None:
        identity = [f"words-{SCHEME}", f"unicode-{unicodedata.unidata_version}", name]
        self.language = None if name == NONE else name
        self.fold_accents = fold_accents
        self.alphabet = Alphabet(_SPELLING.get(name, {}))
        kept = "" if fold_accents else OWN_LETTERS.get(name, "")
        self._folding = None if fold_accents is False else Folding(kept)
        identity.append("unfolded" if self._folding is None else f"folded-but-{kept}" if kept else "folded")
        self._stemmer: _Stemmer | None = None
        self.stop_words = {}
        if self.language is not None:
            from Stemmer import version

            self._stemmer = _Stemmer(name)
            self.stop_words = {word: number for number, word in enumerate(sorted(_stop_words(name)))}
            digest = hashlib.sha256(" ".join(self.stop_words).encode()).hexdigest()
            identity += [f"stemmer-{version()}", f"stop-{digest[:12]}"]
        self.identity = "/".join(identity)

    def words(self, text: str) -> list[str]:
        """The words of a text: first the plain ones, then the compounds (`retrieval.analysis.words`)."""
        words, compounds = split(text, self.alphabet)
        return words + compounds

    def forms(self, word: str) -> tuple[str, ...]:
        """The terms under which one of `words` is indexed.

        That is its stem without accents; if a stemmer needs the accents of its language, also the stem of the
        word written without, if different; the word itself for a compound. A stop word has none, nor has a word
        with an empty stem.

        >>> analyzer("french").forms("mangée"), analyzer("french").forms("mangee")
        (('mang', 'mange'), ('mange',))
        """
        return () if word in self.stop_words else self.stems(word)

    def stems(self, word: str) -> tuple[str, ...]:
        """The `forms` of a word that is known not to be a stop word."""
        if len(word) > _LONGEST:
            word = word[:_LONGEST]
            return (word if self._folding is None else word.translate(self._folding),)
        folded = word if self._folding is None or word.isascii() else word.translate(self._folding)
        if self._stemmer is None or not (word.isalnum() or SYMBOLS.isdisjoint(word)):
            return (folded,) if folded else ()
        stem = self._stemmer.stem(folded)
        if self._folding is not None and not stem.isascii():
            stem = stem.translate(self._folding)
        if self._folding is not None and folded != word and self.language not in _PLAIN_STEMMERS:
            accented = self._stemmer.stem(word).translate(self._folding)
            if accented and accented != stem:
                return (accented, stem) if stem else (accented,)
        return (stem,) if stem else ()

    def terms(self, text: str) -> list[str]:
        """The terms of a text, in the order of its `words`."""
        return [term for word in self.words(text) for term in self.forms(word)]

    def length(self, text: str) -> int:
        """The number of words of a text without stop words and compounds: the document length for BM25."""
        return sum(1 for word in split(text, self.alphabet)[0] if self.forms(word))

    def query(self, text: str) -> tuple[dict[str, float], dict[str, float]]:
        """The weights of the terms of a query, and of its stop words if it has no other words.

        A term's weight is its frequency; a compound has half of that, since its parts are terms too.

        >>> analyzer("english").query("who wrote snake_case")
        ({'wrote': 1.0, 'snake': 1.0, 'case': 1.0, 'snake_case': 0.5}, {})
        >>> analyzer("english").query("The Who")
        ({}, {'the': 1.0, 'who': 1.0})
        """
        words, compounds = split(text, self.alphabet, most=_LONGEST_QUERY)
        terms: dict[str, float] = {}
        for word in words + compounds:
            for term in self.forms(word):
                terms[term] = terms.get(term, 0.0) + (1.0 if SYMBOLS.isdisjoint(term) else _COMPOUND)
        stop_words: dict[str, float] = {}
        if all(word in self.stop_words for word in words):
            for word in words:
                stop_words[word] = stop_words.get(word, 0.0) + 1.0
        return terms, stop_words

    def __repr__(self) -> str:
        folding = "" if self.fold_accents is None else f", fold_accents={self.fold_accents}"
        return f"analyzer({self.language!r}{folding})"

    def __reduce__(self) -> tuple[Any, ...]:
        return analyzer, (self.language, self.fold_accents)


def _stop_words(language: str) -> frozenset[str]:
    file = resources.files(__package__) / "stopwords" / f"{_STOP_LIST.get(language, language)}.txt"
    return frozenset(file.read_text(encoding="utf-8").split())


_ANALYZERS: dict[tuple[str, bool | None], Analyzer] = {}


def analyzer(language: str | None, fold_accents: bool | None = None) -> Analyzer:
    """Return the analyzer of a language: a name in `LANGUAGES`, its ISO 639-1 code, or None.

    None ("none" in a configuration) normalizes and splits like every language, and folds accents, but has no
    stems and no stop words. `fold_accents` is as in `hybridrank.retrieval.analysis.folding`.

    Raises:
        InputError: there is no such language.
    """
    try:
        name = language_name(language)
    except ValueError as error:
        raise InputError(f"{error}, not {language!r:.80}") from None
    key = name, fold_accents
    return _ANALYZERS.get(key) or _ANALYZERS.setdefault(key, Analyzer(*key))
