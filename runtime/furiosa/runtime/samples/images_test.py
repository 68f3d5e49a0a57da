"""Samples out of images: every step of the preprocessing against numbers worked out by hand, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from furiosa.runtime.errors import InvalidInput
from furiosa.runtime.samples import Preprocessing, open_samples
from furiosa.runtime.samples.images import PillowMissing
from furiosa.runtime.samples.preprocessing import MAX_PIXELS
from furiosa.runtime.tensor import DataType, TensorDesc

RED_TO_BLUE = np.array([[[255, 0, 0], [0, 0, 255]], [[10, 20, 30], [40, 50, 60]]], np.uint8)  # 2x2


def _desc(*shape: int, dtype: DataType = DataType.FLOAT32) -> TensorDesc:
    return TensorDesc("x", shape, dtype)


def _tensor(pixels: np.ndarray, **declared: object) -> np.ndarray:
    return Preprocessing(**declared).apply(Image.fromarray(pixels), "it")


def test_layout_and_colours() -> None:
    nhwc = _tensor(RED_TO_BLUE, layout="NHWC")
    np.testing.assert_array_equal(nhwc, RED_TO_BLUE[None].astype(np.float32))
    np.testing.assert_array_equal(_tensor(RED_TO_BLUE), nhwc.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(_tensor(RED_TO_BLUE, layout="NHWC", colour="BGR"), nhwc[..., ::-1])
    grey = _tensor(RED_TO_BLUE, colour="GRAY")  # ITU-R 601-2: 0.299 R + 0.587 G + 0.114 B
    assert grey.shape == (1, 1, 2, 2)
    np.testing.assert_allclose(grey[0, 0], RED_TO_BLUE @ [0.299, 0.587, 0.114], atol=0.6)
    np.testing.assert_array_equal(_tensor(np.uint8([[7, 9]]))[0, :, 0], [[7, 9]] * 3)


def test_values_are_divided_and_normalised_in_float32() -> None:
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    got = _tensor(RED_TO_BLUE, layout="NHWC", divisor=255, mean=tuple(mean), std=tuple(std))
    expected = (RED_TO_BLUE.astype("f4") / np.float32(255) - np.float32(mean)) / np.float32(std)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got[0], expected)
    as_bytes = _tensor(RED_TO_BLUE, layout="NHWC", mean=128.0, dtype="int8")
    np.testing.assert_array_equal(as_bytes[0], RED_TO_BLUE.astype(int) - 128)
    halves = _tensor(np.uint8([[1, 3, 255]]), colour="GRAY", divisor=2, dtype="uint8")
    assert halves.tolist() == [[[[0, 2, 128]]]]  # 0.5, 1.5 and 127.5 to even
    saturated = _tensor(np.uint8([[0, 100, 255]]), colour="GRAY", mean=100, dtype="uint8")
    assert saturated.tolist() == [[[[0, 0, 155]]]]


def test_size_is_of_the_shorter_side_and_the_crop_of_the_middle() -> None:
    wide = np.repeat(np.arange(60, dtype=np.uint8)[None], 30, 0)  # 30x60, a ramp from left to right
    assert _tensor(wide, colour="GRAY", size=15).shape == (1, 1, 15, 30)
    assert _tensor(wide.T.copy(), colour="GRAY", size=15).shape == (1, 1, 30, 15)
    assert _tensor(wide, colour="GRAY", size=(20, 10)).shape == (1, 1, 20, 10)
    middle = _tensor(wide, colour="GRAY", crop=(2, 10))
    np.testing.assert_array_equal(middle[0, 0], [np.arange(25, 35)] * 2)
    nearest = _tensor(wide, colour="GRAY", size=(30, 20), filter="nearest")
    np.testing.assert_array_equal(nearest[0, 0, 0], np.arange(1, 60, 3))
    with pytest.raises(InvalidInput, match="it: 31x31 pixels cannot be cut out of 30x60"):
        _tensor(wide, crop=31)


def test_a_folder_of_images_with_labels(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name, value in (("b.png", 2), ("a.bmp", 1), ("sub/c d.png", 3), ("Z.PNG", 0)):
        Image.fromarray(np.full((2, 2), value, np.uint8)).save(tmp_path / name)
    (tmp_path / "labels.txt").write_text("b.png 20\n\nsub/c d.png 30\na.bmp 10\nZ.PNG 0\nother.png 5\n")
    declared = Preprocessing(colour="GRAY")
    samples = open_samples([str(tmp_path)], [_desc(1, 1, 2, 2)], preprocessing=declared, with_labels=True)
    assert [int(s.arrays[0].max()) for s in samples] == [0, 1, 2, 3]
    assert [int(s.label) for s in samples] == [0, 10, 20, 30]
    assert [s.name for s in samples.read(1, None, 2)] == [f"{tmp_path}/a.bmp", f"{tmp_path}/sub/c d.png"]
    for text, words in [
        ("b.png 20\n", "labels.txt: there is no line for Z.PNG"),
        ("b.png cat\n", "labels.txt, line 1: a name and the number of a class are expected"),
        ("b.png 1\nb.png 2\n", "line 2: b.png has two labels"),
    ]:
        (tmp_path / "labels.txt").write_text(text)
        with pytest.raises(InvalidInput, match=words):
            open_samples([str(tmp_path)], [_desc(1, 1, 2, 2)], preprocessing=declared)
    (tmp_path / "labels.txt").unlink()
    unlabelled = open_samples([str(tmp_path / "b.png")], [_desc(1, 1, 2, 2)], preprocessing=declared)
    assert next(iter(unlabelled)).label is None
    with pytest.raises(
        InvalidInput, match="no .npy or .npz file in this folder; images need a preprocessing"
    ):
        open_samples([str(tmp_path)], [_desc(1, 1, 2, 2)])
    with pytest.raises(InvalidInput, match=r"makes \(1, 1, 2, 2\), but input 'x' is \(1, 3, 4, 4\)"):
        list(open_samples([str(tmp_path)], [_desc(1, 3, 4, 4)], preprocessing=declared))
    with pytest.raises(InvalidInput, match=r"expected \(1, 1, 2, 2\) \(int8\)"):
        list(open_samples([str(tmp_path)], [_desc(1, 1, 2, 2, dtype=DataType.INT8)], preprocessing=declared))
    with pytest.raises(InvalidInput, match="images are for models of one input, and this one has 2"):
        open_samples([str(tmp_path)], [_desc(1, 1, 2, 2)] * 2, preprocessing=declared)


def test_images_that_cannot_be_used(tmp_path: Path) -> None:
    def first(path: Path) -> None:
        list(open_samples([str(path)], [_desc(1, 3, 2, 2)], preprocessing=Preprocessing()))

    Image.fromarray(RED_TO_BLUE).save(tmp_path / "a.png")
    first(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    for changed in (data[: len(data) // 2], b"", b"GIF89a" + data):
        (tmp_path / "b.png").write_bytes(changed)
        with pytest.raises(InvalidInput, match="b.png is not a whole image"):
            first(tmp_path / "b.png")
    bomb = bytearray(data)  # a header that claims more pixels than are allowed; its checksum is right
    import struct
    import zlib

    bomb[16:24] = struct.pack(">II", MAX_PIXELS, 2)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bytes(bomb[12:29])))
    (tmp_path / "b.png").write_bytes(bomb)
    with pytest.raises(InvalidInput, match="pixels"):
        first(tmp_path / "b.png")
    Image.fromarray(np.zeros((2, 2), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(InvalidInput, match="8 bits a channel is expected"):
        first(tmp_path / "deep.png")
    (tmp_path / "x.tiff").write_bytes(b"")
    with pytest.raises(InvalidInput, match="with a preprocessing, samples are images"):
        first(tmp_path / "x.tiff")


def test_declarations_that_cannot_be(tmp_path: Path) -> None:
    whole = {"size": [256, 300], "crop": 224, "layout": "NHWC", "colour": "BGR", "mean": [1, 2, 3], "std": 2}
    assert Preprocessing.read(json.dumps(whole)) == Preprocessing(
        size=(256, 300), crop=224, layout="NHWC", colour="BGR", mean=(1, 2, 3), std=2
    )
    (tmp_path / "p.json").write_text('{"crop": 8}')
    assert Preprocessing.read(str(tmp_path / "p.json")) == Preprocessing(crop=8)
    for text, words in [
        ('{"croop": 8}', "'croop' is no key of a preprocessing; known: size, crop,"),
        ('{"crop": -1}', "'crop' is -1, but must be a number of pixels"),
        ('{"size": [1, 2, 3]}', "'size' is"),
        ('{"size": true}', "'size' is True"),
        ('{"size": 100000}', "'size' is 100000"),
        ('{"colour": "YUV"}', "'colour' is 'YUV', but must be one of RGB, BGR, GRAY"),
        ('{"layout": ["NCHW"]}', "'layout' is"),
        ('{"std": 0}', "nothing can be divided by 0"),
        ('{"std": [1, 1e-60, 1]}', "nothing can be divided by 0"),
        ('{"mean": [1, 2]}', "must be a number or 3"),
        ('{"mean": NaN}', "'mean' is nan"),
        ('{"mean": "1"}', "'mean' is '1'"),
        ('{"divisor": [1, 1, 1]}', "'divisor' is"),
        ('{"crop": ', "is not JSON"),
    ]:
        with pytest.raises(InvalidInput, match=words):
            Preprocessing.read(text)
    (tmp_path / "p.json").write_text("[1]")
    with pytest.raises(InvalidInput, match="p.json: a JSON object is expected"):
        Preprocessing.read(str(tmp_path / "p.json"))


def test_without_pillow_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(RED_TO_BLUE).save(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(PillowMissing, match=r"pip install 'furiosa-rules\[images\]'"):
        open_samples([str(tmp_path / "a.png")], [_desc(1, 3, 2, 2)], preprocessing=Preprocessing())
