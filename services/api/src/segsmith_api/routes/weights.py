"""Pretrained files: which are known, which are here, whether they are sound, and all of them to carry elsewhere."""

from typing import Annotated

from anyio import to_thread
from fastapi import Query
from fastapi.responses import StreamingResponse

from segsmith_api.answers import VerificationAnswer, WeightsAnswer
from segsmith_api.dependencies import Here, Reading
from segsmith_api.installation import Installation
from segsmith_api.object_responses import download
from segsmith_api.pagination import Page
from segsmith_api.records import weights
from segsmith_api.routes import router_of
from segsmith_api.weights_bundle import bundle_of
from segsmith_shared.plans.weights import fetch_command
from segsmith_shared.storage.objects import ObjectCorrupt, ObjectMissing

router = router_of("weights")


@router.get("/weights")
def list_weights(session: Reading) -> Page[WeightsAnswer]:
    """Every pretrained file of the registry, on one page; they are brought in as uploads closed with `weights`."""
    return Page(items=weights.every(session), next_cursor=None)


@router.get("/weights/{name}")
def get_weights(name: str, session: Reading) -> WeightsAnswer:
    """One pretrained file."""
    return weights.get(session, name)


@router.get("/weights/{name}/verification")
async def verify_weights(name: str, here: Here) -> VerificationAnswer:
    """Read all its bytes and compare their digest; two gigabytes take a while."""
    return await to_thread.run_sync(_verification, here, name, limiter=here.closing)


@router.get("/weights-bundle", response_class=StreamingResponse)
def export_weights(
    here: Here,
    session: Reading,
    name: Annotated[list[str] | None, Query(description="repeat for several; all that are here unless given")] = None,
) -> StreamingResponse:
    """A tar of safetensors and a manifest with their digests, made while it is sent, to be uploaded elsewhere."""
    return download(bundle_of(here, weights.chosen(session, name)), "application/x-tar", "segsmith-weights.tar")


def _verification(here: Installation, name: str) -> VerificationAnswer:
    with here.transaction() as session:
        (row,) = weights.chosen(session, [name])
    try:
        for _ in here.objects.open_stream(row.tensors_digest):
            pass
    except (ObjectMissing, ObjectCorrupt) as problem:
        mend = f"`{fetch_command([name])} --replace` mends it."
        return VerificationAnswer(name=name, sound=False, detail=f"{problem.title}: {problem.detail} {mend}")
    return VerificationAnswer(name=name, sound=True, detail=f"{row.size_bytes} bytes have their digest")
