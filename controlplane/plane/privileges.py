"""Gives up every privilege, before anything large is imported.

Owns the flags of the process. Imports next to nothing but the standard library.
"""

import os
import signal
from pathlib import Path

from controlplane.link.account import Account
from controlplane.link.credentials import PR_SET_DUMPABLE, become, die_with_parent, no_new_privileges, prctl


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
    os.umask(0o077)
