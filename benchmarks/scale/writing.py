"""The figures as a page for people."""

from typing import Any

MIB = 2**20


def page(figures: dict[str, Any]) -> str:
    """Markdown: sizes, questions, claims, plans."""
    size, machine, claims = figures["size"], figures["machine"], figures["claims"]
    return "\n\n".join(
        [
            "# Scale",
            f"{size['pairs']:,} pairs and samples, {size['clusters']:,} clusters, {size['jobs']:,} jobs; "
            f"{machine['cpu_count']} cores for server and clients, load {machine['load']:.1f}.",
            _table(
                ("table", "rows", "MiB", "index MiB", "load s"),
                [
                    (
                        row["table"],
                        row["rows"],
                        row["table_bytes"] / MIB,
                        row["index_bytes"] / MIB,
                        figures["loaded_seconds"].get(row["table"], ""),
                    )
                    for row in figures["tables"]
                    if row["rows"]
                ],
            ),
            _table(("index", "MiB"), [(row["index"], row["bytes"] / MIB) for row in figures["indexes"][:30]]),
            _table(
                ("question", "s", "of it in SQL", "statements", "blocks of the slowest", "peak MiB"),
                [
                    (
                        told["name"],
                        told["failure"] or told["seconds"],
                        told["database_seconds"],
                        told["statements"],
                        told["blocks"],
                        told["peak_memory_bytes"] / MIB,
                    )
                    for told in figures["answers"]
                ],
            ),
            f"{claims['workers']} workers: {claims['claims_per_second']:.1f} claim-beat-finish per second "
            f"({claims['claims']:,} in {claims['seconds']:.1f} s); claim median {claims['claim_median_seconds']:.3f} s,"
            f" p95 {claims['claim_p95_seconds']:.3f} s; finish p95 {claims['finish_p95_seconds']:.3f} s; "
            f"{claims['refusals']} refused by a time limit.",
            f"Objects: {figures['objects']}",
            "## Plans",
            *(_plan(told) for told in figures["answers"] if told["plan"]),
        ]
    )


def _plan(told: dict[str, Any]) -> str:
    plan = "\n".join(told["plan"])
    return f"### {told['name']}\n\n```\n{plan}\n```"


def _table(headings: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
