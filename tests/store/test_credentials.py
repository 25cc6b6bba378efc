"""Where AWS's settings are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulmospark.core.errors import PlatformError
from pulmospark.store.credentials import s3_config


def _home(folder: Path, credentials: str, config: str = "") -> Path:
    (folder / ".aws").mkdir()
    (folder / ".aws/credentials").write_text(credentials)
    (folder / ".aws/config").write_text(config)
    return folder


KEYS = """[default]
aws_access_key_id = K1
aws_secret_access_key = S1
[lab]
aws_access_key_id=K2
aws_secret_access_key=S2
"""


def test_the_default_profile(tmp_path: Path) -> None:
    home = _home(
        tmp_path, KEYS, "[default]\nregion = eu-west-1\n[profile lab]\nregion=us-west-2\n"
    )
    assert s3_config({}, home) == {
        "access_key_id": "K1",
        "secret_access_key": "S1",
        "region": "eu-west-1",
    }
    assert s3_config({"AWS_PROFILE": "lab"}, home)["access_key_id"] == "K2"
    assert s3_config({"AWS_PROFILE": "lab"}, home)["region"] == "us-west-2"
    assert "region" not in s3_config({"AWS_REGION": "x"}, home)


def test_keys_of_the_environment_come_first(tmp_path: Path) -> None:
    assert s3_config({"AWS_ACCESS_KEY_ID": "E"}, _home(tmp_path, KEYS)) == {}


def test_no_files(tmp_path: Path) -> None:
    assert s3_config({}, tmp_path) == {}


def test_a_missing_profile_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="AWS_PROFILE=other"):
        s3_config({"AWS_PROFILE": "other"}, _home(tmp_path, KEYS))


def test_a_profile_with_a_role_says_what_to_do(tmp_path: Path) -> None:
    home = _home(tmp_path, "", "[default]\nrole_arn = arn:aws:iam::1:role/x\n")
    with pytest.raises(PlatformError, match="export-credentials"):
        s3_config({}, home)


def test_a_broken_file_does_not_show_its_secrets(tmp_path: Path) -> None:
    home = _home(tmp_path, "aws_secret_access_key = VERYSECRET\n")
    with pytest.raises(PlatformError) as raised:
        s3_config({}, home)
    assert "VERYSECRET" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_path_style_of_an_own_endpoint(tmp_path: Path) -> None:
    own = {"AWS_ACCESS_KEY_ID": "E", "AWS_ENDPOINT_URL": "http://ceph:9000"}
    assert s3_config(own, tmp_path) == {"virtual_hosted_style_request": "false"}
    hosted = s3_config({**own, "AWS_S3_FORCE_PATH_STYLE": "false"}, tmp_path)
    assert hosted == {"virtual_hosted_style_request": "true"}
    assert (
        s3_config({**own, "AWS_ENDPOINT_URL_S3": "http://s3"}, tmp_path)["endpoint"] == "http://s3"
    )
