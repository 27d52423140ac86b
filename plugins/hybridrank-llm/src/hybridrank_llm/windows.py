"""Where the sliding window stops: from the end of a list to its front."""

from __future__ import annotations

__all__ = ["spans"]


def spans(count: int, *, window: int, step: int) -> list[slice]:
    """The parts of a list of `count` items to rank one after another, so that the best move to the front.

    Each part holds up to `window` items and ends `step` items before the one that was ranked before it: the best
    of what they share move on. The last begins at the front, whatever `count` is, as in RankLLM. (Sun et al.,
    2023, "Is ChatGPT Good at Search?", arXiv:2304.09542, section 3.2.)

    >>> [(part.start, part.stop) for part in spans(45, window=20, step=10)]
    [(25, 45), (15, 35), (5, 25), (0, 15)]
    """
    parts, stop = [], count
    while stop > 0:
        parts.append(slice(max(0, stop - window), stop))
        stop = stop - step if stop > window else 0
    return parts
