"""What a child process gives up before it touches a model: its limits, its network, its parent.

`python -m repertory.models.confinement MODULE FD PARENT MEMORY FILES` gives it up and calls
`MODULE.serve(FD, network)`. Linux only. Nothing heavy is imported before: numpy starts threads, and
the network can be left only while there is one.
"""

import ctypes
import importlib
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def confine(*, parent: int, memory_bytes: int, file_bytes: int, open_files: int = 256) -> str:
    """Confine this process for good; return how far it is cut off from the network.

    * It dies with its parent, and gains no privileges.
    * Its address space, the files that it may write, and how many it may open are limited; it
      leaves no core. Its own children inherit that.
    * It loses its network, where the system lets a user do so: the answer is `none`, or
      `not isolated: …` with the reason.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before it was bound to us
        os._exit(1)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends this process
    network = _leave_network()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, open_files),
    ):
        _lower(limit, value)
    return network


def allow_cpu_seconds(seconds: float) -> None:
    """Let this process use `seconds` of processor time from now on; beyond that it is killed."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(usage.ru_utime + usage.ru_stime + seconds) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(limit, (value, value))


def _leave_network() -> str:
    user, group = os.getuid(), os.getgid()
    if _libc.unshare(_CLONE_NEWNET) == 0:
        return "none"
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return f"not isolated: {os.strerror(ctypes.get_errno())}"
    # Keep our own ids, so that files look as they did.
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        try:
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        except OSError:
            break  # the ids then show as nobody's, which changes no access
    return "none"


def main(module: str, *numbers: str) -> None:
    """Confine this process, and be `module` from then on."""
    handle, parent, memory_bytes, file_bytes = map(int, numbers)
    network = confine(parent=parent, memory_bytes=memory_bytes, file_bytes=file_bytes)
    importlib.import_module(module).serve(handle, network)
    os._exit(0)  # the threads of engines would make an orderly end long


if __name__ == "__main__":
    main(*sys.argv[1:])
