"""The analyzer: one object that turns documents and queries alike into terms."""

from __future__ import annotations

import hashlib
import threading
import unicodedata
from collections.abc import Mapping
from importlib import resources
from typing import Any

from hybridrank.errors import InputError
from hybridrank.text.languages import NONE, language_name
from hybridrank.text.words import SCHEME, Alphabet, spaced, split

__all__ = ["Analyzer", "analyzer"]

_SPELLING: Mapping[str, Mapping[str, str]] = {
    "catalan": {"'": " "},  # l'aigua; the other stemmers know the elided articles of their languages
    "turkish": {"I": "ı", "İ": "i"},  # two letters, of which case folding would make one
}
"""What a language reads otherwise than `hybridrank.text.words` does."""

_STOP_LIST: Mapping[str, str] = {"dutch_porter": "dutch", "porter": "english"}
"""Whose stop words a language uses that has none under its own name."""

_LONGEST_STEMMED = 256
"""A longer word is a hash or a run of noise: it is indexed as it is, for some stemmers take quadratic time."""


class _Stemmer(threading.local):
    """A Snowball stemmer for each thread: threads must not share one. It remembers nothing: callers do."""

    def __init__(self, language: str) -> None:
        import Stemmer

        self.stem = Stemmer.Stemmer(language, 0).stemWord


class Analyzer:
    """Turns text into the terms of one language; made by `analyzer`, immutable, and safe to share between threads.

    `identity` is a short string to save with an index: two analyzers of equal identity give equal terms. It names
    the scheme, Python's Unicode tables, the language, the stemmer's version and a hash of the stop words.

    >>> english = analyzer("english")
    >>> english.words("The dog's ＤＩＮＮＥＲ")
    ['the', "dog's", 'dinner']
    >>> english.term("the"), english.term("dog's")
    (None, 'dog')
    >>> english.terms("The dog's ＤＩＮＮＥＲ")
    ['dog', 'dinner']
    """

    __slots__ = ("_alphabet", "_stemmer", "_stop_words", "identity", "language")

    language: str | None
    identity: str

    def __init__(self, name: str) -> None:
        identity = [f"words-{SCHEME}", f"unicode-{unicodedata.unidata_version}", name]
        self.language = None if name == NONE else name
        self._alphabet = Alphabet(_SPELLING.get(name, {}))
        self._stemmer: _Stemmer | None = None
        self._stop_words: frozenset[str] = frozenset()
        if self.language is not None:
            from Stemmer import version

            self._stemmer = _Stemmer(name)
            self._stop_words = _stop_words(name)
            digest = hashlib.sha256(" ".join(sorted(self._stop_words)).encode()).hexdigest()
            identity += [f"stemmer-{version()}", f"stop-{digest[:12]}"]
        self.identity = "/".join(identity)

    def words(self, text: str) -> list[str]:
        """Give the words of a text in order: NFKC, case-folded and split as `hybridrank.text.words` says."""
        return split(text, self._alphabet)

    def spaced(self, text: str) -> str:
        """Give the `words` of a text as one string, with a space or more between any two: quicker than a list."""
        return spaced(text, self._alphabet)

    def term(self, word: str) -> str | None:
        """Give what one of `words` is indexed as: its stem, or None for a stop word or where no stem is left."""
        if self._stemmer is None or len(word) > _LONGEST_STEMMED:
            return word
        if word in self._stop_words:
            return None
        stem: str = self._stemmer.stem(word)
        return stem or None

    def terms(self, text: str) -> list[str]:
        """Give the terms of a text in order."""
        return [term for word in self.words(text) if (term := self.term(word)) is not None]

    def __repr__(self) -> str:
        return f"analyzer({self.language!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return analyzer, (self.language,)


def _stop_words(language: str) -> frozenset[str]:
    file = resources.files("hybridrank.text") / "stopwords" / f"{_STOP_LIST.get(language, language)}.txt"
    return frozenset(file.read_text(encoding="utf-8").split())


_ANALYZERS: dict[str, Analyzer] = {}


def analyzer(language: str | None) -> Analyzer:
    """Give the one analyzer of a language: a name in `LANGUAGES`, its ISO 639-1 code, or None.

    None, which a configuration writes "none", normalises and splits as every language does, and does no more:
    no stemming, no stop words.

    Raises:
        InputError: there is no such language.
    """
    try:
        name = language_name(language)
    except ValueError as error:
        raise InputError(f"{error}, not {language!r:.80}") from None
    return _ANALYZERS.get(name) or _ANALYZERS.setdefault(name, Analyzer(name))
