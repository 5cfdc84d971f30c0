"""Calibration files: known cameras written in each format and read back, files that are wrong, clips and cameras."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import InputError
from tests.utils.camera_rig import ring, seen_by, walker
from utils.calibration import Calibration, fit_to_clip, match_cameras, read_calibration
from utils.cameras.camera import Camera
from utils.cameras.opencv_yaml import write_opencv_yaml
from utils.cameras.turned import mend_turned
from utils.triangulation import triangulate

CAMERAS = ring(3)


def assert_same(read: tuple[Camera, ...], wanted: list[Camera], *, size: bool = True) -> None:
    assert [camera.name for camera in read] == [camera.name for camera in wanted]
    for have, want in zip(read, wanted, strict=True):
        if size:
            assert have.size == want.size
        np.testing.assert_allclose(have.K, want.K, atol=1e-4)
        np.testing.assert_allclose(have.distortion, want.distortion, atol=1e-6)
        np.testing.assert_allclose(have.T_camera_world, want.T_camera_world, atol=1e-6)


# -- EasyMoCap -----------------------------------------------------------------------------------------------------


def opencv_files(folder: Path, names: list[str], keys: list[str], *, vectors: bool = True) -> None:
    """Files as OpenCV itself writes them."""
    intri = cv2.FileStorage(str(folder / "intri.yml"), cv2.FILE_STORAGE_WRITE)
    extri = cv2.FileStorage(str(folder / "extri.yml"), cv2.FILE_STORAGE_WRITE)
    for file in (intri, extri):
        file.write("names", names)
    for key, camera in zip(keys, CAMERAS, strict=True):
        intri.write(f"K_{key}", camera.K)
        intri.write(f"dist_{key}", camera.distortion[None])
        R = camera.T_camera_world[:3, :3]
        if vectors:
            extri.write(f"R_{key}", cv2.Rodrigues(R)[0])
        extri.write(f"Rot_{key}", R)
        extri.write(f"T_{key}", camera.T_camera_world[:3, 3:])
    intri.release()
    extri.release()


@pytest.mark.parametrize("vectors", [True, False])
def test_files_that_opencv_wrote_are_read(tmp_path: Path, vectors: bool) -> None:
    opencv_files(tmp_path, ["01", "02", "03"], ["01", "02", "03"], vectors=vectors)
    read = read_calibration(tmp_path / "intri.yml")
    assert [camera.name for camera in read.cameras] == ["01", "02", "03"]
    assert all(camera.size is None for camera in read.cameras)
    for have, want in zip(read.cameras, CAMERAS, strict=True):
        np.testing.assert_allclose(have.T_camera_world, want.T_camera_world, atol=1e-9)
        np.testing.assert_allclose(have.distortion, want.distortion)
    assert [camera.name for camera in read_calibration(tmp_path).cameras] == ["01", "02", "03"]


def test_keys_that_are_numbered_belong_to_the_names_in_order(tmp_path: Path) -> None:
    opencv_files(tmp_path, ["left", "middle", "right"], ["1", "2", "3"])
    read = read_calibration(tmp_path)
    assert [camera.name for camera in read.cameras] == ["left", "middle", "right"]
    np.testing.assert_allclose(read.cameras[2].K, CAMERAS[2].K)


def test_what_is_written_is_read_back_here_and_by_opencv(tmp_path: Path) -> None:
    write_opencv_yaml(tmp_path, CAMERAS)
    assert_same(read_calibration(tmp_path).cameras, CAMERAS)
    for name in ("intri.yml", "extri.yml"):
        file = cv2.FileStorage(str(tmp_path / name), cv2.FILE_STORAGE_READ)
        names = file.getNode("names")
        assert [names.at(i).string() for i in range(names.size())] == ["cam01", "cam02", "cam03"]
        if name == "intri.yml":
            np.testing.assert_allclose(file.getNode("K_cam02").mat(), CAMERAS[1].K, atol=1e-6)
            assert int(file.getNode("W_cam02").real()) == 1280
        else:
            np.testing.assert_allclose(file.getNode("Rot_cam03").mat(), CAMERAS[2].T_camera_world[:3, :3], atol=1e-9)
            np.testing.assert_allclose(file.getNode("T_cam01").mat()[:, 0], CAMERAS[0].T_camera_world[:3, 3], atol=1e-9)


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("intri.yml", "K_cam02:", "K_other:", "K_cam02 is missing"),
        ("extri.yml", "T_cam01:", "T_other:", "T_cam01 is missing"),
        ("intri.yml", "dist_cam03:", "gone_cam03:", "dist_cam03 is missing"),
        ("extri.yml", '  - "cam02"\n', "", "lacks cam02"),
        ("extri.yml", "rows: 3", "rows: 4", "R_cam01 does not hold 4 x 1"),
        ("intri.yml", "names:", "names: 3\nothers:", "names is not a list"),
        ("intri.yml", "data: [900.,", "data: [.Nan,", "not finite"),
        ("intri.yml", "data: [900.,", "data: [-900.,", "focal"),
        ("extri.yml", "---", "--- [", "not YAML"),
    ],
)
def test_wrong_entries_are_named_with_their_file(tmp_path: Path, file: str, old: str, new: str, says: str) -> None:
    write_opencv_yaml(tmp_path, CAMERAS)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as error:
        read_calibration(tmp_path)
    assert says in error.value.message and file in error.value.message
    assert error.value.hint


def test_a_missing_half_is_named(tmp_path: Path) -> None:
    write_opencv_yaml(tmp_path, CAMERAS)
    (tmp_path / "extri.yml").unlink()
    with pytest.raises(InputError, match=r"extri\.yml"):
        read_calibration(tmp_path)


# -- TOML ----------------------------------------------------------------------------------------------------------


def toml_text(scale: float = 1.0, extra: str = "") -> str:
    """As Pose2Sim writes it; Anipose's and FreeMoCap's are alike, in millimetres."""
    text = ""
    for index, camera in enumerate(CAMERAS):
        text += f'[cam_{index}]\nname = "{camera.name}"\nsize = [1280.0, 720.0]\nmatrix = {camera.K.tolist()}\n'
        text += f"distortions = {camera.distortion.tolist()}\n"
        text += f"rotation = {cv2.Rodrigues(camera.T_camera_world[:3, :3])[0].ravel().tolist()}\n"
        text += f"translation = {(scale * camera.T_camera_world[:3, 3]).tolist()}\nfisheye = false\n{extra}\n"
    return text + "[metadata]\nadjusted = false\nerror = 0.3\n"


@pytest.mark.parametrize(
    ("scale", "unit", "noted"), [(1, "auto", False), (1000, "auto", True), (100, "cm", False), (1000, "mm", False)]
)
def test_toml_is_read_in_metres(tmp_path: Path, scale: float, unit, noted: bool) -> None:
    file = tmp_path / "calib.toml"
    file.write_text(toml_text(scale))
    read = read_calibration(file, unit)
    assert_same(read.cameras, CAMERAS)
    assert bool(read.notes) == noted
    if noted:
        assert "millimetres" in read.notes[0]
    assert_same(read_calibration(tmp_path, unit).cameras, CAMERAS)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("fisheye = false", "fisheye = true", "[cam_0] fisheye"),
        ("matrix =", "matrices =", "[cam_0] matrix is missing"),
        ("size = [1280.0, 720.0]", "size = [1280.0]", "[cam_0] size"),
        ("rotation = [", 'rotation = ["x", ', "[cam_0] rotation"),
        ('name = "cam02"', 'name = "cam01"', "cam01 is there twice"),
        ("[cam_1]", "[cam_1", "not TOML"),
    ],
)
def test_wrong_toml_entries_are_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    file = tmp_path / "calib.toml"
    assert old in toml_text()
    file.write_text(toml_text().replace(old, new, 1))
    with pytest.raises(InputError) as error:
        read_calibration(file)
    assert says in error.value.message and "calib.toml" in error.value.message


# -- Qualisys ------------------------------------------------------------------------------------------------------


def qualisys_text(left: int = 0, top: int = 0) -> str:
    """The cameras as Qualisys writes them; ``left`` and ``top`` cut the picture out of a larger sensor."""
    text = "<?xml version='1.0' encoding='ASCII'?>\n<calibration><cameras>\n"
    for camera in CAMERAS:
        R, C, K, d = camera.T_camera_world[:3, :3], 1000 * camera.centre, camera.K, camera.distortion
        turned = np.diag([1, -1, -1]) @ R
        cells = " ".join(f'r{i + 1}{j + 1}="{turned[i, j]!r}"' for i in range(3) for j in range(3))
        text += f'<camera active="1" serial="{camera.name}" viewrotation="0">\n'
        text += f'<fov_video left="{left}" top="{top}" right="{left + 1279}" bottom="{top + 719}"/>\n'
        text += f'<transform {cells} x="{C[0]!r}" y="{C[1]!r}" z="{C[2]!r}"/>\n'
        text += f'<intrinsic focalLengthU="{64 * K[0, 0]}" focalLengthV="{64 * K[1, 1]}" skew="0.0" '
        text += f'centerPointU="{64 * (K[0, 2] + left + 0.5)}" centerPointV="{64 * (K[1, 2] + top + 0.5)}" '
        text += f'radialDistortion1="{d[0]}" radialDistortion2="{d[1]}" radialDistortion3="{d[4]}" '
        text += f'tangentalDistortion1="{d[2]}" tangentalDistortion2="{d[3]}"/></camera>\n'
    return (text + "</cameras></calibration>").replace("np.float64(", "").replace(')"', '"')


@pytest.mark.parametrize(("left", "top"), [(0, 0), (320, 180)])
def test_qualisys_is_read(tmp_path: Path, left: int, top: int) -> None:
    file = tmp_path / "Calib.qca.txt"
    file.write_text(qualisys_text(left, top))
    assert_same(read_calibration(file).cameras, CAMERAS)
    assert_same(read_calibration(tmp_path).cameras, CAMERAS)


def test_cameras_that_qualisys_did_not_calibrate_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "Calib.qca.txt"
    file.write_text(qualisys_text().replace('active="1" serial="cam02"', 'active="0" serial="cam02"'))
    assert [camera.name for camera in read_calibration(file).cameras] == ["cam01", "cam03"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("focalLengthU", "focal", "cam01: intrinsic focalLengthU is missing"),
        ('x="', 'x="a', "cam01: transform x"),
        ("<fov_video ", "<fov_marker ", "cam01: fov_video is missing"),
        ('serial="cam03"', "", "serial is missing"),
        ('skew="0.0"', 'skew="0.4"', "skew"),
        ("<calibration>", "<calibration", "not the XML"),
        ("<calibration>", '<!DOCTYPE a [<!ENTITY b "c">]><calibration>', "document type"),
    ],
)
def test_wrong_qualisys_entries_are_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    file = tmp_path / "Calib.qca.txt"
    assert old in qualisys_text()
    file.write_text(qualisys_text().replace(old, new, 1))
    with pytest.raises(InputError) as error:
        read_calibration(file)
    assert says in error.value.message and "Calib.qca.txt" in error.value.message


# Four white marks on the treadmill of the gymnast's footage, in pixels of each clip: the brightest spots' centres.
MARKS = {
    "cam01": [(108.8, 1060.3), (518.3, 1064.2), (317.3, 1334.9), (766.8, 1290.5)],
    "cam02": [(439.0, 1040.6), (788.6, 1084.0), (325.3, 1207.4), (757.8, 1269.0)],
    "cam03": [(873.8, 1234.1), (485.3, 1431.7), (np.nan, np.nan), (164.5, 1240.5)],
    "cam04": [(836.7, 1410.7), (385.1, 1396.4), (889.4, 1069.7), (519.4, 1117.0)],
}


def black_bars(height: int) -> np.ndarray:
    """A grey frame of 1080x1920 with black bars of ``height`` rows above and below."""
    frame = np.full((1920, 1080, 3), 120, np.uint8)
    frame[:height] = 0
    frame[1920 - height :] = 0
    return frame


def test_the_conventions_of_qualisys_hold_on_real_footage(shared: Path) -> None:
    calibration = read_calibration(shared / "footage" / "gymnast4" / "Calib.qca.txt")
    sizes = {"cam01": (1080, 1920), "cam02": (1080, 1920), "cam03": (1088, 1920), "cam04": (1088, 1920)}
    cameras = [fit_to_clip(camera, sizes[camera.name], black_bars(7))[0] for camera in calibration.cameras]
    marks = np.array([MARKS[camera.name] for camera in cameras])[:, None]
    as_read = triangulate(cameras, marks)
    assert np.nanmax(np.nanmedian(as_read.errors, axis=2)) > 5
    mended, note = mend_turned(cameras, marks, np.ones(marks.shape[:3]))
    assert note is not None and "cam01 across, cam02 down, cam03 down, cam04 down" in note
    found = triangulate(mended, marks)
    assert np.nanmax(found.errors) < 1
    # The marks lie on the treadmill, which is the ground of the calibration, and the cameras stand above it.
    assert np.abs(found.points[..., 2]).max() < 0.03
    assert all(1.5 < camera.centre[2] < 2.5 for camera in mended)


# -- folders and formats -------------------------------------------------------------------------------------------


def test_what_is_no_calibration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no calibration file"):
        read_calibration(tmp_path / "nothing.toml")
    with pytest.raises(InputError, match="holds none"):
        read_calibration(tmp_path)
    (tmp_path / "a.toml").write_text(toml_text())
    (tmp_path / "b.toml").write_text(toml_text())
    with pytest.raises(InputError, match=r"a\.toml, b\.toml"):
        read_calibration(tmp_path)
    (tmp_path / "notes.md").write_text("hello")
    with pytest.raises(InputError, match="no known calibration format"):
        read_calibration(tmp_path / "notes.md")
    (tmp_path / "c.toml").write_text("[metadata]\nadjusted = false\n")
    with pytest.raises(InputError, match="holds no camera"):
        read_calibration(tmp_path / "c.toml")
    (tmp_path / "d.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file"):
        read_calibration(tmp_path / "d.toml")


# -- clips and cameras ---------------------------------------------------------------------------------------------


def named(*names: str) -> Calibration:
    cameras = ring(len(names))
    renamed = [
        Camera(name, c.size, c.K, c.distortion, c.T_camera_world) for name, c in zip(names, cameras, strict=True)
    ]
    return Calibration(Path("calib.toml"), tuple(renamed))


@pytest.mark.parametrize(
    ("cameras", "clips", "wanted"),
    [
        (("cam01", "cam02"), ("cam02.mp4", "cam01.mp4"), ["cam02", "cam01"]),
        (("cam_1", "cam_2"), ("walk-Cam02-take3.mp4", "walk-Cam01-take3.mp4"), ["cam_2", "cam_1"]),
        (("1", "2", "10"), ("10.mp4", "1.mp4"), ["10", "1"]),
        (("cam", "cam 2"), ("cam2.mp4", "cam.mp4"), ["cam 2", "cam"]),
        (("26578", "26579"), ("Miqus_5_26579.avi",), ["26579"]),
    ],
)
def test_clips_find_their_camera_by_name(cameras: tuple[str, ...], clips: tuple[str, ...], wanted: list[str]) -> None:
    found, notes = match_cameras(named(*cameras), [Path(clip) for clip in clips])
    assert [camera.name for camera in found] == wanted
    assert notes == []


def test_clips_without_a_name_are_matched_by_order_and_that_is_said() -> None:
    found, notes = match_cameras(named("north", "south"), [Path("a.mp4"), Path("b.mp4")])
    assert [camera.name for camera in found] == ["north", "south"]
    assert "matched by order" in notes[0] and "b.mp4 is south" in notes[0]


@pytest.mark.parametrize(
    ("clips", "says"),
    [
        (("cam01.mp4", "cam05.mp4"), "no camera for the clip cam05.mp4"),
        (("a.mp4", "b.mp4", "c.mp4"), "None of the 3 clips"),
        (("x_cam01.mp4", "y_cam01.mp4"), "Two clips are of the camera cam01"),
        (("cam01_cam02.mp4",), "cam01_cam02.mp4 could be of the cameras cam01 and cam02"),
    ],
)
def test_a_clip_without_its_row_is_an_error_that_lists_the_cameras(clips: tuple[str, ...], says: str) -> None:
    with pytest.raises(InputError) as error:
        match_cameras(named("cam01", "cam02"), [Path(clip) for clip in clips])
    assert says in error.value.message
    assert "cam01, cam02" in error.value.hint


# -- sizes ---------------------------------------------------------------------------------------------------------


def test_a_clip_at_half_size_sees_the_same_place_at_half_the_pixels() -> None:
    camera = CAMERAS[0]
    half, note = fit_to_clip(camera, (640, 360))
    world = walker(np.arange(3) / 3)
    full, small = camera.project(world), half.project(world)
    # Pixel centres: the first two pixels' centres, 0 and 1, become one at 0.
    np.testing.assert_allclose(small, (full + 0.5) / 2 - 0.5, atol=1e-9)
    assert note is not None and "0.5" in note


def test_black_bars_tell_how_a_clip_was_scaled() -> None:
    camera = Camera(
        "c", (1088, 1920), np.array([[1680.0, 0, 543.5], [0, 1680, 959.5], [0, 0, 1]]), np.zeros(5), np.eye(4)
    )
    fitted, note = fit_to_clip(camera, (1080, 1920), black_bars(7))
    assert note is not None and "black bars" in note
    assert fitted.size == (1080, 1920)
    # The middle stays the middle.
    np.testing.assert_allclose(fitted.K[:2, 2], [539.5, 959.5], atol=0.01)
    assert fitted.K[0, 0] == pytest.approx(1680 * 1080 / 1088)
    for frame in (None, black_bars(0), black_bars(60), np.zeros((1920, 1080, 3), np.uint8)):
        with pytest.raises(InputError, match="calibrated at 1088x1920, the clip is 1080x1920"):
            fit_to_clip(camera, (1080, 1920), frame)


def test_a_clip_that_was_turned_is_told_from_one_that_was_cut() -> None:
    with pytest.raises(InputError, match="the pictures were turned"):
        fit_to_clip(CAMERAS[0], (720, 1280))


def test_a_clip_of_the_right_size_and_a_camera_of_unknown_size_need_nothing() -> None:
    camera = CAMERAS[0]
    fitted, note = fit_to_clip(camera, (1280, 720))
    assert note is None
    assert_same((fitted,), [camera])
    unknown = Camera("u", None, camera.K, camera.distortion, camera.T_camera_world)
    fitted, note = fit_to_clip(unknown, (640, 480))
    assert fitted.size == (640, 480) and note is None
    np.testing.assert_array_equal(fitted.K, camera.K)


def test_every_format_gives_the_same_points(tmp_path: Path) -> None:
    world = walker(np.arange(4) / 4)
    pixels = seen_by(CAMERAS, world)
    write_opencv_yaml(tmp_path, CAMERAS)
    (tmp_path / "calib.toml").write_text(toml_text(1000))
    (tmp_path / "Calib.qca.txt").write_text(qualisys_text())
    for name in ("intri.yml", "calib.toml", "Calib.qca.txt"):
        found = triangulate(read_calibration(tmp_path / name).cameras, pixels)
        np.testing.assert_allclose(found.points, world, atol=1e-5)
