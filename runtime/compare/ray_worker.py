"""What one worker of Ray does for a comparison: it opens original and engines once, and scores piece after piece.

Pieces and what was found in them travel pickled, as Ray sends all else between its processes.
"""

import os
import pickle
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from runtime.bundle.bundle import Bundle
from runtime.bundle.results.compare_json import FlopsReport
from runtime.compare.by_neighbours import EmbeddedImages, embed_batches
from runtime.compare.changes import ChangeCollector, FoundChanges
from runtime.compare.opening import OpenedEngines, Transform, count_flops, make_transform, open_batches, open_engines
from runtime.compare.request import CompareRequest
from runtime.compare.tally import Tallies, tally_batches
from runtime.data.batches import Unreadable
from runtime.data.pieces import Piece
from runtime.engines.facts import EngineFacts, describe_engine
from runtime.errors import EngineError
from runtime.images.losses import Losses
from runtime.on_ray.answers import Row, answer, check_seen, here
from runtime.on_ray.attempts import note_attempt
from runtime.on_ray.ship_bundle import unpack_bundle
from runtime.on_ray.ship_file import unpack_file


@dataclass(frozen=True)
class CompareTask:
    """What every worker is given.

    Attributes:
        request: What to compare and how, its paths absolute, and its weights those of the machine that asks.
        bundles: References to the packed bundles in Ray's memory.
        weights: A reference to the packed checkpoint; None where the weights are drawn from a seed.
        attempts: Reference to the count of pieces that were started.
    """

    request: CompareRequest
    bundles: tuple[Any, ...]
    weights: Any
    attempts: Any


@dataclass(frozen=True)
class Ran:
    """What ran, which must be the same in all workers.

    Attributes:
        engines: The original, then the engines.
        bundles: Number of each engine's bundle; None where the engine is the original in another precision.
    """

    engines: tuple[EngineFacts, ...]
    bundles: tuple[int | None, ...]


@dataclass(frozen=True)
class ScoredPiece:
    """What was found out about a piece, or about several together.

    Attributes:
        images: Number of images that ran.
        tallies: The counts; without a classifier the time alone, since its neighbours are counted among all images.
        embedded: The embeddings, where there is no classifier.
        unreadable: Images left out.
        lost: What the images lost on their way to the network.
        changes: The changed images, where they are to be kept.
        ran: Engines that ran.
        node: The machine that it ran on, the first piece's.
        flops: Multiply-accumulates; the first piece alone brings them.
        workers: Ray's name of a worker's node, and its process there.
    """

    images: int
    tallies: Tallies
    embedded: EmbeddedImages | None
    unreadable: tuple[Unreadable, ...]
    lost: Losses
    changes: FoundChanges | None
    ran: Ran
    node: str
    flops: FlopsReport | None
    workers: frozenset[tuple[str, int]]

    def merge(self, later: "ScoredPiece") -> "ScoredPiece":
        """Return what was found out about these images and those of a later piece.

        Raises:
            EngineError: Other engines ran.
        """
        if self.ran != later.ran:
            raise EngineError(
                f"{self.node} ran {_listed(self.ran)}, {later.node} {_listed(later.ran)}: install the same on all "
                "nodes, or name engines that all nodes have with --engines"
            )
        return replace(
            self,
            images=self.images + later.images,
            tallies=self.tallies.merge(later.tallies),
            embedded=self.embedded.merge(later.embedded) if self.embedded and later.embedded else None,
            unreadable=self.unreadable + later.unreadable,
            lost=self.lost + later.lost,
            changes=self.changes.merge(later.changes) if self.changes and later.changes else None,
            workers=self.workers | later.workers,
        )


@dataclass(frozen=True)
class _Opened:
    stack: ExitStack
    request: CompareRequest
    bundle: Bundle
    engines: OpenedEngines
    transform: Transform | None


class PieceScorer:
    """Scores pieces; Ray Data keeps some of these, each in a process of its own."""

    def __init__(self, task: CompareTask) -> None:
        self._task = task
        self._warm = False

    def __call__(self, row: Row) -> Row:
        """Score a piece.

        Args:
            row: `number`, and `piece`, pickled.

        Returns:
            `number`, `images` and `scored`, a pickled `ScoredPiece`; `kind` and `failure`, empty where it is scored.
        """
        number = int(row["number"])
        try:
            piece: Piece = pickle.loads(row["piece"])  # noqa: S301 - made by the process that gave the task
            note_attempt(self._task.attempts, number, f"from {piece.images[0].name} to {piece.images[-1].name}")
            scored = self._score(piece)
        except Exception as error:  # noqa: BLE001 - whatever a worker meets ends the job with its reason
            return answer(number, images=0, scored=b"", failure=error)
        return answer(number, images=scored.images, scored=pickle.dumps(scored))

    def _score(self, piece: Piece) -> ScoredPiece:
        import ray

        opened = self._opened
        engines = opened.engines
        changes, embedded = None, None
        with open_batches(piece, opened.bundle, opened.request, opened.transform, engines=engines) as loader:
            if opened.bundle.manifest.model.classes:
                if opened.request.save:
                    changes = ChangeCollector(piece, opened.bundle.labels(), len(engines.engines))
                tallies = tally_batches(
                    loader,
                    original=engines.original,
                    engines=engines.engines,
                    warm=self._warm,
                    on_pair=changes.add if changes is not None else None,
                )
                images = tallies.original.images
            else:
                tallies = Tallies.of(engines.original, engines.engines)
                embedded = embed_batches(loader, (engines.original, *engines.engines), tallies=tallies, warm=self._warm)
                images = embedded.images
        self._warm = self._warm or images > 0
        return ScoredPiece(
            images=images,
            tallies=tallies,
            embedded=embedded,
            unreadable=tuple(loader.unreadable),
            lost=loader.lost,
            changes=changes.found if changes is not None else None,
            ran=Ran(tuple(describe_engine(one) for one in (engines.original, *engines.engines)), engines.bundles),
            node=here(),
            flops=count_flops(engines.original.network, opened.bundle) if piece.number == 0 else None,
            workers=frozenset({(ray.get_runtime_context().get_node_id(), os.getpid())}),
        )

    @cached_property
    def _opened(self) -> _Opened:
        """What runs, opened with the first piece, for the life of the process."""
        import ray

        request = self._task.request
        for images in (request.data, request.gallery):
            if images is not None:
                check_seen(Path(images))
        bundles = [unpack_bundle(packed) for packed in ray.get(list(self._task.bundles))]
        weights = unpack_file(ray.get(self._task.weights)) if self._task.weights is not None else None
        request = replace(request, weights=weights)
        stack = ExitStack()
        with stack:
            engines = open_engines(stack, bundles, request)
            transform = make_transform(bundles[0], request)
            return _Opened(stack.pop_all(), request, bundles[0], engines, transform)


def _listed(ran: Ran) -> str:
    return ", ".join(f"{one.name} {one.version} ({one.executes})" for one in ran.engines)
