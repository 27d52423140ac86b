"""The stop word lists: complete, normalized, of function words."""

from __future__ import annotations

from importlib import resources

import pytest

from hybridrank.retrieval.analysis import LANGUAGES, analyzer

COMMON = {
    "arabic": "في من على هذا التي",
    "armenian": "և է որ այս նա",
    "basque": "eta da ez bat hau",
    "catalan": "el de i que amb",
    "czech": "a je na se že",
    "danish": "og er det ikke på",
    "dutch": "de het een van niet",
    "dutch_porter": "de het een van niet",
    "english": "the of and it's don't",
    "esperanto": "la kaj estas ne ĝi",
    "estonian": "ja on ei see ta",
    "finnish": "ja on ei se että",
    "french": "le est et à qu'il",
    "german": "der und ist nicht für",
    "greek": "ο και είναι της δεν",
    "hindi": "का है और में यह",
    "hungarian": "a az és nem egy",
    "indonesian": "yang dan di ini tidak",
    "irish": "an agus tá ar sé",
    "italian": "il e di è che",
    "lithuanian": "ir yra į kad ne",
    "nepali": "र छ को यो मा",
    "norwegian": "og er det ikke på",
    "persian": "و در به از که",
    "polish": "i w nie się jest",
    "porter": "the of and it's don't",
    "portuguese": "o de e não é",
    "romanian": "și în este nu şi",
    "russian": "и в не что это",
    "serbian": "je i da се није",
    "sesotho": "ke le ho ba ya",
    "spanish": "el de y no está",
    "swedish": "och är det inte på",
    "tamil": "ஒரு மற்றும் இந்த அது என்று",
    "turkish": "ve bir bu için değil",
    "yiddish": "דער און איז נישט איך",
}
CONTENT = {
    "english": "water mining us may run house",
    "french": "avion maison eau or c",
    "german": "haus wasser jahr",
    "italian": "stato stati acqua",
    "spanish": "agua casa año",
    "sesotho": "bana metsi",
    "persian": "کتاب آب",
    "russian": "вода дом год",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_common_function_words_are_no_terms(language: str) -> None:
    assert analyzer(language).words(COMMON[language])
    assert analyzer(language).terms(COMMON[language]) == []


@pytest.mark.parametrize("language", CONTENT)
def test_content_words_are_terms(language: str) -> None:
    assert len(analyzer(language).terms(CONTENT[language])) == len(CONTENT[language].split())


@pytest.mark.parametrize("language", sorted({*LANGUAGES} - {"porter", "dutch_porter"}))
def test_a_list_is_sorted_and_in_the_form_that_words_have(language: str) -> None:
    file = resources.files("hybridrank.retrieval.analysis") / "stopwords" / f"{language}.txt"
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines == sorted(set(lines))
    assert [analyzer(language).words(line) for line in lines] == [[line] for line in lines]
    assert all(analyzer(language).forms(line) == () for line in lines)
    assert len(lines) >= 90


def test_there_is_no_list_that_nobody_reads() -> None:
    folder = resources.files("hybridrank.retrieval.analysis") / "stopwords"
    assert {file.name for file in folder.iterdir()} == {
        f"{language}.txt" for language in LANGUAGES if language not in ("porter", "dutch_porter")
    }
