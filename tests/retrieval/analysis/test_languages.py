"""The `language` option of a component."""

from __future__ import annotations

import tomllib

import pytest
import Stemmer
import tomli_w

from hybridrank.component.base import Component
from hybridrank.errors import ConfigError
from hybridrank.retrieval.analysis import LANGUAGES, Language, analyzer


class Speaker(Component):
    use = "speaker"
    language: Language = "english"


def test_every_language_that_snowball_stems_is_there() -> None:
    assert list(LANGUAGES) == sorted(Stemmer.algorithms())


@pytest.mark.parametrize("language", [*LANGUAGES, None, "none"])
def test_a_language_survives_a_configuration_file(language: str | None) -> None:
    speaker = Speaker(language=language)
    config = tomllib.loads(tomli_w.dumps(speaker.to_config()))
    assert config == {"use": "speaker", "language": language or "none"}
    assert Speaker.from_config(config) == speaker
    assert analyzer(speaker.language) is analyzer(language)


@pytest.mark.parametrize(
    ("code", "name"),
    [("en", "english"), ("de", "german"), ("nb", "norwegian"), ("st", "sesotho"), ("yi", "yiddish")],
)
def test_iso_codes_become_names(code: str, name: str) -> None:
    assert Speaker(language=code).language == name


def test_codes_are_those_that_snowball_knows() -> None:
    codes = [alias for alias in Speaker.json_schema()["properties"]["language"]["enum"] if len(alias) == 2]
    assert len(codes) == 36
    assert {Speaker(language=code).language for code in codes} == {*LANGUAGES} - {"porter", "dutch_porter"}


def test_the_schema_lists_what_is_accepted() -> None:
    option = Speaker.json_schema()["properties"]["language"]
    assert option["default"] == "english"
    assert {*LANGUAGES, "none", "fr"} <= {*option["enum"]}
    assert all(Speaker(language=choice) for choice in option["enum"])


@pytest.mark.parametrize("language", ["germn", "English", "zh", 7, True])
def test_an_unknown_language_is_a_configuration_error(language: object) -> None:
    with pytest.raises(ConfigError, match=r"^\$\.language: .*language must be one of arabic, "):
        Speaker(language=language)


def test_a_misspelt_language_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r'\$\.language: did you mean "german"\?.*, not \'germn\'$'):
        Speaker(language="germn")
