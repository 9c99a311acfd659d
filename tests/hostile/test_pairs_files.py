"""One bad file costs one finding: nothing else is lost, and what dies is the process that reads strangers' files."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from PIL import Image

from segsmith_shared.pairs.checking import CheckOptions, check_folder
from segsmith_shared.pairs.limited import ChildDied, LimitedProcess, ProcessLimits
from segsmith_shared.pairs.reading import PairReaders, ReadingFailure, ReadingRequest, ReadPair
from tests.fixtures.pair_folders import REAL_DATA, blank_png, draw_folder, needs_real_data, plant, save

MISBEHAVING = """
import os, sys, time
from segsmith_shared.pairs.limited import serve

def handle(request, note):
    what = request["do"]
    if what == "spin":
        while True: pass
    if what == "wait":
        time.sleep(60)
    if what == "hoard":
        return {"bytes": len(bytearray(2**31))}, []
    if what == "write":
        with open(request["path"], "wb") as stream:
            stream.write(bytes(2**22))
    if what == "crash":
        os.abort()
    if what == "print":
        print("a library that prints")
    return {"environment": dict(os.environ)}, [b"blob", b""]

serve(handle)
"""


@pytest.fixture
def misbehaving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "misbehaving.py").write_text(MISBEHAVING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "misbehaving"


def test_every_planted_file_is_named_and_every_good_pair_is_kept(tmp_path: Path) -> None:
    names = draw_folder(tmp_path, 12)
    planted = plant(tmp_path)
    kept: list[str] = []

    report = check_folder(tmp_path, on_pair=lambda pair: kept.append(pair.name), workers=2)

    assert kept == names
    assert {finding.file: finding.code for finding in report.findings if finding.severity == "error"} == planted
    assert report.accepted == 12
    assert report.counts.rejected == 5
    words = report.in_words()
    assert all(file in words for file in planted)


@pytest.mark.parametrize("needs", [pytest.param(None, marks=needs_real_data)])
def test_planted_files_among_real_polyps_are_named_and_no_polyp_is_lost(tmp_path: Path, needs: None) -> None:
    source = REAL_DATA / "kvasir-seg"
    ids = (source / "paper-348.txt").read_text().split()[:40]
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in ids:
            (tmp_path / folder / f"{name}.jpg").symlink_to(source / folder / f"{name}.jpg")
    planted = plant(tmp_path)

    report = check_folder(tmp_path, workers=2)

    assert report.accepted == 40
    assert {finding.file: finding.code for finding in report.findings if finding.severity == "error"} == planted


def test_a_picture_of_900_million_pixels_costs_neither_time_nor_memory(tmp_path: Path) -> None:
    draw_folder(tmp_path, 1)
    bomb = tmp_path / "images" / "bomb.png"
    bomb.write_bytes(blank_png(30_000, 30_000))
    save(tmp_path / "masks" / "bomb.png", Image.new("L", (64, 64)))
    with PairReaders(1, ProcessLimits(memory_bytes=2**29, cpu_seconds=5)) as readers:
        request = ReadingRequest(str(bomb), (str(tmp_path / "masks" / "bomb.png"),))
        outcome = next(readers.read([request]))
    assert isinstance(outcome, ReadingFailure)
    assert (outcome.part, outcome.code) == ("image", "too-many-pixels")
    assert "30000×30000" in outcome.detail


def test_a_picture_too_large_for_the_readers_memory_is_one_finding_and_the_next_pair_is_read(tmp_path: Path) -> None:
    draw_folder(tmp_path, 1)
    big = tmp_path / "images" / "big.png"
    big.write_bytes(blank_png(16_000, 16_000))
    good = str(tmp_path / "images" / "case-000.jpg"), str(tmp_path / "masks" / "case-000.png")
    requests = [ReadingRequest(str(big), (good[1],), maximum_pixels=2**30), ReadingRequest(good[0], (good[1],))]
    with PairReaders(1, ProcessLimits(memory_bytes=2**29)) as readers:
        failed, read = readers.read(requests)
    assert isinstance(failed, ReadingFailure)
    assert failed.code == "out-of-memory"
    assert isinstance(read, ReadPair)


def test_the_largest_allowed_picture_fits_into_a_readers_memory(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(blank_png(8_000, 8_000))
    label = Image.new("L", (8_000, 8_000))
    label.paste(255, (100, 100, 4_000, 4_000))
    save(tmp_path / "masks" / "a.png", label)
    taken: list[str] = []
    report = check_folder(tmp_path, CheckOptions(), on_pair=lambda pair: taken.append(pair.name), workers=1)
    assert taken == ["a"], report.in_words()


@pytest.mark.parametrize(
    ("what", "limits", "signal_number"),
    [
        ("spin", ProcessLimits(cpu_seconds=0.2), signal.SIGPROF),
        ("wait", ProcessLimits(clock_seconds=0.2), signal.SIGALRM),
        ("crash", ProcessLimits(), signal.SIGABRT),
        ("hoard", ProcessLimits(memory_bytes=2**29), None),
        ("write", ProcessLimits(), None),
    ],
)
def test_a_child_that_misbehaves_dies_and_the_next_request_gets_a_new_one(
    misbehaving: str, tmp_path: Path, what: str, limits: ProcessLimits, signal_number: int | None
) -> None:
    with LimitedProcess(misbehaving, limits) as child:
        with pytest.raises(ChildDied) as caught:
            child.ask({"do": what, "path": str(tmp_path / "large")})
        assert caught.value.signal_number == signal_number
        assert caught.value.ran_out_of_time == (what in {"spin", "wait"})
        assert child.ask({"do": "nothing"})[1] == [b"blob", b""]


def test_a_child_sees_no_secret_and_cannot_garble_its_answers(
    misbehaving: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_SECRET_KEY", "hush")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:hush@host/name")
    with LimitedProcess(misbehaving, ProcessLimits()) as child:
        head, blobs = child.ask({"do": "print"})
    assert "hush" not in str(head)
    assert blobs == [b"blob", b""]


def test_readers_end_with_their_parent_also_when_it_is_killed(tmp_path: Path) -> None:
    draw_folder(tmp_path, 1)
    program = (
        "import sys, time\n"
        "from segsmith_shared.pairs.reading import *\n"
        "readers = PairReaders(2)\n"
        f"request = ReadingRequest(*{[str(path) for path in sorted(tmp_path.rglob('case-000.*'))]})\n"
        "list(readers.read([request] * 8))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        readers = psutil.Process(parent.pid).children()
        assert readers
        parent.kill()
    _, alive = psutil.wait_procs(readers, timeout=20)
    assert not alive


def test_leaving_the_pool_leaves_no_process(tmp_path: Path) -> None:
    draw_folder(tmp_path, 4)
    before = {child.pid for child in psutil.Process().children()}

    class StopAsked(Exception):
        pass

    def stop(done: int, _: int) -> None:
        if done == 2:
            raise StopAsked

    with pytest.raises(StopAsked):
        check_folder(tmp_path, on_progress=stop, workers=2)
    assert {child.pid for child in psutil.Process().children()} == before


def test_a_device_named_like_a_picture_is_not_opened(tmp_path: Path) -> None:
    draw_folder(tmp_path, 2)
    (tmp_path / "images" / "case-001.jpg").unlink()
    os.mkfifo(tmp_path / "images" / "case-001.jpg")
    report = check_folder(tmp_path, workers=1)
    assert report.accepted == 1
    assert [finding.code for finding in report.findings] == ["no-file", "missing-image"]
