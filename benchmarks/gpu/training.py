"""Training on one GPU: ours against the same network run as the authors run it, and the share of the device's peak.

Baseline: the same weights, image by image, contiguous memory, AdamW and average parameter by parameter, in float16 with
a scaled loss (the authors') and in float32. Ours: bfloat16, the recipe's micro-batch, channels_last, fused AdamW; then
with one means changed at a time, each in turn with ours in one run. MFU counts three forwards' operations per image
(shared/plans/cost.py, as planned for a run) against the datasheet's dense bfloat16 peak.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks._devices import named, peak_flops, wait_for
from benchmarks._pairing import paired_seconds
from benchmarks.training import as_the_authors, drawn_pairs
from segsmith_shared.plans.cost import forward_flops
from segsmith_shared.plans.presets import Preset, preset_named
from segsmith_worker.diffusion.batches import Feed, TrainingPairs
from segsmith_worker.diffusion.execution import Execution
from segsmith_worker.diffusion.schedule import linear_schedule
from segsmith_worker.diffusion.training import TrainingState, batch_losses, train


@dataclass(frozen=True)
class Sizes:
    """What is run: presets, each with images per step and at once, steps per turn and turns."""

    cases: tuple[tuple[Preset, int, int], ...]
    steps: int
    rounds: int
    device: str
    compiles: bool


def full() -> Sizes:
    """For a data-centre GPU; some minutes, most of them compiling."""
    paper, recent = preset_named("paper-256-2023"), preset_named("paper-256-2024")
    cases = ((preset_named("medium-128"), 32, 32), (paper, 1, 1), (paper, 16, 16), (recent, 16, 4))
    return Sizes(cases, steps=4, rounds=3, device="cuda", compiles=True)


def measure(sizes: Sizes | None = None) -> dict[str, float | str]:
    """Ratios of baseline to ours, images per second and MFU, per case."""
    sizes = sizes or full()
    peak = peak_flops(named(sizes.device))
    figures: dict[str, float | str] = {
        "device": named(sizes.device),
        "peak_bf16_flops": peak or "unknown: no MFU",
        "baseline": "the same network, one image at a time, contiguous, AdamW parameter by parameter",
    }
    for preset, batch, at_once in sizes.cases:
        figures |= _case(preset, batch, at_once, sizes, peak)
    return figures


def _case(preset: Preset, batch: int, at_once: int, sizes: Sizes, peak: float | None) -> dict[str, float | str]:
    preset = preset.with_overrides({"training": {"batch": batch, "micro_batch": at_once}})
    name = f"{preset.name} {batch}×" if at_once == batch else f"{preset.name} {batch}× by {at_once}"
    images = batch * sizes.steps
    said: list[str] = []

    def note(text: str, **_means: bool | int) -> None:
        said.append(text)

    rivals: dict[str, Callable[[], Callable[[], None]]] = {
        "authors_float16": lambda: _plain(preset, sizes, torch.float16 if sizes.device != "cpu" else torch.bfloat16),
        "authors_float32": lambda: _plain(preset, sizes, None),
        "contiguous": lambda: _ours(preset, sizes, Execution(say=note), contiguous=True),
        "not_drawn_ahead": lambda: _ours(preset, sizes, Execution(prefetch=False, say=note)),
    }
    if sizes.compiles:
        rivals["compiled"] = lambda: _ours(preset, sizes, Execution(compiled=True, say=note))
    ours = _ours(preset, sizes, Execution(say=note))
    figures: dict[str, float | str] = {}
    for rival, begin in rivals.items():
        own_seconds, seconds = paired_seconds(ours, begin(), sizes.rounds)
        figures[f"{name}: {rival} to ours"] = seconds / own_seconds
        figures[f"{name}: images/s"] = images / own_seconds
        if rival == "compiled":
            figures |= _used(f"{name}: MFU compiled", preset, images / seconds, peak)
        figures |= _used(f"{name}: MFU", preset, images / own_seconds, peak)
    if said:  # other means than asked for were used on the way
        figures[f"{name}: said"] = " ".join(dict.fromkeys(said))
    return figures


def _used(name: str, preset: Preset, images_per_second: float, peak: float | None) -> dict[str, float | str]:
    return {} if peak is None else {name: 3 * forward_flops(preset) * images_per_second / peak}


def _ours(preset: Preset, sizes: Sizes, execution: Execution, *, contiguous: bool = False) -> Callable[[], None]:
    state = TrainingState.start(preset, seed=0, device=sizes.device)
    if contiguous:
        state.network.layout = torch.contiguous_format
        state.network.to(memory_format=torch.contiguous_format)
    pairs = drawn_pairs(preset.network.side_px)

    def turn() -> None:
        until = state.images_seen + sizes.steps * preset.training.batch
        train(state, pairs, preset, seed=0, until_images_seen=until, execution=execution)
        wait_for(sizes.device)

    return turn


def _plain(preset: Preset, sizes: Sizes, half: torch.dtype | None) -> Callable[[], None]:
    """The authors' loop, restated: every image a pass of its own, and a look at the loss after each."""
    state = as_the_authors(TrainingState.start(preset, seed=0, device=sizes.device))
    source = TrainingPairs(drawn_pairs(preset.network.side_px), preset.training, seed=0)
    feed = Feed(source, state.device, ahead=False)
    linear = preset.diffusion.schedule == "linear"
    schedule = linear_schedule(preset.diffusion.timesteps).to(state.device) if linear else None
    scaler = torch.amp.GradScaler(state.device.type, enabled=half is torch.float16)

    def step() -> None:
        state.optimiser.zero_grad(set_to_none=True)
        for batch in feed.of_step(range(state.images_seen, state.images_seen + preset.training.batch), 1):
            with torch.autocast(state.device.type, half or torch.bfloat16, enabled=half is not None):
                loss = batch_losses(state.network, batch, preset, schedule).sum() / preset.training.batch
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's own
            loss.item()
        scaler.step(state.optimiser)
        scaler.update()
        with torch.no_grad():
            for kept, new in zip(state.average.parameters(), state.network.parameters(), strict=True):
                kept.lerp_(new, 1 - preset.training.ema_decay)
        state.images_seen += preset.training.batch

    def turn() -> None:
        for _ in range(sizes.steps):
            step()
        wait_for(sizes.device)

    return turn
