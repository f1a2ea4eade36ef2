"""What an engine of a test's own has beside `infer`."""

from typing_extensions import Self


class FakeEngine:
    """An engine that holds nothing: closing it is nothing."""

    name: str
    precision: str
    runs_on_gpu: bool = False

    def close(self) -> None:
        """Free nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()
