"""`python -m segsmith_shared.embedded`: serves the whole stack, or runs one command beside it (`… exec -- COMMAND`)."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from segsmith_shared.embedded.servers import wait_for_stop_signal
from segsmith_shared.embedded.stack import KEY_FILE, Stack
from segsmith_shared.embedded.supervise import leashed
from segsmith_shared.problems import Problem

DEFAULT_PORT = 8000


def main() -> int:
    arguments = _parser().parse_args()
    port = arguments.port or (None if arguments.command else DEFAULT_PORT)
    begun = time.monotonic()
    try:
        with Stack.start(
            arguments.data, api_port=port, gpu_workers=arguments.gpu_workers, cpu_workers=arguments.cpu_workers
        ) as stack:
            _say(f"segsmith serves at {stack.url} (started in {time.monotonic() - begun:.1f} s)")
            if arguments.command:
                return _run_beside(stack, arguments.command)
            _say(_about_key(stack))
            _say(f"logs: {stack.folder / 'logs'}; Ctrl-C stops everything")
            wait_for_stop_signal()
            _say("stopping")
    except Problem as problem:
        _say(f"{problem.title}: {problem.detail} {problem.hint}".strip())
        return 1
    except KeyboardInterrupt:  # while starting: what had started is stopped by now
        return 128 + signal.SIGINT
    return 0


def _run_beside(stack: Stack, command: list[str]) -> int:
    """Runs the command with SEGSMITH_URL and SEGSMITH_API_KEY, and returns its exit code as a shell would."""
    environment = dict(os.environ) | {"SEGSMITH_URL": stack.url, "SEGSMITH_API_KEY": stack.api_key or ""}
    process = subprocess.Popen(leashed(command, signal.SIGTERM), env=environment)
    # A terminal's Ctrl-C reaches the command by itself: it decides, we wait. SIGTERM reaches only us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    ended = process.wait()
    return ended if ended >= 0 else 128 - ended


def _about_key(stack: Stack) -> str:
    if stack.key_is_new:
        return f"first API key, shown only now: {stack.api_key}"
    return f"the first API key is in {stack.folder / KEY_FILE}" if stack.api_key else "give your own API key"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m segsmith_shared.embedded", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(".segsmith"), help="folder of all data (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, help=f"of the API; default {DEFAULT_PORT}, with exec a free one")
    parser.add_argument("--gpu-workers", type=int, default=1)
    parser.add_argument("--cpu-workers", type=int, default=1)
    modes = parser.add_subparsers(title="instead of serving until Ctrl-C")
    parser.set_defaults(command=[])
    beside = modes.add_parser("exec", help="run a command beside the stack, then stop; returns its exit code")
    beside.add_argument("command", nargs="+", metavar="COMMAND", help="after `--`")
    return parser


if __name__ == "__main__":
    sys.exit(main())
