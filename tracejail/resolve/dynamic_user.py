"""The user id that systemd tries first for a DynamicUser=: a hash of the name, in a range that is kept for such users."""

from __future__ import annotations

FIRST, LAST = 61184, 65519
_KEY = bytes.fromhex("37537e31cfce48f58abb39578dd9ec59")
_MASK = (1 << 64) - 1


def dynamic_id(name: str) -> int:
    """The id for a user of this name."""
    return FIRST + (siphash24(name.encode("utf-8", "surrogateescape"), _KEY) & 0xFFFFFFFF) % (LAST - FIRST + 1)


def siphash24(data: bytes, key: bytes) -> int:
    """SipHash-2-4 of Aumasson and Bernstein, 64 bits."""
    first, second = (int.from_bytes(half, "little") for half in (key[:8], key[8:]))
    state = (
        first ^ 0x736F6D6570736575, second ^ 0x646F72616E646F6D, first ^ 0x6C7967656E657261, second ^ 0x7465646279746573,
    )
    padded = data + bytes(7 - len(data) % 8) + bytes((len(data) & 0xFF,))
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start : start + 8], "little")
        a, b, c, d = state
        a, b, c, d = _round(*_round(a, b, c, d ^ word))
        state = a ^ word, b, c, d
    a, b, c, d = state
    c ^= 0xFF
    for _ in range(4):
        a, b, c, d = _round(a, b, c, d)
    return a ^ b ^ c ^ d


def _round(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    a = a + b & _MASK
    b = _turn(b, 13) ^ a
    c = c + d & _MASK
    d = _turn(d, 16) ^ c
    a = _turn(a, 32) + d & _MASK
    d = _turn(d, 21) ^ a
    c = c + b & _MASK
    b = _turn(b, 17) ^ c
    return a, b, _turn(c, 32), d


def _turn(word: int, bits: int) -> int:
    return (word << bits | word >> 64 - bits) & _MASK
