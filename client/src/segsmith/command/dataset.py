"""`segsmith dataset`: check a folder offline, draw one, and everything about datasets on the server."""

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from segsmith.command.importing import FolderOptions, import_options, import_pairs, packed, read_ids, upload_archive
from segsmith.command.invocation import Invocation, Shown, application, command
from segsmith.command.tables import fields, moment, table
from segsmith.problems import FolderNotFound
from segsmith.values import Split
from segsmith_shared.pairs.classes import CLASSES_FILE, LabelKind, class_list
from segsmith_shared.pairs.id_lists import without_comments
from segsmith_shared.pairs.import_report import ImportReport
from segsmith_shared.plans.presets import preset_named
from segsmith_shared.problems import Conflict, InvalidInput

app = application("Check, draw, upload and divide datasets.")

FolderArgument = Annotated[Path, typer.Argument(help="Folder of images and masks.")]
IdsOption = Annotated[
    Path | None, typer.Option(help="File of pair names, one per line or in the first column: only these.")
]
ClassesOption = Annotated[
    str | None,
    typer.Option(
        help="What labels tell apart: polyp=1,instrument=2, or colours: 'polyp=#ff0000,instrument=#00ff00'."
        " A classes.json in the folder does the same."
    ),
]
GroupPatternOption = Annotated[
    str | None,
    typer.Option(
        help="Regular expression over pair names or paths; its first (…) is the patient or sequence that splits keep "
        "together, e.g. '^(p[0-9]+)_'."
    ),
]
GroupColumnOption = Annotated[
    str | None, typer.Option(help="FILE.csv:COLUMN in the folder: the patient or sequence of each image.")
]
LabelsOption = Annotated[
    LabelKind,
    typer.Option(
        help="How label files are read: from half of the range on (binary), every value above 0 as lesion (instances),"
        " every value as a class of its own (classes), by palette index (palette); auto decides over the whole set."
    ),
]
ForegroundOption = Annotated[
    str | None,
    typer.Option(help="Value, palette index or colour ('#ff0000') of lesions; 0 where black is the lesion."),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Import nothing where the pairs as a whole are implausible.")
]
PresetOption = Annotated[
    str | None, typer.Option(help="Count lesions that vanish at this preset's side: segsmith preset list.")
]
SideOption = Annotated[int | None, typer.Option(min=16, max=2048, help="The same for a side in pixels.")]
VersionArgument = Annotated[UUID, typer.Argument(help="Id of a version.")]


class FolderNotEmpty(Conflict):
    """Drawing would mix with files that are there already."""

    title = "The folder is not empty"


@command(app, "check", online=False)
def check(
    here: Invocation,
    folder: FolderArgument,
    ids: IdsOption = None,
    classes: ClassesOption = None,
    labels: LabelsOption = "auto",
    foreground: ForegroundOption = None,
    strict: StrictOption = False,
    preset: PresetOption = None,
    side: SideOption = None,
    group_pattern: GroupPatternOption = None,
    group_column: GroupColumnOption = None,
) -> Shown:
    """Say what an import of the folder would find. Needs no server; exit code 1 when nothing in it is usable."""
    if not folder.is_dir():
        raise FolderNotFound(f"{folder} is no folder.")
    reading = FolderOptions(classes, labels, foreground, strict, side_px_of(preset, side), group_pattern, group_column)
    report = report_on(here, folder, import_options(ids, reading))
    return Shown(report, report.in_words(), exit_code=0 if report.accepted else 1)


@command(app, "draw", online=False)
def draw(
    _here: Invocation,
    folder: Annotated[Path, typer.Argument(help="New folder; gets images/ and masks/.")],
    pairs: Annotated[int, typer.Option(min=1, max=100_000)] = 100,
    side: Annotated[int, typer.Option(min=16, max=1024, help="Pixels on each side.")] = 96,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    classes: Annotated[int, typer.Option(min=1, max=2, help="Kinds of lesion; two are told apart by labels.")] = 1,
) -> Shown:
    """Draw a dataset that looks like endoscopy from afar, to try segsmith without patients' pictures."""
    from PIL import Image

    from segsmith_shared.pairs.drawn import DRAWN_CLASSES, draw_class_pair, draw_pair

    if folder.exists() and any(folder.iterdir()):
        raise FolderNotEmpty(f"{folder} has files in it.", hint="Name a new folder.")
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    if classes > 1:
        (folder / CLASSES_FILE).write_text(class_list(DRAWN_CLASSES), encoding="utf-8")
    draw_one = draw_pair if classes == 1 else draw_class_pair
    for index in range(pairs):
        image, label = draw_one(seed, index, side)
        Image.fromarray(image).save(folder / "images" / f"drawn-{index:04d}.png")
        Image.fromarray(label).save(folder / "masks" / f"drawn-{index:04d}.png")
    return Shown(
        {"folder": folder, "pairs": pairs, "side_px": side, "seed": seed, "classes": classes},
        f"Drew {pairs} pairs into {folder}.",
    )


@command(app, "create")
def create(
    here: Invocation,
    name: Annotated[str, typer.Argument()],
    description: Annotated[str, typer.Option()] = "",
) -> Shown:
    """Make an empty dataset."""
    made = here.client.datasets.create(name, description)
    return Shown(made, f"Dataset {made.id}")


@command(app, "list")
def list_(here: Invocation) -> Shown:
    """All datasets, newest first."""
    found = list(here.client.datasets.list())
    rows = [(d.id, d.name, d.version_count, d.latest_version_id, moment(d.created_at)) for d in found]
    return Shown(found, table(("dataset", "name", ">versions", "latest version", "created"), rows))


@command(app, "show")
def show(here: Invocation, dataset: Annotated[UUID, typer.Argument()]) -> Shown:
    """A dataset's versions."""
    found = here.client.datasets.get(dataset)
    versions = list(here.client.datasets.versions(dataset))
    rows = [
        (v.number, v.label, v.origin, v.pair_count, ", ".join(v.class_names), v.id, moment(v.created_at))
        for v in versions
    ]
    words = table((">number", "label", "origin", ">pairs", "classes", "version", "created"), rows, title=found.name)
    return Shown(found.model_dump() | {"versions": versions}, words)


@command(app, "upload")
def upload(
    here: Invocation,
    folder: Annotated[Path, typer.Argument(help="Folder, or a zip or tar of one.")],
    dataset: Annotated[UUID | None, typer.Option(help="Id of the dataset; a new one unless given.")] = None,
    resume: Annotated[UUID | None, typer.Option(help="Id of an upload that broke off.")] = None,
    ids: IdsOption = None,
    classes: ClassesOption = None,
    labels: LabelsOption = "auto",
    foreground: ForegroundOption = None,
    strict: StrictOption = False,
    preset: PresetOption = None,
    side: SideOption = None,
    group_pattern: GroupPatternOption = None,
    group_column: GroupColumnOption = None,
    label: Annotated[str, typer.Option(help="What to call the version.")] = "",
    external: Annotated[bool, typer.Option("--external", help="Pairs somebody else synthesised.")] = False,
) -> Shown:
    """Upload a folder, import it and print what the import found."""
    reading = FolderOptions(classes, labels, foreground, strict, side_px_of(preset, side), group_pattern, group_column)
    options = import_options(ids, reading)
    archive = packed(here, folder)
    begun = here.client.uploads.get(resume) if resume else None
    if begun is None:
        dataset_id = dataset or here.client.datasets.create(folder.resolve().name).id
        begun = here.client.uploads.begin(dataset_id, archive)
        here.note(f"Upload {begun.id}: should it break off, go on with --resume {begun.id}")
    job = upload_archive(
        here,
        begun,
        archive,
        label=label,
        origin="external" if external else "real",
        options=options,
    )
    imported = import_pairs(here, job, archive)
    words = f"{imported.report.in_words()}\n\nVersion {imported.version.id} of dataset {imported.version.dataset_id}"
    return Shown({"version": imported.version, "report": imported.report}, words)


@command(app, "split")
def split(
    here: Invocation,
    version: VersionArgument,
    name: Annotated[str, typer.Option(help="What to call the split.")] = "split",
    fraction: Annotated[list[str] | None, typer.Option(help="PART=SHARE, repeated; shares add up to 1.")] = None,
    ids: Annotated[list[str] | None, typer.Option(help="PART=FILE of pair names, repeated.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> Shown:
    """Divide a version into parts; near-duplicates stay together."""
    if bool(fraction) == bool(ids):
        raise InvalidInput(
            "Give either --fraction or --ids, at least once.", hint="E.g. --fraction train=.8 --fraction test=.2"
        )
    made: Split
    if fraction:
        shares = {part: _share(share) for part, share in map(named, fraction)}
        made = here.client.versions.split(version, name, fractions=shares, seed=seed)
    else:
        lists = {part: without_comments(read_ids(Path(file))) for part, file in map(named, ids or [])}
        made = here.client.versions.split(version, name, parts=lists)
    return Shown(made, fields({"split": made.id, **made.counts}))


def side_px_of(preset: str | None, side_px: int | None) -> int | None:
    """The side of the model's pictures that `--side` or `--preset` gives. Raises the problem of an unknown preset."""
    return side_px if side_px is not None or preset is None else preset_named(preset).network.side_px


def report_on(here: Invocation, folder: Path, wanted: dict[str, Any]) -> ImportReport:
    """Check a folder with these `import_options`, reporting on stderr how far it is."""
    # picture libraries take a second to load, which only this command should cost
    from segsmith_shared.pairs.checking import CheckOptions, check_folder

    options = CheckOptions.model_validate(wanted)
    with here.progress.status("reading …") as status:
        return check_folder(folder, options, lambda done, total: status.update(f"reading {done} of {total}"))


def named(text: str) -> tuple[str, str]:
    """`NAME=VALUE` as two. Raises InvalidInput."""
    name, equals, value = text.partition("=")
    if not (equals and name and value):
        raise InvalidInput(f"{text!r} is not NAME=VALUE.")
    return name, value


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r} is no share, e.g. .2") from error
