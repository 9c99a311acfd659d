"""Pairs and the bytes of their pictures."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query, Request, Response

from segsmith_api.answers import PairAnswer
from segsmith_api.dependencies import Here, Paged, Reading
from segsmith_api.object_responses import object_response
from segsmith_api.openapi import Responses
from segsmith_api.pagination import Page
from segsmith_api.records import datasets
from segsmith_api.routes import router_of

router = router_of("pairs")

PNG, JPEG = "image/png", "image/jpeg"
MEDIA_TYPES = {"image": PNG, "label": PNG, "thumbnail": JPEG, "overlay": JPEG}
PICTURES: Responses = {200: {"content": {PNG: {}, JPEG: {}}}, 304: {"description": "you have it"}}


@router.get("/versions/{version_id}/pairs")
def list_pairs(
    version_id: UUID,
    session: Reading,
    asked: Paged,
    name: Annotated[str | None, Query(max_length=400, pattern=r"^[^\x00]*$")] = None,
) -> Page[PairAnswer]:
    """A version's pairs in their order."""
    return datasets.pairs_page(session, asked, version_id, name)


@router.get("/pairs/{pair_id}")
def get_pair(pair_id: UUID, session: Reading) -> PairAnswer:
    """One pair."""
    return PairAnswer.of(datasets.pair(session, pair_id))


@router.get("/pairs/{pair_id}/{face}", response_class=Response, responses=PICTURES)
def get_pair_picture(
    pair_id: UUID,
    face: Literal["image", "label", "thumbnail", "overlay"],
    request: Request,
    here: Here,
) -> Response:
    """The image or the label as lossless PNG, a thumbnail or an overlay as JPEG."""
    with here.transaction() as session:
        pair = datasets.pair(session, pair_id)
    media_type = MEDIA_TYPES[face]
    filename = f"{pair.name}-{face}.{media_type.partition('/')[2]}"
    return object_response(request, here.objects, getattr(pair, f"{face}_digest"), media_type, filename)
