"""Dates are written as CLDR says; nothing that a reader is judged by was learned from; a string names one day."""

from __future__ import annotations

import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

pytest.importorskip("babel", reason="the dates' package is not installed")
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import dates

DAY = date(2021, 3, 5)


@pytest.mark.parametrize(
    ("locale", "pattern", "text"),
    [
        ("de", "d. MMMM y", "5. März 2021"),
        ("en_US", "M/d/yy", "3/5/21"),
        ("en_GB", "E, d MMM y", "Fri, 5 Mar 2021"),
        ("ja", "y年M月d日(E)", "2021年3月5日(金)"),
        ("pt_BR", "EEEE, d 'de' MMMM 'de' y", "sexta-feira, 5 de março de 2021"),
    ],
)
def test_days_are_written_by_the_patterns_of_their_locale(locale: str, pattern: str, text: str) -> None:
    assert pattern in dates.patterns(locale)
    assert dates.write(DAY, pattern, locale) == dates.Written(locale, pattern, text, DAY)
    assert dates.write(DAY, pattern, locale).source == f"<{locale}>{text}"
    assert dates.write(DAY, pattern, locale).iso == "2021-03-05"


def test_every_day_of_a_hundred_years_is_in_one_part() -> None:
    fit, choose, test = dates.days()
    assert len(test) == 3652
    assert len(choose) == 1826
    assert sorted(fit + choose + test) == [date(1970, 1, 1) + timedelta(k) for k in range(36525)]
    assert fit != sorted(fit)


def test_one_pattern_of_every_locale_is_held_out() -> None:
    assert len(dates.LOCALES) >= 12
    for locale in dates.LOCALES:
        assert dates.held_out()[locale] in dates.patterns(locale)
        assert {*dates.fitted(locale)} == {*dates.patterns(locale)} - {dates.held_out()[locale]}
        assert len(dates.fitted(locale)) >= 4


def test_what_is_drawn() -> None:
    fit = dates.days().fit
    strings = dates.seen(fit, 5000, seed=1)
    assert len({(one.locale, one.text) for one in strings}) == len(strings) == 5000
    assert {one.locale for one in strings} == {*dates.LOCALES}
    assert {one.day for one in strings} <= {*fit}
    for one in strings:
        assert one.pattern in dates.fitted(one.locale)
        assert one == dates.write(one.day, one.pattern, one.locale)
    assert dates.seen(fit, 5000, seed=1) == strings
    assert dates.seen(fit, 5000, seed=2) != strings


def test_nothing_that_is_asked_was_learned_from() -> None:
    known, unknown = dates.questions()
    assert {one.day for one in known + unknown} <= {*dates.days().test}
    assert len({(one.locale, one.text) for one in known}) == len(known) == 1600
    assert len({(one.locale, one.text) for one in unknown}) == len(unknown) == 1600
    for one in known:
        assert one.pattern != dates.held_out()[one.locale]
    for one in unknown:
        assert one.pattern == dates.held_out()[one.locale]
        assert one.text not in {dates.write(one.day, pattern, one.locale).text for pattern in dates.fitted(one.locale)}


def test_a_string_names_one_day_in_its_locale() -> None:
    years = (1970, 2000, 2031, 2069)
    some = [date(year, 1, 1) + timedelta(k) for year in years for k in range(365)]
    for locale in dates.LOCALES:
        named: dict[str, date] = {}
        for pattern in dates.patterns(locale):
            for day in some:
                text = dates.write(day, pattern, locale).text
                assert named.setdefault(text, day) == day, f"{locale}: {text} is {day} and {named[text]}"
