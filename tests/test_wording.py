"""The prose is plain American technical English: codespell's dictionary, and a list of phrases to avoid."""

from __future__ import annotations

import subprocess
import sys

import pytest
from wording import ROOT, covered_files, find, findings, phrases


def test_no_phrase_of_the_list_is_used():
    assert list(covered_files())
    assert not list(findings())


@pytest.mark.parametrize(
    "text",
    [
        "A call that is left behind.",
        "A call that is left\nbehind.",
        '    """A call that is left\n    behind."""',
        "    # A call that is Left\n    # behind.",
        'raise ValueError(f"{call} is left "\n    f"behind")',
    ],
    ids=["line", "wrapped", "docstring", "comment", "literals"],
)
def test_a_phrase_is_found_wherever_it_is_written(text):
    assert [(finding.line, finding.instead) for finding in find(text, phrases())] == [(1, "abandoned")]


def test_a_word_is_not_found_inside_another():
    assert not find("amended, besides, a recommendation", phrases())


def test_a_line_number_is_that_of_the_phrase():
    assert [finding.line for finding in find("Good.\n\nBuilt anew, and\nmended.\n", phrases())] == [3, 4]


def codespell(*paths):
    return subprocess.run(
        [sys.executable, "-m", "codespell_lib", *map(str, paths)], cwd=ROOT, capture_output=True, text=True
    )


def test_codespell_finds_nothing():
    checked = codespell()
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("misspelled", ["recieve", "normalise", "licence"])
def test_codespell_finds_mistakes_and_british_spellings(misspelled, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"We {misspelled} it.\n")
    assert f"{misspelled} ==>" in codespell(page).stdout
