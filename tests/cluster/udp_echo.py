"""Sends back what it gets: `python -m tests.cluster.udp_echo ADDRESS PORT`."""

import socket
import sys
from contextlib import suppress


def main() -> None:
    """Run until killed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind((sys.argv[1], int(sys.argv[2])))
        while True:
            data, sender = door.recvfrom(100)
            with suppress(PermissionError):  # this host loses packets: so it is told
                door.sendto(data, sender)


if __name__ == "__main__":
    main()
