"""What the tests of sheets share."""

import pytest

from cnnviz.view.sheet import Sheet


@pytest.fixture
def said(monkeypatch):
    """Return the (x, y, text) of everything that is written on sheets, as it is drawn."""
    heard, write = [], Sheet.text

    def listen(sheet, x, y, text, *rest, **options):
        heard.append((x, y, text))
        write(sheet, x, y, text, *rest, **options)

    monkeypatch.setattr(Sheet, "text", listen)
    return heard
