"""What policies may be relative to: the memory of the node, as it is when they are loaded.

In a container it is the machine's, not the container's.
"""

import os
from typing import Final

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
MEMORY: Final = os.sysconf("SC_PHYS_PAGES") * PAGE
"""Bytes."""
