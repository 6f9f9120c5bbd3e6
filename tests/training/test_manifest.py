"""Manifests: what each key means, and one clear error for each fault."""

import os
from dataclasses import fields
from pathlib import Path

import pytest

from xsr.core.errors import ParameterError
from xsr.training.manifest import Mask, Reference, Scene, read_manifest

SCENE = '[[scene]]\nplace = "valley"\npath = "valley.tif"\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "valley.tif").touch()
    return tmp_path


def manifest(folder, text, **options):
    (folder / "scenes.toml").write_text(text)
    return read_manifest(folder / "scenes.toml", **options)


def test_a_place_and_a_path_are_enough(folder):
    found = manifest(folder, SCENE)
    assert found.scenes == (Scene(place="valley", path=("valley.tif",)),)
    (scene,) = found.select("image")
    assert found.paths(scene, "valley") == (str(folder / "valley.tif"),)
    assert scene.split == "train"
    assert scene.gsd_m == 10


def test_keys_that_all_scenes_share_yield_to_their_own(folder):
    found = manifest(folder, f"[default]\nscale = 1e-4\nweight = 2\n{SCENE}{SCENE}scale = 1e-3\n")
    assert [(one.scale, one.weight) for one in found.scenes] == [(1e-4, 2), (1e-3, 2)]


def test_a_scale_of_its_own_replaces_a_shared_unit_and_the_other_way_round(folder):
    found = manifest(folder, f'[default]\nunits = "dn10000"\n{SCENE}{SCENE}scale = 1e-3\n').scenes
    assert [(one.units, one.scale) for one in found] == [("dn10000", None), (None, 1e-3)]
    text = f'[default]\nscale = 1e-3\noffset = 1\n{SCENE}units = "percent"\ncoarse = {{path = "2.tif", scale = 1}}\n'
    (scene,) = manifest(folder, text).scenes
    assert (scene.units, scene.scale, scene.offset) == ("percent", None, 0)
    assert (scene.coarse.units, scene.coarse.scale) == (None, 1)


def test_a_file_as_an_editor_of_windows_writes_it_is_read(folder):
    (folder / "scenes.toml").write_bytes(b"\xef\xbb\xbf" + SCENE.replace("\n", "\r\n").encode())
    assert read_manifest(folder / "scenes.toml").scenes[0].path == ("valley.tif",)


def test_a_table_is_repeated_for_each_word(folder):
    text = '[[scene]]\neach = ["a", "b"]\nplace = "{}"\npath = ["{}/1.tif", "{}/2.tif"]\nmask = {path = "{}/scl.tif"}\n'
    found = manifest(folder, text).scenes
    assert [(one.place, one.path, one.mask.path) for one in found] == [
        (word, (f"{word}/1.tif", f"{word}/2.tif"), (f"{word}/scl.tif",)) for word in "ab"
    ]


def test_coarse_bands_take_over_what_they_do_not_give(folder):
    text = f'{SCENE}scale = 1e-4\noffset = -0.1\ncoarse = {{path = "20m.tif", offset = 0}}\n'
    coarse = manifest(folder, text).scenes[0].coarse
    assert (coarse.path, coarse.scale, coarse.offset) == (("20m.tif",), 1e-4, 0)


def test_a_pattern_stands_for_the_files_it_matches_in_the_order_of_their_names(folder):
    for name in ("c.npy", "a.npy", "b.npy"):
        (folder / name).touch()
    found = manifest(folder, SCENE.replace("valley.tif", "*.npy"))
    names = ["a.npy", "b.npy", "c.npy"]
    assert [Path(path).name for path in found.paths(found.scenes[0], "valley")] == names
    whole = manifest(folder, SCENE.replace("valley.tif", f"{folder}/*.npy"))
    assert [Path(path).name for path in whole.paths(whole.scenes[0], "valley")] == names


def test_root_may_name_a_variable_of_the_environment_and_can_be_replaced(folder, monkeypatch):
    images = folder / "images"
    images.mkdir()
    monkeypatch.setenv("MY_IMAGES", str(images))
    assert manifest(folder, f'root = "$MY_IMAGES"\n{SCENE}').root == images
    assert manifest(folder, f'root = "$MY_IMAGES"\n{SCENE}', root=folder).root == folder
    monkeypatch.delenv("MY_IMAGES")
    with pytest.raises(ParameterError, match=r"root = '\$MY_IMAGES' names a variable that is not set"):
        manifest(folder, f'root = "$MY_IMAGES"\n{SCENE}')


def test_its_identity_is_that_of_its_scenes_wherever_they_lie(folder):
    first = manifest(folder, SCENE).identity
    assert manifest(folder, f"# a comment\n{SCENE}", root=folder.parent).identity == first
    assert manifest(folder, f"{SCENE}scale = 1e-3\n").identity != first


def test_what_a_scene_is_for_follows_from_what_it_holds(folder):
    text = (
        SCENE + SCENE + 'bands = ["lst"]\n' + SCENE + 'reference = {path = "valley.tif"}\n' + SCENE + 'uses = ["image"]'
    )
    roles = [one.roles for one in manifest(folder, text).scenes]
    assert roles == [("image", "series"), ("thermal",), ("reference",), ("image",)]


def test_scenes_of_other_splits_and_those_that_a_recipe_leaves_out_are_not_selected(folder):
    other = SCENE.replace('"valley"', '"hill"').replace("valley.tif", "hill.tif")
    (folder / "hill.tif").touch()
    found = manifest(folder, f'{SCENE}not_for = ["liif_s2"]\n{other}split = "test"\n')
    names = {
        (split, recipe): [one.place for one in found.select("image", split=(split,), recipe=recipe)]
        for split in ("train", "test")
        for recipe in ("liif_s2", "mine")
    }
    assert names == {
        ("train", "liif_s2"): [],
        ("train", "mine"): ["valley"],
        ("test", "liif_s2"): ["hill"],
        ("test", "mine"): ["hill"],
    }


FAULTS = {
    "sceen = 1": r"key 'sceen' is not known \(did you mean 'scene'\?\)",
    "root = 1\n" + SCENE: r"root .*1 is not a folder",
    "default = 1\n" + SCENE: "default = 1; expected a table",
    "scene = []": r"has no scenes; expected a table \[\[scene\]\] for each",
    "[[scene]]\nplace = 'valley'": r"scene 1 \(valley\) lacks path; expected at least a place and a path",
    "[[scene]]\npath = 'valley.tif'": "scene 1 lacks place",
    f"{SCENE}ofset = 1": r"scene 1 \(valley\): key 'ofset' is not known \(did you mean 'offset'\?\)",
    f"{SCENE}scale = 'a'": "scale = 'a'; expected a number above 0",
    f"{SCENE}scale = -1": "scale = -1; expected a number above 0",
    f"{SCENE}units = 'dn1000'": r"units = 'dn1000'; expected one of .*dn10000.*did you mean",
    f"{SCENE}units = 'dn10000'\nscale = 1e-4": "gives both units and a scale or offset",
    f"{SCENE}split = 'trial'": r"split = 'trial'; expected one of train, validation, test",
    f"{SCENE}bands = ['B02', 'B02']": r"bands = \['B02', 'B02'\]; expected a list of different names",
    f"{SCENE}bands = {{B02 = 1.5}}": "expected a list of different names, or a table",
    f"{SCENE}frames = [-1]": r"frames = \[-1\]; expected a whole number, 0 or more",
    f"{SCENE}begins = [0, 2]": r"begins = \[0, 2\]; expected two numbers, each 0 or 1",
    f"{SCENE}average = 0": "average = 0; expected a whole number, 1 or more",
    f"{SCENE}clear = 2": "clear = 2; expected a share from 0 to 1",
    f"{SCENE}align = 1": "align = 1; expected true or false",
    f"{SCENE}native_m = 10": "native_m = 10; expected a table from names of bands to metres",
    f"{SCENE}planck = [1]": r"planck = \[1\]; expected two numbers, K1 and K2",
    f"{SCENE}planck = [1, 2]": r"planck makes temperatures; expected bands = \['lst'\]",
    f"{SCENE}times = ['June']": "expected a list of dates such as 2024-06-15",
    f"{SCENE}times = ['2024-06-15']\nframes = [0]": "times and frames are both given",
    f"{SCENE}dims = ['t', 'y']": r"dims = \['t', 'y'\]; expected one of time, band, y, x",
    f"{SCENE}coarse = 1": "coarse is 1; expected a table of keys",
    f"{SCENE}mask = {{path = 'a', scale = 1}}": r"valley\), mask: key 'scale' is not known",
    f"{SCENE}mask = {{grow = 1}}": r"valley\), mask lacks path",
    f"{SCENE}{SCENE}split = 'test'": "place 'valley' is in the splits train and test; expected one",
    SCENE + SCENE.replace("'valley'", "b").replace('"valley"', '"hill"') + "split = 'test'": (
        "file valley.tif of scene 'hill' is in the splits train and test"
    ),
    "a = ": "is not TOML: ",
}


@pytest.mark.parametrize("text", FAULTS)
def test_each_fault_is_one_clear_error(folder, text):
    with pytest.raises(ParameterError, match=FAULTS[text]):
        manifest(folder, text)


def test_a_missing_file_is_named_before_anything_is_read(folder):
    found = manifest(folder, SCENE.replace("valley.tif", "vally.tif"))
    with pytest.raises(ParameterError, match=r"scene 'valley': .*vally\.tif is missing; expected an image"):
        found.select("image")
    with pytest.raises(ParameterError, match=r"none\.toml cannot be read"):
        read_manifest(folder / "none.toml")


def test_the_page_for_users_describes_every_key():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "train-on-your-own-images.md").read_text(encoding="utf-8")
    keys = {one.name for kind in (Scene, Mask, Reference) for one in fields(kind)} | {"root", "each"}
    assert not {key for key in keys if f"`{key}`" not in page}


FOLDERS = ("s2_l1c_dsen2", "s2_ts_belgium", "worldstrat_s2_spot", "worldstrat_temporal_8bit", "thermal_l8_mendoza")
"""Some folders of the data set that the benchmarks use."""


def test_the_package_names_no_folder_of_any_data_set():
    root = Path(__file__).parents[2]
    data = os.environ.get("XSR_DATA")
    names = {*FOLDERS, *(one.name for one in Path(data).iterdir() if one.is_dir())} if data else set(FOLDERS)
    files = [path for path in (root / "xsr").rglob("*") if path.suffix in (".py", ".json", ".toml", ".md")]
    assert len(files) > 100
    found = {(path.name, name) for path in files for name in names if name in path.read_text(encoding="utf-8")}
    assert not found
    assert all(any(name in path.read_text() for path in (root / "benchmarks").glob("*.toml")) for name in FOLDERS)
