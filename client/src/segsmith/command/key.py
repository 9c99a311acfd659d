"""`segsmith key`: who may come in."""

from typing import Annotated
from uuid import UUID

import typer

from segsmith.command.invocation import Invocation, Shown, application, command
from segsmith.command.tables import moment, table

app = application("Make, list and revoke API keys.")


@command(app, "create")
def create(here: Invocation, name: Annotated[str, typer.Argument(help="Whose key it is.")]) -> Shown:
    """Make a key. It is shown this once and never again."""
    made = here.client.api_keys.create(name)
    here.note("This key is shown only now:")
    return Shown(made, made.key or "")


@command(app, "list")
def list_(here: Invocation) -> Shown:
    """All keys, without the keys themselves."""
    found = list(here.client.api_keys.list())
    rows = [(k.id, k.name, k.prefix, moment(k.created_at), moment(k.last_used_at), moment(k.revoked_at)) for k in found]
    return Shown(found, table(("key", "name", "begins with", "created", "last used", "revoked"), rows))


@command(app, "revoke")
def revoke(here: Invocation, key: Annotated[UUID, typer.Argument(help="Id of a key.")]) -> Shown:
    """Refuse a key from now on."""
    revoked = here.client.api_keys.revoke(key)
    return Shown(revoked, f"Key {revoked.name!r} is revoked.")
