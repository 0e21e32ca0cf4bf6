"""The fuzzer's target, for a moment; `nox -s fuzz -- SECONDS` takes longer. Each of its findings is an example here."""

from __future__ import annotations

import pytest
from fuzz.target import Case, cases, check
from hypothesis import HealthCheck, example, given, settings

pytestmark = pytest.mark.unmeasured


def byte_by_byte(client: bool, compressed: bool, data: bytes) -> Case:
    return Case(client, compressed, data, tuple(range(len(data))), ())


# A text that is not UTF-8: the reason depended on where the frame was cut.
SPLIT_TEXT = byte_by_byte(client=False, compressed=False, data=b"\x81\x82d\xdd\xfb\x90d]\x89\x80\xbe\x8a\r\x1a")
# Corrupt, and before that not UTF-8: either may be seen first.
TWO_FAULTS = byte_by_byte(client=False, compressed=True, data=b"\xc1\x86G\xbd\x1d\x7f%\xdc}\x87M\xbc")
# Empty blocks that end the stream of deflate: they were counted in each portion, not in the message.
FINAL_BLOCKS = byte_by_byte(client=True, compressed=True, data=b"\x41\x24" + b"\x03\x00" * 18)


@given(case=cases())
@example(case=FINAL_BLOCKS)
@example(case=SPLIT_TEXT)
@example(case=TWO_FAULTS)
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_bytes_however_cut_come_to_one_end(case: Case) -> None:
    """No exception, no hang, no more memory than the limits allow, one CloseEvent, and the cuts do not matter."""
    check(case)
