"""The cluster that is looked at: its listeners, its processes, its logs."""

import json
import os
import tomllib
from pathlib import Path

from listeners import Admin, Bare, Catalog, Peers, Public, Service

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# How much of each log was read, by this program or an earlier one of the same run: what others did to the cluster in
# between is looked at too.
LOGS_READ = "logs-read.json"


def address(text):
    """Host and port."""
    host, _, port = text.rpartition(":")
    return host, int(port)


class Cluster:
    """A cluster that scripts/cluster started."""

    def __init__(self, config, data, out):
        self.config = tomllib.loads(Path(config).read_text())
        self.data = Path(data)
        self.pids = {file.stem: int(file.read_text()) for file in sorted((self.data / "run").glob("*.pid"))}
        self.logs_read = Path(out) / LOGS_READ
        read = json.loads(self.logs_read.read_text()) if self.logs_read.exists() else {}
        self.logs = {file: read.get(file.name, 0) for file in sorted((self.data / "log").glob("*.log"))}

    def listeners(self):
        """All of them."""
        frontend, replicas = self.config["frontend"], self.config["replica"]
        inner = ("/livez", "/readyz", "/rm?stock_name=x")
        listeners = [
            Public("frontend", address(frontend["public"])),
            Catalog("catalog", address(self.config["catalog"]["service"])),
            Bare("frontend internal", address(frontend["internal"]), inner, "/invalidation/GameStart", (200,)),
            Bare("frontend admin", address(frontend["admin"]), ("/livez", "/metrics"), "/metrics", (405,)),
        ]
        for one in replicas:
            listeners.append(Service(f"replica {one['id']}", address(one["service"])))
            listeners.append(Admin(f"replica {one['id']} admin", address(one["admin"])))
            listeners.append(Peers(f"replica {one['id']} peers", address(one["peers"])))
        return listeners

    def taken(self):
        """What each process takes: bytes in memory, open files, threads. None for one that is gone."""
        return {name: taken_by(pid) for name, pid in self.pids.items()}

    def files_max(self, name):
        """How many files a process may open."""
        for line in Path(f"/proc/{self.pids[name]}/limits").read_text().splitlines():
            if line.startswith("Max open files"):
                return int(line.split()[3])
        raise RuntimeError("the system does not say how many files may be open")

    def complaints(self):
        """New lines of logs that tell of a fault."""
        found = []
        for file, seen in self.logs.items():
            with file.open("rb") as log:
                log.seek(seen)
                lines = log.read()
            self.logs[file] = seen + len(lines)
            for line in lines.splitlines():
                if b"panicked" in line or b" ERROR " in line or b"diverge" in line:
                    found.append(f"{file.name}: {line.decode(errors='replace')}")
        self.logs_read.write_text(json.dumps({file.name: seen for file, seen in self.logs.items()}))
        return found

    def gone(self):
        """Processes that are no more."""
        return [f"{name} is gone" for name, taken in self.taken().items() if taken is None]


def taken_by(pid):
    """What a process takes, or none if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * PAGE_BYTES, len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))
    except (OSError, IndexError):
        return None
