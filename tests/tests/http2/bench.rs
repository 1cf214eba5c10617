//! A proxy to be attacked by HTTP/2 clients, a bystander whom that must not concern, and what
//! either of them may cost.

use std::{
    fs,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use outrigger_tests::{
    frames::{Client, Frame, code},
    proxy::{Proxy, Setup},
    upstream::Upstream,
    wait,
};

/// How much the proxy may grow under an attack of one client (S30).
const GROWTH: usize = 10 << 20;
/// How long a bystander's request may take while others attack, without the time in which who had
/// to act was ready and the machine ran something else. A request takes less than a millisecond;
/// what is told apart here is a worker that is busy from one that is held.
const PATIENCE: Duration = Duration::from_secs(1);

/// A proxy with the listener `web`, which takes HTTP/2 with prior knowledge, before one back
/// end. What a bystander asks for goes to another: what is judged is the proxy.
pub(crate) struct Bench {
    pub(crate) proxy: Proxy,
    pub(crate) up: Upstream,
    aside: Aside,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with("", Upstream::echo())
    }

    /// With settings of `http` on the listener, and this back end.
    pub(crate) fn with(http: &str, up: Upstream) -> Self {
        Self::with_mesh("", http, up)
    }

    /// With these settings of the cluster.
    pub(crate) fn towards(cluster: &str, up: Upstream) -> Self {
        Self::of("", "", cluster, up)
    }

    /// With a line of `mesh`.
    pub(crate) fn with_mesh(mesh: &str, http: &str, up: Upstream) -> Self {
        let bench = Self::of(mesh, http, "pool: { max_connections: 10000 }", up);
        // What is made once is not what an attack costs.
        assert_eq!(bench.client().get("/warm").status(), 200);
        bench
    }

    fn of(mesh: &str, http: &str, cluster: &str, up: Upstream) -> Self {
        let aside = Aside::start();
        let setup = Setup::new(&format!(
            "listeners:\n  - {{ name: web, bind: '127.0.0.1:0', protocol: auto, http: {{ {http} }} }}\n\
             routes:\n  - {{ name: all, rules: [{{ matches: [{{ path: {{ exact: /bystander }} }}], backends: [{{ cluster: aside }}] }}, {{ backends: [{{ cluster: back }}] }}] }}\n\
             clusters:\n  - {{ name: back, endpoints: ['{}'], {cluster} }}\n  - {{ name: aside, endpoints: ['{}'] }}\n",
            up.address, aside.up.address
        ));
        let proxy = setup.mesh(mesh).start();
        Self { proxy, up, aside }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.proxy.web())
    }

    pub(crate) fn client_with(&self, settings: &[(u16, u32)]) -> Client {
        Client::connect_with(self.proxy.web(), settings)
    }

    /// How often a cause was counted.
    pub(crate) fn counted(&self, cause: &str) -> f64 {
        let metrics = self.proxy.metrics();
        metrics.sum("outrigger_failures_total", &[("cause", cause)])
    }

    /// Waits until a cause is counted, `times` in all, and is in the log.
    #[track_caller]
    pub(crate) fn blames(&self, cause: &str, times: usize) {
        wait::until(&format!("{times} {cause} in the metrics"), || {
            (self.counted(cause) >= times as f64).then_some(())
        });
        wait::until(&format!("{cause} in the log"), || {
            let log = self.proxy.log();
            log.iter().any(|line| line["cause"] == cause).then_some(())
        });
    }

    /// Runs an attack beside a bystander, and asserts what it may cost.
    #[track_caller]
    pub(crate) fn attacked<T>(&self, attack: impl FnOnce(&Self) -> T) -> T {
        let before = memory(&self.proxy);
        let bystander = Bystander::start(self);
        let result = attack(self);
        let (requests, worst) = bystander.finish();
        assert!(requests > 0, "the bystander had no answer at all");
        assert!(worst < PATIENCE, "a bystander waited {worst:?}");
        let grown = memory(&self.proxy).saturating_sub(before);
        assert!(grown < GROWTH, "it took {} KiB", grown >> 10);
        result
    }

    /// Hundredths of a second of a processor that it used so far.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.proxy.process.id())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let fields: Vec<_> = fields.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

/// Resident bytes.
pub(crate) fn memory(proxy: &Proxy) -> usize {
    let pages = fs::read_to_string(format!("/proc/{}/statm", proxy.process.id())).unwrap();
    let pages = pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
    pages * 4_096
}

/// Most resident bytes so far.
pub(crate) fn most_memory(proxy: &Proxy) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.process.id())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let most = most.unwrap().trim().trim_end_matches(" kB");
    most.parse::<usize>().unwrap() << 10
}

/// What answers the bystander.
pub(crate) struct Aside {
    up: Upstream,
    held_up: Arc<AtomicU64>,
}

impl Aside {
    fn start() -> Self {
        let held_up = Arc::new(AtomicU64::new(0));
        let total = Arc::clone(&held_up);
        let up = Upstream::script(move |peer| {
            let mut before = held_up_here();
            while peer.request().is_some() {
                let now = held_up_here();
                total.fetch_add(now - before, Ordering::SeqCst);
                before = now;
                peer.answer(200, b"aside");
            }
        });
        Self { up, held_up }
    }
}

/// Nanoseconds for which a thread was ready to run so far and did not: the second field of its
/// `schedstat`.
fn held_up(schedstat: &str) -> u64 {
    let text = fs::read_to_string(schedstat).unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

fn held_up_here() -> u64 {
    held_up("/proc/thread-self/schedstat")
}

/// A client that does nothing wrong, for as long as it is looked at.
struct Bystander {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Duration)>,
}

impl Bystander {
    fn start(bench: &Bench) -> Self {
        let mut client = bench.client();
        let process = &bench.proxy.process;
        let worker = process.thread("worker-0").expect("a worker");
        let worker = format!("/proc/{}/task/{worker}/schedstat", process.id());
        let aside = Arc::clone(&bench.aside.held_up);
        let all = move || held_up(&worker) + aside.load(Ordering::SeqCst) + held_up_here();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut requests, mut worst) = (0, Duration::ZERO);
            loop {
                let (began, before) = (Instant::now(), all());
                assert_eq!(client.get("/bystander").status(), 200);
                let held_up = Duration::from_nanos(all() - before);
                worst = worst.max(began.elapsed().saturating_sub(held_up));
                requests += 1;
                if told.load(Ordering::SeqCst) {
                    return (requests, worst);
                }
            }
        });
        Self { stop, thread }
    }

    fn finish(self) -> (usize, Duration) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("the bystander is unharmed")
    }
}

/// Sends frames on a thread of its own for as long as the proxy takes them, reads meanwhile, and
/// returns the code and debug data of the GOAWAY that ends it.
#[track_caller]
pub(crate) fn flood(client: &mut Client, frames: &[Frame]) -> (u32, String) {
    let bytes: Vec<_> = frames.iter().flat_map(Frame::encode).collect();
    let mut wire = client.wire.duplicate();
    let sender = std::thread::spawn(move || drop(wire.write_all(&bytes)));
    let goaway = client.goaway();
    client.end();
    sender.join().unwrap();
    goaway
}

/// A flood that is answered with `ENHANCE_YOUR_CALM` and blamed on this cause.
#[track_caller]
pub(crate) fn calmed(bench: &Bench, cause: &str, frames: &[Frame]) {
    let times = bench.counted(cause) as usize;
    let (code, debug) = flood(&mut bench.client(), frames);
    assert_eq!(code, code::ENHANCE_YOUR_CALM, "{cause}: {debug}");
    bench.blames(cause, times + 1);
}
