"""Element types: one table of name, code in the file, bytes.

The codes 0 to 7 are those of the vendor's public DataType; the rest are what host clusters may hand each other.
"""

from __future__ import annotations

DTYPES: tuple[tuple[str, int, int], ...] = (
    ("float32", 0, 4),
    ("uint8", 1, 1),
    ("int8", 2, 1),
    ("int32", 3, 4),
    ("int64", 4, 8),
    ("bfloat16", 5, 2),
    ("float16", 6, 2),
    ("int16", 7, 2),
    ("bool", 8, 1),
    ("float64", 9, 8),
    ("uint16", 10, 2),
    ("uint32", 11, 4),
    ("uint64", 12, 8),
    ("complex64", 13, 8),
    ("complex128", 14, 16),
)
CODE: dict[str, int] = {name: code for name, code, _ in DTYPES}
NAME: dict[int, str] = {code: name for name, code, _ in DTYPES}
ITEMSIZE: dict[str, int] = {name: size for name, _, size in DTYPES}
