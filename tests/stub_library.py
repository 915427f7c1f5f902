"""A shared library that defines functions and does nothing: x86-64 ELF, written without a compiler.

The bindings of TensorRT can be imported with it in place of the real libraries, which no registry has. Every function
returns 0.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_RETURN_ZERO = b"\x31\xc0\xc3"  # xor eax, eax; ret
_EHDR, _PHDR, _SYM, _DYN = 64, 56, 24, 16
_DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_SYMENT, _DT_SONAME = 4, 5, 6, 10, 11, 14
_PT_LOAD, _PT_DYNAMIC, _READ_WRITE, _READ_EXECUTE = 1, 2, 6, 5
_PAGE = 0x1000


def stub_library(soname: str, functions: Sequence[str]) -> bytes:
    """Bytes of a shared library called `soname` that exports `functions`."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in (soname, *functions))
    at = _EHDR + 3 * _PHDR
    code, at = at, _aligned(at + len(_RETURN_ZERO))
    symbols = [bytes(_SYM)] + [
        struct.pack("<IBBHQQ", names.index(name.encode() + b"\0"), 0x12, 0, 1, code, len(_RETURN_ZERO))
        for name in functions
    ]
    symtab, at = at, at + _SYM * len(symbols)
    # One bucket whose chain goes through all symbols: the oldest form of hash table, which every loader reads.
    chain = [*range(2, len(symbols)), 0] if functions else []
    hash_table = struct.pack(f"<{4 + len(chain)}I", 1, len(symbols), min(1, len(functions)), 0, *chain)
    hashes, at = at, _aligned(at + len(hash_table))
    strings = at
    text = _padded_join(_RETURN_ZERO, b"".join(symbols), start=code, second=symtab)
    text = _padded_join(text, hash_table, start=code, second=hashes)
    text = _padded_join(text, names, start=code, second=strings)
    end = code + len(text)
    dynamic_entries = [
        (_DT_SONAME, names.index(soname.encode())),
        (_DT_HASH, hashes),
        (_DT_STRTAB, strings),
        (_DT_SYMTAB, symtab),
        (_DT_STRSZ, len(names)),
        (_DT_SYMENT, _SYM),
        (0, 0),
    ]
    dynamic = b"".join(struct.pack("<qQ", *entry) for entry in dynamic_entries)
    place = -(-end // _PAGE) * _PAGE
    headers = (
        struct.pack("<IIQQQQQQ", _PT_LOAD, _READ_EXECUTE, 0, 0, 0, end, end, _PAGE)
        + struct.pack("<IIQQQQQQ", _PT_LOAD, _READ_WRITE, place, place, place, len(dynamic), len(dynamic), _PAGE)
        + struct.pack("<IIQQQQQQ", _PT_DYNAMIC, _READ_WRITE, place, place, place, len(dynamic), len(dynamic), 8)
    )
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, _EHDR, 0, 0, _EHDR, _PHDR, 3, 64, 0, 0)
    return (header + headers + text).ljust(place, b"\0") + dynamic


def _aligned(offset: int) -> int:
    return -(-offset // 8) * 8


def _padded_join(first: bytes, other: bytes, *, start: int, second: int) -> bytes:
    return first.ljust(second - start, b"\0") + other
