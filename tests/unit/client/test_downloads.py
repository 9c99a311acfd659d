"""A published file arrives whole or not at all; a break costs only what was missing."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from segsmith.downloads import download
from segsmith.problems import DownloadFailed
from tests.fixtures.file_server import Publisher, publishing

CONTENT = Random(5).randbytes(300_000)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with publishing(CONTENT) as publisher:
        yield publisher


def test_a_download_that_breaks_goes_on_where_it_broke(publisher: Publisher, tmp_path: Path) -> None:
    publisher.break_after = 100_000
    told: list[tuple[int, int]] = []
    digest = download(publisher.url, tmp_path / "w", 2**20, lambda done, total: told.append((done, total)))
    assert digest == sha256(CONTENT).hexdigest()
    assert (tmp_path / "w").read_bytes() == CONTENT
    assert publisher.ranges == [None, "bytes=100000-"]
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_what_an_earlier_command_left_is_gone_on_with(publisher: Publisher, tmp_path: Path) -> None:
    publisher.break_after = 100_000
    with pytest.raises(DownloadFailed):
        download(publisher.url, tmp_path / "w", 2**20, patience_seconds=0)
    assert not (tmp_path / "w").exists()
    download(publisher.url, tmp_path / "w", 2**20)
    assert publisher.ranges == [None, "bytes=100000-"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(publisher: Publisher, tmp_path: Path) -> None:
    publisher.break_after = 100_000
    with pytest.raises(DownloadFailed):
        download(publisher.url, tmp_path / "w", 2**20, patience_seconds=0)
    publisher.content, publisher.etag = CONTENT[::-1], '"two"'
    assert download(publisher.url, tmp_path / "w", 2**20) == sha256(CONTENT[::-1]).hexdigest()


def test_a_file_larger_than_it_may_be_is_given_up(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="more than 200000 bytes"):
        download(publisher.url, tmp_path / "w", 200_000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [404, 500])
def test_a_refusal_names_the_address(publisher: Publisher, tmp_path: Path, status: int) -> None:
    publisher.status = status
    with pytest.raises(DownloadFailed, match=f"answered {status}") as caught:
        download(publisher.url, tmp_path / "w", 2**20)
    assert publisher.url in caught.value.hint


def test_an_address_that_does_not_answer_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed) as caught:
        download("http://127.0.0.1:9/w", tmp_path / "w", 2**20, patience_seconds=0)
    assert "\n" not in caught.value.detail
