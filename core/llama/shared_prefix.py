"""A prefix that a language model has read once, and key-value caches for the ids after it."""

from dataclasses import dataclass

from torch import Tensor

from core.llama.huggingface import DynamicCache, DynamicLayer


@dataclass(frozen=True, slots=True, eq=False)
class SharedPrefix:
    """A prefix that the model has read: its ids, and one copy of the keys and values of every layer.

    They are only read afterwards, by any number of threads.
    """

    token_ids: tuple[int, ...]
    kv_cache: DynamicCache

    def copy_with_room(self, room: int) -> DynamicCache:
        """Return a copy of the prefix's cache with room for `room` more ids."""
        return self._first(len(self.token_ids), room)

    def cache_with_room(self, room: int) -> DynamicCache:
        """Return a cache with room for `room` ids after the prefix, without the prefix."""
        return self._first(0, room)

    def _first(self, kept: int, room: int) -> DynamicCache:
        """Return a cache of the first `kept` ids with room for more."""
        cache = DynamicCache()
        cache.layers = [
            _RoomyLayer(layer.keys[..., :kept, :], layer.values[..., :kept, :], room)
            for layer in self.kv_cache.layers
        ]
        return cache

    def rewind(self, cache: DynamicCache) -> None:
        """Remove the ids after the prefix from a cache."""
        cache.crop(len(self.token_ids) - cache.get_seq_length())


class _RoomyLayer(DynamicLayer):  # type: ignore[misc]  # transformers has no types
    """Keys and values (1, heads, ids, head_dim) of one layer, written in place.

    A DynamicLayer copies everything into new tensors for new ids: a copy of the prefix each time.
    """

    def __init__(self, keys: Tensor, values: Tensor, room: int) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self._keys, self._values = _with_room(keys, room), _with_room(values, room)
        self.update(keys, values)

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        self._keys[..., start:end, :] = key_states
        self._values[..., start:end, :] = value_states
        self.keys, self.values = self._keys[..., :end, :], self._values[..., :end, :]
        return self.keys, self.values


def _with_room(states: Tensor, room: int) -> Tensor:
    """Return an empty tensor for states (1, heads, ids, head_dim) and `room` more ids."""
    *shape, ids, width = states.shape
    return states.new_empty(*shape, ids + room, width)
