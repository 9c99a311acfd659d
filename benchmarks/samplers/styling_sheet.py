"""`python -m benchmarks.samplers.styling_sheet PAIRS --ids FILE MODEL OUT.png`: what styling does, to look at.

Redraws the pairs of a list as the model's preset says, styles the samples after their real sources, and puts content,
target and result side by side. The pictures are compared by stand-in networks, as the headings say: this shows that the
procedure runs on real pictures, not what DINO and VGG-19 would do.
"""

import argparse
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.samplers.material import read_model, read_pairs
from segsmith_shared.pairs.contact_sheet import enlarged, overlay, sheet
from segsmith_shared.plans.styling import StylingSpec
from segsmith_shared.vision.towers import BuiltInStyleTower, BuiltInTextureTower
from segsmith_worker.inpainting.redraw import redraw
from segsmith_worker.styling.guidance import Towers
from segsmith_worker.styling.style import style

CELL_PX = 128
HEADINGS = ("content: sample", "target: source", "styled, by stand-ins", "its label")


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    model = read_model(arguments.model).model
    sources = torch.from_numpy(read_pairs(arguments.pairs, arguments.ids, model.side_px).squares[: arguments.count])
    seeds = list(range(len(sources)))
    samples = redraw(model, sources, seeds, model.preset.sampling)
    kept = [at for at, accepted in enumerate(samples.accepted) if accepted]
    contents = torch.cat([samples.images, (samples.labels[:, None] > 0) * torch.tensor(255, dtype=torch.uint8)], dim=1)
    spec = StylingSpec().with_overrides({"procedure": arguments.procedure})
    towers = Towers(style=BuiltInStyleTower(), texture=BuiltInTextureTower())
    styled = style(
        model,
        towers,
        contents[kept],
        sources[kept, :3],
        samples.redraw_regions[kept],
        [seeds[at] for at in kept],
        spec,
    )
    rows: list[list[Image.Image]] = []
    for place, at in enumerate(kept):
        content, source, result = (_picture(each[:3]) for each in (contents[at], sources[at], styled.images[place]))
        target = overlay(source, sources[at, 3].numpy() >= 128, samples.redraw_regions[at].numpy())
        rows.append([content, target, result, overlay(result, styled.labels[place].numpy() > 0)])
    joined = [list(chain.from_iterable(rows[at : at + 2])) for at in range(0, len(rows), 2)]
    arguments.output.write_bytes(sheet(joined, headings=HEADINGS * 2, cell_px=CELL_PX))
    drift = ", ".join(f"{each:.2f}" for each in styled.label_drift.tolist())
    print(f"{len(kept)} of {len(seeds)} samples had a lesion; Dice of the mask as styled with its label: {drift}")


def _picture(image: Tensor) -> Image.Image:
    return enlarged(Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy())), CELL_PX)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.samplers.styling_sheet", description=__doc__)
    parser.add_argument("pairs", type=Path, help="folder of real pairs, in any layout that an import knows")
    parser.add_argument("--ids", type=Path, required=True, help="names of the pairs to redraw and style")
    parser.add_argument("model", type=Path, help="a file of benchmarks.samplers.train or .export")
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--procedure", choices=("authors", "corrected"), default="corrected")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
