"""The server's address and key as people give them: with a line break at the end, or without http:// in front."""

import ipaddress
import re

import httpx

from segsmith.problems import WrongAddress, WrongApiKey

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_KEY = re.compile(r"[!-~]+")  # what an HTTP header may carry, without spaces


def server_address(text: str) -> str:
    """`http://host:port`, without a slash at the end. A loopback address needs no scheme. Raises WrongAddress."""
    given = text.strip().rstrip("/")
    whole = given if _SCHEME.match(given) else f"http://{given}"
    try:
        url = httpx.URL(whole)
    except (httpx.InvalidURL, ValueError) as error:
        raise WrongAddress(f"{given!r} is no address: {error}.", hint=_EXAMPLE) from error
    if url.userinfo:
        raise WrongAddress("The address holds a user name.", hint="Give the API key with --api-key (SEGSMITH_API_KEY).")
    if url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment:
        raise WrongAddress(f"{given!r} is no address of a server.", hint=_EXAMPLE)
    if whole != given and not is_loopback(url.host):
        hint = f"Give https://{given}, or http://{given} where the key may travel unencrypted."
        raise WrongAddress(f"{given!r} says neither http:// nor https://.", hint=hint)
    return whole


_EXAMPLE = "E.g. --url http://127.0.0.1:8231 (SEGSMITH_URL)."


def checked_key(api_key: str | None) -> str | None:
    """The key without the spaces and line breaks around it; None where nothing is left.

    Raises WrongApiKey, which never shows it, for what no HTTP header may carry.
    """
    key = (api_key or "").strip()
    if not key:
        return None
    if not _KEY.fullmatch(key):
        raise WrongApiKey(
            "The API key has a line break, a space or another character that no key has inside.",
            hint="Copy it again: one line that begins with sgs_ (--api-key, SEGSMITH_API_KEY).",
        )
    return key


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself, by its name or number."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
