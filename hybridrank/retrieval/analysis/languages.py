"""The languages with a stemmer, and the type of a component's `language` option."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field

__all__ = ["LANGUAGES", "NONE", "Language", "language_name"]

NONE = "none"
"""How ``language=None`` is written in a configuration: TOML has no null."""

_CODES: Mapping[str, str] = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "eo": "esperanto",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "nb": "norwegian",
    "ne": "nepali",
    "nl": "dutch",
    "nn": "norwegian",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "st": "sesotho",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}

LANGUAGES: tuple[str, ...] = tuple(sorted({*_CODES.values(), "dutch_porter", "porter"}))
"""Every language that has a Snowball stemmer and a stop word list here, by Snowball's name for it.

"porter" is the first English stemmer and "dutch_porter" the older Dutch one.
"""


def language_name(language: object) -> str:
    """The name in `LANGUAGES` for a name or an ISO 639-1 code; "none" for None and for "none".

    Raises:
        ValueError: there is no such language; the message has the known ones, and the nearest match.
    """
    if language is None or language == NONE:
        return NONE
    if isinstance(language, str):
        name = _CODES.get(language, language)
        if name in LANGUAGES:
            return name
    near = get_close_matches(language, LANGUAGES, n=1, cutoff=0.7) if isinstance(language, str) else []
    hint = f'did you mean "{near[0]}"? ' if near else ""
    raise ValueError(
        f"{hint}language must be one of {', '.join(LANGUAGES)}, the ISO 639-1 code of one, "
        f'or "{NONE}" for text in any other (Chinese, Japanese, Korean and Thai need no more)'
    )


Language: TypeAlias = Annotated[
    str, BeforeValidator(language_name), Field(json_schema_extra={"enum": [*LANGUAGES, *_CODES, NONE]})
]
"""A component's `language` option: what `language_name` accepts; holds the name, or "none" for None.

It holds "none" rather than None because a configuration leaves None out, and the default would come back.
"""
