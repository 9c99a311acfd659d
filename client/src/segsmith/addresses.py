"""The server's address and key as people give them: with a line break at the end, or without http:// in front."""

import ipaddress
import re
import socket

import httpx

from segsmith.problems import WrongAddress, WrongApiKey

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_KEY = re.compile(r"[!-~]+")  # what an HTTP header may carry, without spaces


def server_address(text: str) -> str:
    """`http://host:port`, without a slash at the end. A loopback address needs no scheme. Raises WrongAddress."""
    given = text.strip().rstrip("/")
    if "@" in given:  # before anything is said that would show it
        raise WrongAddress("The address holds a user name.", hint="Give the API key with --api-key (SEGSMITH_API_KEY).")
    if miswritten := _MISWRITTEN_SCHEME.match(given):
        meant = f"{miswritten['scheme'].lower()}://{given[miswritten.end() :]}"
        raise WrongAddress(f"{given!r} is no address: its scheme ends in '://'.", hint=f"Give {meant}.")
    whole = given if _SCHEME.match(given) else f"http://{given}"
    try:
        url = httpx.URL(whole)
        check_host(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise WrongAddress(f"{given!r} is no address: {error}.", hint=_EXAMPLE) from error
    if url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment:
        raise WrongAddress(f"{given!r} is no address of a server.", hint=_EXAMPLE)
    if whole != given and not is_loopback(url.host):
        hint = f"Give https://{given}, or http://{given} where the key may travel unencrypted."
        raise WrongAddress(f"{given!r} says neither http:// nor https://.", hint=hint)
    return whole


_EXAMPLE = "E.g. --url http://127.0.0.1:8231 (SEGSMITH_URL)."
_MISWRITTEN_SCHEME = re.compile(r"(?P<scheme>https?)(?::/?(?![/\d])|//+|:///+)", re.IGNORECASE)


def check_host(url: httpx.URL) -> None:
    """Raises ValueError for a port or a name that no machine can have; httpx accepts them, and fails when it connects.

    RFC 1035: labels of 1 to 63 characters between the dots, 253 in all; RFC 6335: ports 1 to 65535.
    """
    if url.port is not None and not 1 <= url.port <= 65535:
        raise ValueError(f"there is no port {url.port}")
    name = url.raw_host.decode("ascii").removesuffix(".")
    if not name or ":" in name:  # none at all, or IPv6
        return
    if "" in name.split("."):
        raise ValueError(f"the host {url.host!r} has a dot too many")
    if len(name) > 253 or max(map(len, name.split("."))) > 63:
        raise ValueError("the host's name is longer than a name can be")


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


# What the system's own hosts file calls this machine; `localhost` is meant by RFC 6761.
_LOOPBACK_NAMES = frozenset({
    "localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback",
    "localhost.localdomain", "localhost4.localdomain4", "localhost6.localdomain6",
})  # fmt: skip


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself, by its name or number."""
    name = host.strip("[]").lower().removesuffix(".")
    if name in _LOOPBACK_NAMES or name.endswith(".localhost"):
        return True
    address = ip_address(name)
    return address is not None and (address.is_loopback or address.is_unspecified)


def ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The number that a host is, as connections read it; None for a name.

    IPv4 also in the short, decimal, octal and hexadecimal forms of inet_aton(3): 127.1 and 2130706433 are 127.0.0.1;
    and IPv4 in IPv6, ::ffff:127.0.0.1.
    """
    number = host.strip("[]").removesuffix(".")
    try:
        address = ipaddress.ip_address(number)
    except ValueError:
        return _short_ipv4(number)
    return getattr(address, "ipv4_mapped", None) or address


def _short_ipv4(number: str) -> ipaddress.IPv4Address | None:
    if not number.isascii() or any(character.isspace() for character in number):
        return None  # inet_aton reads no further than the first space
    try:
        return ipaddress.IPv4Address(socket.inet_aton(number))
    except OSError:
        return None
