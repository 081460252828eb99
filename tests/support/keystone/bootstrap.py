"""Create keystone's database and Fernet keys: run several commands of keystone-manage in one process.

Each command as a process of its own takes 3 s of processor time, most of it for imports.
"""

from __future__ import annotations

import json
import sys

from keystone.cmd import cli


def main() -> None:
    for arguments in json.load(sys.stdin):
        cli.CONF.reset()
        cli.main(["keystone-manage", *arguments])


if __name__ == "__main__":
    main()
