"""A search as one HTML page with pictures, in the style of the report."""

from runtime.images.reading import open_image
from runtime.images.thumbnail import jpeg_thumbnail
from runtime.report.document import Column, Gallery, Picture, Report, Section, Table, Text
from runtime.report.html_page import write_html
from runtime.search.job import Neighbour, SearchResult
from runtime.search.pictures import FoundPicture, find_pictures
from runtime.search.result_table import summary


def write_page(result: SearchResult) -> str:
    """Return the page, with a section for each query.

    Raises:
        DataError: A query's picture cannot be read any more.
    """
    rows = [one.row for neighbours in result.found.values() for one in neighbours]
    pictures = find_pictures(result.gallery.output, rows)
    job, licence = result.gallery.job, result.bundle.manifest.licence
    report = Report(
        title=f"Nearest images in {result.gallery.output.name}",
        decision=(f"{summary(result)}.", f"Embeddings of {job.bundle.model}, {job.bundle.precision}."),
        warnings=result.notes,
        sections=tuple(
            Section(
                name=f"query-{number}",
                title=query.name,
                blocks=(
                    Gallery(
                        title="Query",
                        pictures=(Picture(jpeg_base64=jpeg_thumbnail(open_image(query)), title=query.name, lines=()),),
                    ),
                    *_found(neighbours, pictures),
                ),
            )
            for number, (query, neighbours) in enumerate(result.found.items(), 1)
        ),
        licence=(" ".join(f"{licence.spdx}. {licence.notice} {licence.url}".split()),),
    )
    return write_html(report)


def _found(neighbours: tuple[Neighbour, ...], pictures: dict[str, FoundPicture]) -> tuple[Gallery | Table | Text, ...]:
    """Return the pictures of what was found for one query, and the table of their distances."""
    if not neighbours:
        return (Text(paragraphs=("Nothing was found.",)),)
    shown = tuple(
        Picture(
            jpeg_base64=pictures[one.row.key].jpeg_base64,
            title=one.row.key,
            lines=tuple(filter(None, (f"{place}: distance {one.distance:.6f}", pictures[one.row.key].remark))),
        )
        for place, one in enumerate(neighbours, 1)
    )
    table = Table(
        title="Distances",
        columns=(Column(name="key"), Column(name="place", form="count"), Column(name="distance", form="number")),
        rows=tuple((one.row.key, place, one.distance) for place, one in enumerate(neighbours, 1)),
    )
    return Gallery(title="Nearest", pictures=shown), table
