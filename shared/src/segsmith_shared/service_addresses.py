"""Addresses of Postgres, Redis and S3 as people write them become what the drivers take, or an error that says why not.

No message repeats an address: it holds a password.
"""

import re
from urllib.parse import urlsplit

POSTGRES = "postgresql+psycopg"
_POSTGRES_SCHEMES = {"postgres", "postgresql", POSTGRES}
_REDIS_SCHEMES = {"redis", "rediss", "redis+socket", "unix", "sentinel"}
_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f]")
_HOST_AND_PORT = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?")


def postgres_address(address: str) -> str:
    """`postgresql+psycopg://…` of an address that begins with `postgres://` or `postgresql://`. Raises ValueError."""
    rest = _checked(address, _POSTGRES_SCHEMES, "postgresql+psycopg://user:password@host:5432/name")
    return f"{POSTGRES}://{rest}"


def redis_address(address: str) -> str:
    """The address, when it is one of Redis. Raises ValueError."""
    _checked(address, _REDIS_SCHEMES, "redis://:password@host:6379/0")
    return address


def s3_address(endpoint: str) -> tuple[str, bool | None]:
    """`host:port`, and whether to use TLS: as http:// or https:// says, None without either. Raises ValueError."""
    scheme, separator, rest = endpoint.rpartition("://")
    if separator and scheme.lower() not in {"http", "https"}:
        raise ValueError(f"it begins with {scheme}://, not with http:// or https://")
    found = _HOST_AND_PORT.fullmatch(rest.rstrip("/"))
    if found is None or int(found["port"] or 0) > 65535:
        raise ValueError("it must be host:port or http(s)://host:port, without a path")
    return rest.rstrip("/"), scheme.lower() == "https" if separator else None


def _checked(address: str, schemes: set[str], example: str) -> str:
    """What follows the scheme. Raises ValueError."""
    if _UNPRINTABLE.search(address):
        raise ValueError("it has a space or a line break inside")
    scheme, separator, rest = address.partition("://")
    if not separator or scheme.lower() not in schemes:
        raise ValueError(f"it must look like {example}")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "#" in rest or rest.partition("?")[0].count("@") > 1 or ("@" in rest.partition("?")[0] and "@" not in authority):
        raise ValueError(
            "a user name or password with @, :, /, # or ? must have them percent-encoded (@ is %40, / is %2F, # is %23)"
        )
    try:
        urlsplit(f"{scheme}://{rest}").port  # noqa: B018 - read for what it raises
    except ValueError as error:
        raise ValueError("its port is no number, or its user name or password is not percent-encoded") from error
    return rest
