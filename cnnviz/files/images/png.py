"""Pictures to PNG bytes: the same picture gives the same file."""

from __future__ import annotations

import io
from collections.abc import Mapping

from PIL import Image, PngImagePlugin

_PNG_LEVEL = 4  # on feature maps within 10 % of level 9, many times faster


def png_bytes(image: Image.Image, text: Mapping[str, str]) -> bytes:
    """Encode a picture as PNG with text metadata; the same input gives the same bytes.

    Parameters
    ----------
    image : PIL.Image.Image
        The picture. An indexed one stays indexed, its palette reduced to the entries in use.
    text : Mapping[str, str]
        Keywords and values, written in this order: Latin-1 as tEXt, the rest as iTXt.

    Returns
    -------
    bytes
        The file, without a time.
    """
    metadata = PngImagePlugin.PngInfo()
    for keyword, value in text.items():
        metadata.add_text(keyword, value)
    if image.mode == "P":
        image = _reduce_palette(image)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=metadata, compress_level=_PNG_LEVEL, icc_profile=None)
    return buffer.getvalue()


def _reduce_palette(image: Image.Image) -> Image.Image:
    """Keep the palette's entries in use, in their order, so that small maps are small files."""
    used = [index for index, count in enumerate(image.histogram()) if count]
    palette = image.getpalette("RGB") or []
    entries = [palette[3 * index : 3 * index + 3] or [0, 0, 0] for index in used]
    new_index = dict(zip(used, range(len(used)), strict=True))
    reduced = image.point([new_index.get(index, 0) for index in range(256)])
    reduced.putpalette([level for entry in entries for level in entry])
    alpha = reduced.info.pop("transparency", None)  # an index, or an alpha for each
    if isinstance(alpha, bytes):
        reduced.info["transparency"] = bytes((alpha + b"\xff" * 256)[index] for index in used)
    elif alpha in new_index:
        reduced.info["transparency"] = new_index[alpha]
    return reduced
