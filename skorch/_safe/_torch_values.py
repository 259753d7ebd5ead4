"""What torch has beside modules and optimizers: tensors, dtypes, devices, sizes, generators."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from skorch._safe._nodes import Encoders, ValueDecoders, demand

_SINGLETONS = {
    str(value).removeprefix('torch.'): value
    for value in vars(torch).values()
    if isinstance(value, torch.dtype | torch.layout | torch.memory_format)
}


def encode_tensor(enc: Any, value: torch.Tensor, path: str) -> str:
    return enc.pieces.add(value, path)


def decode_tensor(dec: Any, payload: str) -> torch.Tensor:
    return dec.tensor(payload)


def encode_singleton(enc: Any, value: Any, path: str) -> str:
    return str(value).removeprefix('torch.')


def decode_singleton(dec: Any, payload: str) -> Any:
    demand(payload in _SINGLETONS, f'torch has no {payload!r:.40} here')
    return _SINGLETONS[payload]


def encode_device(enc: Any, value: torch.device, path: str) -> str:
    return str(value)


def decode_device(dec: Any, payload: str) -> torch.device:
    return torch.device(payload)


def encode_size(enc: Any, value: torch.Size, path: str) -> list[int]:
    return list(value)


def decode_size(dec: Any, payload: list[int]) -> torch.Size:
    return torch.Size(payload)


def encode_generator(enc: Any, value: torch.Generator, path: str) -> dict[str, Any]:
    state = value.get_state().numpy()
    return {'device': str(value.device), 'state': enc.encode(state, path)}


def decode_generator(dec: Any, payload: dict[str, Any]) -> torch.Generator:
    state = dec.decode(payload['state'])
    demand(
        isinstance(state, np.ndarray) and state.dtype == np.uint8,
        'the state of a random generator is to be bytes',
    )
    generator = torch.Generator(dec.usable(payload['device']))
    if str(generator.device) == payload['device']:
        generator.set_state(torch.from_numpy(state))
    return generator


ENCODERS: Encoders = {
    torch.Tensor: ('tensor', encode_tensor),
    torch.nn.Parameter: ('tensor', encode_tensor),
    torch.dtype: ('torch', encode_singleton),
    torch.layout: ('torch', encode_singleton),
    torch.memory_format: ('torch', encode_singleton),
    torch.device: ('device', encode_device),
    torch.Size: ('size', encode_size),
    torch.Generator: ('generator', encode_generator),
}

DECODERS: ValueDecoders = {
    'tensor': decode_tensor,
    'torch': decode_singleton,
    'device': decode_device,
    'size': decode_size,
    'generator': decode_generator,
}
