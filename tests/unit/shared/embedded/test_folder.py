"""A data folder is private, held by one process, and named where it cannot be used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from segsmith_shared.embedded.accounts import Account, can_reach
from segsmith_shared.embedded.folder import FolderInUse, FolderUnusable, held, prepare, read_or_draw_secrets

STRANGER = Account(uid=54321, gid=54321)
HOLD = """
import sys
from pathlib import Path
from segsmith_shared.embedded.folder import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_secrets_are_drawn_once_and_kept_from_others(tmp_path: Path) -> None:
    drawn = read_or_draw_secrets(tmp_path)
    assert read_or_draw_secrets(tmp_path) == drawn
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600
    other = tmp_path / "other"
    other.mkdir()
    assert read_or_draw_secrets(other).postgres_password != drawn.postgres_password
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["secrets.json"]


def test_a_held_folder_names_its_holder_and_is_free_after_a_kill(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FolderInUse, match=str(holder.pid)) as refused, held(tmp_path):
            pass
        assert refused.value.members == {"pid": holder.pid}
        holder.kill()
    with held(tmp_path, patience_seconds=0.2):
        assert (tmp_path / "lock").read_text().strip() == str(os.getpid())


def test_a_file_in_place_of_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(FolderUnusable, match="data"):
        prepare(tmp_path / "data")


def test_the_permissions_of_a_folder_that_was_there_stay(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    prepare(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_one_closed_folder_on_the_way_stops_a_stranger(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "open"
    inner.mkdir(parents=True)
    inner.chmod(0o755)
    (tmp_path / "closed").chmod(0o700)
    assert not can_reach(STRANGER, inner)
    assert can_reach(None, inner)
    assert can_reach(STRANGER, Path("/usr/bin"))


def test_an_owner_shut_out_of_his_own_folder_is_seen(tmp_path: Path) -> None:
    mine = Account(os.getuid(), os.getgid())
    tmp_path.chmod(0o077)
    try:
        assert not can_reach(mine, tmp_path)
    finally:
        tmp_path.chmod(0o700)
