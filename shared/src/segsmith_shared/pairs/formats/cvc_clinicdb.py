"""CVC-ClinicDB as published: `Original/` and `Ground Truth/`, in TIFF, in PNG, or every frame in both."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from segsmith_shared.pairs.formats.found import FoundFile
from segsmith_shared.pairs.formats.image_and_label_folders import role_by_folder
from segsmith_shared.pairs.formats.matching import Aside, Matching, Role, RoleOf, match_by_role
from segsmith_shared.pairs.text_files import UnreadableText, decoded, read_table

_FOLDERS = {"original", "ground truth"}


class CvcClinicDb:
    """Recognised by its two folders. Of frames in PNG/ and TIF/, PNG/ is read; `metadata.csv` has sequences."""

    name = "CVC-ClinicDB"

    def match(self, files: Sequence[FoundFile]) -> Matching | None:
        if not {folder.lower() for file in files for folder in file.folders} >= _FOLDERS:
            return None
        twice = _in_folder(files, "png") and _in_folder(files, "tif")
        why = "folders Original/ and Ground Truth/" + (", of PNG/ and TIF/ only PNG/ is read" if twice else "")
        return match_by_role(self.name, why, files, _role_with(_sequences(files), skip_tiff=twice), certain=True)


def _in_folder(files: Sequence[FoundFile], name: str) -> bool:
    return any(name in (folder.lower() for folder in file.folders) for file in files)


def _role_with(sequences: Mapping[str, str], *, skip_tiff: bool) -> RoleOf:
    def role_of(file: FoundFile) -> Role | Aside | None:
        if skip_tiff and "tif" in (folder.lower() for folder in file.folders):
            return Aside("the frames of PNG/ once more")
        role = role_by_folder(file)
        return role and replace(role, sequence=sequences.get(file.stem))

    return role_of


def _sequences(files: Sequence[FoundFile]) -> dict[str, str]:
    """Frame → sequence from `metadata.csv`, where it is there and has these columns."""
    for file in files:
        if file.path.name.lower() == "metadata.csv" and file.location.stat().st_size < 2**22:
            try:
                table = read_table(decoded(file.location.read_bytes(), str(file.path)))
                frames, sequences = table.column("frame_id"), table.column("sequence_id")
            except (UnreadableText, KeyError):
                continue
            return {frame: f"sequence {sequence}" for frame, sequence in zip(frames, sequences, strict=True)}
    return {}
