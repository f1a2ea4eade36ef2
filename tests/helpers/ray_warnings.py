"""What Ray and its dependencies print of themselves: the mark of every test file that starts Ray or imports it."""

import pytest

# Of Ray's ways with asyncio and with NumPy, in whatever module that is noticed, and of its programs, which it does not
# wait for.
RAYS_WARNINGS = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:subprocess .*:ResourceWarning")
