"""How text splits into words, against examples, a naive reference and properties."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridrank.retrieval.analysis import analyzer
from hybridrank.retrieval.analysis.words import SPACELESS, split

words = analyzer(None).words

ANALYZERS = [analyzer(language) for language in (None, "english", "turkish", "catalan", "persian")]
TRICKY = (
    "aI1'’ʼ \u200c\u200d\u00ad\u0301\u0307\u0345İßŉſς۱كی\u064bक\u094dก\u0e33\u0e48１ខ\u17d2က\u1039"
    "か\u3099手機한ᄒ𠮷ーー_\0\n"
)
anything = st.text(st.characters(exclude_categories=()) | st.sampled_from(TRICKY), max_size=30)
several = settings(deadline=None, max_examples=300)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World! 3.14 x2", ["hello", "world", "3", "14", "x2", "3.14"]),
        ("", []),
        (" \t\n…!? 👍🏽 →", []),
        ("soft\u00adhyphen non\u2011breaking", ["softhyphen", "non", "breaking", "non-breaking"]),
        ("Ｆｕｌｌ ﬁne x² Straße ΣΊΣΥΦΟΣ", ["full", "fine", "x2", "strasse", "σίσυφοσ"]),
        ("café cafe\u0301 CAFÉ", ["café"] * 3),
        ("J\u030c", ["ǰ"]),  # only the small letter exists precomposed
        ("co\u00adoperate x\ufe0fy \ufefftext \u202bא\u202c", ["cooperate", "xy", "text", "א"]),
        ("a\u200bb", ["a", "b"]),
        ("nul\0byte \ud800lone", ["nul", "byte", "lone"]),
        ("комп'ютер комп’ютер компʼютер", ["комп'ютер"] * 3),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it's don’t O‘Reilly rock'n'roll", ["it's", "don't", "o'reilly", "rock'n'roll"]),
        ("'quoted' dogs' 'tis ’90s", ["quoted", "dogs", "tis", "90s"]),
        ("''two'' a''b a'''b '' '", ["two", "a", "b", "a", "b"]),
        ("don’t'' é'", ["don't", "é"]),
        ("rock´n´roll \u0301x", ["rock", "n", "roll", "x"]),  # NFKC makes a space and a mark of ´
    ],
)
def test_apostrophes_stay_inside_words_only(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    "word",
    [
        "हिन्दी",
        "किताबें",
        "தமிழ்",
        "பாடல்கள்",
        "বাংলা",
        "తెలుగు",
        "മലയാളം",
        "ಕನ್ನಡ",
        "ગુજરાતી",
        "ਪੰਜਾਬੀ",
        "සිංහල",
        "שָׁלוֹם",
        "مُحَمَّد",
    ],
)
def test_marks_do_not_cut_words(word: str) -> None:
    assert words(f"{word}, {word}.") == [unicodedata.normalize("NFKC", word)] * 2


def test_the_zero_width_non_joiner_counts_in_persian_alone() -> None:
    assert words("می‌خواهم") == ["می\u200cخواهم"]
    assert words("ab\u200cc क्\u200cष") == ["abc", "क्ष"]
    assert words("\u200cکتاب\u200c") == ["کتاب"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("手机壳", ["手机", "机壳"]),
        ("我", ["我"]),
        ("我，你", ["我", "你"]),
        ("iPhone手机壳2个", ["iphone", "手机", "机壳", "2", "个"]),
        ("東京タワーへ", ["東京", "京タ", "タワ", "ワー", "ーへ"]),
        ("ﾃｽﾄ", ["テス", "スト"]),
        ("か\u3099く", ["がく"]),
        ("ジョン・スミス", ["ジョ", "ョン", "スミ", "ミス"]),
        ("한국어를 한국", ["한국", "국어", "어를", "한국"]),
        ("𠮷野家", ["𠮷野", "野家"]),
        ("人々 二〇〇八", ["人々", "二〇", "〇〇", "〇八"]),
        ("手'机", ["手", "机"]),
        ("手机's", ["手机", "s"]),
        ("ไทย ๒๕๖๐", ["ไท", "ทย", "๒๕๖๐"]),
        ("ที่นี่", ["ที่นี่"]),  # two consonants, each with a vowel sign and a tone mark
        ("ที่นั่น", ["ที่นั่", "นั่น"]),
        ("ພາສາ", ["ພາ", "າສ", "ສາ"]),
        ("ខ្មែរ", ["ខ្មែរ"]),  # kho with a subscript mo, then ro
        ("မြန်မာ", ["မြန်", "န်မာ"]),
        ("\u17d2កខ \u0e48ก", ["កខ", "ก"]),
    ],
)
def test_spaceless_scripts_give_pairs(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.text(st.sampled_from("手機壳売買東京あいウカ한국𠮷𪚥々〇"), min_size=1, max_size=12))
@several
def test_unmarked_runs_give_every_pair_of_neighbours(run: str) -> None:
    run = unicodedata.normalize("NFKC", run)
    assert words(run) == ([run] if len(run) == 1 else [run[i : i + 2] for i in range(len(run) - 1)])


def reference(text: str) -> list[str]:
    """The same words, slowly: one pass over the characters, without stacking signs and apostrophes."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    pieces: list[tuple[str, list[str]]] = []  # (kind, units), where a word is one unit
    kind = ""
    for char in text:
        if unicodedata.category(char) in ("Mn", "Mc"):
            if kind:
                pieces[-1][1][-1] += char
            continue
        is_letter = unicodedata.category(char)[0] == "L"
        spaceless = is_letter and any(first <= ord(char) <= last for first, last in SPACELESS)
        now = "run" if spaceless else "word" if is_letter or char.isnumeric() else ""
        if now and now != kind:
            pieces.append((now, [char]))
        elif now == "run":
            pieces[-1][1].append(char)
        elif now == "word":
            pieces[-1][1][-1] += char
        kind = now
    found = []
    for kind, units in pieces:
        if kind == "word" or len(units) == 1:
            found += units
        else:
            found += [units[i] + units[i + 1] for i in range(len(units) - 1)]
    return found


@given(st.text(st.sampled_from("aZé1 .-\u0301\u0308हिन्दीகோไทยที่น้ำ๒ລາວ手机壳かなカナー한국어𠮷野ßΣ"), max_size=40))
@several
def test_words_equal_a_naive_reference(text: str) -> None:
    assert split(text, analyzer(None).alphabet)[0] == reference(text)


@given(st.text(st.characters(max_codepoint=127), max_size=40))
@several
def test_ascii_text_takes_a_short_way_to_the_same_words(text: str) -> None:
    pairs_apart = text.replace("''", "  ")
    parts = re.sub("(?<=[A-Za-z][a-z])(?=[A-Z][A-Za-z])|(?<=[A-Z]{2})(?=[A-Z][a-z]{2})", " ", pairs_apart)
    plain, compounds = split(text, analyzer(None).alphabet)
    assert plain == re.findall(r"[a-z0-9]+(?:'[a-z0-9]+)*", parts.lower())
    assert split(text + " é", analyzer(None).alphabet) == ([*plain, "é"], compounds)


@given(anything)
@several
def test_no_text_is_too_strange(text: str) -> None:
    for each in ANALYZERS:
        for word in each.words(text):
            assert any(char.isalnum() for char in word)
            assert not re.search(r"[\s\0-\x1f\ufdd0]", word)
            word.encode()


@given(anything)
@several
def test_words_are_words_of_themselves(text: str) -> None:
    for each in ANALYZERS:
        plain, compounds = split(text, each.alphabet)
        assert split(" ".join(plain), each.alphabet) == (plain, [])
        for compound in compounds:
            assert compound in each.words(compound)


@given(anything)
@several
def test_equivalent_texts_give_equal_words(text: str) -> None:
    for each in ANALYZERS:
        found = each.words(text)
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            assert each.words(unicodedata.normalize(form, text)) == found


@given(anything, anything)
@several
def test_a_space_separates(first: str, second: str) -> None:
    for each in ANALYZERS:
        for both, one, other in zip(
            *(split(some, each.alphabet) for some in (f"{first} {second}", first, second)), strict=True
        ):
            assert both == one + other


def test_a_megabyte_without_a_space_has_few_words() -> None:
    assert set(words("ab" * 500_000)) == {"ab" * 2**17, "ab" * (500_000 % 2**17)}
    assert words("'" * 1_000_000) == []
    assert len(words("手" * 100_000)) == 99_999
    assert {word.replace("'", "") for word in words("é'" * 1000)} == {"é" * 1000}
