"""Long and hostile texts: no work that grows faster than they do, no call that holds the interpreter for long."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hybridrank.retrieval.analysis.words as module
from hybridrank.retrieval.analysis import analyzer
from hybridrank.retrieval.analysis.words import slices, split

HOSTILE = {
    "marks": "\u0301\u0316",
    "marks and joiners": "\u0301\u034f\u0316\u200d",
    "marks and fillers": "\u0301\u115f\u0316\u1160",
    "voiced marks": "\uff9e\u0316",
    "Hangul vowels": "\u1161",
    "Hangul letters": "\u1112\u1161\u11ab",
    "Khmer stacks": "\u1780\u17d2",
    "apostrophes": "'",
    "apostrophes and joiners": "'\u200c",
    "hyphens": "-",
    "links": "a-",
    "seams": "aBc",
    "brackets": "[(",
    "pipes": "|",
    "blanks": " ",
    "right-to-left marks": "\u200f",
    "ligatures": "\ufdfa",
    "Han": "手",
    "letters": "e",
    "accented letters": "é",
    "surrogates": "\ud800",
    "bits": "\ud83d\udc4d",
}


def largest_calls(monkeypatch: pytest.MonkeyPatch, text: str) -> dict[str, list[int]]:
    """How many characters each call got that holds the interpreter's lock."""
    sizes: dict[str, list[int]] = {"normalize": [], "stream": []}
    real, stream = unicodedata.normalize, module.stream

    class Counted:
        category = staticmethod(unicodedata.category)
        unidata_version = unicodedata.unidata_version

        @staticmethod
        def normalize(form: str, text: str) -> str:
            sizes["normalize"].append(len(text))
            return real(form, text)

    def counted(text: str, *rest: object) -> str:
        sizes["stream"].append(len(text))
        return stream(text, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "unicodedata", Counted)
    monkeypatch.setattr(module, "stream", counted)
    split(text, analyzer("english").alphabet)
    monkeypatch.undo()
    return sizes


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("before", ["x", "é", "手"])
def test_work_grows_with_the_text(name: str, before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = HOSTILE[name]
    once, twice = (largest_calls(monkeypatch, before + unit * (n // len(unit))) for n in (40_000, 80_000))
    for call, longest in {"normalize": 2**8, "stream": 2**18}.items():
        assert max(once[call] + twice[call], default=0) <= 19 * longest  # a ligature has 18 characters
        assert sum(twice[call]) <= 2.5 * sum(once[call]) + 2 * 2**14
        assert len(twice[call]) <= 2.5 * len(once[call]) + 20


def test_normalization_gets_no_long_run_of_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    for unit in ("\u0301\u0316", "\u0301\u115f\u0316\u1160", "\u0301\u034f\u0316\u200d"):
        calls = largest_calls(monkeypatch, "x" + unit * 50_000)["normalize"]
        assert max(calls) <= 2**8


sentences = st.lists(
    st.sampled_from(
        [
            "word",
            "Café",
            "手机壳",
            "。",
            "ที่นี่",
            "한국어",
            "e\u0301",
            "AB-1/x",
            "it's",
            " ",
            "\n",
            "，",
            "：",
            "1",
            "；",
            "か\u3099",
            "fooBar",
        ]
    ),
    max_size=60,
).map("".join)


@given(sentences, st.integers(20, 60))
@settings(deadline=None, max_examples=300)
def test_slices_give_the_words_of_the_whole(text: str, size: int) -> None:
    for each in (analyzer(None), analyzer("english"), analyzer("turkish")):
        whole = split(text, each.alphabet)
        with pytest.MonkeyPatch.context() as patch:
            for name in ("_SLICE", "_ASCII_SLICE"):
                patch.setattr(module, name, size)
            parts = list(slices(text))
            cut_between_words = all(part[-1] in module._BREAKS for part in parts[:-1])
            if cut_between_words:
                assert "".join(parts) == text
                assert split(text, each.alphabet) == whole
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_PIECE", 7)
            assert split(text, each.alphabet) == whole


@pytest.mark.parametrize("character", ["手", "か\u3099", "ที่", "한", "𠮷"])
def test_pairs_are_complete_in_a_run_of_any_length(character: str) -> None:
    unit = unicodedata.normalize("NFKC", character)
    assert split(character * 50_000, analyzer(None).alphabet) == ([unit * 2] * 49_999, [])


def test_words_that_no_slice_holds_are_cut() -> None:
    found = analyzer(None).terms("x" * 2**20)
    assert found == ["x" * 256] * 4
    assert analyzer(None).terms("é" * 2**15) == ["e" * 256] * 2
