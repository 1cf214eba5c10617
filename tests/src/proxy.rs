//! The proxy under test: the real binary, as a user runs it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    client,
    files::{self, ConfigMap, TempDir},
    http::Message,
    metrics::Metrics,
    process::{Process, Signal},
    wait,
    wire::Address,
};

/// How a proxy is started.
#[derive(Debug)]
pub struct Setup {
    mesh: String,
    rest: String,
    descriptors: Option<u32>,
    config_map: bool,
    wrapper: Vec<String>,
    whole: bool,
    name: &'static str,
}

impl Setup {
    /// A proxy with this file and nothing added to it. `DIR` in the text stands for its folder.
    pub fn file(text: &str) -> Self {
        Self {
            whole: true,
            ..Self::new(text)
        }
    }

    /// A proxy with these `listeners`, `routes` and `clusters` (YAML, not indented), one worker,
    /// an access log in its folder and an admin interface. `DIR` in the text stands for its folder.
    pub fn new(rest: &str) -> Self {
        Self {
            mesh: "  workers: 1\n".to_owned(),
            rest: rest.to_owned(),
            descriptors: None,
            config_map: false,
            wrapper: Vec::new(),
            whole: false,
            name: "proxy.yaml",
        }
    }

    /// More settings of `mesh`, one line each.
    #[must_use]
    pub fn mesh(mut self, line: &str) -> Self {
        if line.starts_with("workers:") {
            self.mesh = self.mesh.replace("  workers: 1\n", "");
        }
        self.mesh.push_str("  ");
        self.mesh.push_str(line);
        self.mesh.push('\n');
        self
    }

    /// Limits the process to so many open files.
    #[must_use]
    pub fn descriptors(mut self, n: u32) -> Self {
        self.descriptors = Some(n);
        self
    }

    /// Names the file so that it is read as JSON.
    #[must_use]
    pub fn json(mut self) -> Self {
        self.name = "proxy.json";
        self
    }

    /// Lays the file out as Kubernetes mounts a `ConfigMap`.
    #[must_use]
    pub fn config_map(mut self) -> Self {
        self.config_map = true;
        self
    }

    /// Starts the proxy by another program (strace, prlimit). The words come before the binary.
    #[must_use]
    pub fn under(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|w| (*w).to_owned()).collect();
        self
    }

    /// The file's text.
    fn text(&self, dir: &Path, rest: &str) -> String {
        if self.whole {
            return rest.replace("DIR", &dir.display().to_string());
        }
        let log = if self.mesh.contains("access_log:") {
            ""
        } else {
            "  access_log: { format: json, output: DIR/access.log }\n"
        };
        let admin = if rest.contains("admin:") {
            ""
        } else {
            "admin: { bind: 127.0.0.1:0 }\n"
        };
        format!("version: 1\nmesh:\n{}{log}{admin}{rest}\n", self.mesh)
            .replace("DIR", &dir.display().to_string())
    }

    /// Starts it and waits until it serves.
    #[track_caller]
    pub fn start(self) -> Proxy {
        let dir = TempDir::new();
        let text = self.text(dir.path(), &self.rest);
        let map = self
            .config_map
            .then(|| ConfigMap::mount(dir.path(), self.name, &text));
        let config = dir.file(self.name);
        if map.is_none() {
            fs::write(&config, &text).unwrap();
        }
        let ready = dir.file("ready.json");
        let mut command = self.command();
        command.args(["run", "--config"]).arg(&config);
        command.arg("--ready-file").arg(&ready);
        let mut process = Process::start(&mut command, "outrigger", dir.path());
        let shape = wait::until("the proxy to be ready", || {
            assert!(
                process.is_running(),
                "the proxy ended: {}",
                process.stderr()
            );
            fs::read_to_string(&ready).ok()
        });
        let ready = serde_json::from_str(&shape).expect("the ready file is JSON");
        Proxy {
            process,
            setup: self,
            ready,
            config,
            map,
            dir,
        }
    }

    fn command(&self) -> Command {
        let mut words = self.wrapper.clone();
        words.push(binary().display().to_string());
        let mut command = match self.descriptors {
            None => Command::new(&words[0]),
            Some(n) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {n} && exec \"$0\" \"$@\"")]);
                shell.arg(&words[0]);
                shell
            }
        };
        command.args(&words[1..]);
        command.env_remove("RUST_LOG");
        command
    }
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    /// The process.
    pub process: Process,
    setup: Setup,
    ready: Value,
    config: PathBuf,
    map: Option<ConfigMap>,
    /// Its folder: configuration, access log, sockets.
    pub dir: TempDir,
}

impl Proxy {
    /// Starts a proxy; see [`Setup::new`].
    #[track_caller]
    pub fn start(rest: &str) -> Self {
        Setup::new(rest).start()
    }

    /// A proxy with the listener `web` and one route to one cluster of these endpoints.
    #[track_caller]
    pub fn to(endpoints: &[&Address]) -> Self {
        Self::start(&simple(endpoints))
    }

    /// Where a listener listens.
    #[track_caller]
    pub fn listener(&self, name: &str) -> Address {
        match self.ready["listeners"][name].as_str() {
            Some(text) => Address::parse(text),
            None => panic!("no listener {name} in {}", self.ready),
        }
    }

    /// Where every listener listens, by name.
    pub fn listeners(&self) -> Vec<(String, Address)> {
        let all = self.ready["listeners"].as_object();
        all.into_iter()
            .flatten()
            .map(|(name, _)| (name.clone(), self.listener(name)))
            .collect()
    }

    /// The TCP address of the listener `web`.
    #[track_caller]
    pub fn web(&self) -> SocketAddr {
        self.listener("web").tcp()
    }

    /// Where the admin interface listens.
    #[track_caller]
    pub fn admin(&self) -> Address {
        Address::parse(self.ready["admin"].as_str().expect("an admin address"))
    }

    /// Where the probes listen.
    #[track_caller]
    pub fn probes(&self) -> Address {
        Address::parse(
            self.ready["probes"]
                .as_str()
                .expect("an address of the probes"),
        )
    }

    /// A GET to the admin interface.
    #[track_caller]
    pub fn ask(&self, target: &str) -> Message {
        client::fetch(self.admin(), "GET", target, &["Host: localhost"])
    }

    /// A GET to the admin interface that answers with JSON.
    #[track_caller]
    pub fn ask_json(&self, target: &str) -> Value {
        let answer = self.ask(target);
        assert_eq!(answer.status(), 200, "{answer}");
        serde_json::from_slice(&answer.body).unwrap_or_else(|e| panic!("{target}: {e}: {answer}"))
    }

    /// The metrics now.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        let answer = self.ask("/metrics");
        assert_eq!(answer.status(), 200, "{answer}");
        Metrics::parse(&answer.text())
    }

    /// The lines of the access log so far, oldest first.
    pub fn log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.file("access.log")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|e| panic!("log line {line:?}: {e}"))
            })
            .collect()
    }

    /// Waits until the access log has `n` lines, and returns all.
    #[track_caller]
    pub fn log_of(&self, n: usize) -> Vec<Value> {
        wait::until(&format!("{n} log lines"), || {
            Some(self.log()).filter(|lines| lines.len() >= n)
        })
    }

    /// Puts another configuration in the place of the file (by rename, or by the link of a
    /// `ConfigMap`) and does not wait.
    pub fn rewrite(&mut self, rest: &str) {
        let text = self.setup.text(self.dir.path(), rest);
        match &mut self.map {
            Some(map) => map.update(&text),
            None => files::replace(&self.config, &text),
        }
    }

    /// The live table's hash.
    #[track_caller]
    pub fn table(&self) -> String {
        let config = self.ask_json("/config");
        let hash = config["hash"].as_str();
        hash.unwrap_or_else(|| panic!("/config shows no hash: {config}"))
            .to_owned()
    }

    /// Puts another configuration in place and waits until it serves.
    #[track_caller]
    pub fn reload(&mut self, rest: &str) {
        let old = self.table();
        self.rewrite(rest);
        wait::until("the new table to serve", || {
            (self.table() != old).then_some(())
        });
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// The file it reads.
    pub fn config_path(&self) -> &Path {
        &self.config
    }
}

/// The listener `web`, the route `all` and the cluster `back` with these endpoints.
pub fn simple(endpoints: &[&Address]) -> String {
    format!(
        "listeners:\n  - {{ name: web, bind: '127.0.0.1:0', protocol: http }}\n\
         routes:\n  - {{ name: all, rules: [{{ backends: [{{ cluster: back }}] }}] }}\n\
         clusters:\n  - {{ name: back, endpoints: {} }}\n",
        list(endpoints)
    )
}

/// Addresses as a YAML list.
pub fn list(endpoints: &[&Address]) -> String {
    let quoted: Vec<_> = endpoints.iter().map(|e| format!("'{e}'")).collect();
    format!("[{}]", quoted.join(", "))
}

/// The binary under test: `OUTRIGGER_BIN`, or the one cargo built beside this test.
#[track_caller]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("OUTRIGGER_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the path of this test");
    let beside = test
        .ancestors()
        .skip(1)
        .map(|dir| dir.join("outrigger"))
        .find(|path| path.is_file());
    beside.unwrap_or_else(|| {
        panic!(
            "no `outrigger` beside {}: run `cargo build -p outrigger-proxy` first",
            test.display()
        )
    })
}

/// Whether the binary under test is optimised: what `OUTRIGGER_BIN` names is taken to be, else it
/// is as the tests are.
pub fn is_optimised() -> bool {
    std::env::var_os("OUTRIGGER_BIN").is_some() || !cfg!(debug_assertions)
}

/// Runs a command of the binary to its end.
#[track_caller]
pub fn run(arguments: &[&str]) -> crate::process::Output {
    crate::process::output(Command::new(binary()).args(arguments))
}
