"""``cnnviz samples``: the pictures and matrices that come with cnnviz."""

from __future__ import annotations

from cnnviz.cli.options import FormatOptions

EXAMPLES = ("cnnviz samples", "cnnviz samples --format md")


def samples(form: FormatOptions) -> None:
    """List the pictures and matrices that come with cnnviz, with their licences.

    Each takes the place of a file: cnnviz convolve sample:chelsea
    """
    from cnnviz.cli.console import note
    from cnnviz.cli.printing import print_listing
    from cnnviz.files.samples import FOLDER, sample_records

    print_listing("samples", sample_records(), form.format, least=("source",))
    if form.format == "table":
        note("the weights of digits: CC BY-SA 3.0, learnt from MNIST")
        note(f"more, and the texts of the licences: {FOLDER / 'SOURCES.md'}")
