"""What every command shares: where the server is, one JSON document or words on stdout, and errors in one line."""

import functools
import inspect
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self, TextIO

import typer
from pydantic_core import to_jsonable_python
from rich.console import Console, RenderableType

from segsmith.addresses import server_address
from segsmith.client import Client
from segsmith_shared.problems import Problem

STATE_FILE = Path(".segsmith/stack.json")
PLAIN_WIDTH = 160  # columns where nobody says how wide the paper is
SHOW_TRACEBACK = "SEGSMITH_TRACEBACK"

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress stays on stderr.")]
UrlOption = Annotated[str | None, typer.Option(envvar="SEGSMITH_URL", help="Address of the server.")]
ApiKeyOption = Annotated[str | None, typer.Option(envvar="SEGSMITH_API_KEY", help="API key.", show_envvar=True)]


class NoServerKnown(Problem):
    """Nobody said where the server is."""

    title = "Which server?"


@dataclass(frozen=True)
class Shown:
    """What a command answers: a JSON document, and the same in words. `exit_code` 1 says that it is bad news."""

    document: Any
    words: RenderableType
    exit_code: int = 0


@dataclass
class Invocation:
    """One call of a command. `progress` is a console on stderr: stdout is for the answer alone."""

    as_json: bool
    url: str | None = None
    api_key: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if "client" in vars(self):  # only if it was needed
            self.client.close()

    @cached_property
    def progress(self) -> Console:
        return _console(stderr=True)

    @cached_property
    def client(self) -> Client:
        """The server of the options, of the environment, or of the embedded stack in this folder."""
        url, api_key = find_server(self.url, self.api_key, STATE_FILE)
        return Client(url, api_key)

    def note(self, text: str) -> None:
        """Tell a person something by the way."""
        self.progress.print(text)

    def show(self, shown: Shown) -> None:
        if self.as_json:
            document = to_jsonable_python(shown.document)
            sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=not _writes_unicode(sys.stdout)) + "\n")
        else:
            _console(stderr=False).print(shown.words)


def replace_what_cannot_be_shown() -> None:
    """Put a question mark for each character that the terminal or pipe cannot take, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _writes_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("-", "").startswith("utf")


def find_server(url: str | None, api_key: str | None, state_file: Path) -> tuple[str, str | None]:
    """The server's address and key; what is not given is taken from the embedded stack's state file.

    The file's key goes only to the file's own address. Raises NoServerKnown, WrongAddress.
    """
    state: dict[str, Any] = json.loads(state_file.read_text(encoding="utf-8")) if state_file.is_file() else {}
    given = (url or "").strip() or state.get("url")
    if not given:
        raise NoServerKnown(
            "No server was named and none runs from this folder.",
            hint="Start one with `make up`, or give --url and --api-key (SEGSMITH_URL, SEGSMITH_API_KEY).",
        )
    wanted = server_address(given)
    if api_key is None and wanted == str(state.get("url", "")).rstrip("/"):
        api_key = state.get("api_key")
    return wanted, api_key


def application(help_text: str) -> typer.Typer:
    """A group of commands in the house's manner."""
    return typer.Typer(
        help=help_text,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode=None,
    )


def command(
    app: typer.Typer, name: str, *, online: bool = True
) -> Callable[[Callable[..., Shown]], Callable[..., Shown]]:
    """Register `(here: Invocation, …) -> Shown` as a command with --json and, where online, --url and --api-key."""

    def register(function: Callable[..., Shown]) -> Callable[..., Shown]:
        @functools.wraps(function)
        def run(*, as_json: bool, url: str | None = None, api_key: str | None = None, **arguments: Any) -> None:
            here = Invocation(as_json, url, api_key)
            with errors_in_one_line(), here:
                shown = function(here, **arguments)
                here.show(shown)
            if shown.exit_code:
                raise typer.Exit(shown.exit_code)

        _declare(run, function, online)
        app.command(name)(run)
        return function

    return register


class errors_in_one_line:  # noqa: N801 - reads as what it does in `with errors_in_one_line():`
    """Turns an error into one line on stderr and exit code 1."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, typer.Exit | typer.Abort | typer.BadParameter):
            return
        if isinstance(error, BrokenPipeError):
            _leave_quietly()
        if SHOW_TRACEBACK not in os.environ:
            sys.stderr.write(f"segsmith: {in_one_line(error)}\n")
            raise typer.Exit(1) from error


def in_one_line(error: Exception) -> str:
    """What went wrong and what to do about it."""
    if isinstance(error, Problem):
        text = f"{error.title}: {error.detail} {_told_faults(error)} {error.hint}"
    elif isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = f"{type(error).__name__}: {error} (set {SHOW_TRACEBACK}=1 to see where)"
    return " ".join(text.split())


def _told_faults(problem: Problem) -> str:
    """The faults of a validation, each with its place."""
    faults = problem.members.get("errors")
    if not isinstance(faults, list):
        return ""
    told = [
        f"{f.get('pointer') or f.get('parameter') or ''} {f.get('detail', '')}" for f in faults if isinstance(f, dict)
    ]
    return "; ".join(told)


def _leave_quietly() -> NoReturn:
    """The reader of our output went away (`| head`): no error, and nothing more to say."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(0)


def _declare(run: Callable[..., None], function: Callable[..., Shown], online: bool) -> None:
    """Give `run` the parameters of `function` and the shared ones, as typer reads them."""
    kind = inspect.Parameter.KEYWORD_ONLY
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    shared = [inspect.Parameter("as_json", kind, default=False, annotation=JsonOption)]
    if online:
        shared += [
            inspect.Parameter("url", kind, default=None, annotation=UrlOption),
            inspect.Parameter("api_key", kind, default=None, annotation=ApiKeyOption),
        ]
    parameters = [parameter.replace(kind=kind) for parameter in own] + shared
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect.signature
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console
