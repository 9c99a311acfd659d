"""The pretrained files segsmith knows by name: pure data, so that API and client list them without torch.

A digest that was not to be found is pinned when its file first comes (`sha256` is empty), and every list says so.
Layout and use are checked where the networks are, in `segsmith_worker.weight_layouts`.
"""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from segsmith_shared.problems import Conflict, InvalidInput, NotFound

MANIFEST = "manifest.json"
SEE_THE_PUBLISHER = "see the publisher"
TENSORS_SUFFIX = ".safetensors"

Pinned = Literal[
    "published digest", "digest that others print", "digest in the published name", "first import", "bundle"
]
"""How the digest of a stored file came to be believed, from most to least."""

EncoderWeights = Literal["resnet18-imagenet", "resnet34-imagenet", "resnet50-imagenet", "se-resnext50-imagenet"]
FID_INCEPTION = "fid-inception"
VGG19 = "vgg19"
GUIDED_DIFFUSION = "guided-diffusion-256"


class UnknownWeights(NotFound):
    """The registry has no file of this name."""

    title = "No such pretrained file"


class WeightsMissing(InvalidInput):
    """The request needs pretrained files that this installation does not have."""

    title = "A pretrained weight file is missing"


class WeightsCorrupt(InvalidInput):
    """The file is not the published one, or not what its name says."""

    title = "A pretrained weight file cannot be trusted"


class WeightsPinned(Conflict):
    """Another file of this name came first, and its digest was pinned."""

    title = "The file differs from the pinned one"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PretrainedWeights(_Frozen):
    """A published file.

    `sha256` is what is known of its digest: all 64 digits, those in its name, or none; `printed_by` says by whom.
    `licence` is what the publisher says of the file or its repository. `keep` are the prefixes of the tensors that are
    stored, `drop` those that are not: classifiers that nothing here uses.
    """

    name: str
    file_name: str
    megabytes: int
    licence: str = SEE_THE_PUBLISHER
    sha256: str = Field("", pattern=r"^([0-9a-f]{8}|[0-9a-f]{64})?$")
    printed_by: Literal["publisher", "others"] = "publisher"
    address: str
    used_for: str
    keep: tuple[str, ...] = ("",)
    drop: tuple[str, ...] = ()
    encoders: tuple[str, ...] = ()

    @property
    def maximum_bytes(self) -> int:
        """A download that grows beyond this is another file."""
        return int(self.megabytes * 1.1e6) + 2**20

    def pinned_by(self, sha256: str) -> Pinned:
        """How far the digest of an original can be believed. Raises WeightsCorrupt when it is not the published one."""
        if not sha256.startswith(self.sha256):
            raise WeightsCorrupt(
                f"{self.file_name} has the SHA-256 {sha256[:16]}…, but {self.sha256[:16]}… is the published one.",
                hint=f"Fetch it again: {fetch_command([self.name])}. A broken download is the usual reason.",
            )
        if not self.sha256:
            return "first import"
        if self.printed_by == "others":
            return "digest that others print"
        return "published digest" if len(self.sha256) == 64 else "digest in the published name"


class BundledFile(_Frozen):
    """One file of a bundle: `NAME.safetensors` with its own digest, and that of the original it was made from."""

    name: str = Field(max_length=80)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the original")
    tensors_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    pinned: Pinned


class BundleManifest(_Frozen):
    """What a bundle holds; the first entry of its tar."""

    format: Literal["segsmith-weights/1"] = "segsmith-weights/1"
    files: tuple[BundledFile, ...] = Field(min_length=1, max_length=100)


_HUGGING_FACE = "https://huggingface.co"
_TORCHVISION = "https://download.pytorch.org/models"
_ENCODER = "encoder of segmentation models"
_ROWS = (
    PretrainedWeights(
        name=FID_INCEPTION,
        file_name="pt_inception-2015-12-05-6726825d.pth",
        megabytes=96,
        licence="Apache-2.0",
        sha256="6726825d",
        address="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        used_for="clustering, FID, KID",
    ),
    PretrainedWeights(
        name="dino-vit-s8",
        file_name="vit_small_patch8_224.dino.safetensors",
        megabytes=87,
        licence="Apache-2.0",
        sha256="e1b79616ce6d1b8dc3cc0d5952b6d0958356a189122882493e665d28f20654a0",
        address=f"{_HUGGING_FACE}/timm/vit_small_patch8_224.dino/resolve/"
        "06cd8ed4b3fcef6305223df082ef8c19bc775704/model.safetensors",
        used_for="features of styling, the smaller",
    ),
    PretrainedWeights(
        name="dino-vit-b8",
        file_name="vit_base_patch8_224.dino.safetensors",
        megabytes=343,
        licence="Apache-2.0",
        sha256="01be14b99784a4c0970a5703214513588daf27014e908ac7ea08967b7bd80f5f",
        address=f"{_HUGGING_FACE}/timm/vit_base_patch8_224.dino/resolve/"
        "57b4c6dac26b2cff845bfbed5bf37c9dd32ec496/model.safetensors",
        used_for="style and semantic divergence of styling",
    ),
    PretrainedWeights(
        name=VGG19,
        file_name="vgg19-dcbb9e9d.pth",
        megabytes=575,
        licence="BSD-3-Clause",
        sha256="dcbb9e9d",
        address=f"{_TORCHVISION}/vgg19-dcbb9e9d.pth",
        used_for="content of styling (80 MB of it are stored)",
        keep=("features.",),
    ),
    PretrainedWeights(
        name="se-resnext50-imagenet",
        file_name="se_resnext50_32x4d.imagenet.safetensors",
        megabytes=102,
        address=f"{_HUGGING_FACE}/smp-hub/se_resnext50_32x4d.imagenet/resolve/"
        "73246406d879a2b0e3fdfe6fddd56347d38f38ae/model.safetensors",
        used_for=f"{_ENCODER} (the paper's)",
        drop=("last_linear.",),
        encoders=("se_resnext50_32x4d",),
    ),
    *(
        PretrainedWeights(
            name=f"resnet{depth}-imagenet",
            file_name=f"resnet{depth}-{digest}.pth",
            megabytes=megabytes,
            licence="BSD-3-Clause",
            sha256=digest,
            address=f"{_TORCHVISION}/resnet{depth}-{digest}.pth",
            used_for=_ENCODER,
            drop=("fc.",),
            encoders=(f"resnet{depth}", f"tu-resnet{depth}"),
        )
        for depth, digest, megabytes in ((18, "f37072fd", 47), (34, "b627a593", 88), (50, "0676ba61", 103))
    ),
    PretrainedWeights(
        name=GUIDED_DIFFUSION,
        file_name="256x256_diffusion_uncond.pt",
        megabytes=2212,
        licence="MIT; for research (model card)",
        printed_by="others",
        sha256="a37c32fffd316cd494cf3f35b339936debdc1576dad13fe57c42399a5dbc78b1",
        address="https://openaipublic.blob.core.windows.net/diffusion/jul-2021/256x256_diffusion_uncond.pt",
        used_for="what 256-px trainings can start from",
    ),
)
PRETRAINED: dict[str, PretrainedWeights] = {row.name: row for row in _ROWS}
ENCODERS_OF = MappingProxyType({row.name: row.encoders for row in _ROWS if row.encoders})


def weights_named(name: str) -> PretrainedWeights:
    """The registry's row. Raises UnknownWeights."""
    if name not in PRETRAINED:
        raise UnknownWeights(f"No pretrained file is called {name!r}.", hint=f"Known: {', '.join(PRETRAINED)}.")
    return PRETRAINED[name]


def weights_in_file(file_name: str) -> PretrainedWeights:
    """The row whose file is called so. Raises UnknownWeights."""
    for row in PRETRAINED.values():
        if row.file_name == file_name:
            return row
    raise UnknownWeights(
        f"{file_name!r} is the name of no known pretrained file.",
        hint=f"Say which one it is with --name: {', '.join(PRETRAINED)}.",
    )


def missing_weights(names: Iterable[str], **members: Any) -> WeightsMissing:
    """The problem of needing these files, with the command that mends it."""
    listed = sorted(set(names))
    told = ", ".join(f"{name} ({PRETRAINED[name].megabytes} MB, {PRETRAINED[name].used_for})" for name in listed)
    return WeightsMissing(
        f"This installation lacks {told}.",
        hint=f"Run `{fetch_command(listed)}`, or ask for stand-ins (allow_stand_ins, --stand-ins).",
        missing=listed,
        **members,
    )


def fetch_command(names: Iterable[str]) -> str:
    """What a person types to get these files."""
    return f"segsmith weights fetch {' '.join(names)}"
