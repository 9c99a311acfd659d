"""What the OpenAPI document says beyond the routes: how to begin, and what every error looks like."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from segsmith_api.problem_responses import MEDIA_TYPE

SCHEMAS = "#/components/schemas/{model}"

DESCRIPTION = """
segsmith turns a small labelled segmentation dataset into more labelled data.

Create a dataset, upload an archive of images and masks in parts, close the upload: an import job makes a version. Then
POST a pipeline on that version and follow its events.

- Send `Authorization: Bearer <key>` with every request.
- Send an `Idempotency-Key` with a POST and repeat it as often as need be: it happens once.
- Lists are pages: `next_cursor` goes into `cursor`.
- Errors are problem documents (RFC 9457).
"""


class InvalidField(BaseModel):
    """One value that is not acceptable: `pointer` into the body (RFC 6901) or the `parameter`'s name."""

    pointer: str | None = None
    parameter: str | None = None
    detail: str


class ProblemDocument(BaseModel):
    """An error, as RFC 9457 has it. Kinds of problem add members of their own."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "/problems/not-found",
                    "title": "Not found",
                    "status": 404,
                    "detail": "There is no dataset 7f0c2a52-5a0b-4f0e-9d1c-6d3f1f1f5a10.",
                    "request_id": "5f2b0c3d9f5e4d0e8a3b1c2d3e4f5a6b",
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: str
    hint: str | None = Field(None, description="what to do about it")
    request_id: str = Field(description="finds the request in the server's log")
    errors: list[InvalidField] | None = None


def _described(description: str) -> dict[str, Any]:
    schema = {"$ref": SCHEMAS.format(model=ProblemDocument.__name__)}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


def problem_schemas() -> dict[str, Any]:
    """The schemas that the responses refer to; as a response's `model` FastAPI would add them as application/json."""
    schema = ProblemDocument.model_json_schema(ref_template=SCHEMAS)
    return {**schema.pop("$defs"), ProblemDocument.__name__: schema}


Responses = dict[int | str, dict[str, Any]]

PROBLEMS: Responses = {
    400: _described("the body cannot be read"),
    401: _described("no valid API key"),
    404: _described("there is no such thing"),
    408: _described("the body stopped coming"),
    409: _described("not in this state"),
    413: _described("too large"),
    422: _described("a value is not acceptable; `errors` says which"),
    500: _described("a bug; the log has the request id"),
    503: _described("a server behind this one does not answer"),
}
