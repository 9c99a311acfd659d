"""Who is asking: a Bearer key, looked up by its digest on every request, so that a revoked one ends at once."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from segsmith_api.installation import installation_of
from segsmith_shared import authentication
from segsmith_shared.problems import Unauthenticated

NOBODY = UUID(int=0)

bearer = HTTPBearer(auto_error=False, scheme_name="API key", description="`Authorization: Bearer sgs_…`")


@dataclass(frozen=True)
class Caller:
    """The key that came with the request; NOBODY where the installation asks for none."""

    key_id: UUID


def caller_of(request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> Caller:
    """The caller. Raises Unauthenticated without a valid key, whether it is missing, unknown or revoked."""
    here = installation_of(request)
    if not here.settings.auth_required:
        return Caller(NOBODY)
    if credentials is None:
        raise Unauthenticated("The request carries no API key.", hint="Send `Authorization: Bearer <key>`.")
    with here.transaction() as session:
        row = authentication.verify(session, credentials.credentials)
        if row is None:
            raise Unauthenticated("This API key is unknown or revoked.", hint="Make one: `segsmith key create`.")
        return Caller(row.id)
