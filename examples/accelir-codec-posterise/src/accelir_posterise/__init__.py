"""The plugin: tells accelir of the codec without importing it."""

from accelir import CodecSpec, hookimpl


@hookimpl
def accelir_codecs() -> list[CodecSpec]:
    return [
        CodecSpec(
            name="posterise",
            factory="accelir_posterise.codec:PosteriseCodec",
            summary="A bit depth for every 8x8 block, then zlib",
            extensions=(".post",),
            signatures=(b"PSTR1",),
        )
    ]
