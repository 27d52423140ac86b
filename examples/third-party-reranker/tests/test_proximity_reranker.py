"""Does `proximity` keep hybridrank's contract, and does it do what it says?"""

import pytest
from hybridrank_proximity import Proximity

from hybridrank import Candidates, Document, Query
from hybridrank.component import create
from hybridrank.errors import ConfigError
from hybridrank.testing import parametrize


@parametrize("reranker", [Proximity(), Proximity(closeness=1.0)])
def test_contract(component, check):
    check(component)


def scores(query, *texts, **options):
    documents = [Document(str(at), text) for at, text in enumerate(texts)]
    (row,) = Proximity(**options).score([Candidates(Query(query), documents)])
    return row


def test_score_is_share_times_density():
    # "the lift of the wing": both words, in the shortest stretch of four; then one word of two, alone
    assert scores("wing lift", "the lift of the wing", "a wing", "a tail") == [1 * (0.5 + 0.5 * 2 / 4), 0.5, 0.0]


def test_nearer_words_score_higher():
    near, far = scores("organic waste", "Organic waste rots.", "Organic farms, it is said, make less waste.")
    assert near == 1.0
    assert 0.5 < far < near


def test_the_shortest_stretch_counts_wherever_it_is():
    assert scores("a b c", "a x x b x c x a b x c c b a", closeness=1.0) == [1.0]


def test_closeness_is_an_option():
    assert scores("wing lift", "the lift of the wing", closeness=0.0) == [1.0]
    with pytest.raises(ConfigError, match=r"\$\.closeness"):
        Proximity(closeness=2.0)


def test_installed_under_its_name():
    assert create("reranker", {"use": "proximity", "closeness": 0.25}) == Proximity(closeness=0.25)
