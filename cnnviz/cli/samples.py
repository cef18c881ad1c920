"""``cnnviz samples``: the pictures and matrices that come with cnnviz."""

from __future__ import annotations

from cnnviz.cli.options import FormatOptions

EXAMPLES = ("cnnviz samples", "cnnviz samples --format md")


def samples(form: FormatOptions) -> None:
    """List the pictures and matrices that come with cnnviz, with their licences.

    Each takes the place of a file: cnnviz convolve sample:chelsea
    """
    from cnnviz.cli.printing import print_listing
    from cnnviz.files.samples import sample_records

    print_listing("samples", sample_records(), form.format, least=("source",))
