"""Time of one image, whatever its file: constructed slow files, and mutants of them.

Each file is read as ``ingest`` reads it, in a process of which the decoder's child is part; the
time is that of the core, of both. A file that would take longer is a reject ``too_slow``.
"""

from __future__ import annotations

import io
import json
import random
import struct
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.common import Options, Report, goal, scratch, shared_folder

SECONDS = 5.0
"""of a core, that one image may take"""
MUTANTS, MUTANTS_SMALL = 1_000, 20
SEED = 20_260_731
_CHILD = """
import json, os, resource, sys
from pathlib import Path
from pulmospark.config.ingest import IngestSettings
from pulmospark.imaging import decode_subprocess as apart
from pulmospark.imaging.decode import Rejected
from pulmospark.imaging.image import images_from_bytes

def spent():
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        use = resource.getrusage(who)
        total += use.ru_utime + use.ru_stime
    if apart._child.cache_info().currsize:  # one that goes on is not among the children yet
        fields = Path(f"/proc/{apart._child(os.getpid()).process.pid}/stat").read_text()
        ticks = fields.rsplit(")", 1)[1].split()[11:13]
        total += sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    return total

settings = IngestSettings()
print("ready", flush=True)
for line in sys.stdin:
    before = spent()
    found = images_from_bytes(Path(line.rstrip("\\n")).read_bytes(), settings)
    outcome = found.reason.value if isinstance(found, Rejected) else "read"
    detail = found.detail if isinstance(found, Rejected) else ""
    print(json.dumps([outcome, detail, spent() - before]), flush=True)
"""


class Reader:
    """A process that reads files, and says what each took."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._line()

    def read(self, path: Path) -> tuple[str, str, float]:
        """Outcome (``read`` or a reason), detail, seconds of the core.

        Raises:
            RuntimeError: the process ended.
        """
        if self._process.stdin is None:
            raise RuntimeError("the reader has no pipe")
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        outcome, detail, seconds = json.loads(self._line())
        return str(outcome), str(detail), float(seconds)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _line(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError(f"the reader ended: exit {self._process.wait()}")
        return line


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def scans_jpeg(side: int, scans: int) -> bytes:
    """A grey progressive JPEG whose last scan is repeated."""
    data = _encoded(Image.new("L", (side, side), 90), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * (scans - data.count(b"\xff\xda") + 1) + data[-2:]


def _png(side: int, bits: int, colour: int, *, interlaced: bool, extra: bytes = b"") -> bytes:
    samples = {0: 1, 2: 3, 6: 4}[colour]
    size = side * (1 + side * samples * bits // 8) * (2 if interlaced else 1)
    pack = zlib.compressobj(9)
    body = b"".join(
        pack.compress(bytes(min(1 << 24, size - at))) for at in range(0, size, 1 << 24)
    )
    head = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, int(interlaced))
    file = b"\x89PNG\r\n\x1a\n"
    for name, content in ((b"IHDR", head), (b"", extra), (b"IDAT", body + pack.flush()),
                          (b"IEND", b"")):  # fmt: skip
        crc = struct.pack(">I", zlib.crc32(name + content))
        file += content if not name else struct.pack(">I", len(content)) + name + content + crc
    return file


def _tiff_of_strips(side: int) -> bytes:
    """Strips of one row each, a few pixels wide, which all lie at the same place."""
    rows, width = side * side // 16, 16
    row = bytes(width)
    entries = [(256, 4, 1, width), (257, 4, 1, rows), (258, 3, 1, 8), (259, 3, 1, 1),
               (262, 3, 1, 1), (277, 3, 1, 1), (278, 4, 1, 1)]  # fmt: skip
    start = 8 + len(row)
    offsets, counts = np.full(rows, 8, "<u4"), np.full(rows, width, "<u4")
    behind = start + 2 + 12 * (len(entries) + 2) + 4
    entries += [(273, 4, rows, behind), (279, 4, rows, behind + 4 * rows)]
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", *entry) for entry in sorted(entries)
    )
    head = b"II*\0" + struct.pack("<I", start) + row
    return head + directory + bytes(4) + offsets.tobytes() + counts.tobytes()


def _tiff_of_pages(pages: int) -> bytes:
    """Empty directories, each of which points to the next."""
    file = bytearray(b"II*\0" + struct.pack("<I", 8))
    for page in range(pages):
        file += struct.pack("<HHHIII", 1, 256, 3, 1, 64, 8 + 18 * (page + 1))
    return bytes(file)


def _rle_bmp(side: int) -> bytes:
    body = (b"\x01\x55" * side + b"\0\0") * side
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(body), 0, 0, 256, 0)
    at = 14 + 40 + 1024
    return b"BM" + struct.pack("<IHHI", at + len(body), 0, 0, at) + head + bytes(1024) + body


def _gif_of_blocks(blocks: int) -> bytes:
    image = _encoded(Image.new("L", (64, 64), 9), "GIF")
    at = 13 + 3 * (2 << (image[10] & 7)) if image[10] & 0x80 else 13
    return image[:at] + b"\x21\xfe\x01a\x00" * blocks + image[at:]


def constructed(small: bool) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Slow files by name."""
    side, many = (600, 2_000) if small else (9_000, 3_000_000)
    text = struct.pack(">I", 1) + b"tEXta" + struct.pack(">I", zlib.crc32(b"tEXta"))
    yield "JPEG, 490 scans", lambda: scans_jpeg(side, 490)
    yield "JPEG, 22 scans", lambda: scans_jpeg(side, 22)
    yield "JPEG, 490 scans, 1 MP", lambda: scans_jpeg(1_000 if not small else 64, 490)
    yield (
        "JPEG, empty segments",
        lambda: (
            b"\xff\xd8" + b"\xff\xfe\0\x02" * many + _encoded(Image.new("L", (64, 64)), "JPEG")[2:]
        ),
    )
    yield "PNG RGBA 16", lambda: _png(side, 16, 6, interlaced=False)
    yield "PNG RGBA 16, interlaced", lambda: _png(side, 16, 6, interlaced=True)
    yield "PNG RGBA, interlaced", lambda: _png(side, 8, 6, interlaced=True)
    yield "PNG, text chunks", lambda: _png(64, 8, 0, interlaced=False, extra=text * many)
    yield "TIFF, strips of a row", lambda: _tiff_of_strips(side // 4)
    yield "TIFF, pages", lambda: _tiff_of_pages(many)
    yield (
        "TIFF, LZMA",
        lambda: _encoded(
            Image.effect_noise((side // 2, side // 2), 90), "TIFF", compression="lzma"
        ),
    )
    yield (
        "TIFF, JPEG",
        lambda: _encoded(Image.new("RGB", (side, side), 90), "TIFF", compression="jpeg"),
    )
    yield (
        "WebP, lossless noise",
        lambda: _encoded(
            Image.effect_noise((side // 3, side // 3), 90),
            "WEBP",
            lossless=True,
            quality=0,
            method=0,
        ),
    )
    yield "BMP, run lengths", lambda: _rle_bmp(side // 3)
    yield "GIF, comments", lambda: _gif_of_blocks(many)


def mutants(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Changed bytes, cuts, repeats and insertions at places drawn by chance, near the head half
    of the time."""
    drawn = random.Random(seed)
    for _ in range(count):
        file = bytearray(data)
        reach = len(file) if drawn.random() < 0.5 else min(len(file), 700)
        for _ in range(drawn.randint(1, 12)):
            file[drawn.randrange(reach)] = drawn.randrange(256)
        kind, at = drawn.randrange(8), drawn.randrange(reach)
        if kind == 0:
            del file[at : at + drawn.randint(1, 200)]
        elif kind == 1:
            file[at:at] = file[at : at + drawn.randint(1, 3_000)] * drawn.randint(1, 20)
        elif kind == 2:
            file[at:at] = drawn.randbytes(drawn.randint(1, 60))
        yield bytes(file)


def measure(options: Options) -> Report:
    """Read each file, and mutants of a JPEG of 490 scans."""
    count = MUTANTS_SMALL if options.small else MUTANTS
    case = shared_folder() / "cases" / "a02-slow-files" / "jpeg_scans_490_gray81mp.jpg"
    known = case.is_file() and not options.small
    seed_file = case.read_bytes() if known else scans_jpeg(600 if options.small else 9_000, 490)
    rows: list[list[str]] = []
    figures: list[dict[str, Any]] = []
    reader = Reader()
    try:
        with scratch(options) as folder:
            path = folder / "image"
            for name, make in constructed(options.small):
                path.write_bytes(make())
                outcome, detail, seconds = reader.read(path)
                rows.append([name, f"{path.stat().st_size / 1e6:.1f}", outcome, f"{seconds:.2f}"])
                figures.append({"case": name, "outcome": outcome, "detail": detail, "s": seconds})
            outcomes: Counter[str] = Counter()
            slowest = 0.0
            for data in (seed_file, *mutants(seed_file, count, SEED)):
                path.write_bytes(data)
                outcome, _, seconds = reader.read(path)
                outcomes[outcome] += 1
                slowest = max(slowest, seconds)
            name = f"{count} mutants of the JPEG of 490 scans"
            words = ", ".join(f"{outcome} {number}" for outcome, number in outcomes.most_common())
            rows.append([name, f"{len(seed_file) / 1e6:.1f}", words, f"{slowest:.2f}"])
            figures.append({"case": name, "outcomes": dict(outcomes), "s": slowest, "seed": SEED})
    finally:
        reader.close()
    worst = max(float(figure["s"]) for figure in figures)
    return Report(
        name="slow_files",
        title="Time of one image, whatever its file (seconds of a core)",
        head=["file", "MB", "outcome", "slowest, s"],
        rows=rows,
        notes=[goal(f"one image within {SECONDS:g} s: slowest {worst:.2f} s", worst <= SECONDS)],
        figures={"cases": figures, "slowest_s": worst},
    )
