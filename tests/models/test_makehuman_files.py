"""MakeHuman's files: what is read from them, and what a user is told about bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from models.body.wardrobe.makehuman.mhclo import read_mhclo
from models.body.wardrobe.makehuman.mhmat import read_mhmat
from models.body.wardrobe.makehuman.mhw import read_mhw
from models.body.wardrobe.makehuman.obj import read_obj
from models.body.wardrobe.makehuman.reading import beside

GOOD = """# comment
basemesh hm08
tag Casual
obj_file shirt.obj
x_scale 5399 11998 1.3980
verts 0
material shirt.mhmat
17090 17384 17383 0.16911 0.65529 0.17560 0.02236 0.02127 -0.06878
42
1 2 3 0.5 0.25 0.25
z_depth 51
delete_verts
3 7 - 9 12-13 20
"""


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_binding_is_read_with_header_lines_before_and_after_verts(tmp_path) -> None:
    clothing = read_mhclo(write(tmp_path, "shirt.mhclo", GOOD))
    assert (clothing.name, clothing.obj_file, clothing.material) == ("shirt", "shirt.obj", "shirt.mhmat")
    assert clothing.tags == ("Casual",) and clothing.z_depth == 51
    np.testing.assert_array_equal(clothing.vertices, [[17090, 17384, 17383], [42, 42, 42], [1, 2, 3]])
    np.testing.assert_allclose(clothing.weights.sum(axis=1), 1)
    np.testing.assert_allclose(clothing.offsets, [[0.02236, 0.02127, -0.06878], [0, 0, 0], [0, 0, 0]])
    assert np.flatnonzero(clothing.hidden).tolist() == [3, 7, 8, 9, 12, 13, 20]
    assert set(clothing.scales) == {0} and clothing.scales[0].distance == 1.398


@pytest.mark.parametrize("text", [GOOD.replace("\n", "\r\n").encode(), b"\xef\xbb\xbf" + GOOD.encode()])
def test_windows_line_ends_and_byte_order_marks_are_read(tmp_path, text) -> None:
    assert len(read_mhclo(write(tmp_path, "shirt.mhclo", text)).vertices) == 3


def test_old_latin_letters_are_read(tmp_path) -> None:
    text = GOOD.replace("tag Casual", "tag Médieval").encode("latin-1")
    assert read_mhclo(write(tmp_path, "shirt.mhclo", text)).tags == ("Médieval",)


@pytest.mark.parametrize(
    ("old", "new", "line", "complaint"),
    [
        ("\n42\n", "\n42 43\n", 9, "1, 6 or 9 numbers, not 2"),
        ("\n42\n", "\n19158\n", 9, "outside 0..19157"),
        ("\n42\n", "\n4x\n", 9, "'4x' is no index"),
        ("17383 0.16911", "17383 nan", 8, "'nan' is no weight"),
        ("0.16911", "0.86911", 8, "sum to 1.7"),
        ("x_scale 5399 11998 1.3980", "x_scale 5399", 5, "x_scale needs"),
        ("1.3980", "0", 5, "distance of 0"),
        ("7 - 9", "9 - 7", 13, "backwards"),
        ("7 - 9", "7 - nine", 13, "numbers and ranges"),
        ("basemesh hm08", "12 13", 2, "before any of the words"),
        ("tag Casual", "<html> Casual", 3, "'<html>' is no word"),
    ],
)
def test_a_bad_binding_is_refused_with_file_and_line(tmp_path, old, new, line, complaint) -> None:
    path = write(tmp_path, "shirt.mhclo", GOOD.replace(old, new))
    with pytest.raises(InputError) as caught:
        read_mhclo(path)
    assert f"{path}, line {line}: " in caught.value.message
    assert complaint in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (GOOD.replace("obj_file shirt.obj", ""), "names no mesh"),
        (GOOD.split("17090")[0], "binds no vertices"),
        (GOOD.replace("hm08", "mh_old"), "base mesh 'mh_old'"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "pointer to a large file"),
        (b"PK\x03\x04\0\0", "no text file"),
    ],
)
def test_what_is_no_binding_at_all_is_named(tmp_path, text, complaint) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        read_mhclo(write(tmp_path, "shirt.mhclo", text))
    assert "shirt.mhclo" in caught.value.message


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"absent\.mhclo: there is no such file"):
        read_mhclo(tmp_path / "absent.mhclo")


def test_polygons_are_cut_into_triangles_with_their_texture_coordinates(tmp_path) -> None:
    path = write(
        tmp_path,
        "m.obj",
        "o x\nv 0 0 0\nv 1 0 0\nv 1 3 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\ng part\n"
        "f 1/1 2/2 3/3 4/4\nf -4/-4/7 -3/-3/7 -2/-2/7\n",
    )
    mesh = read_obj(path)
    assert mesh.faces.shape == (3, 3) and mesh.uv.shape == (3, 3, 2)
    # The quadrangle is cut along its shorter diagonal, from the second to the fourth corner.
    assert all({1, 3} <= set(face.tolist()) for face in mesh.faces[:2])
    area = np.abs(np.cross(mesh.uv[:2, 1] - mesh.uv[:2, 0], mesh.uv[:2, 2] - mesh.uv[:2, 0])).sum() / 2
    assert area == pytest.approx(1)
    np.testing.assert_array_equal(mesh.faces[2], [0, 1, 2])


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("v 0 0\nf 1 1 1", 1, "needs 3 numbers"),
        ("v 0 0 0\nv 1 0 0\nf 1 2", 3, "three corners or more, not 2"),
        ("v 0 0 0\nf 1 2 3", 2, "vertex 2, which is not in the file"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2", 4, "count from 1"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/9", 5, "texture coordinate 9"),
        ("v 0 0 zero\n", 1, "'zero' is no coordinate"),
        ("curv2 1 2\n", 1, "'curv2' is no statement"),
    ],
)
def test_a_bad_mesh_is_refused_with_file_and_line(tmp_path, text, line, complaint) -> None:
    path = write(tmp_path, "m.obj", text)
    with pytest.raises(InputError) as caught:
        read_obj(path)
    assert f"{path}, line {line}: " in caught.value.message and complaint in caught.value.message


def test_a_material_finds_its_pictures_whatever_the_case_and_the_slashes(tmp_path) -> None:
    (tmp_path / "Textures").mkdir()
    write(tmp_path / "Textures", "Red.PNG", b"not read here")
    write(tmp_path, "plain_normal.png", b"not read here")
    material = read_mhmat(
        write(
            tmp_path,
            "m.mhmat",
            "name Denim\ntag Jeans\n// note\ndiffuseColor 0.5 1.5 0\nshininess 0.4\ntransparent True\nbackfaceCull false\n"
            "diffuseTexture textures\\red.png\nnormalmapTexture C:\\work\\plain_normal.png\nnormalmapIntensity 0.5\n"
            "shaderConfig spec False\n",
        )
    )
    assert material.colors["diffuse"] == (0.5, 1.0, 0.0)
    assert material.flags == {"transparent": True, "backfaceCull": False}
    assert material.numbers == {"shininess": 0.4, "normalmapIntensity": 0.5}
    assert {name: path.name for name, path in material.textures.items()} == {
        "diffuse": "Red.PNG",
        "normal": "plain_normal.png",
    }
    assert material.warnings == ()


def test_missing_pictures_and_pointers_become_warnings_that_name_them(tmp_path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:f9d3\nsize 1639331\n"
    write(tmp_path, "pointer.png", pointer)
    material = read_mhmat(write(tmp_path, "m.mhmat", "diffuseTexture pointer.png\nnormalmapTexture gone.png\n"))
    assert material.textures == {}
    first, second = material.warnings
    assert "pointer.png" in first and "pointer to a large file" in first
    assert "python app.py weights pull wardrobe" in first
    assert "gone.png" in second and "m.mhmat" in second


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("diffuseColor 1 1\n", 1, "three numbers, not 2"),
        ("name x\nshininess shiny\n", 2, "'shiny' is no number"),
        ("transparent perhaps\n", 1, "True or False, not 'perhaps'"),
    ],
)
def test_a_bad_material_is_refused_with_file_and_line(tmp_path, text, line, complaint) -> None:
    path = write(tmp_path, "m.mhmat", text)
    with pytest.raises(InputError) as caught:
        read_mhmat(path)
    assert f"{path}, line {line}: " in caught.value.message and complaint in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        '{"weights": {"foot.L": [[0, 0.25], [2, 1]], "foot.R": []}}',
        "# old file\n# weights foot.L\n0 0.25\n2 1\n",
        "weights foot.L\n0 0.25\n2 1\n",
    ],
)
def test_weights_are_read_from_new_and_old_files(tmp_path, text) -> None:
    weights = read_mhw(write(tmp_path, "w.mhw", text), 3)
    assert set(weights) == {"foot.L"}
    index, weight = weights["foot.L"]
    assert index.tolist() == [0, 2] and weight.tolist() == [0.25, 1.0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{\n"weights": {\n"foot.L": [[0, 0.25]\n}', r"w\.mhw, line 4: this is not valid JSON"),
        ('{"weights": {"foot.L": [[9, 1]]}}', r"foot\.L: the garment has no vertex 9"),
        ('{"weights": {"foot.L": [3]}}', r"foot\.L are no list of pairs"),
        ('{"name": "x"}', "no table named weights"),
        ("3 0.5\n", "line 1: numbers stand before"),
        ("weights foot.L\n3 0.5 7\n", "line 2: a weight is a vertex and a number, not 3"),
        ("weights foot.L\n1 0.5\n9 0.5\n", "line 1: foot.L: the garment has no vertex 9"),
        ("# nothing\n", "names no bone"),
    ],
)
def test_bad_weights_are_refused_with_file_and_place(tmp_path, text, complaint) -> None:
    with pytest.raises(InputError, match=complaint):
        read_mhw(write(tmp_path, "w.mhw", text), 3)


def test_files_are_found_beside_whatever_the_case(tmp_path) -> None:
    write(tmp_path, "Shirt.OBJ", "x")
    assert beside(tmp_path, "shirt.obj") == tmp_path / "Shirt.OBJ"
    assert beside(tmp_path, ".\\models\\SHIRT.obj") == tmp_path / "Shirt.OBJ"
    assert beside(tmp_path, "trousers.obj") is None
    assert beside(tmp_path, "") is None


def test_every_sample_of_the_community_is_read(shared) -> None:
    files = sorted((shared / "wardrobe").rglob("*.mhclo"))
    assert len(files) >= 17
    for path in files:
        clothing = read_mhclo(path)
        mesh = read_obj(beside(path.parent, clothing.obj_file))
        assert len(mesh.points) == len(clothing.vertices), path.stem
        assert len(mesh.uv) == len(mesh.faces) > 100
        assert set(clothing.scales) == {0, 1, 2}
        material = read_mhmat(beside(path.parent, clothing.material))
        # Their pictures are large files, which the samples leave out.
        assert material.warnings and not material.textures
        if clothing.weights_file:
            assert read_mhw(beside(path.parent, clothing.weights_file), len(clothing.vertices))
