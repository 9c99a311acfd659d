"""HTTP connections as the environment wants them (proxies, certificates), with its mistakes named by variable.

httpx reads the same variables itself, but ends with an error of its own for a `NO_PROXY` with `[::1]` or a network in
it, and would send a local server's API key through a proxy.
"""

import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import httpx

from segsmith.addresses import check_host, ip_address, is_loopback
from segsmith.problems import CertificatesUnusable, ProxyUnusable, ServerUnreachable


@dataclass(frozen=True)
class EnvironmentProxy:
    """The proxy that a variable of the environment names for an address."""

    url: str
    variable: str

    @property
    def shown(self) -> str:
        """Without a password."""
        return f"{self.variable} ({self.url.rpartition('@')[2].rpartition('//')[2]})"


def proxy_for(url: str, environment: Mapping[str, str] | None = None) -> EnvironmentProxy | None:
    """The proxy for `url` by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY (lower case goes before upper).

    None for this machine's own addresses in any case: their key must not leave it.
    """
    given = os.environ if environment is None else environment
    target = httpx.URL(url)
    without = given.get("no_proxy", given.get("NO_PROXY", ""))
    if is_loopback(target.host) or any(_covers(entry, target) for entry in re.split(r"[\s,;]+", without)):
        return None
    names = (f"{target.scheme}_proxy", f"{target.scheme}_proxy".upper(), "all_proxy", "ALL_PROXY")
    variable = next((name for name in names if given.get(name, "").strip()), None)
    if variable is None:
        return None
    address = given[variable].strip()
    return EnvironmentProxy(address if "://" in address else f"http://{address}", variable)


def _covers(entry: str, target: httpx.URL) -> bool:
    """Whether an entry of NO_PROXY means this address.

    It is *, a domain (`example.org`, `.example.org`), a name or number with `*` in it (`10.*`), or an IP address or
    network; with a port or not, also written as an address (`http://host.lab/`).
    """
    wanted = entry.lower().rpartition("//")[2]
    if _is_network(wanted, target.host):
        return True
    wanted = wanted.partition("/")[0]
    if wanted in {"", "*"}:
        return wanted == "*"
    name, colon, port = wanted.rpartition(":")
    if colon and port.isdigit() and (name.endswith("]") or ":" not in name):
        if int(port) != (target.port or {"http": 80, "https": 443}[target.scheme]):
            return False
        wanted = name
    return _is_network(wanted, target.host) or _is_domain(wanted.strip("[]").rstrip("."), target.host)


def _is_domain(wanted: str, host: str) -> bool:
    host = host.lower().rstrip(".")
    bare = wanted.lstrip("*").lstrip(".")
    if "*" in bare:
        return fnmatchcase(host, wanted)
    return host == bare or host.endswith(f".{bare}")


def _is_network(entry: str, host: str) -> bool:
    address = ip_address(host)
    if address is None:
        return False
    try:
        return address in ipaddress.ip_network(ip_address(entry) or entry.strip("[]").rstrip("/"), strict=False)
    except ValueError:
        return False


def http_client(url: str, proxy: EnvironmentProxy | None, **options: Any) -> httpx.Client:
    """A client for one address. Raises ProxyUnusable and CertificatesUnusable, which name the variable at fault."""
    verify = _certificates() if url.startswith("https:") else True
    try:
        if proxy is not None:
            check_host(httpx.URL(proxy.url))
        return httpx.Client(trust_env=False, proxy=proxy.url if proxy else None, verify=verify, **options)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        if proxy is None:
            raise
        socks = isinstance(error, ImportError)
        raise ProxyUnusable(
            f"{proxy.shown} is {'a SOCKS proxy, which is not supported' if socks else f'no proxy: {error}'}.",
            hint=_without(proxy, url),
        ) from error


def _certificates() -> ssl.SSLContext | bool:
    """The authorities of SSL_CERT_FILE or SSL_CERT_DIR; True, for those that come with httpx, where neither is set."""
    variable = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), None)
    if variable is None:
        return True
    path = os.environ[variable]
    try:
        if variable == "SSL_CERT_FILE":
            return ssl.create_default_context(cafile=path)
        if not os.path.isdir(path):  # noqa: PTH112 - as OpenSSL takes it
            raise FileNotFoundError(path)
        return ssl.create_default_context(capath=path)
    except OSError as error:
        raise CertificatesUnusable(
            f"{variable} names {path}, which cannot be read as certificates.",
            hint=f"Correct or unset {variable}.",
        ) from error


def hopeless(url: str, proxy: EnvironmentProxy | None, error: httpx.TransportError) -> ServerUnreachable | None:
    """Why no repetition of a request will help, where that is so; None where the server may only be away."""
    host = httpx.URL(url).host
    if proxy is not None and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        what = f"the proxy of {proxy.shown} does not let it through: {error or type(error).__name__}"
        return ServerUnreachable(f"{url}: {what}.", hint=_without(proxy, url))
    causes = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return ServerUnreachable(f"{url}: no machine is known by the name {host!r}.", hint=_RIGHT_ADDRESS)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        hint = "Name the authority that signed its certificate in SSL_CERT_FILE."
        return ServerUnreachable(f"{url}: its certificate cannot be verified: {error}.", hint=hint)
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return ServerUnreachable(
            f"{url}: the server does not answer with TLS.", hint="Give http:// in place of https://."
        )
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return ServerUnreachable(f"{url}: the request cannot be sent ({type(error).__name__}).", hint=_RIGHT_ADDRESS)
    return None


def unreachable(url: str, error: httpx.TransportError) -> ServerUnreachable:
    """What is said when patience has run out."""
    encrypted = " Some servers are at https:// only." if isinstance(error, httpx.RemoteProtocolError) else ""
    return ServerUnreachable(
        f"{url}: {error or type(error).__name__}.",
        hint=f"Is it running (make up), and is the address right (--url)?{encrypted if url[:5] == 'http:' else ''}",
    )


_RIGHT_ADDRESS = "Is the address right (--url, SEGSMITH_URL)?"


def _without(proxy: EnvironmentProxy, url: str) -> str:
    return f"Correct or unset {proxy.variable}, or add {httpx.URL(url).host} to NO_PROXY."


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
