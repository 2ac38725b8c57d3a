"""Gives up every privilege, before anything large is imported.

Owns the flags of the process. Imports next to nothing but the standard library.
"""

import os
import resource
import signal
from pathlib import Path
from typing import Final

from controlplane.link.account import Account
from controlplane.link.credentials import PR_SET_DUMPABLE, become, die_with_parent, no_new_privileges, prctl

MAX_BYTES: Final = 512 * 1024 * 1024
"""Memory, stacks of threads included; some 200 MiB of it were used with all under way that may be. gRPC holds
nobody to a limit of metadata who has not agreed to it: without this, a stranger could have all memory."""


def drop(owner: Account) -> None:
    """Become the account and keep nothing: no group, no capability, no way back. Raises PrivilegesError.

    Not root: there is nothing to give up, and only the flags of the process are set.
    """
    no_new_privileges()
    if os.geteuid() == 0:
        # The arc is the last to be killed for want of memory; this process can be started again.
        Path("/proc/self/oom_score_adj").write_text("0", encoding="ascii")
        become(owner)
    # A change of credentials resets both flags, so they come after it. A core would hold journal and keys.
    prctl(PR_SET_DUMPABLE, 0)
    die_with_parent(signal.SIGTERM)
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))
    os.umask(0o077)
