"""What the codecs have in common that code planes of luma and chroma with one quantiser for each block.

Rooms: `planes` (colour, subsampling, emphasis), `needs` (from what a network needs to the steps of blocks) and `codec`,
the base of such a codec, to which a format adds its engine: planes and steps in, bytes out.
"""
