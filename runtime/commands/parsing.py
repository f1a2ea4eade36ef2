"""What several commands read from their options."""

from runtime.errors import UsageError

# Of a comma-separated list of counts; beyond it a typing slip is likelier than a wish.
_MOST = 65536


def split_list(names: str) -> tuple[str, ...]:
    """Return the parts of a comma-separated list, without spaces and empty ones."""
    return tuple(name.strip() for name in names.split(",") if name.strip())


def parse_counts(text: str, *, option: str) -> tuple[int, ...]:
    """Return the whole numbers of a comma-separated list, each once, in their order.

    Raises:
        UsageError: There is none, or one that is no whole number from 1 on.
    """
    found: dict[int, None] = {}
    for part in split_list(text):
        if not (part.isascii() and part.isdigit() and 1 <= int(part) <= _MOST):
            raise UsageError(
                f"{option} {text}: {part!r} is not a whole number from 1 to {_MOST}; expected a list such as 1,8,32"
            )
        found[int(part)] = None
    if not found:
        raise UsageError(f"{option} {text!r} is empty: expected a list such as 1,8,32")
    return tuple(found)
