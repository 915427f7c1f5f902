"""Reads fields of video headers bit by bit."""

from __future__ import annotations


class Bits:
    """The most significant bit of each byte comes first."""

    def __init__(self, data: bytes) -> None:
        self._bits = f"{int.from_bytes(data):0{8 * len(data)}b}" if data else ""
        self._place = 0

    def take(self, number: int) -> int:
        """The next `number` bits; 0 for none. Raises ValueError behind the end."""
        begin, self._place = self._place, self._place + number
        if self._place > len(self._bits):
            raise ValueError("the data is too short")
        return int(self._bits[begin : self._place] or "0", 2)

    def flag(self) -> bool:
        """The next bit."""
        return self.take(1) == 1

    def unsigned(self) -> int:
        """An Exp-Golomb code (ITU-T H.264, 9.1): n zeros, a one, n bits; the value plus 1."""
        num_zeros = self._bits.index("1", self._place) - self._place
        self._place += num_zeros
        return self.take(num_zeros + 1) - 1

    def signed(self) -> int:
        """Such a code for 0, 1, -1, 2, -2 ... (9.1.1)."""
        code = self.unsigned()
        return (code + 1) // 2 if code % 2 else -code // 2

    def ones(self) -> int:
        """Number of ones before the next zero, which is passed over, too."""
        place = self._bits.index("0", self._place)
        number, self._place = place - self._place, place + 1
        return number
