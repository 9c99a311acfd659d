"""API keys: who may ask."""

from uuid import UUID

from fastapi import Response
from sqlmodel import Session

from segsmith_api.answers import ApiKeyAnswer, NewApiKeyAnswer
from segsmith_api.bodies import NewApiKey
from segsmith_api.dependencies import Here, OnceOnly, Paged, Reading
from segsmith_api.idempotency import Reply
from segsmith_api.pagination import Page
from segsmith_api.records import api_keys
from segsmith_api.routes import router_of
from segsmith_shared import authentication

router = router_of("api keys")


@router.post("/api-keys", status_code=201, response_model=NewApiKeyAnswer)
def create_api_key(body: NewApiKey, once: OnceOnly) -> Response:
    """Make a key. It is shown here and never again."""

    def work(session: Session) -> Reply:
        row, key = authentication.create_key(session, body.name)
        shown = ApiKeyAnswer.model_validate(row)
        return Reply(201, NewApiKeyAnswer(**shown.model_dump(), key=key), withheld=frozenset({"key"}))

    return once(work)


@router.get("/api-keys")
def list_api_keys(session: Reading, asked: Paged) -> Page[ApiKeyAnswer]:
    """Keys by their first characters, newest first; revoked ones too."""
    return api_keys.page(session, asked)


@router.delete("/api-keys/{key_id}")
def revoke_api_key(key_id: UUID, here: Here) -> ApiKeyAnswer:
    """Revoke a key, at once and for good."""
    with here.transaction() as session:
        return api_keys.revoke(session, key_id)
