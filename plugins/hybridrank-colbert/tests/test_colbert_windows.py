"""Windows: nothing is lost, nothing is longer than there is room, whatever the text."""

from __future__ import annotations

import pytest
from hybridrank_colbert.testing import tiny_tokenizer
from hybridrank_colbert.windows import windows_of
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from hybridrank import Document

WORDPIECE = tiny_tokenizer().backend_tokenizer
BYTES = Tokenizer(
    models.BPE({letter: n for n, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, [])
)
BYTES.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)

words = st.text("abé漢 \n.,🎉", max_size=300) | st.lists(st.sampled_from(["soil", "x" * 40, "a", "🎉"])).map(
    " ".join
)


@pytest.mark.parametrize("tokens", [WORDPIECE, BYTES], ids=["wordpiece", "bytes"])
@given(text=words, room=st.integers(8, 40))
def test_windows_hold_the_whole_text(tokens, text, room):
    def encode(part):
        return tokens.encode(part, add_special_tokens=False)

    found = windows_of(Document("d", text), encode=encode, room=room, on_long="window", model="m")
    assert found.read == found.total == len(encode(text).ids)
    assert all(len(encode(part).ids) <= room for part in found.texts)
    covered = 0
    for part in found.texts:  # each begins no later than where the one before it ended, but for white space
        ahead = len(text) - len(text[covered:].lstrip())
        at = text.rfind(part, 0, ahead + len(part))
        assert at >= 0
        covered = max(covered, at + len(part))
    assert not text[covered:].strip()
    assert len(found.texts) <= 1 + 4 * found.total // room


def test_a_window_ends_with_a_word():
    def encode(part):
        return WORDPIECE.encode(part, add_special_tokens=False)

    text = "zebra " * 20  # five tokens each
    found = windows_of(Document("d", text), encode=encode, room=12, on_long="window", model="m")
    assert set(found.texts) == {"zebra zebra"}
