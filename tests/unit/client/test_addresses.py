"""A server's address and key are taken as people paste them, and a key is never shown."""

from pathlib import Path

import pytest

from segsmith.addresses import checked_key, is_loopback, server_address
from segsmith.command.invocation import find_server
from segsmith.problems import WrongAddress, WrongApiKey


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("127.0.0.1:8231", "http://127.0.0.1:8231"),
        ("localhost:8231/", "http://localhost:8231"),
        ("[::1]:8231", "http://[::1]:8231"),
        (" https://segsmith.example.org/base/\n", "https://segsmith.example.org/base"),
    ],
)
def test_an_address_is_understood(given: str, meant: str) -> None:
    assert server_address(given) == meant


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("segsmith.example.org", "neither http:// nor https://"),
        ("ftp://example.org", "no address of a server"),
        ("http://[::1", "no address"),
        ("http://exa mple.org\nx", "no address"),
        ("http://?a", "no address of a server"),
        ("http://a..b", "a dot too many"),
        ("http://.a:80/x", "a dot too many"),
        (f"https://{'a' * 64}.org", "longer than a name can be"),
        (f"http://{'a.' * 130}org", "longer than a name can be"),
        ("http://h:99999", "no port 99999"),
        ("http://h:0", "no port 0"),
        ("https:/h", "its scheme ends in '://'"),
    ],
)
def test_what_is_no_address_is_said_at_once(given: str, words: str) -> None:
    with pytest.raises(WrongAddress, match=words):
        server_address(given)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("https:/h", "https://h"),
        ("http:h.org:80", "http://h.org:80"),
        ("HTTPS//h", "https://h"),
        ("http:///h", "http://h"),
    ],
)
def test_a_scheme_with_another_number_of_slashes_is_given_back_as_it_was_meant(given: str, meant: str) -> None:
    with pytest.raises(WrongAddress) as caught:
        server_address(given)
    assert caught.value.hint == f"Give {meant}."


@pytest.mark.parametrize("given", ["http://a.b.", f"http://{'a' * 63}.org", "http:8231", "https.example.org"])
def test_names_as_long_as_may_be_and_names_like_schemes_are_no_mistake_of_that_kind(given: str) -> None:
    if given.startswith("http://"):
        assert server_address(given) == given
    else:
        with pytest.raises(WrongAddress, match="neither http:// nor https://"):
            server_address(given)


@pytest.mark.parametrize("host", ["example.org", "a..b", "[::1", "h:99999"])
@pytest.mark.parametrize("scheme", ["http://", "https:/", ""])
def test_a_password_in_an_address_is_not_repeated(scheme: str, host: str) -> None:
    with pytest.raises(WrongAddress, match="holds a user name") as caught:
        server_address(f"{scheme}me:secret@{host}")
    assert "secret" not in str(caught.value.as_document())


def test_line_breaks_around_a_key_are_taken_off() -> None:
    assert checked_key(" sgs_abc\r\n") == "sgs_abc"
    assert checked_key("\n") is None
    assert checked_key(None) is None


@pytest.mark.parametrize("key", ["sgs_sec\nret", "sgs_sec ret", "sgs_secr\u00e9t", "sgs_\u201csecret\u201d"])
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(WrongApiKey) as caught:
        checked_key(key)
    shown = str(caught.value.as_document())
    assert "sgs_sec" not in shown


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.8.0.1", "localhost", "a.localhost", "::1", "[::1]", "[::]", "0", "0x0"),
        *("127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1.", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
        *("localhost.", "LOCALHOST.", "ip6-localhost", "ip6-loopback", "localhost.localdomain", "localhost6"),
    ],
)
def test_this_machine_is_known_by_its_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "10.1", "[::ffff:10.0.0.1]", "localhost.example.org", "127.example.org"])
def test_other_machines_are_not_taken_for_this_one(host: str) -> None:
    assert not is_loopback(host)


def test_the_stacks_key_goes_to_the_stack_also_where_its_address_is_given_without_a_scheme(tmp_path: Path) -> None:
    state = tmp_path / "stack.json"
    state.write_text('{"url": "http://127.0.0.1:8231", "api_key": "sgs_own"}')
    assert find_server("127.0.0.1:8231", None, state) == ("http://127.0.0.1:8231", "sgs_own")
    assert find_server("127.0.0.1:9999", None, state) == ("http://127.0.0.1:9999", None)
