"""The conformance kit: what every codec, network, task, profiler and allocator promises, as checks that anyone can run.

All checks at once, here for a codec:

    from accelir.testing import check_codec

    check_codec(MyCodec())

Or each as a test of its own; a check that does not apply raises `unittest.SkipTest`, which pytest reports as skipped:

    from accelir.testing import codec_checks

    @pytest.mark.parametrize(("name", "check"), codec_checks())
    def test_contract(name, check):
        check(MyCodec())
"""

from accelir.pictures import picture
from accelir.testing.allocators import allocator_checks, check_allocator
from accelir.testing.codecs import check_codec, codec_checks
from accelir.testing.networks import check_network, network_checks
from accelir.testing.profilers import check_profiler, profiler_checks
from accelir.testing.suite import ConformanceError
from accelir.testing.tasks import check_task, task_checks

__all__ = [
    "ConformanceError",
    "allocator_checks",
    "check_allocator",
    "check_codec",
    "check_network",
    "check_profiler",
    "check_task",
    "codec_checks",
    "network_checks",
    "picture",
    "profiler_checks",
    "task_checks",
]
