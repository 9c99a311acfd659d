"""What the API is sent: parsed once, here; unknown fields are refused, so that a typo is noticed."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from segsmith_shared.plans.specs import ModelImport

LARGEST_INTEGER = 2**63 - 1

Text = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$")]
"""One line of text without control characters."""

Title = Annotated[Text, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NewDataset(Request):
    """A name under which versions gather."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Kvasir-SEG", "description": "348 polyps"}]})

    name: Title
    description: str = Field("", max_length=4000, pattern=r"^[^\x00]*$")


class NewUpload(Request):
    """A file that will arrive in parts: a dataset's archive (zip or tar), or weights."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"filename": "polyps.tar", "size_bytes": 31457280}]})

    filename: Annotated[Text, StringConstraints(min_length=1, max_length=400)]
    size_bytes: int = Field(ge=1, le=LARGEST_INTEGER)


class ImportOrder(Request):
    """How the archive becomes a version; `options` are those of `segsmith dataset check`."""

    label: Annotated[Text, StringConstraints(max_length=200)] = ""
    origin: Literal["real", "external"] = "real"
    options: dict[str, Any] = Field(default_factory=dict)


class WeightsOrder(Request):
    """The file is the pretrained file `name`, or, without a name, a bundle of several; `replace` gives up a pin."""

    name: str | None = Field(None, max_length=80)
    replace: bool = False


class CloseUpload(Request):
    """The file is complete: its SHA-256 proves it, and its import begins.

    What was uploaded to a dataset takes `import`; what was not takes `weights` or `model`.
    """

    model_config = ConfigDict(
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {
                    "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                    "import": {"label": "first import", "origin": "real"},
                }
            ]
        },
    )

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    order: ImportOrder | None = Field(None, alias="import")
    weights: WeightsOrder | None = None
    model: ModelImport | None = None

    @model_validator(mode="after")
    def _one_import(self) -> Self:
        if sum(given is not None for given in (self.order, self.weights, self.model)) > 1:
            raise ValueError("give one of `import`, `weights` and `model`")
        return self


class NewModel(Request):
    """A model made of a pretrained file that this installation has, e.g. to start trainings from."""

    pretrained: Literal["guided-diffusion-256"]
    told: ModelImport = Field(default_factory=ModelImport)


PartName = Annotated[Text, StringConstraints(min_length=1, max_length=80)]
PairName = Annotated[Text, StringConstraints(min_length=1, max_length=400)]


class NewSplit(Request):
    """A division of a version: by names, or by seeded shares that keep near-duplicates together."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "main", "fractions": {"train": 0.75, "test": 0.25}, "seed": 0}]}
    )

    name: Title
    parts: dict[PartName, list[PairName]] | None = Field(None, min_length=1, max_length=100)
    fractions: dict[PartName, Annotated[float, Field(gt=0, le=1)]] | None = Field(None, min_length=1, max_length=100)
    seed: int = Field(0, ge=0, le=LARGEST_INTEGER)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.parts is None) == (self.fractions is None):
            raise ValueError("give either `parts` or `fractions`")
        return self


class NewApiKey(Request):
    """A key for a person or a machine; its name is how you find it again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "laptop of the lab"}]})

    name: Title
