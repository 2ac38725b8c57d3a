"""What decoding bytes of unknown origin may raise, in one place so that nobody forgets the second."""

from typing import Final

import msgspec

MALFORMED: Final = (msgspec.MsgspecError, UnicodeDecodeError)
"""msgspec leaves text that is not UTF-8 to Python, whose error is none of msgspec's."""
