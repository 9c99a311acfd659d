"""Addresses of the servers are understood as people write them; what cannot be is said by the variable's name alone."""

import subprocess
import sys

import pytest

from segsmith_shared.database.session import engine_for, libpq_url
from segsmith_shared.settings import Settings, WrongSettings, settings

GOOD = {
    "DATABASE_URL": "postgresql+psycopg://u:pass@h:5432/d",
    "REDIS_URL": "redis://:pass@h:6379/0",
    "S3_ENDPOINT": "h:9000",
    "S3_ACCESS_KEY": "key",
    "S3_SECRET_KEY": "secret",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings.cache_clear()
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variable", "value", "field", "meant"),
    [
        ("DATABASE_URL", "postgres://u:p@h/d", "database_url", "postgresql+psycopg://u:p@h/d"),
        ("DATABASE_URL", "postgresql://u:p%40@h:1/d\n", "database_url", "postgresql+psycopg://u:p%40@h:1/d"),
        ("DATABASE_URL", "postgresql:///d?host=/run/x", "database_url", "postgresql+psycopg:///d?host=/run/x"),
        ("REDIS_URL", "rediss://h:6379/0\r\n", "redis_url", "rediss://h:6379/0"),
        ("S3_SECRET_KEY", "secret\n", "s3_secret_key", "secret"),
        ("S3_ACCESS_KEY", " key\n", "s3_access_key", "key"),
        ("S3_ENDPOINT", "[::1]:9000/", "s3_endpoint", "[::1]:9000"),
    ],
)
def test_values_are_taken_as_they_are_meant(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, field: str, meant: str
) -> None:
    monkeypatch.setenv(variable, value)
    found = getattr(Settings(), field)
    assert (found if isinstance(found, str) else found.get_secret_value()) == meant


@pytest.mark.parametrize(
    ("endpoint", "secure", "expected"),
    [
        ("http://h:9000", "true", ("h:9000", False)),
        ("https://h", "false", ("h", True)),
        ("HTTPS://h:443/", "", ("h:443", True)),
        ("h:9000", "true", ("h:9000", True)),
    ],
)
def test_the_scheme_of_the_s3_endpoint_decides_about_tls(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, secure: str, expected: tuple[str, bool]
) -> None:
    monkeypatch.setenv("S3_ENDPOINT", endpoint)
    if secure:
        monkeypatch.setenv("S3_SECURE", secure)
    assert (Settings().s3_endpoint, Settings().s3_secure) == expected


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("DATABASE_URL", "postgresql://u:hid@den#x@h/d", "percent-encoded"),
        ("DATABASE_URL", "postgresql://u:hid/den@h/d", "percent-encoded"),
        ("DATABASE_URL", "postgresql://u:hidden@h:5x/d", "port is no number"),
        ("DATABASE_URL", "postgresql://u:hid\nden@h/d", "line break inside"),
        ("DATABASE_URL", "mysql://u:hidden@h/d", "must look like postgresql"),
        ("DATABASE_URL", "hidden", "must look like postgresql"),
        ("REDIS_URL", "http://:hidden@h", "must look like redis"),
        ("REDIS_URL", "redis://:hid#den@h:1/0", "percent-encoded"),
        ("S3_ENDPOINT", "http://h:9/hidden", "without a path"),
        ("S3_ENDPOINT", "s3://hidden", "not with http"),
        ("S3_ENDPOINT", "h:99999", "host:port"),
    ],
)
def test_what_cannot_be_used_is_named_by_its_variable_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(WrongSettings, match=words) as refused:
        settings()
    assert refused.value.detail.startswith(f"{variable}: ")
    assert "hid" not in str(refused.value.as_document())
    assert "hid" not in str(refused.value.__cause__)  # a traceback shows it too


def test_drivers_get_the_same_database_by_any_of_its_names() -> None:
    engine = engine_for("postgres://u:p@h/d")
    assert engine.url.drivername == "postgresql+psycopg"
    assert libpq_url("postgres://u:p@h/d") == "postgresql://u:p@h/d"


@pytest.mark.parametrize(
    "module",
    ["segsmith_api", "segsmith_api.prepare", "segsmith_worker", "segsmith_evaluator", "segsmith_api.caretaker"],
)
def test_every_service_ends_with_one_line_that_names_the_variable(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hid@den@h/d")
    monkeypatch.delenv("REDIS_URL")
    ended = subprocess.run([sys.executable, "-m", module], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert "DATABASE_URL: " in line
    assert "REDIS_URL: " in line
    assert "hid" not in line
