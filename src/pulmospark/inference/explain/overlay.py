"""The picture of a heat map: the image, coloured where it is hot, over a colour bar and words."""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from pulmospark.core import limits
from pulmospark.core.arrays import Pixels, Singles

_COLOURS = cv2.COLORMAP_INFERNO
"""perceptually uniform, and safe for colour-blind readers"""
_OPACITY = 0.65
"""of the hottest colour; cold parts show the image as it is"""
_BAR_GREY = 96
_TEXT_SHARE = 1 / 26
"""height of a line of text relative to the picture's width"""
_TEXT_MIN, _TEXT_MAX = 12, 26
_WORDS = "Not a medical device."
_PHANTOM = "Phantom. "


def draw_overlay(
    image: Pixels,
    heat_at: Callable[[tuple[int, int]], Singles],
    title: str,
    *,
    phantom: bool = False,
) -> bytes:
    """Draw a heat map on its image.

    Args:
        image: (h, w) uint8 grey.
        heat_at: the map, 0 to 1, with the rows and columns it is called with.
        title: the class and the method.
        phantom: the image is a phantom, which the picture then says.

    Returns:
        A PNG file, which also has the words as text.
    """
    grey = _scaled(image)
    picture = _coloured(grey, heat_at((grey.shape[0], grey.shape[1])))
    words = f"{_PHANTOM if phantom else ''}{_WORDS}"
    text = PngImagePlugin.PngInfo()
    text.add_itxt("Title", title)
    text.add_itxt("Disclaimer", words)
    content = io.BytesIO()
    whole = _with_legend(picture, title, words)
    whole.save(content, "PNG", pnginfo=text, compress_level=1)
    return content.getvalue()


def _scaled(image: Pixels) -> Pixels:
    """The image with its longer side within the limits."""
    longest = max(image.shape)
    side = min(max(longest, limits.HEAT_MAP_PICTURE_SIDE_MIN), limits.HEAT_MAP_PICTURE_SIDE_MAX)
    if side == longest:
        return image
    size = tuple(max(1, round(length * side / longest)) for length in image.shape[::-1])
    how = cv2.INTER_AREA if side < longest else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)


def _coloured(grey: Pixels, heat: Singles) -> Pixels:
    """(h, w, 3) RGB: the image, with the colour of the heat the more opaque the hotter it is."""
    levels = np.rint(heat * 255).astype(np.uint8)
    colours = cv2.applyColorMap(levels, _COLOURS)
    opacity = (heat * _OPACITY).astype(np.float32)
    base = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    mixed = cv2.blendLinear(base, colours, 1 - opacity, opacity)
    return np.ascontiguousarray(mixed[..., ::-1])  # OpenCV's order is BGR


def _with_legend(picture: Pixels, title: str, words: str) -> Image.Image:
    height, width = picture.shape[:2]
    room = max(width, limits.HEAT_MAP_PICTURE_SIDE_MIN)
    line = round(min(max(room * _TEXT_SHARE, _TEXT_MIN), _TEXT_MAX))
    gap = line // 2
    whole = Image.new("RGB", (room, height + 3 * line + 5 * gap), "black")
    whole.paste(Image.fromarray(picture), ((room - width) // 2, 0))
    draw = ImageDraw.Draw(whole)
    font = ImageFont.load_default(size=line * 0.9)
    top = height + gap
    bar_left, bar_right = room // 5, room - room // 5
    ramp = np.linspace(0, 1, max(2, bar_right - bar_left), dtype=np.float32)
    bar = np.broadcast_to(ramp, (line, ramp.size))
    grey = np.full(bar.shape, _BAR_GREY, np.uint8)
    whole.paste(Image.fromarray(_coloured(grey, np.ascontiguousarray(bar))), (bar_left, top))
    draw.text((bar_left - gap, top), "none", fill="white", font=font, anchor="ra")
    draw.text((bar_right + gap, top), "most", fill="white", font=font, anchor="la")
    for number, text in enumerate((title, words), start=1):
        place = (room // 2, top + number * (line + gap))
        draw.text(place, _fitting(draw, text, font, room), fill="white", font=font, anchor="ma")
    return whole


def _fitting(
    draw: ImageDraw.ImageDraw,
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    room: int,
) -> str:
    """A text shortened in its middle until a line has room for it."""
    kept = len(text)
    shortened = text
    while draw.textlength(shortened, font=font) > room and kept > 1:
        kept -= 1
        half = kept // 2
        shortened = f"{text[:half]}...{text[len(text) - half :]}"
    return shortened
