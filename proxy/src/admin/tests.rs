//! Requests over real sockets to a process that is not there.

use std::{
    fmt::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use outrigger_config::model::{Admin, Probes, Text};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    sync::Notify,
    task::JoinHandle,
};

use super::*;

const TOKEN: &str = "correct horse battery staple";

#[derive(Default)]
struct Fake {
    dead: AtomicBool,
    unready: AtomicBool,
    panics: AtomicBool,
    reload_error: AtomicBool,
    /// Where set, a reload waits for it.
    hold: Mutex<Option<Arc<Notify>>>,
    done: Mutex<Vec<String>>,
}

impl Fake {
    fn note(&self, what: impl Into<String>) {
        self.done.lock().unwrap().push(what.into());
    }
    fn done(&self) -> Vec<String> {
        self.done.lock().unwrap().clone()
    }
}

impl View for Fake {
    fn live(&self) -> bool {
        !self.dead.load(Relaxed)
    }
    fn ready(&self) -> Result<(), String> {
        if self.unready.load(Relaxed) {
            return Err("no table yet".to_owned());
        }
        Ok(())
    }
    fn config(&self) -> Value {
        assert!(!self.panics.load(Relaxed), "asked to");
        serde_json::json!({ "version": 3, "html": "<script>" })
    }
    fn clusters(&self) -> Value {
        serde_json::json!([{ "name": "api" }])
    }
    fn identity(&self) -> Value {
        serde_json::json!({ "own": null })
    }

    fn listeners(&self) -> Value {
        serde_json::json!([{ "name": "web" }])
    }
    fn metrics(&self, out: &mut String) {
        out.push_str("# EOF\n");
    }
    fn set_log_level(&self, level: &str) -> Result<(), String> {
        if level == "loud" {
            return Err("`loud` is not a log level".to_owned());
        }
        self.note(format!("level {level}"));
        Ok(())
    }
    fn drain(&self) {
        self.note("drain");
    }
    fn reload(&self) -> Reload {
        self.note("reload");
        let failed = self.reload_error.load(Relaxed);
        let panics = self.panics.load(Relaxed);
        let hold = self.hold.lock().unwrap().clone();
        Box::pin(async move {
            if let Some(hold) = hold {
                hold.notified().await;
            }
            assert!(!panics, "asked to");
            if failed {
                Err("routes[0]: no such cluster".to_owned())
            } else {
                Ok(())
            }
        })
    }
}

/// A face that is served, with a directory of its own. Ends when dropped.
struct Served {
    view: Arc<Fake>,
    address: Address,
    server: Option<Server>,
    task: JoinHandle<()>,
    scratch: PathBuf,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

fn scratch() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let n = NEXT.fetch_add(1, Relaxed);
    let path = std::env::temp_dir().join(format!("outrigger-admin-{}-{n}", std::process::id()));
    std::fs::create_dir(&path).unwrap();
    path
}

fn loopback() -> BindAddress {
    BindAddress::Tcp("127.0.0.1:0".parse().unwrap())
}

enum With {
    Token,
    NoToken,
    Unix,
    Probes,
}

fn start_within(with: &With, limits: Limits) -> Served {
    let scratch = scratch();
    let admin = |bind, token_file| {
        Face::Admin(Admin {
            bind,
            token_file,
            allowed_hosts: vec![Text::from("admin.example")],
        })
    };
    let face = match with {
        With::Token => {
            let file = scratch.join("token");
            std::fs::write(&file, format!("{}\n", TOKEN.replace(' ', "-"))).unwrap();
            admin(loopback(), Some(Text::from(file.to_str().unwrap())))
        }
        With::NoToken => admin(loopback(), None),
        With::Unix => admin(BindAddress::Unix(scratch.join("admin.sock")), None),
        With::Probes => Face::Probes(Probes { bind: loopback() }),
    };
    let view = Arc::new(Fake::default());
    let bound = Checked::new(face)
        .unwrap()
        .bind(Sharing::Exclusive)
        .unwrap();
    let (server, serving) = bound.serve_within(Arc::clone(&view) as _, limits).unwrap();
    let address = Address::from(&server.address);
    let task = tokio::spawn(serving);
    Served {
        view,
        address,
        server: Some(server),
        task,
        scratch,
    }
}

fn start(with: &With) -> Served {
    start_within(with, Limits::DEFAULT)
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl Served {
    async fn connect(&self) -> Box<dyn Io> {
        match &self.address {
            Address::Tcp(at) => Box::new(TcpStream::connect(at).await.unwrap()),
            Address::Unix(path) => Box::new(UnixStream::connect(path).await.unwrap()),
        }
    }

    /// Sends a request with more fields and a body; returns status, head and body.
    async fn ask(&self, line: &str, fields: &[&str], body: &str) -> (u16, String, String) {
        let mut request = format!("{line} HTTP/1.1\r\nconnection: close\r\n");
        if !fields.iter().any(|field| field.starts_with("host:")) {
            request.push_str("host: localhost\r\n");
        }
        for field in fields {
            request.push_str(field);
            request.push_str("\r\n");
        }
        if !body.is_empty() {
            write!(request, "content-length: {}\r\n", body.len()).unwrap();
        }
        request.push_str("\r\n");
        request.push_str(body);
        let mut stream = self.connect().await;
        // A refusal may come before the whole body is taken.
        let _ = stream.write_all(request.as_bytes()).await;
        response(&mut stream).await
    }

    async fn get(&self, path: &str) -> (u16, String, String) {
        self.ask(&format!("GET {path}"), &[], "").await
    }

    /// As the owner of the token.
    async fn post(&self, path: &str, body: &str) -> (u16, String, String) {
        let token = format!("authorization: Bearer {}", TOKEN.replace(' ', "-"));
        self.ask(&format!("POST {path}"), &[&token], body).await
    }
}

async fn response(stream: &mut Box<dyn Io>) -> (u16, String, String) {
    let mut bytes = Vec::new();
    // A reset after a refusal that came early loses nothing we look at.
    let read = timeout(stream.read_to_end(&mut bytes)).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{read:?} {text}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

async fn timeout<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("no answer")
}

#[tokio::test]
async fn every_page_of_admin() {
    let admin = start(&With::Token);
    for (path, content_type, body) in [
        ("/live", "text/plain; charset=utf-8", "live\n"),
        ("/ready", "text/plain; charset=utf-8", "ready\n"),
        (
            "/metrics",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "# EOF\n",
        ),
        (
            "/config",
            "application/json",
            "{\n  \"version\": 3,\n  \"html\": \"<script>\"\n}\n",
        ),
        (
            "/clusters",
            "application/json",
            "[\n  {\n    \"name\": \"api\"\n  }\n]\n",
        ),
        (
            "/listeners",
            "application/json",
            "[\n  {\n    \"name\": \"web\"\n  }\n]\n",
        ),
    ] {
        let (status, head, got) = admin.get(path).await;
        assert_eq!((status, &*got), (200, body), "{path}");
        for field in [
            &*format!("content-type: {content_type}"),
            "x-content-type-options: nosniff",
            "cache-control: no-store",
        ] {
            assert!(
                head.lines().any(|line| line == field),
                "{path}: {field}\n{head}"
            );
        }
        assert_eq!(
            admin.get(&format!("{path}?x=y")).await.0,
            200,
            "a query changes nothing"
        );
    }
    let (_, _, version) = admin.get("/version").await;
    assert!(version.contains(env!("CARGO_PKG_VERSION")));
    let (status, head, index) = admin.get("/").await;
    assert_eq!(status, 200);
    assert!(head.contains("text/plain"));
    for path in [
        "/live",
        "/config",
        "/reload",
        "/drain",
        "/log-level",
        "admin.token_file",
    ] {
        assert!(index.contains(path), "{path}\n{index}");
    }
    for path in ["/nothing", "/live/", "//live", "/LIVE", "/%6cive"] {
        let (status, head, body) = admin.get(path).await;
        assert_eq!((status, body), (404, index.clone()), "{path}");
        assert!(head.contains("text/plain"));
    }
}

#[tokio::test]
async fn probes_show_no_more_than_they_must() {
    let probes = start(&With::Probes);
    for path in ["/live", "/ready", "/metrics"] {
        assert_eq!(probes.get(path).await.0, 200, "{path}");
    }
    for path in [
        "/",
        "/config",
        "/clusters",
        "/listeners",
        "/identity",
        "/version",
    ] {
        let (status, _, body) = probes.get(path).await;
        assert_eq!(status, 404, "{path}");
        assert!(
            body.contains("/metrics") && !body.contains("/config"),
            "{body}"
        );
    }
    for path in ["/drain", "/reload", "/log-level?level=debug"] {
        assert_eq!(probes.post(path, "").await.0, 404, "{path}");
    }
    assert_eq!(probes.view.done(), Vec::<String>::new());
}

#[tokio::test]
async fn health_follows_the_process() {
    let probes = start(&With::Probes);
    probes.view.unready.store(true, Relaxed);
    let (status, _, body) = probes.get("/ready").await;
    assert_eq!((status, &*body), (503, "no table yet\n"));
    assert_eq!(probes.get("/live").await.0, 200);
    probes.view.dead.store(true, Relaxed);
    assert_eq!(probes.get("/live").await.0, 503);
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let admin = start(&With::Token);
    for path in ["/live", "/metrics", "/config", "/"] {
        let (status, head, body) = admin.ask(&format!("HEAD {path}"), &[], "").await;
        assert_eq!((status, &*body), (200, ""), "{path}");
        let whole = admin.get(path).await.2.len();
        assert!(
            head.contains(&format!("content-length: {whole}")),
            "{path} {head}"
        );
    }
}

#[tokio::test]
async fn a_get_changes_nothing_and_a_post_reads_nothing() {
    let admin = start(&With::Token);
    for path in ["/drain", "/reload", "/log-level?level=debug"] {
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "post"] {
            let token = format!("authorization: Bearer {}", TOKEN.replace(' ', "-"));
            let (status, head, _) = admin.ask(&format!("{method} {path}"), &[&token], "").await;
            assert_eq!(status, 405, "{method} {path}");
            assert!(head.contains("allow: POST"), "{head}");
        }
    }
    for path in ["/live", "/metrics", "/config"] {
        let (status, head, _) = admin.post(path, "").await;
        assert_eq!(status, 405, "{path}");
        assert!(head.contains("allow: GET, HEAD"), "{head}");
    }
    assert_eq!(admin.view.done(), Vec::<String>::new());
}

#[tokio::test]
async fn commands() {
    let admin = start(&With::Token);
    assert_eq!(admin.post("/drain", "").await.0, 202);
    assert_eq!(admin.post("/reload", "").await.0, 200);
    assert_eq!(
        admin.post("/log-level?level=info%2Cx%3Ddebug", "").await.0,
        200
    );
    assert_eq!(admin.post("/log-level", "warn\n").await.0, 200);
    let (status, _, body) = admin.post("/log-level", "loud").await;
    assert_eq!((status, &*body), (400, "`loud` is not a log level\n"));
    admin.view.reload_error.store(true, Relaxed);
    let (status, _, body) = admin.post("/reload", "").await;
    assert_eq!(status, 422);
    assert!(body.contains("routes[0]: no such cluster"), "{body}");
    assert_eq!(
        admin.view.done(),
        [
            "drain",
            "reload",
            "level info,x=debug",
            "level warn",
            "reload"
        ]
    );
}

#[tokio::test]
async fn changes_over_tcp_need_the_token() {
    let admin = start(&With::Token);
    let right = TOKEN.replace(' ', "-");
    for (fields, expected) in [
        (vec![], 401),
        (vec![format!("authorization: Bearer {right}x")], 401),
        (vec![format!("authorization: Bearer {}", &right[1..])], 401),
        (vec!["authorization: Bearer ".to_owned()], 401),
        (vec![format!("authorization: Basic {right}")], 401),
        (vec![format!("authorization: {right}")], 401),
        (vec![format!("authorization: Bearer {right}"); 2], 400),
        (vec![format!("authorization: bearer {right}")], 202),
    ] {
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        let (status, head, _) = admin.ask("POST /drain", &fields, "").await;
        assert_eq!(status, expected, "{fields:?}");
        assert_eq!(head.contains("www-authenticate: Bearer"), status == 401);
    }
    assert_eq!(admin.view.done(), ["drain"]);

    // Without one configured, no token is right.
    let admin = start(&With::NoToken);
    let (status, _, body) = admin.post("/drain", "").await;
    assert_eq!(status, 403);
    assert!(body.contains("admin.token_file"), "{body}");
    assert_eq!(admin.view.done(), Vec::<String>::new());
}

#[tokio::test]
async fn a_replaced_token_counts_at_once_and_a_broken_one_for_nobody() {
    let admin = start(&With::Token);
    let file = admin.scratch.join("token");
    std::fs::write(&file, "another-token-entirely").unwrap();
    assert_eq!(admin.post("/drain", "").await.0, 401);
    let field = "authorization: Bearer another-token-entirely";
    assert_eq!(admin.ask("POST /drain", &[field], "").await.0, 202);
    for broken in ["short", "sixteen or more but blanks"] {
        std::fs::write(&file, broken).unwrap();
        let field = format!("authorization: Bearer {broken}");
        assert_eq!(
            admin.ask("POST /drain", &[&field], "").await.0,
            403,
            "{broken}"
        );
    }
    std::fs::write(&file, "").unwrap();
    assert_eq!(admin.ask("POST /drain", &[field], "").await.0, 403);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(admin.ask("POST /drain", &[field], "").await.0, 403);
    assert_eq!(admin.view.done(), ["drain"]);
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused_before_anything_is_done() {
    let admin = start(&With::Token);
    let token = format!("authorization: Bearer {}", TOKEN.replace(' ', "-"));
    for (field, expected) in [
        ("host: evil.example", 421),
        ("origin: http://evil.example", 403),
        ("origin: null", 403),
        ("sec-fetch-site: cross-site", 403),
        ("host: admin.example", 202),
        ("origin: http://localhost", 202),
    ] {
        let (status, ..) = admin.ask("POST /drain", &[&token, field], "").await;
        assert_eq!(status, expected, "{field}");
        let (status, ..) = admin.ask("GET /config", &[field], "").await;
        assert_eq!(
            status,
            if expected == 202 { 200 } else { expected },
            "{field}"
        );
    }
    let (status, ..) = admin.ask("GET http://evil.example/config", &[], "").await;
    assert_eq!(status, 421);
    assert_eq!(admin.view.done(), ["drain", "drain"]);
}

#[tokio::test]
async fn a_unix_socket_is_for_its_user() {
    let admin = start(&With::Unix);
    let Address::Unix(path) = &admin.address else {
        panic!("not a Unix socket");
    };
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        std::fs::read_dir(&admin.scratch).unwrap().count(),
        1,
        "nothing is left over"
    );
    assert_eq!(
        admin.ask("GET /config", &["host: whatever"], "").await.0,
        200
    );
    assert_eq!(admin.ask("POST /drain", &[], "").await.0, 202);
    assert_eq!(
        admin
            .ask("POST /drain", &["origin: http://localhost"], "")
            .await
            .0,
        403
    );
    assert_eq!(admin.view.done(), ["drain"]);
}

#[tokio::test]
async fn a_unix_socket_replaces_a_dead_one_only() {
    let admin = start(&With::Unix);
    let Address::Unix(path) = admin.address.clone() else {
        panic!("not a Unix socket");
    };
    let bind = BindAddress::Unix(path.clone());
    let listen = || Listening::bind(&bind, Sharing::Exclusive);
    let error = listen().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(admin.get("/live").await.0, 200, "and the live one stays");

    // Dead: bound, and its owner gone without a word.
    std::fs::remove_file(&path).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let replaced = listen().unwrap();
    drop(replaced);
    assert!(!path.exists(), "removed with its owner");

    std::fs::write(&path, "data").unwrap();
    let error = listen().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&path).unwrap(), b"data");
}

#[tokio::test]
async fn what_cannot_be_served_is_an_error_at_once() {
    let admin = start(&With::NoToken);
    let Address::Tcp(taken) = admin.address else {
        panic!("not TCP");
    };
    let fails = |bind, token: Option<&str>| {
        let face = Face::Admin(Admin {
            bind,
            token_file: token.map(Text::from),
            allowed_hosts: Vec::new(),
        });
        let bound = Checked::new(face).and_then(|it| it.bind(Sharing::Exclusive));
        bound.expect_err("bound")
    };
    assert_eq!(
        fails(BindAddress::Tcp(taken), None).kind(),
        io::ErrorKind::AddrInUse
    );
    let outside = BindAddress::Tcp("0.0.0.0:0".parse().unwrap());
    assert!(fails(outside, None).to_string().contains("token_file"));
    let short = admin.scratch.join("short");
    std::fs::write(&short, "short").unwrap();
    let error = fails(loopback(), short.to_str()).to_string();
    assert!(error.contains("16 to 4096"), "{error}");
    let error = fails(loopback(), Some("/no/such/file")).to_string();
    assert!(error.contains("/no/such/file"), "{error}");
    assert!(
        fails(loopback(), Some("/dev/zero"))
            .to_string()
            .contains("not a file")
    );
}

#[tokio::test]
async fn a_panic_ends_one_answer() {
    let admin = start(&With::Token);
    admin.view.panics.store(true, Relaxed);
    let mut stream = admin.connect().await;
    let pipelined = "GET /config HTTP/1.1\r\nhost: localhost\r\n\r\n\
                     GET /live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(pipelined.as_bytes()).await.unwrap();
    let (status, _, rest) = response(&mut stream).await;
    assert_eq!(status, 500);
    assert!(
        !rest.contains("asked to") && rest.contains("200 OK"),
        "{rest}"
    );
    assert_eq!(admin.post("/reload", "").await.0, 500);
    assert_eq!(admin.get("/live").await.0, 200);
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let admin = start(&With::Token);
    let limit = Limits::DEFAULT.body;
    assert_eq!(admin.post("/log-level", &"x".repeat(limit)).await.0, 200);
    assert_eq!(
        admin.post("/log-level", &"x".repeat(limit + 1)).await.0,
        413
    );
    // In chunks, so that the size is not announced.
    let token = format!("authorization: Bearer {}", TOKEN.replace(' ', "-"));
    let mut stream = admin.connect().await;
    let head = format!(
        "POST /log-level HTTP/1.1\r\nhost: localhost\r\n{token}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    for _ in 0..5 {
        let _ = stream.write_all(chunk.as_bytes()).await;
    }
    assert_eq!(response(&mut stream).await.0, 413);
    // A stranger's body is not even asked for.
    let mut stream = admin.connect().await;
    let head = "POST /drain HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                expect: 100-continue\r\ncontent-length: 100\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(response(&mut stream).await.0, 401);
    let done = admin.view.done();
    assert_eq!(done.len(), 1, "{}", done.len());
}

#[tokio::test]
async fn large_heads_are_refused() {
    let admin = start(&With::Token);
    let field = format!("x: {}", "y".repeat(100_000));
    assert_eq!(admin.ask("GET /live", &[&field], "").await.0, 431);
    let fields: Vec<_> = (0..200).map(|n| format!("x-{n}: y")).collect();
    let fields: Vec<_> = fields.iter().map(String::as_str).collect();
    assert_eq!(admin.ask("GET /live", &fields, "").await.0, 431);
}

#[tokio::test]
async fn slow_clients_are_cut() {
    let limits = Limits {
        head: Duration::from_millis(400),
        request: Duration::from_millis(400),
        ..Limits::DEFAULT
    };
    let admin = start_within(&With::Token, limits);
    let token = format!("authorization: Bearer {}", TOKEN.replace(' ', "-"));
    let slow_body = format!(
        "POST /log-level HTTP/1.1\r\nhost: localhost\r\n{token}\r\ncontent-length: 10\r\n\r\nx"
    );
    let kept = "GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (sent, expected) in [
        ("", None),
        ("GET /live HT", None),
        ("GET /live HTTP/1.1\r\nhost: loc", None),
        (kept, Some("200")),
        (&*slow_body, Some("503")),
    ] {
        let mut stream = admin.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        // The end comes by itself, although we go on listening.
        let _ = timeout(stream.read_to_end(&mut bytes)).await;
        let text = String::from_utf8(bytes).unwrap();
        let status = text.split(' ').nth(1);
        assert!(
            expected.is_none() || status == expected,
            "{sent:?} {text:?}"
        );
    }
    assert_eq!(admin.view.done(), Vec::<String>::new());
}

#[tokio::test]
async fn whoever_takes_no_answer_is_cut_with_age() {
    let limits = Limits {
        age: Duration::from_millis(300),
        request: Duration::from_millis(200),
        ..Limits::DEFAULT
    };
    let admin = start_within(&With::NoToken, limits);
    let mut stream = admin.connect().await;
    // Far more answers than the sockets' buffers hold, none of them read.
    let asks = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_000);
    let write = async { while stream.write_all(asks.as_bytes()).await.is_ok() {} };
    timeout(write).await;
}

#[tokio::test]
async fn a_reload_goes_on_without_its_client() {
    let limits = Limits {
        request: Duration::from_millis(500),
        ..Limits::DEFAULT
    };
    let admin = start_within(&With::Token, limits);
    let hold = Arc::new(Notify::new());
    *admin.view.hold.lock().unwrap() = Some(Arc::clone(&hold));
    assert_eq!(admin.post("/reload", "").await.0, 503, "took too long");
    assert_eq!(Arc::strong_count(&hold), 3, "the reload still waits");
    hold.notify_one();
    let ended = async {
        while Arc::strong_count(&hold) > 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(ended).await;
}

/// What moves a face elsewhere may have come by that face.
#[tokio::test]
async fn what_was_asked_before_the_end_is_answered() {
    let mut admin = start(&With::Token);
    let Address::Tcp(at) = admin.address else {
        panic!("not TCP");
    };
    let hold = Arc::new(Notify::new());
    *admin.view.hold.lock().unwrap() = Some(Arc::clone(&hold));
    let mut under_way = admin.connect().await;
    let token = TOKEN.replace(' ', "-");
    let ask = format!(
        "POST /reload HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    under_way.write_all(ask.as_bytes()).await.unwrap();
    timeout(async {
        while admin.view.done().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // In the kernel's queue, and unknown to the runtime.
    let mut queued = std::net::TcpStream::connect(at).unwrap();
    io::Write::write_all(&mut queued, b"GET /live HTTP/1.0\r\n\r\n").unwrap();
    queued.set_nonblocking(true).unwrap();

    admin.server = None;
    let mut queued: Box<dyn Io> = Box::new(TcpStream::from_std(queued).unwrap());
    assert_eq!(response(&mut queued).await.0, 200);
    hold.notify_one();
    assert_eq!(response(&mut under_way).await.0, 200);
    assert!(TcpStream::connect(at).await.is_err());
}

#[tokio::test]
async fn held_connections_keep_nobody_out() {
    let admin = start(&With::Probes);
    let mut held = Vec::new();
    for n in 0..4 * Limits::DEFAULT.connections {
        let mut stream = admin.connect().await;
        if n % 2 == 0 {
            stream.write_all(b"GET /live HT").await.unwrap();
        }
        held.push(stream);
    }
    assert_eq!(admin.get("/live").await.0, 200);
    // The oldest were let go.
    let mut open = 0;
    for stream in &mut held {
        let mut byte = [0];
        let read = tokio::time::timeout(Duration::from_millis(2), stream.read(&mut byte)).await;
        open += usize::from(read.is_err());
    }
    assert!(open < Limits::DEFAULT.connections, "{open}");
    assert!(open > Limits::DEFAULT.connections / 2, "{open}");
}

#[tokio::test]
async fn requests_beyond_the_bound_are_told_so() {
    let limits = Limits {
        requests: 2,
        ..Limits::DEFAULT
    };
    let admin = start_within(&With::Token, limits);
    let hold = Arc::new(Notify::new());
    *admin.view.hold.lock().unwrap() = Some(Arc::clone(&hold));
    let waiting = async { tokio::join!(admin.post("/reload", ""), admin.post("/reload", "")) };
    let third = async {
        while admin.view.done().len() < 2 {
            tokio::task::yield_now().await;
        }
        let (status, _, body) = admin.get("/live").await;
        hold.notify_one();
        hold.notify_one();
        hold.notify_waiters();
        (status, body)
    };
    let (answers, (status, body)) = timeout(async { tokio::join!(waiting, third) }).await;
    assert_eq!(status, 503);
    assert!(body.contains("too many"), "{body}");
    assert_eq!((answers.0.0, answers.1.0), (200, 200));
    assert_eq!(admin.get("/live").await.0, 200);
}

#[tokio::test]
async fn settings_change_while_it_is_served() {
    let admin = start(&With::NoToken);
    let file = admin.scratch.join("token");
    std::fs::write(&file, TOKEN.replace(' ', "-")).unwrap();
    let face = |token: Option<&str>, bind| {
        Face::Admin(Admin {
            bind,
            token_file: token.map(Text::from),
            allowed_hosts: vec![Text::from("new.example")],
        })
    };
    assert_eq!(
        admin.ask("GET /live", &["host: new.example"], "").await.0,
        421
    );
    assert_eq!(admin.post("/drain", "").await.0, 403);
    assert!(Checked::new(face(Some("/no/such/file"), loopback())).is_err());
    assert_eq!(admin.post("/drain", "").await.0, 403);
    let same = face(file.to_str(), loopback());
    let server = admin.server.as_ref().unwrap();
    assert!(server.is(&same));
    server.update(&Checked::new(same).unwrap());
    assert_eq!(
        admin.ask("GET /live", &["host: new.example"], "").await.0,
        200
    );
    assert_eq!(admin.post("/drain", "").await.0, 202);

    // Somewhere else, or something else, must be bound anew.
    let elsewhere = BindAddress::Tcp("127.0.0.1:1".parse().unwrap());
    assert!(!server.is(&face(None, elsewhere)));
    let probes = Face::Probes(Probes { bind: loopback() });
    assert!(!server.is(&probes));
}
