"""Fields are found under their earlier names."""

from __future__ import annotations

import warnings
from typing import ClassVar

import pytest
from pydantic import ConfigDict, ValidationError

from pulmospark.audit.skip import check_skip
from pulmospark.config.audit import AuditSettings
from pulmospark.core.records import Record, RenamedSettingWarning, current_name


class _Counts(Record):
    model_config = ConfigDict(frozen=True, extra="forbid")
    batch_images: int
    images: int = 0
    dropped: ClassVar[frozenset[str]] = frozenset({"with_film_table"})


class _Chosen(_Counts):
    warns_of_renames: ClassVar[bool] = True


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("films", "images"),
        ("films_per_patient", "images_per_patient"),
        ("batch_films", "batch_images"),
        ("filmed", "filmed"),
        ("size", "size"),
    ],
)
def test_a_part_of_a_name_is_a_whole_word(old: str, new: str) -> None:
    assert current_name(old) == new


def test_a_record_of_an_earlier_version_is_read_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record = _Counts.model_validate_json('{"batch_films": 3, "films": 4}')
    assert (record.batch_images, record.images) == (3, 4)


def test_an_earlier_name_in_settings_is_read_with_a_warning() -> None:
    with pytest.warns(RenamedSettingWarning, match="'batch_films' is now called 'batch_images'"):
        assert _Chosen.model_validate({"batch_films": 3}).batch_images == 3


def test_both_names_at_once_and_unknown_ones_are_refused() -> None:
    for values in ({"batch_images": 1, "batch_films": 2}, {"batch_images": 1, "film_size": 2}):
        with pytest.raises(ValidationError, match="Extra inputs"):
            _Counts.model_validate(values)


def test_a_record_that_is_given_itself_stays() -> None:
    record = _Counts(batch_images=1)
    assert _Counts.model_validate(record) is record


def test_a_field_that_was_dropped_is_read_and_has_no_effect() -> None:
    assert _Counts.model_validate({"batch_images": 1, "with_film_table": True}).images == 0


def test_settings_of_an_earlier_version_are_read() -> None:
    settings = AuditSettings.model_validate({"skip": ["unlike_films"], "with_table": False})
    assert settings.skip == ("unlike_images",)
    check_skip(settings)
