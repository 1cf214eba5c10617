#!/usr/bin/env python3
"""Outrigger beside HAProxy and Envoy: CPU microseconds of the proxy per request.

One worker each, pinned to CPU 0; load (wrk, iperf3) and back end (nginx) on CPU 1. Rounds are
interleaved; medians, with the least and the greatest. CPU is the run time of all threads of the
proxy (/proc/PID/task/*/schedstat), which leaves out softirq time. Access logs are off everywhere.
Everything stays on loopback and ends by itself.

    benches/compare.py [--rounds N] [--seconds S] [--only keepalive,churn,bulk,body,routes] [--proxies a,b]
"""
import argparse, glob, json, os, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUTRIGGER = os.environ.get("OUTRIGGER_BIN", os.path.join(ROOT, "target/release/outrigger"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, child, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if child.poll() is not None:
            sys.exit(f"{child.args} ended with {child.returncode}")
        with socket.socket() as s:
            s.settimeout(0.2)
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    sys.exit(f"nothing listens on {port}")


class Children:
    def __init__(self):
        self.all = []

    def start(self, cpu, *args, **kw):
        child = subprocess.Popen(["taskset", "-c", str(cpu), *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kw)
        self.all.append(child)
        return child

    def stop(self):
        for child in self.all:
            if child.poll() is None:
                child.terminate()
        for child in self.all:
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()


def tree(pid):
    """The process and its children: nginx and HAProxy keep a master."""
    pids = [pid]
    for child in open(f"/proc/{pid}/task/{pid}/children").read().split():
        pids += tree(int(child))
    return pids


def cpu_ns(pid):
    total = 0
    for p in tree(pid):
        for path in glob.glob(f"/proc/{p}/task/*/schedstat"):
            total += int(open(path).read().split()[0])
    return total


def rss_mib(pid):
    kib = 0
    for p in tree(pid):
        kib += int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{p}/status").read()).group(1))
    return kib / 1024


def outrigger_config(dir, port, backend, tcp, routes):
    if tcp:
        listeners = [{"name": "l", "bind": f"127.0.0.1:{port}", "protocol": "tcp", "cluster": "b"}]
    else:
        listeners = [{"name": "l", "bind": f"127.0.0.1:{port}", "protocol": "http"}]
    config = {
        "version": 1,
        "mesh": {"workers": 1, "drain": {"grace": "0s", "deadline": "1s"}},
        "listeners": listeners,
        "clusters": [{"name": "b", "endpoints": [f"127.0.0.1:{backend}"]}],
        "routes": []
        if tcp
        else [{"name": f"r{i}", "hosts": [f"h{i}.example"], "rules": [{"backends": [{"cluster": "b"}]}]} for i in range(routes)]
        + [{"name": "all", "rules": [{"backends": [{"cluster": "b"}]}]}],
    }
    path = os.path.join(dir, "outrigger.json")
    json.dump(config, open(path, "w"))
    return [OUTRIGGER, "run", "--config", path, "--log-level", "error"]


def haproxy_config(dir, port, backend, tcp, routes):
    rules = "".join(f"  use_backend b if {{ hdr(host) -m str h{i}.example }}\n" for i in range(min(routes, 1)))
    path = os.path.join(dir, "haproxy.cfg")
    mode = "tcp" if tcp else "http"
    extra = "" if tcp else "  http-request set-header X-Forwarded-Proto http\n  option forwardfor\n  unique-id-format %{+X}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid\n  unique-id-header X-Request-ID\n"
    open(path, "w").write(
        f"global\n  nbthread 1\n  maxconn 4000\ndefaults\n  mode {mode}\n  timeout client 60s\n  timeout server 60s\n  timeout connect 5s\n"
        f"frontend f\n  bind 127.0.0.1:{port}\n{extra if not tcp else ''}{rules}  default_backend b\nbackend b\n{'' if tcp else '  http-reuse always' + chr(10)}  server s 127.0.0.1:{backend}\n"
    )
    return ["haproxy", "-db", "-f", path]


def envoy_config(dir, port, backend, tcp, routes):
    if tcp:
        filters = [{"name": "envoy.filters.network.tcp_proxy", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "t", "cluster": "b"}}]
    else:
        hosts = [{"name": f"r{i}", "domains": [f"h{i}.example"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "b"}}]} for i in range(routes)]
        hosts.append({"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "b"}}]})
        filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "h", "use_remote_address": True, "route_config": {"virtual_hosts": hosts}, "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}}]
    config = {
        "static_resources": {
            "listeners": [{"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}, "filter_chains": [{"filters": filters}]}],
            "clusters": [{"name": "b", "type": "STATIC", "circuit_breakers": {"thresholds": [{"max_connections": 20000, "max_pending_requests": 20000, "max_requests": 20000}]}, "load_assignment": {"cluster_name": "b", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": backend}}}}]}]}}],
        }
    }
    path = os.path.join(dir, "envoy.json")
    json.dump(config, open(path, "w"))
    return ["envoy", "-c", path, "--concurrency", "1", "-l", "error", "--disable-hot-restart"]


PROXIES = {"outrigger": outrigger_config, "haproxy": haproxy_config, "envoy": envoy_config}


def real_pid(child):
    """taskset execs; envoy's launcher may not."""
    return child.pid


def wrk(port, seconds, connections, path="/", headers=()):
    args = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    for header in headers:
        args += ["-H", header]
    out = subprocess.run([*args, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, timeout=seconds + 30).stdout
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    failed = (int(errors.group(1)) if errors else 0) + (sum(map(int, broken.groups())) if broken else 0)
    p99 = re.search(r"99%\s+([\d.]+\w+)", out).group(1)
    return requests, failed, p99


def iperf(port, gib):
    out = subprocess.run(["taskset", "-c", "1", "iperf3", "-c", "127.0.0.1", "-p", str(port), "-n", f"{gib}G", "-J", "--connect-timeout", "5000"], capture_output=True, text=True, timeout=120).stdout
    result = json.loads(out)
    return result["end"]["sum_received"]["bytes"], result["end"]["sum_received"]["bits_per_second"]


def nginx_config(dir, port):
    body = "x" * 1024
    open(os.path.join(dir, "big"), "wb").write(b"y" * (1 << 20))
    path = os.path.join(dir, "nginx.conf")
    open(path, "w").write(
        f"daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;\n"
        "events { worker_connections 8192; }\nhttp { access_log off; keepalive_requests 100000000; keepalive_timeout 600s; sendfile on; tcp_nopush off; default_type text/plain;\n"
        f"server {{ listen 127.0.0.1:{port} backlog=4096; root {dir}; location / {{ return 200 '{body}'; }} location /big {{ }} }} }}\n"
    )
    return ["nginx", "-c", path]


def run(args):
    dir = tempfile.mkdtemp(prefix="outrigger-bench-")
    os.chmod(dir, 0o755)
    children = Children()
    try:
        backend = free_port()
        wait_port(backend, children.start(1, *nginx_config(dir, backend)))
        results = {}
        for scenario in args.only.split(","):
            tcp = scenario == "bulk"
            target = backend
            if tcp:
                target = free_port()
                wait_port(target, children.start(1, "iperf3", "-s", "-p", target))
            running = {}
            for name in args.proxies.split(","):
                if not shutil.which(PROXIES[name](dir, 1, 1, False, 0)[0]):
                    print(f"{name}: not installed, left out")
                    continue
                port = free_port()
                routes = 10_000 if scenario == "routes" else 0
                child = children.start(0, *PROXIES[name](dir, port, target, tcp, routes))
                wait_port(port, child, 60)
                running[name] = (port, child)
            for round in range(args.rounds + 1):
                for name, (port, child) in running.items():
                    pid = child.pid
                    before = cpu_ns(pid)
                    began = time.monotonic()
                    if tcp:
                        count, rate = iperf(port, 2)
                        row = {"cpu": (cpu_ns(pid) - before) / 1e9 / (count / (1 << 30)), "rate": rate / 1e9, "failed": 0}
                    else:
                        headers = {"churn": ["Connection: close"], "routes": ["Host: h9999.example"]}.get(scenario, [])
                        connections = {"churn": 16, "body": 16}.get(scenario, 64)
                        count, failed, p99 = wrk(port, args.seconds, connections, "/big" if scenario == "body" else "/", headers)
                        row = {"cpu": (cpu_ns(pid) - before) / 1e3 / count, "rate": count / (time.monotonic() - began), "failed": failed, "p99": p99}
                    row["rss"] = rss_mib(pid)
                    if round > 0:
                        results.setdefault(scenario, {}).setdefault(name, []).append(row)
            unit = "s/GiB" if tcp else "us/req"
            print(f"\n{scenario}  ({args.rounds} rounds)")
            for name, rows in results[scenario].items():
                cpu = [r["cpu"] for r in rows]
                rate = statistics.median(r["rate"] for r in rows)
                print(f"  {name:10} {statistics.median(cpu):8.3f} {unit}  ({min(cpu):.3f}..{max(cpu):.3f})  {rate:10.1f} {'Gbit/s' if tcp else 'req/s'}  failed {sum(r['failed'] for r in rows)}  rss {rows[-1]['rss']:.1f} MiB  p99 {rows[-1].get('p99', '-')}")
            for name in ("haproxy", "envoy"):
                if name in results[scenario] and "outrigger" in results[scenario]:
                    ratio = statistics.median(r["cpu"] for r in results[scenario]["outrigger"]) / statistics.median(r["cpu"] for r in results[scenario][name])
                    print(f"  outrigger / {name}: {ratio:.2f}")
            for _, child in running.values():
                child.terminate()
                try:
                    child.wait(5)
                except subprocess.TimeoutExpired:
                    child.kill()
    finally:
        children.stop()
        shutil.rmtree(dir, ignore_errors=True)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--seconds", type=int, default=3)
parser.add_argument("--only", default="keepalive,churn,bulk,body,routes")
parser.add_argument("--proxies", default="outrigger,haproxy,envoy")
run(parser.parse_args())
