"""A report as one HTML file that needs nothing else: styles, script and plotly are inside it."""

import json
from collections.abc import Iterator
from html import escape
from importlib.resources import files

from runtime.errors import UsageError
from runtime.report.document import (
    Block,
    Cell,
    Column,
    Commands,
    Figure,
    Gallery,
    Report,
    Section,
    Table,
    Text,
    format_cell,
)

# Nothing may be fetched, from a file name in a bundle or by any script: what is needed is in the page.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:;"
    " base-uri 'none'; form-action 'none'"
)
# A longer table gets a window of its own to scroll in; on paper it is whole, and so is always one of unlike rows.
_TALL_ROWS = 16


def write_html(report: Report) -> str:
    """Return the report as one HTML page; one with plots is about 5 MB, most of it plotly.

    Raises:
        UsageError: There are plots, and plotly is not installed.
    """
    figures = [block for section in report.sections for block in section.blocks if isinstance(block, Figure)]
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n',
            '<link rel="icon" href="data:,">\n',
            f"<title>{escape(report.title)}</title>\n<style>\n{_asset('page.css')}</style>\n</head>\n<body>\n",
            *_body(report),
            f'<script type="application/json" id="figures">{_figures_json(figures)}</script>\n',
            f"<script>{_plotly()}</script>\n" if figures else "",
            f"<script>\n{_asset('page.js')}</script>\n</body>\n</html>\n",
        )
    )


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ModuleNotFoundError as error:
        raise UsageError("the page needs plotly, which is not installed: pip install 'export-ssl[report]'") from error
    source: str = get_plotlyjs()
    # The only texts that end a script or hide its end.
    return source.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _asset(name: str) -> str:
    return files("runtime.report").joinpath(name).read_text(encoding="utf-8")


def _figures_json(figures: list[Figure]) -> str:
    data = {
        figure.name: {"data": figure.traces, "layout": figure.layout, "height": figure.height} for figure in figures
    }
    # Inside <script> only `<` can end it; in JSON's strings it may be written so.
    return json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _body(report: Report) -> Iterator[str]:
    yield f"<header>\n<h1>{escape(report.title)}</h1>\n"
    yield '<div class="decision">\n'
    for index, sentence in enumerate(report.decision):
        yield f"<p{' class=lead' if index == 0 else ''}>{_with_code(sentence)}</p>\n"
    yield "</div>\n"
    if report.warnings:
        yield '<div class="warning" role="note"><ul>'
        yield from (f"<li>{_with_code(warning)}</li>" for warning in report.warnings)
        yield "</ul></div>\n"
    yield '<nav aria-label="Parts of the report"><ul>'
    yield from (f'<li><a href="#{one.name}">{escape(one.title)}</a></li>' for one in report.sections if one.blocks)
    yield '<li><a href="#licence">Licence</a></li></ul></nav>\n</header>\n<main>\n'
    for section in report.sections:
        if section.blocks:
            yield from _section(section)
    yield from _not_measured(report)
    yield '<section id="licence"><h2>Licence of the weights</h2>\n'
    yield from (f"<p>{escape(sentence)}</p>\n" for sentence in report.licence)
    yield "</section>\n</main>\n"


def _section(section: Section) -> Iterator[str]:
    yield f'<section id="{section.name}"><h2>{escape(section.title)}</h2>\n'
    for block in section.blocks:
        yield from _block(block)
    yield "</section>\n"


def _not_measured(report: Report) -> Iterator[str]:
    missing = [section for section in report.sections if section.missing]
    if not missing:
        return
    yield '<section id="missing"><h2>Not measured yet</h2>\n<dl>\n'
    for section in missing:
        yield f'<dt id="{section.name}">{escape(section.title)}</dt><dd><code>{escape(section.missing)}</code></dd>\n'
    yield "</dl></section>\n"


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Text):
        yield from _text(block)
    elif isinstance(block, Commands):
        lines = "\n".join(escape(line) for line in block.lines)
        yield f'<h3>{escape(block.title)}</h3>\n<pre tabindex="0"><code>{lines}</code></pre>\n'
    elif isinstance(block, Table):
        yield from _table(block)
    elif isinstance(block, Figure):
        yield from _figure(block)
    else:
        yield from _gallery(block)


def _text(text: Text) -> Iterator[str]:
    yield f"<h3>{escape(text.title)}</h3>\n" if text.title else ""
    if text.tone == "list":
        points = "".join(f"<li>{_with_code(paragraph)}</li>\n" for paragraph in text.paragraphs)
        yield f"<ul>\n{points}</ul>\n"
        return
    tone = ' class="warning"' if text.tone == "warning" else ""
    yield from (f"<p{tone}>{_with_code(paragraph)}</p>\n" for paragraph in text.paragraphs)


def _figure(figure: Figure) -> Iterator[str]:
    yield f"<figure><figcaption><h3>{escape(figure.title)}</h3></figcaption>\n"
    yield f'<div class="plot" id="{figure.name}" role="img" aria-label="{escape(figure.summary)}"'
    yield f' style="height:{figure.height}px"></div>\n'
    yield f'<p class="note">{escape(figure.note)}</p>\n' if figure.note else ""
    yield "</figure>\n"


def _gallery(gallery: Gallery) -> Iterator[str]:
    yield f'<h3>{escape(gallery.title)}</h3>\n<ul class="gallery">\n'
    for picture in gallery.pictures:
        source = f"data:image/jpeg;base64,{escape(picture.jpeg_base64)}"
        lines = "".join(f"<span>{escape(line)}</span>" for line in picture.lines)
        title = escape(picture.title)
        yield f'<li><img src="{source}" alt="{title}" width="96" height="96"><div><b>{title}</b>{lines}</div></li>\n'
    yield "</ul>\n"


def _table(table: Table) -> Iterator[str]:
    tall = " tall" if table.sortable and len(table.rows) > _TALL_ROWS else ""
    title = escape(table.title)
    yield f'<h3>{title}</h3>\n<div class="table{tall}" tabindex="0" role="region" aria-label="{title}">'
    sortable = ' class="sortable"' if table.sortable else ""
    yield f'<table{sortable}><caption class="hidden">{title}</caption><thead><tr>'
    yield from (_heading(column) for column in table.columns)
    yield "</tr></thead>\n<tbody>\n"
    for row in table.rows:
        yield "<tr>"
        yield from (_cell(value, column) for value, column in zip(row, table.columns, strict=True))
        yield "</tr>\n"
    yield "</tbody></table></div>\n"
    yield f'<p class="note">{escape(table.note)}</p>\n' if table.note else ""


def _heading(column: Column) -> str:
    number = "" if column.form == "text" else ' class="number"'
    return f'<th scope="col"{number}>{escape(column.name)}</th>'


def _cell(value: Cell, column: Column) -> str:
    text = escape(format_cell(value, column.form))
    if column.form == "text":
        return f"<td>{text}</td>"
    # Sorted by the number itself, not by its words; what is unknown has none.
    key = "" if value is None else f' data-value="{escape(str(value))}"'
    return f'<td class="number"{key}>{text}</td>'


def _with_code(text: str) -> str:
    """Return escaped text in which what stood between backticks is code."""
    parts = escape(text).split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
