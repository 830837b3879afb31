"""fakeredis's server as a process of its own, for machines without Redis: `python -m
anju.demo.fake_redis PORT`.
"""

from __future__ import annotations

import sys

from fakeredis import TcpFakeServer

if __name__ == "__main__":
    TcpFakeServer(("127.0.0.1", int(sys.argv[1])), server_type="redis").serve_forever()
