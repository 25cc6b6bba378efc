"""PNG: damaged chunks beside the pixels, 16-bit colours, and what a file may hide in chunks."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imaging.rasters import encoded
from pulmospark.core import limits
from pulmospark.core.schemas import RejectReason as Why
from pulmospark.imaging import png
from pulmospark.imaging.decode import Decoded, Rejected, decode
from pulmospark.imaging.greyscale import on_black, window

Grey = NDArray[np.uint8]
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def grey(data: bytes) -> Grey:
    decoded = decode(data, at_least=64)
    assert isinstance(decoded, Decoded), decoded
    return decoded.grey


def reason(data: bytes) -> Why:
    refused = decode(data, at_least=64)
    assert isinstance(refused, Rejected), "decoded"
    return refused.reason


def chunk(name: bytes, content: bytes, *, damaged: bool = False) -> bytes:
    crc = zlib.crc32(name + content) ^ (1 if damaged else 0)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)


def with_chunk(data: bytes, extra: bytes, *, after_pixels: bool = False) -> bytes:
    at = data.rindex(b"IEND") - 4 if after_pixels else 33
    return data[:at] + extra + data[at:]


@pytest.mark.parametrize("name", ["r01_crc_phys", "r02_crc_text"])
def test_the_cases_of_a_damaged_ancillary_chunk(shared_cases: Path, name: str) -> None:
    folder = shared_cases / "f11-png-bad-ancillary-chunk"
    data = (folder / f"{name}.png").read_bytes()
    independent: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(grey(data), independent)
    assert abs(grey(data).mean() - 116.7) < 0.05


ANCILLARY = {
    b"pHYs": struct.pack(">IIB", 3000, 3000, 1),
    b"tEXt": b"Comment\0a text",
    b"gAMA": struct.pack(">I", 45455),
    b"tIME": bytes(7),
    b"iCCP": b"profile\0\0" + zlib.compress(bytes(200)),
    b"eXIf": b"MM\0*\0\0\0\x08\0\0",
    b"vpAg": bytes(9),
}


@pytest.mark.parametrize("after_pixels", [False, True])
@pytest.mark.parametrize("name", ANCILLARY)
def test_any_damaged_ancillary_chunk_costs_no_image(
    drawn: Grey, name: bytes, after_pixels: bool
) -> None:
    data = encoded(Image.fromarray(drawn), "PNG")
    extra = chunk(name, ANCILLARY[name], damaged=True)
    assert np.array_equal(grey(with_chunk(data, extra, after_pixels=after_pixels)), drawn)


@pytest.mark.parametrize(
    ("name", "content"),
    [(b"pHYs", b"\0"), (b"iCCP", b"profile"), (b"iTXt", b"no end"), (b"zTXt", b"k\0\0damaged"),
     (b"zTXt", b"k\0\0" + zlib.compress(bytes(3_000_000))), (b"cHRM", b"\1"), (b"tIME", b"")],
)  # fmt: skip
def test_an_ancillary_chunk_of_nonsense_costs_no_image(
    drawn: Grey, name: bytes, content: bytes
) -> None:
    data = encoded(Image.fromarray(drawn), "PNG")
    assert np.array_equal(grey(with_chunk(data, chunk(name, content))), drawn)


@pytest.mark.parametrize("bits", [8, 16])
def test_damaged_pixels_stay_refused(drawn: Grey, bits: int) -> None:
    done, packed = cv2.imencode(".png", np.dstack([drawn.astype(f"u{bits // 8}")] * 3))
    assert done
    data = bytearray(packed.tobytes())
    place = data.index(b"IDAT")
    size = int.from_bytes(data[place - 4 : place], "big")
    for at in (place + 4 + size, place + 4 + size // 2):  # its checksum, its content
        damaged = bytearray(data)
        damaged[at] ^= 0x55
        assert reason(bytes(damaged)) is Why.UNREADABLE
        beside = with_chunk(bytes(damaged), chunk(b"pHYs", bytes(9), damaged=True))
        assert reason(beside) is Why.UNREADABLE
    damaged = bytearray(data)
    damaged[29] ^= 0x55  # the header's checksum
    assert reason(bytes(damaged)) is Why.UNREADABLE


def test_a_damaged_transparency_is_passed_over_as_libpng_does(drawn: Grey) -> None:
    data = encoded(Image.fromarray(drawn), "PNG")
    level = int(drawn[0, 0])
    whole = with_chunk(data, chunk(b"tRNS", struct.pack(">H", level)))
    assert not grey(whole)[drawn == level].any()
    damaged = with_chunk(data, chunk(b"tRNS", struct.pack(">H", level), damaged=True))
    assert np.array_equal(grey(damaged), drawn)


def filtered(samples: NDArray[np.uint16]) -> bytes:
    """Rows of samples, the filter of each another one, as the specification has them."""
    raw = samples.astype(">u2").view(np.uint8).reshape(len(samples), -1).astype(int)
    step = 2 * samples.shape[2]
    left = np.pad(raw, ((0, 0), (step, 0)))[:, :-step]
    above = np.pad(raw, ((1, 0), (0, 0)))[:-1]
    corner = np.pad(above, ((0, 0), (step, 0)))[:, :-step]
    guess = left + above - corner
    distances = np.stack([abs(guess - left), abs(guess - above), abs(guess - corner)])
    nearest = distances.argmin(axis=0)  # ties: left, above, corner, in that order
    paeth = np.choose(nearest, [left, above, corner])
    predicted = [np.zeros_like(raw), left, above, (left + above) // 2, paeth]
    return b"".join(
        bytes([row % 5]) + ((raw[row] - predicted[row % 5][row]) % 256).astype(np.uint8).tobytes()
        for row in range(len(raw))
    )


ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
         (1, 0, 2, 1)]  # fmt: skip


def deep_png(samples: NDArray[np.uint16], *, interlaced: bool, extra: bytes = b"") -> bytes:
    colour = {2: 4, 3: 2, 4: 6}[samples.shape[2]]
    height, width = samples.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, int(interlaced))
    parts = (
        [samples[row::down, column::right] for row, column, down, right in ADAM7]
        if interlaced
        else [samples]
    )
    body = zlib.compress(b"".join(filtered(part) for part in parts))
    pieces = [body[at : at + 700] for at in range(0, len(body), 700)]
    return b"".join(
        [SIGNATURE, chunk(b"IHDR", head), extra, *(chunk(b"IDAT", piece) for piece in pieces),
         chunk(b"IEND", b"")]
    )  # fmt: skip


@pytest.mark.parametrize("strip_bytes", [1, 5_000, 1 << 21])
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_deep_colours_in_strips_are_what_a_whole_decoder_gives(
    monkeypatch: pytest.MonkeyPatch, channels: int, interlaced: bool, strip_bytes: int
) -> None:
    monkeypatch.setattr(png, "_STRIP_BYTES", strip_bytes)
    noise = np.random.default_rng(5).integers(0, 65536, (37, 45, channels), dtype=np.uint16)
    data = deep_png(noise, interlaced=interlaced)
    whole: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(whole[..., 2], noise[..., 0])  # OpenCV gives BGR: the file is right
    wanted = window(cv2.cvtColor(np.ascontiguousarray(whole[..., :3]), cv2.COLOR_BGR2GRAY))
    if channels != 3:
        wanted = on_black(wanted, (noise[..., -1] >> 8).astype(np.uint8))
    assert np.array_equal(grey(data), wanted)


def test_a_transparent_colour_of_16_bits_is_black() -> None:
    samples = np.full((20, 30, 3), (5000, 6000, 7000), np.uint16)
    samples[5:, :] = np.random.default_rng(1).integers(8000, 60000, (15, 30, 3))
    data = deep_png(
        samples, interlaced=False, extra=chunk(b"tRNS", struct.pack(">3H", 5000, 6000, 7000))
    )
    pixels = grey(data)
    assert not pixels[:5].any()
    assert pixels[6:].any()


def test_too_few_deep_rows_are_a_cut_file() -> None:
    samples = np.zeros((40, 30, 3), np.uint16)
    data = deep_png(samples[:39], interlaced=False)
    taller = bytearray(data)
    taller[20:24] = (40).to_bytes(4, "big")
    taller[29:33] = zlib.crc32(taller[12:29]).to_bytes(4, "big")
    assert reason(bytes(taller)) is Why.TRUNCATED
    assert reason(data[:-30]) is Why.TRUNCATED


def test_orientation_after_the_pixels_and_of_a_block_whose_fields_share_values(
    drawn: Grey,
) -> None:
    turning = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 274, 3, 1, 3, 0) + bytes(4)
    data = encoded(Image.fromarray(drawn), "PNG")
    after = with_chunk(data, chunk(b"eXIf", turning), after_pixels=True)
    assert np.array_equal(grey(after), drawn[::-1, ::-1])
    # 65,535 fields of 2 MB each, were they copied: 130 GB.
    count = 65_535
    entries = b"".join(
        struct.pack(">HHII", tag, 7, 2_000_000, 8) for tag in (*[300] * (count - 1), 274)
    )
    hostile = b"MM\0*\0\0\0\x08" + struct.pack(">H", count) + entries + bytes(2_000_000)
    assert np.array_equal(grey(with_chunk(data, chunk(b"eXIf", hostile))), drawn)


def test_the_number_of_chunks_is_bounded(drawn: Grey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PNG_CHUNKS_MAX", 50)
    data = encoded(Image.fromarray(drawn), "PNG")
    assert np.array_equal(
        grey(with_chunk(data, chunk(b"IDAT", b"") * 40, after_pixels=True)), drawn
    )
    assert reason(with_chunk(data, chunk(b"tEXt", b"a\0b") * 60)) is Why.TOO_SLOW


def test_animation_is_seen_behind_a_damaged_chunk(drawn: Grey) -> None:
    file = io.BytesIO()
    first, second = Image.fromarray(drawn), Image.fromarray(255 - drawn)
    first.save(file, "PNG", save_all=True, append_images=[second])
    damaged = with_chunk(file.getvalue(), chunk(b"pHYs", bytes(9), damaged=True))
    assert reason(damaged) is Why.ANIMATED
