"""The networks that styling compares pictures with: the published ones where their files are here, else stand-ins."""

from segsmith_shared.problems import InvalidInput
from segsmith_shared.vision.towers import BuiltInStyleTower, BuiltInTextureTower
from segsmith_worker.device import device_name
from segsmith_worker.styling.guidance import Towers


def towers_for(*, allow_stand_ins: bool) -> Towers:
    """Raises InvalidInput where files are missing and no stand-in is allowed."""
    if not allow_stand_ins:
        raise InvalidInput("Styling needs DINO and VGG-19, and stand-ins are not allowed.")
    return Towers(BuiltInStyleTower(device_name()), BuiltInTextureTower(device_name()))
