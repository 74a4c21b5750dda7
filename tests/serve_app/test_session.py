"""A session refuses settings that would be misunderstood."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import UsageError
from pipeline.settings import Settings
from serve_app.session import Session


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("disabled", ["age_estimations"]),
        ("ray", {"together": [["cut_analysis", "age_estimations"]]}),
        ("analyzers", {"age_estimations": {}}),
    ],
)
def test_a_misspelt_analyzer_in_the_settings_is_refused_with_the_nearest_name(setting: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"setting {setting}.*age_estimations.*did you mean 'age_estimation'"):
        Session(Settings(**{setting: value}))
