"""The yardstick: segmentation models trained with and without synthetic pairs, each arm with equal optimiser steps."""

import os

# albumentations asks the network for a newer version while it is imported, unless told not to; nothing here may.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
