"""What a search prints."""

import json

from rich.console import Console
from rich.text import Text

from runtime.search.job import SearchResult
from runtime.support.words import counted


def as_json(result: SearchResult) -> str:
    """Return the result as JSON."""
    return json.dumps(
        {
            "output": str(result.gallery.output),
            "rows": result.gallery.rows,
            "metric": result.metric,
            "index": result.index.model_dump() if result.index is not None else None,
            "seconds": round(result.seconds, 3),
            "notes": list(result.notes),
            "queries": [
                {
                    "query": str(query),
                    "neighbours": [
                        {"key": one.row.key, "distance": one.distance, "sha256": one.row.sha256} for one in neighbours
                    ],
                }
                for query, neighbours in result.found.items()
            ],
        },
        indent=2,
        ensure_ascii=False,
    )


def render(result: SearchResult, console: Console) -> None:
    """Print the result: a line for each neighbour, with its distance and key."""

    def show(line: str) -> None:
        # Keys may be longer than a line, and hold what would be markup.
        console.print(Text(line), soft_wrap=True)

    show(summary(result))
    for query, neighbours in result.found.items():
        show(f"{query}:")
        for place, one in enumerate(neighbours, 1):
            show(f"{place:6} {one.distance:10.6f}  {one.row.key}")
    for note in result.notes:
        show(f"note: {note}")


def summary(result: SearchResult) -> str:
    """Return in a sentence what was searched, and how."""
    rows = counted(result.gallery.rows, "row")
    how = "exactly"
    if result.index is not None:
        how = f"with an index of faiss that finds {100 * result.index.recall_at_10:.1f} % of the 10 nearest"
    return f"{rows} searched {how}, {result.metric} distance, {result.seconds:.2f} s"
