"""Proxies and certificates of the environment are used where they should be, and what is wrong with them is named."""

import socket
import ssl
import time
from pathlib import Path

import httpx
import pytest

from segsmith import ServerUnreachable
from segsmith.client import Client
from segsmith.connections import http_client, proxy_for
from segsmith.downloads import download
from segsmith.problems import ApiProblem, CertificatesUnusable, DownloadFailed, ProxyUnusable
from tests.unit.client.rough_server import RoughServer, Says, says

DEAD = "http://127.0.0.1:9"
REMOTE = "http://segsmith.example.org"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
PAGE: dict[str, object] = {"items": [], "next_cursor": None}


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    "environment",
    [
        {"HTTP_PROXY": DEAD},
        {"http_proxy": DEAD, "NO_PROXY": "localhost,127.0.0.1,[::1]"},
        {"ALL_PROXY": "socks5://127.0.0.1:1080"},
        {"NO_PROXY": "fd07:b51a:cc66:f0::/64,[::1]"},
        {"SSL_CERT_FILE": "/nowhere.pem"},
    ],
)
def test_a_server_on_this_machine_is_reached_whatever_the_environment_says(
    rough_server: RoughServer, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    rough_server.answer = lambda _: says(PAGE)
    with Client(rough_server.url, "sgs_key") as client:
        assert list(client.datasets.list()) == []


@pytest.mark.parametrize(
    ("url", "entry", "bypassed"),
    [
        ("http://[fd07::5]:80", "fd07::/64", True),
        ("http://[fd08::5]:80", "fd07::/64", False),
        ("http://[fd07::5]", "[fd07::5]", True),
        ("http://[fd07::5]:81", "[fd07::5]:80", False),
        ("http://10.1.2.3", "10.0.0.0/8", True),
        ("http://11.1.2.3", "10.0.0.0/8", False),
        ("http://a.example.org", ".example.org", True),
        ("http://a.example.org", "*.example.org", True),
        ("http://a.example.org", "b.org, example.org ", True),
        ("http://badexample.org", "example.org", False),
        ("http://example.org:8000", "example.org:8000", True),
        ("http://example.org:8001", "example.org:8000", False),
        ("http://example.org", "*", True),
        ("http://example.org", "", False),
        ("http://a.example.org", "b.org example.org\tc.org", True),
        ("http://host.lab", "http://host.lab/", True),
        ("http://host.lab:8000", "http://host.lab:8000/api/", True),
        ("http://host.lab:8001", "https://host.lab:8000/", False),
        ("http://host.lab.", "host.lab", True),
        ("http://10.1.2.3", "10.*", True),
        ("http://110.1.2.3", "10.*", False),
        ("http://192.168.7.3:81", "a.org, 192.168.*.*:81", True),
        ("http://10.1", "10.0.0.1", True),
        ("http://[::ffff:10.1.2.3]", "10.0.0.0/8", True),
        ("http://10.1.2.3", "10.0.0.0/8/", True),
    ],
)
def test_no_proxy_is_understood_in_all_its_forms(url: str, entry: str, bypassed: bool) -> None:
    assert (proxy_for(url, {"HTTP_PROXY": DEAD, "NO_PROXY": entry}) is None) == bypassed


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.1:8231", "http://[::ffff:127.0.0.1]:1", "http://localhost.:80", "http://2130706433:1"),
        *("http://ip6-localhost:1", "https://0x7f.1"),
    ],
)
def test_no_spelling_of_this_machine_goes_through_a_proxy(url: str) -> None:
    assert proxy_for(url, {"ALL_PROXY": DEAD}) is None
    assert proxy_for("http://128.1", {"ALL_PROXY": DEAD}) is not None


def test_the_scheme_chooses_the_proxy() -> None:
    environment = {"https_proxy": "one:1", "HTTPS_PROXY": "two:2", "ALL_PROXY": "three:3"}
    chosen = {url: proxy_for(url, environment) for url in ("https://x.org", "http://x.org")}
    assert [(proxy.url, proxy.variable) for proxy in chosen.values() if proxy] == [
        ("http://one:1", "https_proxy"),
        ("http://three:3", "ALL_PROXY"),
    ]


def test_a_dead_proxy_is_named_at_once_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:9")
    said = refused(REMOTE)
    assert "HTTP_PROXY (127.0.0.1:9)" in said
    assert "NO_PROXY" in said
    assert "secret" not in said


def test_a_proxy_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("socks5://127.0.0.1:1080", "ftp://127.0.0.1", "http://[::1", "http://a..b:80", "h:99999"):
        monkeypatch.setenv("ALL_PROXY", value)
        with pytest.raises(ProxyUnusable, match="ALL_PROXY"):
            Client(REMOTE)


@pytest.mark.parametrize(("variable", "value"), [("SSL_CERT_FILE", "/nope.pem"), ("SSL_CERT_DIR", "/nope")])
def test_missing_certificates_are_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(CertificatesUnusable, match=f"{variable} names {value}"):
        Client("https://segsmith.example.org")


def test_a_file_that_holds_no_certificates_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with pytest.raises(CertificatesUnusable, match="SSL_CERT_FILE"):
        Client("https://segsmith.example.org")


def test_a_name_that_nobody_has_and_the_wrong_scheme_are_said_at_once(
    rough_server: RoughServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "does not answer with TLS" in refused(rough_server.url.replace("http:", "https:"))
    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    assert "no machine is known by the name 'segsmith.invalid'" in refused("http://segsmith.invalid")


def test_a_server_that_has_answered_is_waited_for_even_when_its_name_is_lost(
    rough_server: RoughServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rough_server.answer = lambda _: Says(200, b'{"items": [], "next_cursor": null}', {"Connection": "close"})
    with Client(rough_server.url, patience_seconds=0.3) as client:
        list(client.datasets.list())
        monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
        with pytest.raises(ServerUnreachable) as caught:
            list(client.datasets.list())
    assert "Is it running" in caught.value.hint  # what is said when patience has run out


def test_a_proxys_413_says_what_limits_the_size(rough_server: RoughServer) -> None:
    rough_server.answer = lambda _: Says(413, b"<html>413</html>", {"Content-Type": "text/html"})
    with Client(rough_server.url) as client, pytest.raises(ApiProblem) as caught:
        client.datasets.create("d")
    assert "client_max_body_size" in caught.value.hint
    assert len(rough_server.asked) == 1


def test_a_download_fails_at_once_where_repeating_cannot_help(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HTTP_PROXY", DEAD)
    monkeypatch.setenv("NO_PROXY", "[::1]")
    with pytest.raises(DownloadFailed, match="HTTP_PROXY"):
        download(f"{REMOTE}/weights.pt", tmp_path / "weights.pt", 100)


def test_given_certificates_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    default = ssl.get_default_verify_paths().cafile
    if default is None or not Path(default).is_file():
        pytest.skip("this machine has no file of authorities")
    monkeypatch.setenv("SSL_CERT_FILE", default)
    with http_client("https://example.org", None) as client:
        assert isinstance(client, httpx.Client)


def no_such_name(*_: object, **__: object) -> None:
    """In place of the system's resolver, so that no test asks a name server."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def refused(url: str) -> str:
    """What a client says that gives up at once, although it would have a minute."""
    began = time.monotonic()
    with Client(url, "sgs_key") as client, pytest.raises(ServerUnreachable) as caught:
        client.datasets.create("d")
    assert time.monotonic() - began < 10
    return f"{caught.value.detail} {caught.value.hint}"
