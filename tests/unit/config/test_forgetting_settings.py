"""Where `dispatcher forget` looks besides what it knows by itself."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dispatcher.config.forgetting import ForgettingSettings


def test_directories_and_folders_of_buckets_are_told_apart() -> None:
    given = {"directories": ["/srv/events"], "buckets": ["s3://logs/tracking", "abfs://lake@account/x"]}
    assert ForgettingSettings.model_validate(given).buckets == ("s3://logs/tracking", "abfs://lake@account/x")
    with pytest.raises(ValidationError, match=r"forgetting\.buckets"):
        ForgettingSettings.model_validate({"directories": ["s3://logs/tracking"]})
    for wrong in ("/srv/events", "s3://", "s3://user:password@logs/x", "s3://logs/x?versionId=1"):
        with pytest.raises(ValidationError):
            ForgettingSettings.model_validate({"buckets": [wrong]})
