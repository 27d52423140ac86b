from __future__ import annotations

import datetime as dt
import json
import time
import tomllib

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from hybridrank import Candidates, Document, Query
from hybridrank.adjust import Recency
from hybridrank.errors import ConfigError

NOW = dt.datetime(2024, 3, 31, 12, tzinfo=dt.UTC)
DATES = st.datetimes(dt.datetime(1, 1, 3), dt.datetime(9999, 12, 29), timezones=st.just(dt.UTC))


def candidates(*values):
    documents = [
        Document(f"d{number}", "", metadata={} if value is ... else {"date": value})
        for number, value in enumerate(values)
    ]
    return Candidates(Query("q"), documents)


def recency(**options):
    return Recency(**{"field": "date", "half_life": 10, "weight": 1.0, "now": NOW.isoformat(), **options})


@given(
    st.lists(st.tuples(DATES, st.floats(-20, 20)), min_size=1, max_size=8),
    st.floats(0.001, 1),
    st.floats(0.01, 10_000),
    DATES,
)
def test_the_scores_are_those_of_the_formula(rows, weight, half_life, now):
    scores = [score for _, score in rows]
    low, high = min(scores), max(scores)
    part = recency(weight=weight, half_life=half_life, now=now.isoformat())
    adjusted = part.adjust(candidates(*(moment.isoformat() for moment, _ in rows)), scores)
    for (moment, score), got in zip(rows, adjusted, strict=True):
        scale = 1.0 if low == high else (score - low) / (high - low)
        age = max(0.0, (now - moment) / dt.timedelta(days=1))
        assert got == pytest.approx((1 - weight) * scale + weight * 0.5 ** (age / half_life), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    "value",
    [
        "2024-03-21T12:00:00Z",
        "2024-03-21T12:00:00",  # in UTC where it names no zone
        "2024-03-21 14:00+02:00",
        "20240321T120000Z",
        "2024-W12-4T12:00",
        int(NOW.timestamp()) - 10 * 86_400,
        NOW.timestamp() - 10 * 86_400.0,
    ],
)
def test_a_date_is_read_in_any_of_its_forms(value):
    adjusted = recency().adjust(candidates(value), [1.0])
    assert adjusted == pytest.approx((0.5,))
    assert not any(adjusted.details.values())


def test_a_date_without_a_time_is_its_midnight():
    assert recency(half_life=0.5).adjust(candidates("2024-03-31"), [1.0]) == pytest.approx((0.5,))


def test_what_is_no_date_gets_nothing_and_is_counted():
    odd = [
        "spring",
        "",
        True,
        [],
        {"year": 2024},
        float("nan"),
        float("inf"),
        1e300,
        10**400,
        NOW.timestamp() * 1000,
    ]
    adjusted = recency(weight=0.5).adjust(candidates(*odd, None, ..., "2024-03-31T12:00"), [1.0] * 13)
    assert adjusted == (*[0.5] * 12, 1.0)
    assert adjusted.details == {"without_date": 2, "unreadable_date": 10, "future_date": 0}


def test_a_date_to_come_counts_as_now_and_is_counted():
    adjusted = recency().adjust(
        candidates("2025-01-01", "9999-12-31T23:59:59-23:00", "2024-03-31T12:00Z"), [1, 2, 3]
    )
    assert adjusted == (1.0, 1.0, 1.0)
    assert adjusted.details == {"without_date": 0, "unreadable_date": 0, "future_date": 2}


def test_without_a_now_ages_are_counted_from_the_time_of_the_search():
    part = recency(now=None, half_life=1_000)
    before = time.time()
    (got,) = part.adjust(candidates(before - 1_000 * 86_400), [1.0])
    after = time.time()
    assert 0.5 ** (1 + (after - before) / 86_400 / 1_000) <= got <= 0.5


def test_equal_scores_leave_the_order_to_the_dates():
    adjusted = recency(weight=0.5).adjust(candidates("2024-03-21T12:00Z", "2024-03-31T12:00Z"), [-7.0, -7.0])
    assert adjusted == pytest.approx((0.75, 1.0))


def test_a_configuration_round_trips_and_takes_tomls_own_dates():
    part = recency(now="2024-03-31")
    written = part.to_config()
    assert Recency.from_config(json.loads(json.dumps(written))) == part
    assert Recency.from_config(tomllib.loads(tomli_w.dumps(written))) == part
    assert (
        Recency.from_config(tomllib.loads('field = "date"\nhalf_life = 10\nweight = 1.0\nnow = 2024-03-31'))
        == part
    )


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"half_life": 0}, "$.half_life"),
        ({"weight": 0.0}, "$.weight"),
        ({"weight": 1.5}, "$.weight"),
        ({"now": "today"}, "$.now"),
        ({"now": 5}, "$.now"),
    ],
)
def test_a_wrong_option_says_where(options, path):
    with pytest.raises(ConfigError) as caught:
        recency(**options)
    assert caught.value.path == path
    with pytest.raises(ConfigError, match=r"\$\.field"):
        Recency(half_life=1)
