"""Ends of sentences, by their punctuation, in any script."""

from __future__ import annotations

import re

__all__ = ["LEADS", "TAILS", "WORDS", "ends_sentence"]

_CLOSING = "\"'”’»›)]}*_`>」』）】》〉｣"
_OPENING = "\"'“‘«‹([{*_`<¿¡「『（【《〈｢„‚"
_WIDE_STOPS = "。！？｡។៕။"  # the next sentence follows without a space
_STOPS = frozenset(".!?…‥‼‽⁇⁈⁉" + _WIDE_STOPS + "։؝؞؟۔܀܁܂߹࠷࠹࠽࠾।॥၊፧።፨᙮᜵᜶᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᰻᰼᱾᱿⸮⸼꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹖﹗")
"""What ends a sentence: Unicode's Sentence_Terminal in the scripts of today, and the ellipsis."""

LEADS = (":", "：")
TAILS = _STOPS | frozenset(_CLOSING)
_ABBREVIATION = re.compile(
    "al|approx|bzw|ca|cf|capt|col|dept|dr|dra|ed|eds|esp|est|et|evtl|figs|gen|ggf|gov|hon|hr|lt|maj|messrs|mrs?|ms|mt"
    "|nr|op|orig|prof|pt|rep|resp|rev|sen|sgt|sra?|ssp|st|subsp|u|usw|var|viz|vs",
    re.IGNORECASE,
)
_BEFORE_A_NUMBER = re.compile(
    "abbs?|apps?|apr|art|aug|bd|cha?p?|dec|eqs?|feb|figs?|jan|jul|jun|kap|mar|nos?|nov|oct|par|pp?|s|sec|sect|sept?"
    "|tab|vol",
    re.IGNORECASE,
)
WORDS = re.compile(rf"(?=\S)[^\s{_WIDE_STOPS}]*+(?:[{_WIDE_STOPS}]++[{re.escape(_CLOSING)}]*+)?")


def ends_sentence(word: str, following: str) -> bool:
    """Whether a sentence ends with `word`, of which the last character is one of `TAILS`."""
    bare = word.rstrip(_CLOSING)
    if not bare or bare[-1] not in _STOPS:
        return False
    after = following.lstrip(_OPENING)[:1]
    if after.islower():
        return False
    if bare[-1] != "." or bare.endswith(".."):
        return True
    stem = bare[:-1].lstrip(_OPENING)
    if "." in stem:
        return not all(len(part) <= 2 and part.isalpha() for part in stem.split("."))  # U.S., e.g., Ph.D.
    if len(stem) == 1 and stem.isalpha() and stem != "I":
        return False  # an initial
    return not (_ABBREVIATION.fullmatch(stem) or (after.isnumeric() and _BEFORE_A_NUMBER.fullmatch(stem)))
