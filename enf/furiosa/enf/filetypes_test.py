"""Files that people have in the place of a model, as their own writers make them."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile

import numpy as np
import pytest

from furiosa.enf.filetypes import what_is


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, b"\x00" * 10)
    return out.getvalue()


def tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return out.getvalue()


def saved() -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros(3))
    return out.getvalue()


def safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"\0\0\0\0"


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (LFS, "a Git LFS pointer, not the file itself: run git lfs pull"),
        (b"<!DOCTYPE html>\n<html><head>", "an HTML page"),
        (b"\xef\xbb\xbf \r\n<HTML>", "an HTML page"),
        (b'<?xml version="1.0"?>\n<net name="m" version="11">', "an OpenVINO model"),
        (zipped("m/data.pkl", "m/data/0"), "torch.onnx.export"),
        (pickle.dumps({"w": 1}, protocol=2), "torch.onnx.export"),
        (zipped("metadata.json", "config.json", "model.weights.h5"), "a Keras file"),
        (zipped("config.json", "model.weights.h5"), "a Keras file"),
        (zipped("a.onnx"), "a ZIP archive: unpack it"),
        (gzip.compress(b"x" * 99), "compressed by gzip"),
        (bz2.compress(b"x" * 99), "compressed by bzip2"),
        (lzma.compress(b"x" * 99), "compressed by xz"),
        (b"\x28\xb5\x2f\xfd" + b"\x20" * 9, "compressed by Zstandard"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file"),
        (b"\x18\0\0\0ORTM" + bytes(40), "onnxruntime's own format"),
        (safetensors(), "a safetensors file"),
        (b"\x08\x01\x12\x80\x01" + bytes(9), "a TensorFlow SavedModel"),
        (b"\n\x10\n\x01x\x12\x0bPlaceholder", "a frozen TensorFlow graph"),
        (b"FENF\r\n\x1a\n" + bytes(40), "an ENF"),
        (tarred(), "a tar archive"),
        (saved(), "a NumPy array"),
        (b"#!/bin/sh\necho no model\n", "a text file"),
        ("größe\n".encode() * 1000, "a text file"),
    ],
)
def test_what_it_is(data: bytes, words: str) -> None:
    sentence = what_is(data)
    assert sentence is not None and sentence.startswith("it is ") and words in sentence


@pytest.mark.parametrize("data", [b"", bytes(100), b"\xff" * 100, bytes(range(256)), b"ab\0c"])
def test_nothing_is_said_of_what_is_not_known(data: bytes) -> None:
    assert what_is(data) is None
