"""The analyzer: stems, stop words, identity, threads."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import Stemmer
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridrank.errors import InputError
from hybridrank.retrieval.analysis import LANGUAGES, Analyzer, analyzer
from hybridrank.retrieval.analysis.folding import OWN_LETTERS


def test_terms_are_stems_without_stop_words() -> None:
    assert analyzer("english").terms("The owners weren't recycling the dogs' toys") == [
        "owner",
        "recycl",
        "dog",
        "toy",
    ]
    assert analyzer("german").terms("Die Häuser in der großen Straße") == ["haus", "gross", "strass"]
    assert analyzer("french").terms("Il n'est pas dans l’avion") == ["avion"]
    assert analyzer("persian").terms("کتاب‌ها را می‌خواهم") == ["کتاب", "خواه"]


def test_without_a_language_terms_are_words() -> None:
    text = "The owners weren't in 手机壳"
    assert (
        analyzer(None).terms(text)
        == analyzer(None).words(text)
        == ["the", "owners", "weren't", "in", "手机", "机壳"]
    )
    assert analyzer(None).language is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_term_is_what_snowball_says(language: str) -> None:
    stemmer = Stemmer.Stemmer(language)
    words = analyzer(language).words(
        "computing nationalities Häuser captain книгами وكتابات किताबें πόλεων evlerinden கதைகள் könyvek"
    )
    plain = analyzer(language, fold_accents=False)
    assert [plain.forms(word) for word in words] == [(stem,) for stem in stemmer.stemWords(words)]


def test_turkish_has_two_letters_i() -> None:
    turkish = analyzer("turkish")
    assert turkish.words("IŞIK ışık İZMİR I\u0307zmir") == ["ışık", "ışık", "izmir", "izmir"]
    assert turkish.words("DIS") == ["dıs"]
    assert analyzer("english").words("DIS") == ["dis"]


def test_catalan_articles_are_split_off() -> None:
    assert analyzer("catalan").words("L'aigua d’aquest") == ["l", "aigua", "d", "aquest"]
    assert analyzer("catalan").terms("l'aigua") == analyzer("catalan").terms("aigua")


def test_a_word_of_which_no_stem_is_left_is_no_term() -> None:
    assert Stemmer.Stemmer("arabic").stemWord("ـ") == ""
    assert analyzer("arabic").forms("ـ") == ()


def test_a_word_of_more_than_256_characters_is_cut_and_not_stemmed() -> None:
    assert analyzer("english").forms("ab" * 126 + "ing") == ("ab" * 126,)
    assert analyzer("english").forms("ab" * 127 + "ing") == ("ab" * 127 + "in",)
    assert analyzer("tamil").forms("க" * 1_000_000) == ("க" * 256,)


@given(st.text(), st.sampled_from([None, *LANGUAGES]))
@settings(deadline=None)
def test_terms_are_the_term_of_each_word(text: str, language: str | None) -> None:
    each = analyzer(language)
    terms = each.terms(text)
    assert terms == [term for word in each.words(text) for term in each.forms(word)]
    assert all(terms)
    assert each.length(text) <= len(each.words(text))


def test_one_analyzer_for_each_language() -> None:
    assert analyzer("english") is analyzer("en") is analyzer("english")
    assert analyzer(None) is analyzer("none")
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: analyzer("basque"), range(200)))) == 1


def test_copies_and_pickles_are_the_same_object() -> None:
    english = analyzer("english")
    assert copy.deepcopy(english) is pickle.loads(pickle.dumps(english)) is english
    assert repr(english) == "analyzer('english')"
    unfolded = analyzer("english", fold_accents=False)
    assert pickle.loads(pickle.dumps(unfolded)) is unfolded
    assert repr(unfolded) == "analyzer('english', fold_accents=False)"


@pytest.mark.parametrize("language", ["klingon", "", 3, ["english"]])
def test_an_unknown_language_is_an_input_error(language: object) -> None:
    with pytest.raises(InputError, match="language must be one of arabic, "):
        analyzer(language)  # type: ignore[arg-type]


def test_a_misspelt_language_gets_the_nearest() -> None:
    with pytest.raises(InputError, match=r"did you mean \"english\"\?.*, not 'Englsh'$"):
        analyzer("Englsh")


def test_identities_differ_by_language_and_hold_the_stemmer() -> None:
    folding = (None, True, False)
    identities = {analyzer(language, fold).identity for language in (None, *LANGUAGES) for fold in folding}
    assert len(identities) == 2 * (1 + len(LANGUAGES)) + len(OWN_LETTERS)
    assert Stemmer.version() in analyzer("english").identity
    assert Stemmer.version() not in analyzer(None).identity


def test_the_identity_is_the_same_in_another_process() -> None:
    code = (
        "from hybridrank.retrieval.analysis import analyzer; "
        "print(analyzer('english').identity, analyzer(None).identity)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == [analyzer("english").identity, analyzer(None).identity]


def test_the_identity_follows_the_stop_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "hybridrank.retrieval.analysis.language_analyzer._stop_words", lambda language: frozenset({"the"})
    )
    assert Analyzer("english").identity != analyzer("english").identity


def test_sixteen_threads_get_what_one_gets() -> None:
    texts = {
        "english": "the generously running nationalities were relationally hopping " * 50,
        "russian": "национальностями книгами беседующих говорившая " * 50,
        "german": "Häuser Straßen aufeinanderfolgenden Nationalitäten " * 50,
        "turkish": "EVLERİNDEN ışıklarından kitaplarımızda 手机壳 " * 50,
    }
    expected = {language: analyzer(language).terms(text) for language, text in texts.items()}
    jobs = list(texts) * 100
    with ThreadPoolExecutor(16) as pool:
        found = pool.map(lambda language: analyzer(language).terms(texts[language]), jobs)
        for language, terms in zip(jobs, found, strict=True):
            assert terms == expected[language]


def test_importing_loads_no_stemmer() -> None:
    code = "import sys, hybridrank.retrieval.analysis; sys.exit('Stemmer' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("language", "written", "typed"),
    [
        ("english", "café", "cafe"),
        ("english", "résumés", "resumes"),
        (None, "Đà Nẵng", "Da Nang"),
        (None, "Łódź", "Lodz"),
        (None, "Ærø straße œuvre", "Aero strasse oeuvre"),
        (None, "Αθήνα", "Αθηνα"),
        (None, "שָׁלוֹם", "שלום"),
        (None, "مُحَمَّد كـتاب", "محمد كتاب"),
        ("russian", "Ёлка", "елка"),
        (None, "Росси́я", "Россия"),
        ("german", "Café Zürich", "Cafe Zurich"),
        ("german", "Müller", "Mueller"),
        ("french", "régularité mangées", "regularite mangees"),
        ("spanish", "canción", "cancion"),
        ("portuguese", "coração pão", "coracao pao"),
        ("italian", "città", "citta"),
        ("romanian", "șterge țară", "sterge tara"),
        ("romanian", "ştiri", "știri"),
        ("czech", "Dvořák příliš", "Dvorak prilis"),
        ("polish", "Łukasz żółw", "Lukasz zolw"),
        ("serbian", "Đoković", "Djokovic"),
        ("serbian", "Đoković", "Dokovic"),
        ("lithuanian", "ačiū", "aciu"),
        ("irish", "Éire", "Eire"),
        ("dutch", "coördinatie", "coordinatie"),
        ("swedish", "idé", "ide"),
        ("turkish", "kâğıt", "kağıt"),
    ],
)
def test_a_word_is_found_without_its_accents(language: str | None, written: str, typed: str) -> None:
    each = analyzer(language)
    for word, plain in zip(each.words(written), each.words(typed), strict=True):
        assert {*each.forms(word)} & {*each.forms(plain)}


def test_accents_stay_where_they_are_not_folded() -> None:
    assert analyzer(None, fold_accents=False).terms("Café Łódź") == ["café", "łódź"]
    assert analyzer("english", fold_accents=False).terms("résumés cafe") == ["résumé", "cafe"]
    assert analyzer("french", fold_accents=False).terms("mangée mangee") == ["mang", "mange"]


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("swedish", "får", "far"),
        ("finnish", "säde", "sade"),
        ("danish", "bønder", "bonder"),
        ("norwegian", "bønder", "bonder"),
        ("spanish", "año", "ano"),
        ("turkish", "kış", "kis"),
        ("hungarian", "kór", "kor"),
        ("estonian", "tõde", "tode"),
        ("esperanto", "ŝato", "sato"),
        (None, "мой", "мои"),
        (None, "か", "が"),
        (None, "ї", "і"),
    ],
)
def test_letters_of_the_own_alphabet_stay_apart(language: str | None, one: str, other: str) -> None:
    each = analyzer(language)
    assert not {*each.forms(one)} & {*each.forms(other)}
    if language is not None:
        every = analyzer(language, fold_accents=True)
        assert {*every.forms(one)} & {*every.forms(other)}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("fold_accents", [None, True])
def test_folding_is_the_same_for_folded_words(language: str, fold_accents: bool | None) -> None:
    each = analyzer(language, fold_accents)
    for word in each.words("élève Häuser señor naïve čeština żółty Århus førde ışık hôtel œuvre"):
        folded = word if each._folding is None else word.translate(each._folding)
        assert {*each.stems(folded)} <= {*each.stems(word)}


@pytest.mark.parametrize("language", [None, "english", "turkish"])
@pytest.mark.parametrize("fold_accents", [None, False])
def test_a_turkish_capital_i_is_an_i(language: str | None, fold_accents: bool | None) -> None:
    each = analyzer(language, fold_accents)
    assert each.words("İstanbul i̇stanbul İstanbul") == ["istanbul"] * 3
    typed = "ISTANBUL" if language != "turkish" else "İSTANBUL"
    assert each.terms("İstanbul") == each.terms(typed) == each.terms("istanbul")


def test_a_query_of_stop_words_alone_searches_for_them() -> None:
    english = analyzer("english")
    assert english.query("To be, or not to be") == ({}, {"to": 2.0, "be": 2.0, "or": 1.0, "not": 1.0})
    assert english.query("IT") == ({}, {"it": 1.0})
    assert english.query("Who is Tommy?") == ({"tommi": 1.0}, {})
    assert english.query("and/or") == ({"and/or": 0.5}, {"and": 1.0, "or": 1.0})
    assert english.query("...") == ({}, {})
    assert analyzer(None).query("The Who") == ({"the": 1.0, "who": 1.0}, {})


def test_of_an_endless_query_the_beginning_is_read() -> None:
    for word in ("wind ", "手、", "é "):
        terms, _ = analyzer(None).query(word * 500_000)
        (count,) = terms.values()
        assert 2**16 <= count < 2**18


def test_a_compound_has_half_the_weight_of_its_parts() -> None:
    assert analyzer("english").query("C++ C++ node.js")[0] == {
        "c": 2.0,
        "node": 1.0,
        "js": 1.0,
        "c++": 1.0,
        "node.js": 0.5,
    }


def test_a_length_counts_words_without_stop_words_and_compounds() -> None:
    english = analyzer("english")
    assert english.length("The parse_json of AB-1234/X") == 5
    assert english.length("the of") == 0
    assert analyzer("french").length("régularité") == 1
    assert analyzer("french").terms("régularité") == ["regular", "regularit"]
