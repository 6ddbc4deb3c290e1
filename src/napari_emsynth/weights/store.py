"""Finding, checking and writing weights files.

Law: a file is opened only after its sha256 equals its card's; safetensors only, nothing unpickles. A name is looked
up among the bundled weights first, then in the user's folder; anything with a suffix or a folder in it is a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes, save_file
from torch import Tensor, nn

from napari_emsynth.errors import InputError
from napari_emsynth.io.atomic import put
from napari_emsynth.weights import own
from napari_emsynth.weights.card import Card

HERE = Path(__file__).parent
Network = TypeVar("Network", bound=nn.Module)


def bundled_id(method: str, name: str) -> str:
    """Return the file name, without ending, of bundled weights."""
    return f"{method.replace('/', '-')}-{name}"


def locate(method: str, name: str) -> tuple[Path, Path]:
    """Return the weights file and its card.

    Args:
        method: TASK/ID.
        name: a bundled name, a name in the user's folder, or a path.

    Raises:
        InputError: there is no such file or card.
    """
    id_ = bundled_id(method, name)
    if (HERE / f"{id_}.safetensors").exists():
        return HERE / f"{id_}.safetensors", HERE / "cards" / f"{id_}.toml"
    is_path = Path(name).suffix != "" or len(Path(name).parts) > 1
    path = Path(name) if is_path else own.folder() / f"{name}.safetensors"
    if not path.is_file():
        raise InputError(f"weights {name!r} of {method} are neither bundled, nor in {own.folder()}, nor a file")
    card = path.with_suffix(".toml")
    if not card.is_file():
        raise InputError(f"weights {path} have no card: {card.name} is missing beside them")
    return path, card


def read_card(method: str, name: str) -> Card:
    """Return the card alone, without reading the weights.

    Raises:
        InputError: no such weights, an unreadable card, or weights of another method.
    """
    path, card_path = locate(method, name)
    card = Card.of_file(card_path)
    if card.method != method:
        raise InputError(f"weights {path.name} belong to {card.method}, not to {method}")
    return card


def load(method: str, name: str) -> tuple[dict[str, Tensor], Card]:
    """Read weights as float32 tensors, with their card.

    Args:
        method: TASK/ID they must belong to.
        name: a bundled name, a name in the user's folder, or a path.

    Raises:
        InputError: missing, damaged (sha256 differs), of another method, or not safetensors.
    """
    card = read_card(method, name)
    path, _ = locate(method, name)
    blob = path.read_bytes()
    found = hashlib.sha256(blob).hexdigest()
    if found != card.sha256:
        raise InputError(
            f"weights {path.name} are damaged: sha256 {found[:12]}... differs from the card's {card.sha256[:12]}..."
        )
    try:
        tensors = load_bytes(blob)
    except SafetensorError as error:
        raise InputError(f"weights {path.name} are not a safetensors file: {error}") from None
    return {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}, card


def restored(method: str, name: str, network_of: Callable[[dict[str, Any]], Network]) -> tuple[Network, Card]:
    """Load weights into the network that their card describes.

    Args:
        method: TASK/ID they must belong to.
        name: a bundled name, a name in the user's folder, or a path.
        network_of: builds the network from the card's configuration.

    Raises:
        InputError: missing, damaged, of another method or of another architecture.
    """
    tensors, card = load(method, name)
    try:
        network = network_of(card.config)
    except TypeError as error:
        raise InputError(f"weights {card.id} are of another architecture of {method}: {error}") from None
    fill(network, tensors, card.id, method)
    return network, card


def fill(network: nn.Module, tensors: dict[str, Tensor], name: str, method: str) -> None:
    """Put tensors into a network; ``name`` and ``method`` are told when they do not fit.

    Raises:
        InputError: names or shapes do not fit: the weights are of another architecture.
    """
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise InputError(f"weights {name} do not fit the architecture of {method}: {first}") from None


def write(path: Path, card_path: Path, tensors: Mapping[str, Tensor], card: Card, *, half: bool = False) -> Card:
    """Write weights and their card, each atomically, and return the card with the file's sha256.

    Args:
        path: the safetensors file.
        card_path: the TOML file.
        tensors: by name.
        card: its sha256 is filled in.
        half: store 16-bit floats.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    stored = {k: (v.half() if half and v.dtype == torch.float32 else v).cpu().contiguous() for k, v in tensors.items()}
    temporary, card_temporary = (p.with_name(p.name + ".tmp") for p in (path, card_path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(stored, temporary)
        temporary.chmod(0o644)  # safetensors makes files that only their owner reads
        card = replace(card, sha256=hashlib.sha256(temporary.read_bytes()).hexdigest())
        card_temporary.write_text(card.to_toml(), encoding="utf-8")
        put(temporary, path)
        put(card_temporary, card_path)
    except (OSError, SafetensorError) as error:
        for made in (temporary, card_temporary):
            made.unlink(missing_ok=True)
        raise InputError(f"weights {path} could not be written: {error}") from None
    return card
