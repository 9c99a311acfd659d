"""Every layout that people publish or customarily use is recognised, and says why."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from segsmith_shared.pairs.formats import FoundFile, Matching, find_files, recognise
from segsmith_shared.pairs.formats.matching import unique_names
from segsmith_shared.pairs.formats.words import common_stem, folder_role


def files(*paths: str) -> list[FoundFile]:
    return sorted(FoundFile(PurePosixPath(path), Path("/nowhere") / path) for path in paths)


def recognised(*paths: str) -> Matching:
    matching = recognise(files(*paths))
    assert matching is not None
    assert matching.why
    return matching


def pairs(matching: Matching) -> dict[str, tuple[str, str]]:
    return {c.name: (str(c.image.path), str(c.label_path)) for c in matching.candidates}


def both(folder_a: str, folder_b: str, stems: Sequence[str], ending_a: str = "png", ending_b: str = "png") -> list[str]:
    return [f"{folder_a}/{s}.{ending_a}" for s in stems] + [f"{folder_b}/{s}.{ending_b}" for s in stems]


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("images", "masks"),
        ("Images", "Masks"),
        ("image", "mask"),
        ("imgs", "labels"),
        ("train/images", "train/masks"),
        ("images/train", "masks/train"),
        ("MyData-v2/data/images", "MyData-v2/data/masks"),
        ("train_images", "train_masks"),
        ("frames", "ground_truth"),
        ("JPEGImages", "SegmentationClass"),
        ("Kvasir-SEG/images", "Kvasir-SEG/masks"),
    ],
)
def test_folders_of_images_and_labels_are_found_by_their_customary_names(images: str, labels: str) -> None:
    matching = recognised(*both(images, labels, ["a", "b"], "jpg", "png"))
    assert matching.layout == "image and label folders"
    assert pairs(matching)["a"] == (f"{images}/a.jpg", f"{labels}/a.png")
    assert len(matching.candidates) == 2


@pytest.mark.parametrize(
    "label", ["a_mask", "a_seg", "a-label", "a_segmentation", "a_gt", "A_Mask", "mask_a", "a.mask", "a_ground_truth"]
)
def test_labels_beside_their_images_are_found_by_the_word_in_their_name(label: str) -> None:
    matching = recognised("x/a.jpg", f"x/{label}.png", "x/b.jpg")
    assert matching.layout == "side by side"
    assert pairs(matching) == {"a": ("x/a.jpg", f"x/{label}.png")}
    assert [str(file.path) for file in matching.images_alone] == ["x/b.jpg"]


def test_two_folders_side_by_side_do_not_mix() -> None:
    matching = recognised("p1/a.jpg", "p1/a_mask.png", "p2/a.jpg", "p2/a_mask.png")
    assert pairs(matching) == {
        "p1/a": ("p1/a.jpg", "p1/a_mask.png"),
        "p2/a": ("p2/a.jpg", "p2/a_mask.png"),
    }


def test_kvasir_seg_is_recognised_by_its_names() -> None:
    names = ["cju0qkwl35piu0993l0dewei2", "ck2bxlujamu330725szlc2jdu"]
    matching = recognised(*both("Kvasir-SEG/images", "Kvasir-SEG/masks", names, "jpg", "jpg"), "Kvasir-SEG/boxes.json")
    assert matching.layout == "Kvasir-SEG"
    assert sorted(pairs(matching)) == sorted(names)
    assert len(matching.ignored) == 1


def test_cvc_clinicdb_is_read_once_where_it_comes_in_two_formats() -> None:
    matching = recognised(
        *both("CVC-ClinicDB/PNG/Original", "CVC-ClinicDB/PNG/Ground Truth", ["1", "2"]),
        *both("CVC-ClinicDB/TIF/Original", "CVC-ClinicDB/TIF/Ground Truth", ["1", "2"], "tif", "tif"),
    )
    assert matching.layout == "CVC-ClinicDB"
    assert "only PNG/" in matching.why
    assert pairs(matching)["2"] == ("CVC-ClinicDB/PNG/Original/2.png", "CVC-ClinicDB/PNG/Ground Truth/2.png")
    assert len(matching.candidates) == 2
    alone = recognised(*both("Original", "Ground Truth", ["1", "2"], "tif", "tif"))
    assert (alone.layout, len(alone.candidates)) == ("CVC-ClinicDB", 2)


def test_cvc_frames_of_one_sequence_are_known_from_its_table(tmp_path: Path) -> None:
    for path in both("PNG/Original", "PNG/Ground Truth", ["1", "2", "3"]):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "metadata.csv").write_text("frame_id,sequence_id,png_image_path\n1,1,x\n2,1,x\n3,2,x\n")
    matching = recognise(find_files(tmp_path).files)
    assert matching is not None
    assert [c.sequence for c in matching.candidates] == ["sequence 1", "sequence 1", "sequence 2"]


def test_polypgen_gives_its_frames_and_keeps_sequences_and_negatives_apart() -> None:
    root = "PolypGen2021_MultiCenterData_v3"
    matching = recognised(
        f"{root}/data_C1/images_C1/100H0001.jpg",
        f"{root}/data_C1/masks_C1/100H0001_mask.jpg",
        f"{root}/data_C1/bbox_image_C1/100H0001.jpg",
        f"{root}/data_C6/images_C6/EndoCV_1.jpg",
        f"{root}/data_C6/masks_C6/EndoCV_1.jpg",
        f"{root}/imagesAll_positive/C1_100H0001.jpg",
        f"{root}/sequenceData/positive/seq5/images_seq5/f1.jpg",
        f"{root}/sequenceData/positive/seq5/masks_seq5/f1_mask.jpg",
        f"{root}/sequenceData/negativeOnly/seq2_neg/n1.jpg",
    )
    assert matching.layout == "PolypGen"
    assert {c.name: c.sequence for c in matching.candidates} == {
        "100H0001": None,
        "EndoCV_1": None,
        "f1": "seq5",
        "n1": "seq2_neg",
    }
    assert {c.name: len(c.labels) for c in matching.candidates} == {"100H0001": 1, "EndoCV_1": 1, "f1": 1, "n1": 0}
    assert {what: len(found) for what, found in matching.asides.items()} == {
        "images with boxes drawn in": 1,
        "the centres' images once more": 1,
    }
    assert not matching.images_alone


def test_missing_partners_are_kept_by_side() -> None:
    matching = recognised(*both("images", "masks", ["a", "b"]), "images/only.png", "masks/lonely.png", "readme.md")
    assert [str(file.path) for file in matching.images_alone] == ["images/only.png"]
    assert [str(file.path) for file in matching.labels_alone] == ["masks/lonely.png"]
    assert [str(file.path) for file in matching.ignored] == ["readme.md"]


def test_two_images_of_one_name_are_not_guessed_between() -> None:
    matching = recognised(*both("images", "masks", ["a", "b"]), "images/a.jpg")
    assert sorted(pairs(matching)) == ["b"]
    [refused] = matching.refused
    assert (refused.code, refused.file) == ("ambiguous", "images/a.jpg")
    assert refused.what == "has the same name as images/a.png, masks/a.png"


@pytest.mark.parametrize(
    ("images", "labels", "label_of"),
    [
        ("images/{}.jpg", "masks/{}.png", "masks/{}.png"),
        ("images/{}.jpg", "masks/{}_Mask.png", "masks/{}_Mask.png"),
        ("x/{}.jpg", "x/{}_mask.png", "x/{}_mask.png"),
        ("IMG_{}.jpg", "IMG_{}_mask.png", "IMG_{}_mask.png"),
        ("s/{0}/images/{0}.png", "s/{}/masks/1.png", "s/{}/masks/1.png"),
        ("{}/images/1.jpg", "{}/masks/1.png", "{}/masks/1.png"),
    ],
)
def test_names_that_differ_in_case_alone_are_told_apart(images: str, labels: str, label_of: str) -> None:
    stems = ["aB", "ab", "Ab", "x"]
    matching = recognised(*(pattern.format(stem) for pattern in (images, labels) for stem in stems))
    assert dict(pairs(matching).values()) == {images.format(stem): label_of.format(stem) for stem in stems}
    assert not matching.refused


def test_further_labels_go_to_the_image_of_their_case_and_case_is_forgiven_where_that_is_unambiguous() -> None:
    matching = recognised(*both("images", "masks", ["ab", "aB", "C"]), "masks/aB_mask_1.png", "masks/c_mask_1.png")
    assert {c.name: [label.path.name for label in c.labels] for c in matching.candidates} == {
        "C": ["C.png", "c_mask_1.png"],
        "aB": ["aB.png", "aB_mask_1.png"],
        "ab": ["ab.png"],
    }
    loose = recognised("Images/A.jpg", "images/Train/b.jpg", "masks/a.PNG", "masks/train/B_mask.png")
    assert sorted(pairs(loose)) == ["A", "b"]


def test_pictures_without_labels_are_no_layout() -> None:
    assert recognise(files("a.jpg", "b.jpg", "notes.txt")) is None
    assert recognise([]) is None


@pytest.mark.parametrize(
    ("folder", "role"),
    [
        ("images_C1", ("image", "c1")),
        ("masks_seq12", ("label", "seq12")),
        ("Ground Truth", ("label", "")),
        ("Original", ("image", "")),
        ("Kvasir-SEG", None),
        ("imagesAll_positive", None),
        ("bbox_image_C1", None),
        ("segsmith", None),
    ],
)
def test_a_folder_has_a_role_only_when_its_name_says_so(folder: str, role: tuple[str, str] | None) -> None:
    assert folder_role(folder) == role


def test_words_inside_a_name_are_no_affixes() -> None:
    for stem in ("segment1", "maskara", "labrador_7", "target", "x_masked"):
        assert common_stem(stem) == stem
    assert common_stem("IMG_7_Mask") == common_stem("img_7") == "7"


def test_names_take_as_much_of_the_path_as_tells_them_apart() -> None:
    found = files("a/x.png", "b/x.png", "b/y.png", "c/d/z.png", "e/d/z.png", "f/z.jpg", "f/z.png")
    names = unique_names(found)
    assert [names[file] for file in found] == ["a/x", "b/x", "y", "c/d/z", "e/d/z", "f/z (1)", "f/z (2)"]


def test_names_from_any_system_become_printable_and_comparable(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "images" / "Mu\u0308ller.png").touch()  # as macOS writes it
    (tmp_path / "masks" / "M\u00fcller.png").touch()
    (Path(str(tmp_path)) / "images" / b"bad\xff\n.png".decode("utf-8", "surrogateescape")).touch()
    found = find_files(tmp_path).files
    assert all(str(file.path).isprintable() for file in found)
    matching = recognise(found)
    assert matching is not None
    assert [c.name for c in matching.candidates] == ["M\u00fcller"]


def test_litter_of_desktops_is_not_looked_at(tmp_path: Path) -> None:
    for path in ("__MACOSX/images/._a.png", ".DS_Store", "images/Thumbs.db", "images/._a.png", "images/a.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "images" / "circle").symlink_to(tmp_path)
    assert [str(file.path) for file in find_files(tmp_path).files] == ["images/a.png"]


@pytest.mark.parametrize(
    ("layout", "paths", "expected"),
    [
        (
            "ISIC",
            [
                "ISIC2018_Task1-2_Training_Input/ISIC_1.jpg",
                "ISIC2018_Task1_Training_GroundTruth/ISIC_1_segmentation.png",
                "ISIC2018_Task2_Training_GroundTruth_v3/ISIC_1_attribute_globules.png",
            ],
            {"ISIC_1": ["ISIC_1_segmentation.png"]},
        ),
        (
            "ISIC",
            [
                "ISIC-2017_Training_Data/ISIC_1.jpg",
                "ISIC-2017_Training_Data/ISIC_1_superpixels.png",
                "ISIC-2017_Training_Part1_GroundTruth/ISIC_1_segmentation.png",
            ],
            {"ISIC_1": ["ISIC_1_segmentation.png"]},
        ),
        (
            "ISIC",
            [
                "ISBI2016_ISIC_Part1_Test_Data/ISIC_7.jpg",
                "ISBI2016_ISIC_Part1_Test_GroundTruth/ISIC_7_Segmentation.png",
            ],
            {"ISIC_7": ["ISIC_7_Segmentation.png"]},
        ),
        (
            "nnU-Net",
            ["D/imagesTr/c_0_0000.png", "D/labelsTr/c_0.png", "D/imagesTs/c_1_0000.png", "D/labelsTs/c_1.png"],
            {"c_0_0000": ["c_0.png"], "c_1_0000": ["c_1.png"]},
        ),
        (
            "retinal vessels (DRIVE, HRF, CHASE)",
            [
                "training/images/21_training.tif",
                "training/1st_manual/21_manual1.gif",
                "training/mask/21_training_mask.gif",
                "test/2nd_manual/01_manual2.gif",
                "test/images/01_test.tif",
                "test/1st_manual/01_manual1.gif",
            ],
            {"21_training": ["21_manual1.gif"], "01_test": ["01_manual1.gif"]},
        ),
        (
            "retinal vessels (DRIVE, HRF, CHASE)",
            ["images/01_dr.JPG", "manual1/01_dr.tif", "mask/01_dr_mask.tif"],
            {"01_dr": ["01_dr.tif"]},
        ),
        (
            "retinal vessels (DRIVE, HRF, CHASE)",
            ["Image_01L.jpg", "Image_01L_1stHO.png", "Image_01L_2ndHO.png"],
            {"Image_01L": ["Image_01L_1stHO.png"]},
        ),
        (
            "a folder of labels for each image",
            ["s/ab/images/ab.png", "s/ab/masks/1.png", "s/ab/masks/2.png", "s/cd/images/cd.png", "s/cd/masks/3.png"],
            {"ab": ["1.png", "2.png"], "cd": ["3.png"]},
        ),
        (
            "a folder of labels for each image",
            ["images/train/a.png", "masks/train/a/1.png", "masks/train/a/2.png"],
            {"a": ["1.png", "2.png"]},
        ),
        (
            "side by side",
            ["b/b (1).png", "b/b (1)_mask.png", "b/b (2).png", "b/b (2)_mask.png", "b/b (2)_mask_1.png"],
            {"b (1)": ["b (1)_mask.png"], "b (2)": ["b (2)_mask.png", "b (2)_mask_1.png"]},
        ),
        (
            "image and label folders",
            ["images/a.png", "masks/a_mask_1.png", "masks/a_mask_2.png", "images/a_1.png", "masks/a_1_mask.png"],
            {"a": ["a_mask_1.png", "a_mask_2.png"], "a_1": ["a_1_mask.png"]},
        ),
        (
            "side by side",
            ["Seg 0.png", "Seg 0_mask.png", "mask_5.jpg", "mask_5_label.png", "gt-9.png", "gt-9_seg.png"],
            {"Seg 0": ["Seg 0_mask.png"], "mask_5": ["mask_5_label.png"], "gt-9": ["gt-9_seg.png"]},
        ),
        (
            "side by side",
            ["train_0.bmp", "train_0_anno.bmp", "testA_1.bmp", "testA_1_anno.bmp"],
            {"testA_1": ["testA_1_anno.bmp"], "train_0": ["train_0_anno.bmp"]},
        ),
        (
            "image and label folders",
            ["images/0.jpg", "masks/0.jpg.png", "images/v1.5.tif", "masks/v1.5.TIF.png", "images/v1.png"],
            {"0": ["0.jpg.png"], "v1.5": ["v1.5.TIF.png"]},
        ),
        (
            "side by side",
            ["a.jpg", "a.jpg_mask.png", "b.jpg", "b.jpg.mask.png"],
            {"a": ["a.jpg_mask.png"], "b": ["b.jpg.mask.png"]},
        ),
        (
            "image and label folders",
            both("images", "masks", ["frame_0", "image_0", "Mask 0", "photo_0"]),
            {
                "frame_0": ["frame_0.png"],
                "image_0": ["image_0.png"],
                "Mask 0": ["Mask 0.png"],
                "photo_0": ["photo_0.png"],
            },
        ),
        (
            "image and label folders",
            [
                "data/train_image_7.png",
                "labels/x.png",
                "data/train/images/scan_7.png",
                "data/train/masks/scan_mask_7.png",
            ],
            {"scan_7": ["scan_mask_7.png"]},
        ),
        (
            "image and label folders",
            ["train/c.jpg", "train_masks/c_mask.gif", "val/d.jpg", "val_masks/d_mask.gif"],
            {"c": ["c_mask.gif"], "d": ["d_mask.gif"]},
        ),
        ("image and label folders", ["train/x.png", "trainannot/x.png", "test/y.png"], {"x": ["x.png"]}),
        ("image and label folders", ["img_dir/train/a.jpg", "ann_dir/train/a.png"], {"a": ["a.png"]}),
        ("image and label folders", ["images/images/a.png", "masks/masks/a.png"], {"a": ["a.png"]}),
        ("image and label folders", ["images/images/a.png", "images/masks/a.png"], {"a": ["a.png"]}),
        ("image and label folders", ["train/images/images/a.png", "train/masks/a.png"], {"a": ["a.png"]}),
        (
            "image and label folders",
            [
                "d/JPEGImages/p.jpg",
                "d/SegmentationClass/p.npy",
                "d/SegmentationClassPNG/p.png",
                "d/SegmentationClassVisualization/p.jpg",
            ],
            {"p": ["p.png"]},
        ),
        (
            "image and label folders",
            ["V/JPEGImages/p.jpg", "V/SegmentationClass/p.png", "V/SegmentationObject/p.png"],
            {"p": ["p.png"]},
        ),
    ],
)
def test_every_image_gets_the_labels_that_its_publisher_gave_it(
    layout: str, paths: list[str], expected: dict[str, list[str]]
) -> None:
    matching = recognised(*paths)
    assert matching.layout == layout
    assert {c.name: [label.path.name for label in c.labels] for c in matching.candidates} == expected


@pytest.mark.parametrize(
    "few",
    [
        ["manual/0.png", "manual/1.png"],
        ["1st_manual/3_manual1.png"],
        ["images/0_1stHO.png"],
        both("imagesTr", "labelsTr", ["0", "1"]),
        ["ISIC_2018_Training_Input/ISIC_1.jpg", "ISIC_2018_Training_GroundTruth/ISIC_1_segmentation.png"],
    ],
)
def test_a_few_files_in_a_published_layout_do_not_hide_a_complete_set_in_another(few: list[str]) -> None:
    matching = recognised(*both("images", "masks", ["0", "1", "2", "3", "4", "5"]), *few)
    assert matching.layout == "image and label folders"
    assert pairs(matching)["0"] == ("images/0.png", "masks/0.png")
    assert len(matching.candidates) == 6


def test_fields_of_view_are_no_labels_also_where_more_images_have_them_than_have_vessels() -> None:
    drive = recognised(
        *(f"training/{part}" for part in ("images/21_training.tif", "1st_manual/21_manual1.gif")),
        "training/mask/21_training_mask.gif",
        *(f"test/images/0{n}_test.tif" for n in range(3)),
        *(f"test/mask/0{n}_test_mask.gif" for n in range(3)),
    )
    assert {c.name: c.labels[0].path.name for c in drive.candidates} == {"21_training": "21_manual1.gif"}
    own = recognised(*both("images", "manual", [str(n) for n in range(19)]), "images/19.png",
                     *(f"mask/{n}.png" for n in range(20)))  # fmt: skip
    assert (own.layout, len(own.candidates)) == ("retinal vessels (DRIVE, HRF, CHASE)", 19)


def test_masks_that_are_no_labels_are_counted_for_what_they_are() -> None:
    matching = recognised("images/1_training.tif", "1st_manual/1_manual1.gif", "mask/1_training_mask.gif")
    assert {what: [file.path.name for file in found] for what, found in matching.asides.items()} == {
        "fields of view, which are no labels": ["1_training_mask.gif"]
    }
    labelme = recognised("JPEGImages/p.jpg", "SegmentationClassPNG/p.png", "SegmentationClassVisualization/p.jpg")
    assert list(labelme.asides) == ["drawings of labels over images"]


def test_an_image_of_several_channels_is_refused_by_name_and_the_others_are_kept() -> None:
    matching = recognised(
        *both("imagesTr", "labelsTr", ["a_0000"], "png", "png")[:1], "labelsTr/a.png",
        "imagesTr/b_0000.png", "imagesTr/b_0001.png", "labelsTr/b.png",
    )  # fmt: skip
    assert sorted(pairs(matching)) == ["a_0000"]
    [refused] = matching.refused
    assert (refused.code, refused.file) == ("several-channels", "imagesTr/b_0000.png")
    assert "2 channels of one image" in refused.what
    assert not matching.labels_alone


@pytest.mark.parametrize(
    "stems",
    [
        ["img_0001", "img_0002"],
        ["case0_1000", "case1_1001"],
        ["a_0000", "a_0001", "b_0000", "b_0001"],
        ["A_0000", "a_0001"],
    ],
)
def test_four_digits_are_no_channel_where_labels_have_the_whole_name(stems: list[str]) -> None:
    matching = recognised(*both("T/imagesTr", "T/labelsTr", stems))
    assert matching.layout == "nnU-Net"
    assert pairs(matching) == {stem: (f"T/imagesTr/{stem}.png", f"T/labelsTr/{stem}.png") for stem in stems}
    assert not matching.refused


def test_an_image_without_a_label_is_no_channel_in_a_dataset_that_numbers_its_images() -> None:
    unlabelled = ["imagesTr/img_0003.png", "imagesTr/x_0001.png", "imagesTr/x_0002.png", "imagesTs/y_0001.png",
                  "imagesTs/y_0002.png"]  # fmt: skip
    matching = recognised(*both("imagesTr", "labelsTr", ["img_0001", "img_0002"]), *unlabelled)
    assert sorted(pairs(matching)) == ["img_0001", "img_0002"]
    assert [str(file.path) for file in matching.images_alone] == unlabelled
    assert not matching.refused


def test_the_same_numbered_label_in_two_formats_is_not_guessed_between() -> None:
    matching = recognise(files("a.png", "a_mask_1.png", "a_mask_1.bmp", "b.png", "b_mask.png"))
    assert matching is not None
    assert sorted(pairs(matching)) == ["b"]
    assert [finding.code for finding in matching.refused] == ["ambiguous"]
