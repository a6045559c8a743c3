"""A Ray cluster whose nodes are processes on this machine, as a process of its own: `ray_nodes.py FOLDER`.

It prints the address, then obeys words on stdin, answering with the word: `add` starts another node, `kill` ends it
with everything in it, as a power cut would. The end of stdin ends the cluster.
"""

from __future__ import annotations

import sys

import ray  # noqa: F401  (it brings psutil)
from ray.cluster_utils import Cluster

import psutil  # isort: skip

SIZE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}

cluster = Cluster(
    initialize_head=True,
    head_node_args={**SIZE, "include_dashboard": False, "temp_dir": sys.argv[1]},
)
added = []
try:
    sys.stdout.write(f"{cluster.address}\n")
    sys.stdout.flush()
    for word in map(str.strip, sys.stdin):
        if word == "add":
            added.append(cluster.add_node(**SIZE))
        elif word == "kill":
            node = added.pop()
            raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
            for process in [raylet, *raylet.children(recursive=True)]:
                process.kill()
            cluster.remove_node(node, allow_graceful=False)
        sys.stdout.write(f"{word}\n")
        sys.stdout.flush()
finally:
    cluster.shutdown()
