"""Turn the runs of all rounds into one page: a table per workload, and how
sdlua stands against what was promised."""

import datetime
import os
import platform
from statistics import median

# workload, compared with, the figure to reach, the tighter target
FIGURES = [
    ("W1", "floor-uv", 1.3, 1.15),
    ("W1", "nginx-lua", 1.0, 0.65),
    ("W1", "node", 1.0, None),
    ("W2", "floor-uv", 1.4, 1.25),
    ("W2", "node", 1.0, None),
    ("W2 x16", "floor-uv", 4.2, 3.5),
    ("W2 x16", "node", 1.0, 0.6),
    ("W3", "nginx-lua", 1.0, None),
    ("W3", "node", 1.0, None),
    ("W3 x16", "floor-uv", 2.2, 1.8),
    ("W3 x16", "nginx-lua", 1.0, None),
    ("W3 x16", "node", 1.0, None),
    ("W4 1k", "floor-epoll", 1.15, None),
    ("W4 1k", "floor-uv", 1.15, 1.1),
    ("W4 10k", "floor-epoll", 1.15, None),
    ("W4 10k", "floor-uv", 1.15, 1.1),
    ("W8", "floor-uv", 1.3, 1.15),
    ("W8", "nginx-lua", 1.0, None),
    ("W8", "node", 1.0, None),
]
# what, (workload, server), compared with, key, to reach, the tighter target
ACROSS = [
    ("W4 1k x16: CPU against W4 1k", ("W4 1k x16", "sdlua"),
     ("W4 1k", "sdlua"), "cpu_us", 0.3, 0.25),
    ("W4 10k x16: CPU against W4 10k", ("W4 10k x16", "sdlua"),
     ("W4 10k", "sdlua"), "cpu_us", 0.3, 0.25),
    ("uid x16: CPU of both workers against W2 x16", ("uid x16", "sdlua-2"),
     ("W2 x16", "sdlua"), "cpu_us", 1.6, None),
    ("uid: median latency against an eventfd ping-pong", ("uid", "sdlua-2"),
     ("hops", "eventfd ping-pong, there and back"), "p50_us", 3, None),
]
RING_US = 0.3     # one message through the ring, both ends busy
BYTES = [("W7", 1024), ("W7 ws", 1536)]
CALLS = 1.05      # read and write calls per request against floor-uv
RARE = 0.01       # so few are a timer's
GRACE = 1.1
START_SECONDS = 0.5
WORKER_PSS = 8 << 20


def mid(runs, key):
    return median(r[key] for r in runs)


def ratio(runs, base, key="cpu_us"):
    """Median of the ratios within the rounds: both had the same minute."""
    pairs = [a[key] / b[key] for a, b in zip(runs, base) if b[key] > 0]
    return median(pairs) if pairs else None


def verdict(value, limit):
    if value <= limit:
        return "met"
    return "within 10 %" if value <= limit * GRACE else "missed"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def load_table(servers):
    base = servers.get("floor-uv")
    rows = []
    for name, runs in servers.items():
        r = ratio(runs, base) if base else None
        rows.append([
            name, f"{mid(runs, 'cpu_us'):.2f}", f"{r:.2f}" if r else "-",
            f"{mid(runs, 'rate'):,.0f}", f"{mid(runs, 'p50_us'):.0f}",
            f"{mid(runs, 'p99_us'):.0f}", f"{mid(runs, 'p999_us'):.0f}",
            f"{mid(runs, 'reads'):.3f}", f"{mid(runs, 'writes'):.3f}"])
    return table(["server", "CPU us/request", "x floor-uv", "requests/s",
                  "p50 us", "p99 us", "p99.9 us", "reads", "writes"], rows)


def idle_table(servers):
    return table(["server", "bytes per conn", "PSS with none"],
                 [[name, f"{r['bytes_per_conn']:,.0f}",
                   f"{r['pss_before'] / 1024:,.0f} KiB"]
                  for name, (r,) in servers.items()])


def hop_table(servers):
    return table(["between two processes", "p50 us"],
                 [[name, f"{mid(runs, 'p50_us'):.2f}"]
                  for name, runs in servers.items()])


def slow_table(policies):
    rows = []
    for policy, (r,) in policies.items():
        rows.append([policy, f"{r['megabytes']:.0f}", f"{r['seconds']:.0f}",
                     f"{r['rss_before'] / (1 << 20):.1f}",
                     f"{r['rss_peak'] / (1 << 20):.1f}",
                     f"{100 * r['dropped']:.0f} %"])
    return table(["policy", "MB/s to all", "seconds", "MiB resident before",
                  "at most", "dropped for the slow"], rows)


TABLES = {"W7": idle_table, "W7 ws": idle_table, "hops": hop_table,
          "slow": slow_table}  # all others: load_table


def ratio_rows(results):
    rows = []
    for workload, other, limit, target in FIGURES:
        servers = results.get(workload, {})
        if "sdlua" not in servers or other not in servers:
            continue
        r = ratio(servers["sdlua"], servers[other])
        rows.append([f"{workload}: CPU against {other}", f"{r:.2f}",
                     f"<= {limit}", f"<= {target}" if target else "-",
                     verdict(r, limit)])
    return rows


def across_rows(results):
    rows = []
    for what, ours, base, key, limit, target in ACROSS:
        runs, other = (results.get(w, {}).get(s) for w, s in (ours, base))
        if runs and other:
            r = ratio(runs, other, key)
            rows.append([what, f"{r:.2f}", f"<= {limit}",
                         f"<= {target}" if target else "-",
                         verdict(r, limit)])
    ring = results.get("hops", {}).get("ring, busy, one way")
    if ring:
        r = mid(ring, "p50_us")
        rows.append(["a hop through the ring, both ends busy, us",
                     f"{r:.2f}", f"<= {RING_US}", "-", verdict(r, RING_US)])
    return rows


def slow_rows(results):
    rows = []
    for policy, (r,) in results.get("slow", {}).items():
        size = r["rss_peak"] - r["rss_before"]
        rows.append([f"slow readers, {policy}: resident MiB over the empty "
                     "worker", f"{size / (1 << 20):.1f}",
                     f"<= {r['bound'] / (1 << 20):.0f}", "-",
                     verdict(size, r["bound"])])
    return rows


def call_rows(results):
    rows = []
    for workload, servers in results.items():
        for key in ("reads", "writes"):
            runs, base = servers.get("sdlua"), servers.get("floor-uv")
            r = runs and base and ratio(runs, base, key) \
                if TABLES.get(workload, load_table) is load_table else None
            if r is not None and mid(base, key) > RARE:
                rows.append([f"{workload}: {key} against floor-uv",
                             f"{r:.3f}", f"<= {CALLS}", "-",
                             "met" if r <= CALLS else "missed"])
    return rows


def size_rows(results, start):
    rows = []
    for workload, limit in BYTES:
        if "sdlua" in results.get(workload, {}):
            size = results[workload]["sdlua"][0]["bytes_per_conn"]
            rows.append([f"{workload}: bytes per idle conn", f"{size:,.0f}",
                         f"<= {limit:,}", "-", verdict(size, limit)])
    if start:
        rows.append(["start to serving, s", f"{start['start_seconds']:.2f}",
                     f"<= {START_SECONDS}", "-",
                     verdict(start["start_seconds"], START_SECONDS)])
        rows.append(["empty worker, MiB",
                     f"{start['worker_pss'] / (1 << 20):.1f}",
                     f"<= {WORKER_PSS >> 20}", "-",
                     verdict(start["worker_pss"], WORKER_PSS)])
    return rows


def machine():
    model = "unknown CPU"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"


def render(flags, results, missing, start, versions):
    """The page, and whether a figure was missed."""
    now = datetime.datetime.now(datetime.timezone.utc)
    parts = [
        "# Results of `make bench`\n",
        f"{now:%Y-%m-%d %H:%M} UTC. {machine()}.\n",
        ", ".join(f"{k} {v}" for k, v in versions.items()) + ".\n",
        f"Medians of {flags.rounds} interleaved rounds of {flags.seconds} s, "
        "64 conns, server on core 0, load generator on core 1. Every reply "
        "was verified. CPU is user and system time of all processes of the "
        "server; reads and writes are calls per request (recv and send are "
        "not counted by the kernel here). In W4 a request is a delivery. Of "
        "sdlua-2, worker 0 is on core 0 and worker 1 on core 1, the load "
        "generator on both.\n",
    ]
    for name, why in missing.items():
        parts.append(f"**{name}: not available**: {why}\n")
    rows = ratio_rows(results) + across_rows(results) + \
        call_rows(results) + slow_rows(results) + size_rows(results, start)
    if rows:
        parts.append("## sdlua against its figures\n")
        parts.append(table(["figure", "measured", "to reach", "target", ""],
                           rows))
    for workload, servers in results.items():
        parts.append(f"## {workload}\n")
        parts.append(TABLES.get(workload, load_table)(servers))
    return "\n".join(parts), any(r[-1] == "missed" for r in rows)
