"""API keys in Postgres. Making and checking them is `segsmith_shared.authentication`."""

from uuid import UUID

from sqlmodel import Session, select

from segsmith_api.answers import ApiKeyAnswer
from segsmith_api.pagination import Page, PageRequest, newest_first, page_of
from segsmith_api.records.finding import find
from segsmith_shared.database.tables import ApiKey
from segsmith_shared.database.tables.columns import now


def page(session: Session, asked: PageRequest) -> Page[ApiKeyAnswer]:
    query = select(ApiKey)
    return page_of(
        session, query, newest_first(ApiKey), asked, lambda rows: [ApiKeyAnswer.model_validate(row) for row in rows]
    )


def revoke(session: Session, key_id: UUID) -> ApiKeyAnswer:
    """Ends the key at once. Revoking it again changes nothing."""
    row = find(session, ApiKey, key_id, noun="API key", for_update=True)
    row.revoked_at = row.revoked_at or now()
    session.add(row)
    session.flush()
    return ApiKeyAnswer.model_validate(row)
