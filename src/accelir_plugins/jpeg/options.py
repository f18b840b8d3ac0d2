"""The options of the JPEG codec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from accelir.codec import CodecOptions
from accelir_plugins.planar.planes import Chroma

__all__ = ["JpegOptions"]


class JpegOptions(CodecOptions):
    """Options of the JPEG codec.

    Attributes:
        subsampling: Of the chroma: halved both ways, in width only, or not; "auto" writes "420" and "444", of large
            pictures a sample, and keeps the one whose error will cost less after restoration; "420" beside an Estimate
            that is handed over.
        restart_interval: Rows of MCUs after which coding starts anew, so that damage to the file does not spread; as
            ``cjpeg -restart``. Fewer where that would be more than 65535 blocks of luma; 0 writes no restart markers.
        process: "progressive" files are a little smaller, but for small pictures; "smaller" writes both and keeps one.
        rdo: Lambda relative to the squared step; 0 rounds to the nearest.
        rdo_falloff: With which power of the step that falls, being as it is at a step of 16: with 1, lambda is
            proportional to the step. Only where no reference guides.
        guided_rdo: The same where a reference guides. What zeroing costs after restoration then comes back in the
            coefficients that are wanted, so that lambda need not be held down for it, and ``zeroing`` counts as 1.
        table: "shaped" follows the sensitivity, "flat" has one step, "annex-k" is the standard's, scaled.
        shape: Steps are proportional to sensitivity^(-shape / 2); only for "shaped".
        trust: Errors weigh sensitivity^trust * norm^(1 - trust), the norm being what they cost without a network.
        zeroing: What dropping a coefficient costs, relative to its weighted square: below 1 where a network minds that
            less than the second order of its error says.
        emphasis: By which share the highest frequency of the luma is made larger before it is quantised; lower ones in
            proportion to their frequency. Gives back beforehand some of the sharpness that zeroed coefficients take.
        chroma_emphasis: The same of the chroma.
        chroma: How it is halved where it is halved both ways: "average" is libjpeg's; "sharp" decodes nearest to the
            picture where the decoder doubles by the triangle filter, as most do, and luma takes back what it can of the
            error that is left.
        compensation: Which share of what coded chroma is off by luma takes back, of what it could. Not where levels are
            just rounded, nor where a reference guides.
    """

    subsampling: Literal["420", "422", "444", "auto"] = "420"
    restart_interval: int = Field(default=0, ge=0)
    process: Literal["baseline", "progressive", "smaller"] = "baseline"
    rdo: float = Field(default=0.05, ge=0, le=10)
    rdo_falloff: float = Field(default=0.0, ge=-2, le=2)
    guided_rdo: float = Field(default=0.15, ge=0, le=10)
    table: Literal["shaped", "flat", "annex-k"] = "shaped"
    shape: float = Field(default=1.0, ge=0, le=4)
    trust: float = Field(default=1.0, ge=0, le=2)
    zeroing: float = Field(default=1.0, ge=0.25, le=4)
    emphasis: float = Field(default=0.0, ge=-1, le=4)
    chroma_emphasis: float = Field(default=0.0, ge=-1, le=4)
    chroma: Chroma = "sharp"
    compensation: float = Field(default=0.7, ge=0, le=1)
