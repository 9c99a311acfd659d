"""The networks that styling compares pictures with: the published ones where their files are here, else stand-ins."""

from segsmith_shared.jobs.context import StepContext
from segsmith_shared.plans.styling import StylingSpec
from segsmith_shared.plans.weights import VGG19
from segsmith_shared.vision.dino import dino_tower
from segsmith_shared.vision.towers import BuiltInStyleTower, BuiltInTextureTower
from segsmith_shared.vision.vgg import vgg_tower
from segsmith_shared.vision.weights import pretrained
from segsmith_worker.device import device_name
from segsmith_worker.styling.guidance import Towers


def towers_for(context: StepContext, spec: StylingSpec, *, allow_stand_ins: bool) -> Towers:
    """Raises WeightsMissing where files are missing and no stand-in is allowed, and what `pretrained` raises."""
    engine, objects, device = context.engine, context.objects, device_name()
    style = pretrained(engine, objects, spec.style_network, allow_stand_in=allow_stand_ins)
    texture = pretrained(engine, objects, VGG19, allow_stand_in=allow_stand_ins)
    return Towers(
        style=BuiltInStyleTower(device)
        if style is None
        else dino_tower(
            spec.style_network, style.tensors, digest=style.sha256, side_px=spec.style_side_px, device=device
        ),
        texture=BuiltInTextureTower(device)
        if texture is None
        else vgg_tower(texture.tensors, digest=texture.sha256, device=device),
    )
