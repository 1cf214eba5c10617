//! Programs of others that speak HTTP/2 by nghttp2 or an engine of their own: nghttp, h2load, curl
//! and nghttpx as clients, nginx and nghttpx as endpoints.

use std::{fs, path::Path, process::Command};

use outrigger_tests::{
    files::TempDir,
    process::{Process, output},
    proxy::Proxy,
    tools,
    upstream::{Peer, Upstream},
    wire::Address,
};

use super::{before, towards};

/// Answers with what it received, by chunks with a trailer; `/hints` with an interim response first.
fn script(peer: &mut Peer) {
    while let Some(request) = peer.request() {
        if request.target() == "/hints" {
            peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
        }
        if request.method() == "HEAD" {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
            continue;
        }
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n");
        if !request.body.is_empty() {
            peer.send(format!("{:x}\r\n", request.body.len()));
            peer.send(&request.body);
            peer.send("\r\n");
        }
        peer.send("0\r\nx-sum: 42\r\n\r\n");
    }
}

/// A proxy that speaks HTTP/2 to a second one, which speaks HTTP/1 to the script.
struct Chain {
    upstream: Upstream,
    _near: Proxy,
    far: Proxy,
}

impl Chain {
    fn new() -> Self {
        let upstream = Upstream::script(script);
        let near = towards("http1", &upstream.address);
        let far = towards("http2", &near.web().into());
        Self {
            upstream,
            _near: near,
            far,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.far.web())
    }
}

fn said(program: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    output(command.args(arguments)).success().stdout
}

/// A file of some length, and what is in it.
fn body(dir: &TempDir) -> (String, Vec<u8>) {
    let bytes: Vec<u8> = (0..300_000_usize).map(|n| (n % 251) as u8).collect();
    let file = dir.file("body");
    fs::write(&file, &bytes).unwrap();
    (file.display().to_string(), bytes)
}

#[test]
fn nghttp_is_served_however_it_frames() {
    let Some(nghttp) = tools::need("nghttp_is_served_however_it_frames", "nghttp") else {
        return;
    };
    let chain = Chain::new();
    let dir = TempDir::new();
    let (file, bytes) = body(&dir);
    let url = chain.url("/echo");
    let plain: &[&str] = &["-v"];
    for (extra, times) in [
        (&[][..], 1),
        (&["--continuation"], 1),
        (&["--padding=255"], 1),
        (&["--weight=3", "--no-dep"], 1),
        (
            &["--header-table-size=0", "--encoder-header-table-size=0"],
            1,
        ),
        (&["--window-bits=16", "--connection-window-bits=20"], 1),
        (&["--no-content-length", "--trailer=x-end: yes"], 1),
        (&["-m20"], 20),
    ] {
        chain.upstream.take();
        let data = ["-d", &file, &url];
        let shown = said(&nghttp, &[plain, extra, &data].concat());
        let count = |what: &str| shown.matches(what).count();
        assert_eq!(count(") :status: 200"), times, "{extra:?}: {shown}");
        assert_eq!(count(") x-sum: 42"), times, "{extra:?}: {shown}");
        assert_eq!(count("recv RST_STREAM"), 0, "{extra:?}: {shown}");
        let received = chain.upstream.take();
        assert_eq!(received.len(), times);
        assert!(received.iter().all(|r| r.body == bytes), "{extra:?}");
        if extra.len() == 2 && extra[1].starts_with("--trailer") {
            assert_eq!(received[0].trailers[0].name, "x-end");
        }
    }
    let shown = said(&nghttp, &[plain, &[&*chain.url("/hints")]].concat());
    assert!(shown.contains(") :status: 103"), "{shown}");
}

#[test]
fn h2load_sees_nothing_but_success() {
    let Some(h2load) = tools::need("h2load_sees_nothing_but_success", "h2load") else {
        return;
    };
    let chain = Chain::new();
    let dir = TempDir::new();
    let (file, _) = body(&dir);
    let small = dir.file("small");
    fs::write(&small, "a small body").unwrap();
    let small = small.display().to_string();
    for (requests, arguments) in [
        ("2000", &["-c8", "-m25"][..]),
        ("1000", &["-c4", "-m50", "-d", &small]),
        ("100", &["-c4", "-m8", "-w20", "-W22", "-d", &file]),
        ("200", &["-c1", "-m100", "--header-table-size=0"]),
    ] {
        let url = chain.url("/echo");
        let shown = said(&h2load, &[&["-n", requests], arguments, &[&*url]].concat());
        let good = format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout");
        assert!(shown.contains(&good), "{arguments:?}: {shown}");
        let codes = format!("status codes: {requests} 2xx, 0 3xx, 0 4xx, 0 5xx");
        assert!(shown.contains(&codes), "{arguments:?}: {shown}");
    }
}

#[test]
fn curl_may_expect_stream_and_ask_for_an_upgrade() {
    let Some(curl) = tools::need("curl_may_expect_stream_and_ask_for_an_upgrade", "curl") else {
        return;
    };
    let chain = Chain::new();
    let dir = TempDir::new();
    let (file, bytes) = body(&dir);
    let back = dir.file("back").display().to_string();
    let url = chain.url("/echo");
    let plain = ["-sS", "--noproxy", "*", "--max-time", "20", "-o", &back];
    let show = ["-w", "%{http_version} %{http_code}", &url];
    for (arguments, expected) in [
        (&["--http2-prior-knowledge", "-T", &file][..], "2 200"),
        (
            &[
                "--http2-prior-knowledge",
                "-T",
                &file,
                "-H",
                "Expect: 100-continue",
            ],
            "2 200",
        ),
        (
            &[
                "--http2-prior-knowledge",
                "-X",
                "POST",
                "-H",
                "Transfer-Encoding: chunked",
                "-T",
                &file,
            ],
            "2 200",
        ),
        // An upgrade by HTTP/1.1 is not taken, and the request is served as it is.
        (&["--http2", "-T", &file], "1.1 200"),
    ] {
        let shown = said(&curl, &[&plain, arguments, &show].concat());
        assert_eq!(shown, expected, "{arguments:?}");
        assert!(fs::read(&back).unwrap() == bytes, "{arguments:?}");
    }
    let shown = said(
        &curl,
        &[&plain, &["--http2-prior-knowledge", "-I"][..], &show].concat(),
    );
    assert_eq!(shown, "2 200");
}

/// An nginx that serves its folder by HTTP/2, and leaves each connection after fifty requests.
fn nginx(binary: &Path, dir: &TempDir) -> (Process, Address) {
    let path = dir.path().display().to_string();
    fs::create_dir(dir.file("www")).unwrap();
    fs::write(dir.file("www/small.txt"), "from nginx\n").unwrap();
    fs::write(dir.file("www/large.bin"), vec![b'n'; 3 << 20]).unwrap();
    tools::serve("nginx", dir, |port| {
        let config = dir.file("nginx.conf");
        let text = format!(
            "daemon off; master_process off; pid {path}/nginx.pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off; client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;
    fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;
    keepalive_requests 50; http2_max_concurrent_streams 10;
    server {{ listen 127.0.0.1:{port} http2; root {path}/www; }}
}}"
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(binary);
        command.args(["-p", &path, "-c"]).arg(&config);
        command
    })
}

#[test]
fn nginx_leaves_connections_and_no_request_is_lost() {
    const TEST: &str = "nginx_leaves_connections_and_no_request_is_lost";
    let (Some(binary), Some(h2load), Some(curl)) = (
        tools::need(TEST, "nginx"),
        tools::need(TEST, "h2load"),
        tools::need(TEST, "curl"),
    ) else {
        return;
    };
    let dir = TempDir::new();
    let (_nginx, address) = nginx(&binary, &dir);
    let proxy = before(&[&address], "");
    let url = |path: &str| format!("http://{}{path}", proxy.web());
    // By both versions, since they go up by the same.
    for version in [&[][..], &["--h1"]] {
        let small = url("/small.txt");
        let shown = said(
            &h2load,
            &[&["-n1000", "-c8", "-m8"], version, &[&*small]].concat(),
        );
        assert!(shown.contains("status codes: 1000 2xx"), "{shown}");
    }
    let connects = proxy
        .metrics()
        .sum("outrigger_upstream_connections_total", &[]);
    assert!(
        connects >= 40.0,
        "{connects} connections of 50 requests each"
    );

    let back = dir.file("back").display().to_string();
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let get = |arguments: &[&str], path: &str| {
            let plain = [
                "-sS",
                "--noproxy",
                "*",
                "--max-time",
                "20",
                "-o",
                &back,
                version,
            ];
            let show = ["-w", "%{http_code} %{size_download}", &url(path)];
            said(&curl, &[&plain, arguments, &show].concat())
        };
        assert_eq!(get(&[], "/large.bin"), "200 3145728");
        assert_eq!(get(&["-r", "100-299"], "/large.bin"), "206 200");
        assert_eq!(get(&["-I"], "/large.bin").split(' ').next(), Some("200"));
        assert!(get(&[], "/nothing").starts_with("404 "));
    }
    let failed = proxy
        .log()
        .into_iter()
        .find(|line| line["cause"].is_string());
    assert!(failed.is_none(), "{failed:?}");
}

/// An nghttpx that takes HTTP/2 without TLS.
fn nghttpx(binary: &Path, dir: &TempDir, to: &Address, protocol: &str) -> (Process, Address) {
    let to = to.tcp().port();
    tools::serve("nghttpx", dir, |port| {
        let mut command = Command::new(binary);
        command.args([
            &format!("--frontend=127.0.0.1,{port};no-tls"),
            &format!("--backend=127.0.0.1,{to};;proto={protocol}"),
            "--single-process",
            "--single-thread",
            "--conf=/dev/null",
            "--errorlog-file=/dev/stderr",
        ]);
        command
    })
}

#[test]
fn nghttpx_stands_in_front_and_behind() {
    const TEST: &str = "nghttpx_stands_in_front_and_behind";
    let (Some(binary), Some(nghttp), Some(h2load)) = (
        tools::need(TEST, "nghttpx"),
        tools::need(TEST, "nghttp"),
        tools::need(TEST, "h2load"),
    ) else {
        return;
    };
    let upstream = Upstream::script(script);
    let dirs = [TempDir::new(), TempDir::new()];
    let (_behind, endpoint) = nghttpx(&binary, &dirs[0], &upstream.address, "http/1.1");
    let proxy = before(&[&endpoint], "");
    let (_front, front) = nghttpx(&binary, &dirs[1], &proxy.web().into(), "h2");
    let url = format!("http://{front}/echo");
    let (file, bytes) = body(&dirs[0]);
    let shown = said(&nghttp, &["-v", "-d", &file, "-m5", &url]);
    assert_eq!(shown.matches(") :status: 200").count(), 5, "{shown}");
    assert_eq!(shown.matches(") x-sum: 42").count(), 5, "{shown}");
    assert!(upstream.take().iter().all(|r| r.body == bytes));
    let shown = said(&h2load, &["-n1000", "-c4", "-m25", &url]);
    assert!(shown.contains("status codes: 1000 2xx"), "{shown}");
    let failed = proxy
        .log()
        .into_iter()
        .find(|line| line["cause"].is_string());
    assert!(failed.is_none(), "{failed:?}");
}
