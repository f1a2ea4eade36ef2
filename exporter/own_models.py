"""Models in timm's own way of passing them on: a folder or a repository with config.json and the weights.

`local-dir:DIR` is what `timm.models.save_for_hf` writes, `hf-hub:ORG/NAME` what `push_to_hf_hub` uploads. Architecture,
classes, labels, preprocessing and licence come from config.json, as timm reads it; the weights are a file beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.bundle.manifest import MOST_FEATURES, Mean, Side, Std
from runtime.data.class_names import one_line
from runtime.errors import UsageError
from runtime.original.hub import fetch_hub_file
from runtime.support.files import read_plain
from runtime.support.json_file import parse_json
from runtime.support.words import first_few

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

_FOLDER = "local-dir:"
_HUB = ("hf-hub:", "hf_hub:")
# timm's own repositories: their names are timm's names of weights.
_TIMM = "timm/"
_CONFIG = "config.json"
# Source: timm 1.0's order, `timm.models._hub._PREFERRED_FILES`.
_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
# Arguments of the network that change nothing here, and the numbers of channels that images have.
_PLAIN_ARGUMENTS: Mapping[str, object] = {"global_pool": "avg"}
_CHANNELS = (1, 3, 4)


_Classes = Annotated[int, Field(ge=0, le=MOST_FEATURES)]


class _Pretrained(BaseModel):
    """timm's `pretrained_cfg`, as far as it is used."""

    input_size: tuple[int, Side, Side] = (3, 224, 224)
    interpolation: str = "bicubic"
    crop_pct: float = 0.875
    crop_mode: str = "center"
    mean: Annotated[tuple[Mean, ...], Field(min_length=1)] = (0.485, 0.456, 0.406)
    std: Annotated[tuple[Std, ...], Field(min_length=1)] = (0.229, 0.224, 0.225)
    num_classes: _Classes = 1000
    license: str | None = None


class _Config(BaseModel):
    """timm's config.json, as far as it is used."""

    # pydantic before 2.10 warns of every field that is named `model_…`.
    model_config = ConfigDict(protected_namespaces=())

    architecture: str
    num_classes: _Classes | None = None
    label_names: tuple[str, ...] | dict[int, str] | None = None
    label_descriptions: dict[str, str] | None = None
    model_args: dict[str, Any] = {}
    pretrained_cfg: _Pretrained


@dataclass(frozen=True)
class OwnModel:
    """A model that config.json describes.

    Attributes:
        name: Name of the folder or repository, without what stands before it.
        architecture: timm architecture, such as `resnet18`.
        classes: Number of classes that config.json states.
        labels: A label for each class, `name<TAB>description` where there are descriptions; None without names.
        config: timm's configuration of the preprocessing.
        licence: Licence that config.json states, None where it states none.
        channels: Channels of the images that config.json states.
        weights: The checkpoint in the folder; None for a repository.
        repository: `ORG/NAME`, perhaps with `@REVISION`; None for a folder.
    """

    name: str
    architecture: str
    classes: int
    labels: tuple[str, ...] | None
    config: "PretrainedCfg"
    licence: str | None
    channels: int = 3
    weights: Path | None = None
    repository: str | None = None


def read_own_model(name: str) -> OwnModel | None:
    """Return the model that `local-dir:DIR` or `hf-hub:ORG/NAME` means; None for any other name.

    Raises:
        UsageError: The folder has no config.json of timm's or no weights, or the network was built with arguments.
        HubError: The repository's config.json is not in the cache and cannot be fetched.
    """
    if name.startswith(_FOLDER):
        folder = Path(name.removeprefix(_FOLDER))
        if not folder.is_dir():
            raise UsageError(f"{name}: {folder} is no folder: expected one with {_CONFIG} and the weights beside it")
        weights = next((folder / file for file in _WEIGHTS if (folder / file).is_file()), None)
        if weights is None:
            raise UsageError(f"{folder} has no weights: expected {_CONFIG} and one of {', '.join(_WEIGHTS)}")
        return _read(folder / _CONFIG, folder.resolve().name, weights=weights, repository=None)
    prefix = next((prefix for prefix in _HUB if name.startswith(prefix)), None)
    repository = name.removeprefix(prefix) if prefix is not None else ""
    if "/" not in repository or repository.startswith(_TIMM):
        return None
    short = repository.partition("@")[0].rpartition("/")[2]
    return _read(fetch_hub_file(repository, _CONFIG), short, weights=None, repository=repository)


def _read(path: Path, name: str, *, weights: Path | None, repository: str | None) -> OwnModel:
    """Return the model that a config.json describes."""
    from timm.models import PretrainedCfg

    config = _parse(path, weights or Path("model.safetensors"))
    strange = [f"{key}={value!r}" for key, value in config.model_args.items() if not _is_plain(key, value)]
    if strange:
        raise UsageError(
            f"{path}: the network was built with model_args {first_few(strange)}: expected timm's architecture as it "
            "is; train one without them"
        )
    pretrained = config.pretrained_cfg
    classes = pretrained.num_classes if config.num_classes is None else config.num_classes
    return OwnModel(
        name=name,
        architecture=config.architecture,
        classes=classes,
        labels=_labels(config, classes, path),
        config=PretrainedCfg(architecture=config.architecture, **pretrained.model_dump()),
        licence=pretrained.license,
        channels=config.model_args.get("in_chans", pretrained.input_size[0]),
        weights=weights,
        repository=repository,
    )


def _is_plain(key: str, value: object) -> bool:
    """Return whether an argument of the network changes nothing that its weights do not state too."""
    if key == "in_chans":
        return value in _CHANNELS
    return key == "num_classes" or (key in _PLAIN_ARGUMENTS and _PLAIN_ARGUMENTS[key] == value)


def _parse(path: Path, weights: Path) -> _Config:
    """Return timm's config.json; a flat one of old versions too.

    Raises:
        UsageError: The file cannot be read, or is not timm's.
    """
    try:
        content = parse_json(read_plain(path))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}): expected timm's {_CONFIG} beside the weights") from error
    if isinstance(content, dict) and "architecture" not in content and "model_type" in content:
        raise UsageError(
            f"{path} is of transformers ({content['model_type']}), expected timm's: pass --model ARCHITECTURE, such as "
            f"resnet50, and --weights {weights}"
        )
    if isinstance(content, dict) and "pretrained_cfg" not in content:
        # Before timm 0.9 the file was `pretrained_cfg` itself.
        content = {
            **content,
            "pretrained_cfg": content,
            "label_names": content.get("label_names", content.get("labels")),
        }
    try:
        return _Config.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise UsageError(f"{path}: {where}: {first['msg']}; expected timm's {_CONFIG}, from save_for_hf") from error


def _labels(config: _Config, classes: int, path: Path) -> tuple[str, ...] | None:
    """Return the label of each class, None where none are stated.

    Raises:
        UsageError: There are not as many names as classes.
    """
    names = config.label_names
    if names is None or not classes:
        return None
    if isinstance(names, dict):
        # timm allows gaps in numbers: the classes there have no name.
        names = tuple(names.get(number, f"class_{number:04d}") for number in range(classes))
    if len(names) != classes:
        raise UsageError(f"{path} has {len(names)} label_names for {classes} classes: expected a name for each class")
    described = config.label_descriptions or {}
    return tuple(one_line(f"{name}\t{described[name]}" if name in described else name) for name in names)
