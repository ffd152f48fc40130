"""The 512-byte header block of a tar entry: its fields, and how numbers and names are written in them.

Sources: POSIX.1-2024 pax "ustar Interchange Format"; GNU tar manual, "Basic Tar Format"; Go's archive/tar for what lenient
writers produce. Everything here raises ``ValueError`` with a detail for people; the reader adds the place.
"""

from __future__ import annotations

from functools import lru_cache

from isal.isal_zlib import adler32

from lamina.diff.entries import printable

BLOCK = 512
ZEROS = bytes(BLOCK)

#: The largest numbers that the ustar fields for ids, and for size and time, hold.
OCTAL_7 = 0o7777777
OCTAL_11 = 0o77777777777

#: The largest size, and the largest id: 2**32 - 1 means "no change" to chown(2).
MAX_SIZE = (1 << 63) - 1
MAX_ID = (1 << 32) - 2
#: What dev_t of Linux holds (makedev(3)).
MAX_MAJOR = (1 << 12) - 1
MAX_MINOR = (1 << 20) - 1
#: Seconds that time_t of utimensat(2) holds; filesystems clamp to what they can.
MIN_TIME = -(1 << 63)
MAX_TIME = (1 << 63) - 1


def padding(size: int) -> int:
    """Return how many bytes follow data of ``size`` bytes up to the next block."""
    return -size % BLOCK


def byte_sum(block: bytes) -> int:
    """Return the sum of the 512 bytes of a header.

    The low half of Adler-32 is 1 plus the sum of the bytes modulo 65521. For 256 bytes the sum stays below that, so two
    halves give it exactly, in a sixth of the time of ``sum(block)``, which would be a third of reading a header.
    """
    return (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2


def check(block: bytes) -> None:
    """Verify the checksum, computed with its own field taken as blanks."""
    field = block[148:156]
    stated = number(field, "checksum")
    found = byte_sum(block) - sum(field) + 8 * 0x20
    if stated != found:
        # Tars of the 1980s added the bytes up as signed characters.
        rest = block[:148] + block[156:]
        if stated != found - 256 * sum(byte > 127 for byte in rest):
            raise ValueError("bad header checksum")


def number(field: bytes, what: str, low: int = 0, high: int = MAX_SIZE) -> int:
    """Return the number in a field: octal digits between blanks or NULs, none of them for 0; or GNU's base-256."""
    if field[0] & 0x80:
        return _base_256(field, what, low, high)
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if digits.translate(None, b"01234567"):  # int() would take "0o17", "+7", "1_7" and more kinds of blanks
        raise ValueError(f"{what} is no octal number: {printable(field)}")
    return int(digits, 8)


@lru_cache(maxsize=256)
def ownership(fields: bytes) -> tuple[int, int, int]:
    """Return permission bits, uid and gid: the same few combinations again and again in an archive, hence the cache."""
    mode = number(fields[:8], "mode")
    uid = number(fields[8:16], "uid", high=MAX_ID)
    return mode & 0o7777, uid, number(fields[16:], "gid", high=MAX_ID)


def _base_256(field: bytes, what: str, low: int, high: int) -> int:
    if field[0] == 0x80:
        value = int.from_bytes(field[1:], "big")
    elif field[0] == 0xFF:
        value = int.from_bytes(field, "big", signed=True)
    else:
        raise ValueError(f"{what} starts with byte {field[0]:#04x}, neither octal nor base-256")
    return within(value, what, low, high)


def within(value: int, what: str, low: int, high: int) -> int:
    """Return ``value`` if it is in a range."""
    if not low <= value <= high:
        raise ValueError(f"{what} {value} is out of range")
    return value


def text(block: bytes, start: int, end: int) -> bytes:
    """Return a field up to its first NUL."""
    stop = block.find(0, start, end)
    return block[start : end if stop < 0 else stop]


def path(block: bytes) -> bytes:
    """Return the entry's name, its ustar prefix put in front."""
    name = text(block, 0, 100)
    if block[345] and (prefix := _prefix(block)):
        return prefix + b"/" + name
    return name


def device(block: bytes) -> tuple[int, int]:
    """Return the device numbers, which only POSIX and GNU have a place for."""
    if not (is_ustar(block) or is_gnu(block)):
        return 0, 0
    major = within(number(block[329:337], "device major"), "device major", 0, MAX_MAJOR)
    return major, within(number(block[337:345], "device minor"), "device minor", 0, MAX_MINOR)


def is_ustar(block: bytes) -> bool:
    """Whether the block follows POSIX."""
    return block[257:263] == b"ustar\0"


def is_gnu(block: bytes) -> bool:
    """Whether the block follows the older format of GNU tar."""
    return block[257:265] == b"ustar  \0"


def _prefix(block: bytes) -> bytes:
    if is_ustar(block):
        is_star = block[508:512] == b"tar\0"  # star keeps atime and ctime behind a shorter prefix
        return text(block, 345, 476 if is_star else 500)
    if is_gnu(block) and not (_is_number(block[345:357]) and _is_number(block[357:369])):
        # GNU keeps atime and ctime here, but Go before 1.8 wrote a prefix under GNU's magic (golang.org/issue/12594).
        prefix = text(block, 345, 500)
        return prefix if prefix.isascii() else b""
    return b""


def _is_number(field: bytes) -> bool:
    try:
        number(field, "time", MIN_TIME, MAX_TIME)
    except ValueError:
        return False
    return True


def compose(
    name: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    flag: bytes,
    link: bytes = b"",
    major: int = 0,
    minor: int = 0,
) -> bytes:
    """Return a ustar header of numbers that fit; longer names are cut, which is for a PAX header to make good."""
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, uid, gid, size, mtime)
    devices = b"%07o\0%07o\0" % (major, minor)
    front = name[:100].ljust(100, b"\0") + numbers
    back = b"".join((flag, link[:100].ljust(100, b"\0"), b"ustar\x0000", bytes(64), devices, bytes(167)))
    blanks = b" " * 8
    checksum = b"%06o\0 " % byte_sum(front + blanks + back)
    return front + checksum + back
