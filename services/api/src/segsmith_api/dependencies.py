"""What routes ask for by type: the installation, a session for reading, the caller, a page, a once-only transaction."""

from typing import Annotated

from fastapi import Depends, Query, Request
from sqlmodel import Session

from segsmith_api.authentication import Caller, caller_of
from segsmith_api.idempotency import Once, once_of
from segsmith_api.installation import Installation, installation_of, session_of
from segsmith_api.pagination import LARGEST_PAGE, PageRequest

Here = Annotated[Installation, Depends(installation_of)]
Reading = Annotated[Session, Depends(session_of, scope="function")]
By = Annotated[Caller, Depends(caller_of)]
OnceOnly = Annotated[Once, Depends(once_of)]


def _page_of(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="items of a page")] = 50,
    cursor: Annotated[str | None, Query(max_length=1000, description="`next_cursor` of the page before")] = None,
) -> PageRequest:
    return PageRequest(limit=limit, cursor=cursor, of=request.url.path)


Paged = Annotated[PageRequest, Depends(_page_of)]
