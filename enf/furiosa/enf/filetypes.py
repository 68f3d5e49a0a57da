"""What a file is that somebody has by mistake in the place of a model: by its first bytes, what it is and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

HEAD = 4096  # bytes of a file that tell what it is


class _Kind(NamedTuple):
    """A kind of file: whether these are its first bytes, and what to say of it."""

    fits: Callable[[bytes], bool]
    sentence: str


def _starts(*magics: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics)


def _says(pattern: bytes) -> Callable[[bytes], bool]:
    compiled = re.compile(pattern, re.IGNORECASE | re.DOTALL)
    return lambda head: compiled.match(head) is not None


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as e:
        if e.start < len(head) - 3:  # else only the last character is cut off
            return False
        text = head[: e.start].decode("utf-8")
    return bool(text) and all(c.isprintable() or c in "\t\n\r\f" for c in text)


_SPACE = (
    rb"(?:\xef\xbb\xbf)?\s*"  # what may stand before the first tag of a page: a byte order mark, white space
)

# the first that fits says what it is
_KINDS = (
    _Kind(
        _starts(b"version https://git-lfs.github.com/spec/"),
        "it is a Git LFS pointer, not the file itself: run git lfs pull",
    ),
    _Kind(
        _says(_SPACE + rb"<(!doctype html|html|head|body)\b"),
        "it is an HTML page, as a download that failed or needs a login leaves it: download the file itself",
    ),
    _Kind(
        _says(_SPACE + rb"(<\?xml[^>]*>\s*)?<net\b"),
        "it is an OpenVINO model: export the model it came from as ONNX or TFLite",
    ),
    _Kind(
        lambda head: head.startswith(b"PK\x03\x04") and (b"/data.pkl" in head or b"/archive/" in head),
        "it is a PyTorch file: export the model with torch.onnx.export",
    ),
    _Kind(
        lambda head: head.startswith(b"PK\x03\x04") and b"config.json" in head[:200],
        "it is a Keras file: convert it with tf.lite.TFLiteConverter.from_keras_model or tf2onnx",
    ),
    _Kind(_starts(b"PK\x03\x04", b"PK\x05\x06"), "it is a ZIP archive: unpack it and name the model in it"),
    _Kind(_starts(b"\x1f\x8b"), "it is compressed by gzip: unpack it first (gunzip, tar -xzf)"),
    _Kind(_starts(b"\xfd7zXZ\0"), "it is compressed by xz: unpack it first"),
    _Kind(_starts(b"\x28\xb5\x2f\xfd"), "it is compressed by Zstandard: unpack it first"),
    _Kind(_starts(b"BZh"), "it is compressed by bzip2: unpack it first"),
    _Kind(
        _starts(b"\x89HDF\r\n\x1a\n"),
        "it is an HDF5 file, as Keras writes: convert it with tf.lite.TFLiteConverter.from_keras_model or tf2onnx",
    ),
    _Kind(
        lambda head: head[4:8] == b"ORTM",
        "it is a model in onnxruntime's own format (.ort): take the ONNX model that it was made from",
    ),
    _Kind(
        lambda head: len(head) > 9 and head[8:9] == b"{" and head[6:8] == b"\0\0",
        "it is a safetensors file, which holds weights and no graph: export the model as ONNX",
    ),
    _Kind(
        lambda head: head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        "it is a Python pickle, as PyTorch writes weights: export the model with torch.onnx.export",
    ),
    _Kind(
        _starts(b"\x08\x01\x12"),
        "it is a TensorFlow SavedModel: convert its folder with tf.lite.TFLiteConverter.from_saved_model or tf2onnx",
    ),
    _Kind(
        lambda head: head[:1] == b"\n" and (b"\x12\x0bPlaceholder" in head or b"\x12\x05Const" in head),
        "it is a frozen TensorFlow graph: convert it with tf.compat.v1.lite.TFLiteConverter.from_frozen_graph or tf2onnx",
    ),
    _Kind(_starts(b"FENF"), "it is an ENF, which is compiled already: run it with furiosa run"),
    _Kind(lambda head: head[257:262] == b"ustar", "it is a tar archive: name a file in it"),
    _Kind(_starts(b"\x93NUMPY"), "it is a NumPy array"),
    _Kind(_is_text, "it is a text file"),
)


def what_is(head: bytes) -> str | None:
    """A sentence about a file that could not be read, as far as its first ``HEAD`` bytes tell; None where they tell nothing."""
    return next((kind.sentence for kind in _KINDS if kind.fits(head[:HEAD])), None)
