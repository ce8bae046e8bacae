"""Audio that carries its own position, so that what arrived can be counted instead of guessed.

The least significant bit of every s16le sample (half a step of the quantiser: inaudible) is one bit of a block of 64
samples, 4 ms at 16 kHz: a word to find the block by, the block's number, a check. The block with number n begins at
position ``64 * n``. Resampling and lossy coding destroy stamps.

Exactness: a stretch of audio that contains one whole block is known to the sample, its ends included, since the bits on
either side of the block must be those of its neighbours. Where a stretch is followed by another one, bits may fit both by
chance, and the seam is found a few samples beside the true one; how much is there, lost or repeated does not change by
that. Seams on the bounds of blocks that are also the ends of what was fed (frames of 20 ms have such) are exact. A stretch
between two cuts without a whole block, hence shorter than 127 samples, is known only where it continues a neighbour.
"""

from __future__ import annotations

from functools import lru_cache

from unbroken.testing.intervals import Range, append

__all__ = ["BLOCK", "StampReader", "pattern", "stamp"]

BLOCK = 64
"""Samples per block."""

_WORD = 0b1110010110101000
_NUMBER_BITS = 28
_CHECK_BITS = 20
_LAST = (1 << _NUMBER_BITS) - 1
_MASK = 0x6A09E66  # so that no block is all zeros, which silence is
_ODD = 0x9E3779B
_INVERSE = pow(_ODD, -1, 1 << _NUMBER_BITS)
_SYNC = f"{_WORD:016b}".encode()
_BITS = bytes(ord("0") + (value & 1) for value in range(256))
_REST = BLOCK - 1
_KEPT = 2 * _REST  # a block may have begun with the last 63 samples, and explain the 63 before it


def _scramble(number: int, factor: int) -> int:
    """Spreads a number over its bits, so that neighbours differ everywhere; the inverse factor leads back."""
    number ^= number >> (_NUMBER_BITS // 2)
    number = (number * factor) & _LAST
    return number ^ (number >> (_NUMBER_BITS // 2))


def _number(block: bytes) -> int:
    """Returns the number that a block's bits hold, whether or not they are a block's."""
    return _scramble(int(block[len(_SYNC) : len(_SYNC) + _NUMBER_BITS], 2), _INVERSE) ^ _MASK


def _check(number: int) -> int:
    """Mixes a number into 20 bits (the finaliser of MurmurHash3), so that neighbours differ in about half of them."""
    number = ((number ^ 0xBB67AE85 ^ (number >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    number = ((number ^ (number >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return (number ^ (number >> 16)) >> (32 - _CHECK_BITS)


@lru_cache(maxsize=4096)
def _block(number: int) -> bytes:
    """Returns a block's bits as ASCII digits."""
    return _SYNC + f"{_scramble(number ^ _MASK, _ODD):0{_NUMBER_BITS}b}{_check(number):0{_CHECK_BITS}b}".encode()


def pattern(start: int, length: int) -> bytes:
    """Returns the bits that belong to ``[start, start + length)``, one ASCII digit per sample."""
    first, offset = divmod(start, BLOCK)
    bits = b"".join([_block(n & _LAST) for n in range(first, (start + length - 1) // BLOCK + 1)])
    return bits[offset : offset + length]


def stamp(pcm: bytes, *, position: int = 0) -> bytes:
    """Writes positions into audio.

    Args:
        pcm: s16le mono PCM.
        position: of its first sample, from 0.

    Returns:
        The same audio with its least significant bits replaced.

    Raises:
        ValueError: half a sample, or a negative position.
    """
    if len(pcm) % 2 or position < 0:
        raise ValueError("whole samples of s16le PCM and a position from 0 are needed")
    samples = len(pcm) // 2
    low = int.from_bytes(pcm[::2], "big") & int.from_bytes(b"\xfe" * samples, "big")
    low |= int.from_bytes(pattern(position, samples), "big") & int.from_bytes(b"\x01" * samples, "big")
    stamped = bytearray(pcm)
    stamped[::2] = low.to_bytes(samples, "big")
    return bytes(stamped)


class StampReader:
    """Reads the positions of audio that arrives piece by piece, in order of arrival.

    Attributes:
        unstamped: samples so far that belong to no position.
    """

    def __init__(self) -> None:
        self.unstamped = 0
        self._held = b""  # bits that belong to no position yet
        self._tail = b""  # up to 63 bits before them, which a block may have begun with
        self._seams: list[int] = []  # where in the held bits a piece began
        self._next: int | None = None  # the position that would follow what was read last

    def feed(self, pcm: bytes) -> list[Range]:
        """Reads the next piece.

        Args:
            pcm: s16le mono PCM, any number of samples. Pieces of 64 samples and more that continue the one before are
                known at once; smaller ones may wait for the next (see `settle`).

        Returns:
            The ranges of positions that it brought to light, half-open, in order of arrival.
        """
        bits = pcm[::2].translate(_BITS)
        if self._next is not None and not self._held and len(bits) >= BLOCK and bits == pattern(self._next, len(bits)):
            start, self._next = self._next, self._next + len(bits)
            self._tail = bits[-_REST:]
            return [(start, self._next)]
        self._seams.append(len(self._held))
        self._held += bits
        return self._read()

    def settle(self) -> list[Range]:
        """Ends a stretch: attributes what is held as far as it continues what was read last. The next piece may jump."""
        found: list[Range] = []
        self._continue(found)
        self._drop(len(self._held))
        self._next = None
        return found

    def _read(self) -> list[Range]:
        found: list[Range] = []
        while (at := self._find()) is not None:
            at -= len(self._tail)
            start = _number((self._tail + self._held)[at + len(self._tail) :]) * BLOCK
            if at < 0:  # the block's first bits went to what came before, which they fitted as well
                start, at = start - at, 0
            start = self._bridge(at, start, found)
            length = self._run(start)
            append(found, [(start, start + length)])
            self._take(length)
            self._next = start + length
        if self._next is not None and len(self._held) >= BLOCK:
            if self._held == pattern(self._next, len(self._held)):
                self._continue(found)
            elif len(self._held) > _KEPT:
                # A stretch ended without another beginning: what continues it is at the front, if anything is.
                self._continue(found)
                self._next = None
        if len(self._held) > _KEPT:
            self._drop(len(self._held) - _KEPT)
        return found

    def _find(self) -> int | None:
        """Returns where in the tail and the held bits together the first whole block begins."""
        bits, at = self._tail + self._held, -1
        while (at := bits.find(_SYNC, at + 1, len(bits) - BLOCK + len(_SYNC))) >= 0:
            if bits[at : at + BLOCK] == _block(_number(bits[at : at + BLOCK])):
                return at
        return None

    def _run(self, start: int) -> int:
        """Returns for how many bits the held ones go on from a position, up to the end of a block."""
        whole = (start + len(self._held)) // BLOCK * BLOCK - start
        if self._held[:whole] == pattern(start, whole):
            return whole
        return (start + _common(self._held[:whole], pattern(start, whole))) // BLOCK * BLOCK - start

    def _bridge(self, gap: int, start: int, found: list[Range]) -> int:
        """Attributes the bits before a block: those at the front to what was read last, those at the back to the block.

        Args:
            gap: how many bits there are before the block.
            start: the block's position.
            found: takes the ranges.

        Returns:
            The position from which the held bits go on: the block's, or later where its first bits fit what was read last.
        """
        forth = _common(self._held, pattern(self._next, gap + BLOCK)) if self._next is not None else 0
        reach = min(gap, start)
        back = _common(self._held[:gap][::-1], pattern(start - reach, reach)[::-1])
        if self._next == start - gap and forth >= gap:
            forth, back = gap, 0
        elif forth + back > gap:
            forth = next((seam for seam in self._seams if gap - back <= seam <= forth), max(gap - back, 0))
            back = max(gap - forth, 0)
        if self._next is not None:
            append(found, [(self._next, self._next + forth)])
        start += max(forth - gap, 0)
        append(found, [(start - back, start)])
        self.unstamped += max(gap - forth - back, 0)
        self._take(max(gap, forth))
        return start

    def _continue(self, found: list[Range]) -> None:
        """Attributes held bits from the front as far as they continue what was read last."""
        if self._next is not None:
            length = _common(self._held, pattern(self._next, len(self._held)))
            append(found, [(self._next, self._next + length)])
            self._next += length
            self._take(length)

    def _take(self, length: int) -> None:
        self._tail = (self._tail + self._held[:length])[-_REST:]
        self._held = self._held[length:]
        self._seams = [at - length for at in self._seams if at >= length]

    def _drop(self, length: int) -> None:
        self.unstamped += length
        self._take(length)
        self._tail = b""


def _common(one: bytes, other: bytes) -> int:
    """Returns the length of the common beginning."""
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    different = int.from_bytes(one[:length], "big") ^ int.from_bytes(other[:length], "big")
    return length - (different.bit_length() + 7) // 8
