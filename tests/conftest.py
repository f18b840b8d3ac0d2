"""What all tests share."""

import os

# The tensors of the tests are small: threads that wait for each other on a busy machine take longer than the work.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A developer's strictness is no part of what is tested.
os.environ.pop("ACCELIR_STRICT_PLUGINS", None)
