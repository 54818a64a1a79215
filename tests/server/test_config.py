"""Settings: every source is checked on its own, and a wrong key names its source and path."""

from pathlib import Path

import pytest

from server.config import Config, load_config
from server.errors import BadConfig


def test_defaults_are_loopback_port_8001_and_embedded_models() -> None:
    config = load_config(environment={})
    assert (config.listen.host, config.listen.port, config.models) == ("127.0.0.1", 8001, None)
    assert config == Config()


def test_later_sources_win_over_earlier_ones(tmp_path: Path) -> None:
    path = tmp_path / "chorus.toml"
    path.write_text('models = "from-file"\n[listen]\nport = 1\nhost = "0.0.0.0"\n[streaming]\nmax_streams = 5\n')
    config = load_config(
        path,
        environment={"CHORUS_LISTEN__PORT": "2", "CHORUS_STREAMING__PREFERRED_BATCH_SIZES": "[4, 8]", "HOME": "/x"},
        overrides={"listen": {"port": 3, "host": None}, "models": None},
    )
    assert (config.listen.port, config.listen.host, config.models) == (3, "0.0.0.0", "from-file")
    assert config.streaming.max_streams == 5
    assert config.streaming.preferred_batch_sizes == (4, 8)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[listen]\nportt = 1\n", r"portt.*\$\.listen"),
        ("[listen]\nport = 70000\n", r"<= 65535.*\$\.listen\.port"),
        ('[listen]\nport = "8001"\n', r"Expected `int`, got `str`.*\$\.listen\.port"),
        ("[streaming]\nmax_streams = 0\n", r">= 1.*\$\.streaming\.max_streams"),
        ("[log\n", "not TOML"),
    ],
)
def test_wrong_file_names_the_path(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "chorus.toml"
    path.write_text(text)
    with pytest.raises(BadConfig, match=rf"(?s)chorus\.toml.*{complaint}"):
        load_config(path, environment={})


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("CHORUS_LISTEN__PORT", "many", r"environment: .*\$\.listen\.port"),
        ("CHORUS_LISTENN__PORT", "1", r"environment: .*listenn"),
        ("CHORUS_LISTEN", "1", r"environment: .*\$\.listen"),
        ("CHORUS_STREAMING__PREFERRED_BATCH_SIZES", "[1,", "not a TOML array"),
    ],
)
def test_wrong_environment_names_the_path(variable: str, value: str, complaint: str) -> None:
    with pytest.raises(BadConfig, match=complaint):
        load_config(environment={variable: value})


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (
            {"offline": {"preferred_batch_sizes": [4, 64]}},
            r"64 is above max_batch_size, 8 .*\$\.offline\.preferred_batch_sizes",
        ),
        ({"streaming": {"max_batch_size": 2, "preferred_batch_sizes": [4]}}, r"\$\.streaming\.preferred_batch_sizes"),
        ({"speaker": {"preferred_batch_sizes": [2]}}, r"\$\.speaker\.preferred_batch_sizes"),
        ({"offline": {"bucket_seconds": [4.0, 2.0]}}, r"must ascend without repeats .*\$\.offline\.bucket_seconds"),
        ({"speaker": {"bucket_seconds": [1.0, 1.0]}}, r"\$\.speaker\.bucket_seconds"),
        ({"offline": {"priority_levels": 2, "default_priority_level": 3}}, r"\$\.offline\.default_priority_level"),
    ],
)
def test_settings_that_contradict_each_other_are_an_error_that_names_the_path(
    settings: dict[str, object], complaint: str
) -> None:
    with pytest.raises(BadConfig, match=complaint):
        load_config(environment={}, overrides=settings)


def test_settings_that_fit_together_may_come_from_different_sources(tmp_path: Path) -> None:
    path = tmp_path / "chorus.toml"
    path.write_text("[offline]\npreferred_batch_sizes = [32]\n")
    config = load_config(path, environment={"CHORUS_OFFLINE__MAX_BATCH_SIZE": "32"})
    assert (config.offline.max_batch_size, config.offline.preferred_batch_sizes) == (32, (32,))


def test_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="cannot be read: No such file"):
        load_config(tmp_path / "none.toml", environment={})
