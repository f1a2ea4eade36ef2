"""A report as Markdown: the same sentences and tables, pictures by name; plots are left to the page."""

import re

from runtime.report.document import Block, Commands, Gallery, Report, Section, Table, Text, format_cell

# What Markdown or the HTML in it would read as markup.
_MARKUP = re.compile(r"([\\`*_\[\]|#])")


def write_markdown(report: Report) -> str:
    """Return the report as Markdown, with tables as GitHub draws them."""
    parts = [f"# {_escape(report.title)}", *(_escape(sentence) for sentence in report.decision)]
    parts += [f"> {_escape(warning)}" for warning in report.warnings]
    for section in report.sections:
        parts += _section(section)
    parts += ["## Licence of the weights", *(_escape(sentence) for sentence in report.licence)]
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> list[str]:
    head = f"## {_escape(section.title)}"
    if section.missing:
        return [head, f"Not measured; to make it: `{_one_line(section.missing).replace('`', '')}`"]
    return [head, *(text for block in section.blocks for text in _block(block))]


def _block(block: Block) -> list[str]:
    if isinstance(block, Text):
        heads = [f"### {_escape(block.title)}"] if block.title else []
        if block.tone == "list":
            return [*heads, "\n".join(f"- {_escape(paragraph)}" for paragraph in block.paragraphs)]
        prefix = "> " if block.tone == "warning" else ""
        return [*heads, *(prefix + _escape(paragraph) for paragraph in block.paragraphs)]
    if isinstance(block, Commands):
        lines = (_one_line(line).replace("```", "") for line in block.lines)
        return [f"{_escape(block.title)}:", "```sh\n" + "\n".join(lines) + "\n```"]
    if isinstance(block, Table):
        return [f"### {_escape(block.title)}", _table(block), *([_escape(block.note)] if block.note else [])]
    if isinstance(block, Gallery):
        rows = [f"- {_escape(one.title)}: {_escape(', '.join(one.lines))}" for one in block.pictures]
        return [f"### {_escape(block.title)}", "\n".join(rows)]
    return []


def _table(table: Table) -> str:
    heads = [_escape(column.name) or " " for column in table.columns]
    rules = ["---" if column.form == "text" else "---:" for column in table.columns]
    rows = [
        [_escape(format_cell(value, column.form)) for value, column in zip(row, table.columns, strict=True)]
        for row in table.rows
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rules, *rows))


def _escape(text: str) -> str:
    # Entities before backslashes: none of their characters is markup.
    plain = _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\1", plain)


def _one_line(text: str) -> str:
    return " ".join(text.split())
