"""AVIF by libaom as Pillow brings it, with a quantiser for each superblock of 64x64 pixels."""

from accelir_plugins.avif.codec import AvifCodec, AvifOptions

__all__ = ["AvifCodec", "AvifOptions"]
