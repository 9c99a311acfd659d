"""`python -m benchmarks.scale`: the database of a large installation, loaded, asked, and claimed from.

Starts the embedded Postgres with fsync, loads rows as many as `--size` says, asks every question of `questions.py`
through the product's own functions, has the slowest statement of each explained, and simulates workers that claim.
Writes `scale.md` and `scale.json`. The figures are of one machine, which runs server and clients alike.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.scale import claiming, objects, writing
from benchmarks.scale.asking import Answer, answer
from benchmarks.scale.loading import load
from benchmarks.scale.questions import questions
from benchmarks.scale.sizes import SIZES, Size
from segsmith_shared.database.migrate import upgrade
from segsmith_shared.database.session import engine_for, libpq_url
from segsmith_shared.embedded import EmbeddedServers

TABLE_SIZES = """
    SELECT relname, n_live_tup, pg_table_size(relid), pg_indexes_size(relid)
    FROM pg_stat_user_tables ORDER BY pg_total_relation_size(relid) DESC
"""
INDEX_SIZES = "SELECT indexrelname, pg_relation_size(indexrelid) FROM pg_stat_user_indexes ORDER BY 2 DESC"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--output", type=Path, default=Path("bench-scale"), help="folder of scale.md and scale.json")
    arguments = parser.parse_args()
    figures = measure(SIZES[arguments.size])
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "scale.json").write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    (arguments.output / "scale.md").write_text(writing.page(figures))
    print(f"Written to {arguments.output}/scale.md and scale.json")


def measure(size: Size) -> dict[str, Any]:
    """Everything, as JSON values."""
    with tempfile.TemporaryDirectory(prefix="segsmith-scale-") as name:
        Path(name).chmod(0o711)  # Postgres may run under another account, and passes through
        with EmbeddedServers.start(Path(name) / "data") as servers:
            return _measured(size, servers.environment)


def _measured(size: Size, environment: dict[str, str]) -> dict[str, Any]:
    url = environment["DATABASE_URL"]
    upgrade(url)
    with psycopg.connect(libpq_url(url)) as connection:
        loaded = load(connection, size)
    _tell("loaded", sum(loaded.values()))
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        tables, indexes = connection.execute(TABLE_SIZES).fetchall(), connection.execute(INDEX_SIZES).fetchall()
    engine = engine_for(url)
    answers = [_told(answer(engine, question)) for question in questions(size)]
    engine.dispose()
    claimed = claiming.measure(url, size)
    _tell(f"{claimed.claims_per_second:.1f} claims per second", claimed.seconds)
    return {
        "size": asdict(size) | {"jobs": size.jobs},
        "machine": {"cpu_count": os.cpu_count(), "load": os.getloadavg()[0], "python": sys.version.split()[0]},
        "loaded_seconds": loaded,
        "tables": [
            {"table": table, "rows": rows, "table_bytes": bytes_, "index_bytes": index_bytes}
            for table, rows, bytes_, index_bytes in tables
        ],
        "indexes": [{"index": index, "bytes": bytes_} for index, bytes_ in indexes],
        "answers": [asdict(told) for told in answers],
        "claims": asdict(claimed),
        "objects": objects.measure(environment, size),
        "measured_at": time.strftime("%Y-%m-%d"),
    }


def _told(told: Answer) -> Answer:
    _tell(told.name + (f": {told.failure}" if told.failure else ""), told.seconds)
    return told


def _tell(what: str, seconds: float) -> None:
    print(f"{seconds:9.3f} s  {what}", flush=True)


if __name__ == "__main__":
    main()
