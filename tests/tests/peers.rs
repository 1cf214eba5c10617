//! Real clients and real servers, where they are installed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::{fs, path::PathBuf, process::Command, time::Duration};

use outrigger_tests::{
    client::Client,
    files::TempDir,
    process::{Process, output},
    proxy::{Proxy, simple},
    tools::{self, serve},
    upstream::Upstream,
    wait,
    wire::Address,
};

fn nginx(test: &str, dir: &TempDir) -> Option<(Process, Address)> {
    let nginx = tools::need(test, "nginx")?;
    let root = dir.file("www");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("small.txt"), "from nginx\n").unwrap();
    fs::write(root.join("large.bin"), vec![b'n'; 3 << 20]).unwrap();
    let path = dir.path().display().to_string();
    Some(serve("nginx", dir, |port| {
        let config = dir.file("nginx.conf");
        fs::write(
            &config,
            format!(
                "daemon off; master_process off; pid {path}/nginx.pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off; client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;
    fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;
    keepalive_requests 50;
    server {{
        listen 127.0.0.1:{port}; root {path}/www;
        location /chunked {{ alias {path}/www/small.txt; gzip on; gzip_min_length 1; gzip_types *; }}
        location = /echo {{ return 200 $request_method:$http_host:$http_x_forwarded_for; }}
    }}
}}"
            ),
        )
        .unwrap();
        let mut command = Command::new(&nginx);
        command.args(["-p", &path, "-c"]).arg(&config);
        command
    }))
}

#[test]
fn nginx_behind_curl_before() {
    const TEST: &str = "nginx_behind_curl_before";
    let dir = TempDir::new();
    let Some((_nginx, address)) = nginx(TEST, &dir) else {
        return;
    };
    let Some(curl) = tools::need(TEST, "curl") else {
        return;
    };
    let proxy = Proxy::to(&[&address]);
    let web = proxy.web();
    let curl = |arguments: &[&str]| {
        let mut command = Command::new(&curl);
        command
            .args(["-sS", "--max-time", "20"])
            .env_remove("http_proxy")
            .args(arguments);
        output(&mut command).success().stdout
    };
    assert_eq!(curl(&[&format!("http://{web}/small.txt")]), "from nginx\n");
    assert_eq!(
        curl(&[&format!("http://{web}/echo")]),
        format!("GET:{web}:127.0.0.1")
    );
    assert_eq!(
        curl(&["--compressed", &format!("http://{web}/chunked")]),
        "from nginx\n"
    );
    assert!(curl(&["-I", &format!("http://{web}/large.bin")]).contains("Content-Length: 3145728"));
    let range = curl(&["-r", "0-4", &format!("http://{web}/small.txt")]);
    assert_eq!(range, "from ");
    let large = dir.file("large.out");
    curl(&[
        "-o",
        &large.display().to_string(),
        &format!("http://{web}/large.bin"),
    ]);
    assert_eq!(fs::metadata(&large).unwrap().len(), 3 << 20);
    // Past nginx's own limit of requests per connection, on one connection of curl's.
    let many = format!("http://{web}/small.txt?[1-120]");
    assert_eq!(curl(&[&many]).matches("from nginx").count(), 120);
    // As an HTTP proxy: absolute-form.
    let absolute = curl(&["-x", &format!("http://{web}"), "http://shop.example/echo"]);
    assert_eq!(absolute, "GET:shop.example:127.0.0.1");
}

#[test]
fn curl_uploads_with_and_without_waiting() {
    const TEST: &str = "curl_uploads_with_and_without_waiting";
    let Some(curl) = tools::need(TEST, "curl") else {
        return;
    };
    let upstream = Upstream::script(|peer| {
        while let Some(mut head) = peer.head() {
            if head.has_token("expect", "100-continue") {
                peer.send("HTTP/1.1 100 Continue\r\n\r\n");
            }
            head.framing = head.request_framing();
            peer.reader.body(&mut peer.wire, &mut head).unwrap();
            let said = format!("{} bytes", head.body.len());
            peer.answer(200, said.as_bytes());
        }
    });
    let proxy = Proxy::to(&[&upstream.address]);
    let dir = TempDir::new();
    let file = dir.file("upload");
    fs::write(&file, vec![b'u'; 2 << 20]).unwrap();
    let data = format!("@{}", file.display());
    for more in [
        &["-H", "Expect: 100-continue"][..],
        &["-H", "Expect:"],
        &["-H", "Transfer-Encoding: chunked"],
    ] {
        let mut command = Command::new(&curl);
        command
            .args([
                "-sS",
                "--max-time",
                "20",
                "--noproxy",
                "*",
                "--data-binary",
                &data,
            ])
            .args(more);
        command.arg(format!("http://{}/upload", proxy.web()));
        assert_eq!(
            output(&mut command).success().stdout,
            "2097152 bytes",
            "{more:?}"
        );
    }
}

#[test]
fn wrk_finds_no_error() {
    const TEST: &str = "wrk_finds_no_error";
    let dir = TempDir::new();
    let Some((_nginx, address)) = nginx(TEST, &dir) else {
        return;
    };
    let Some(wrk) = tools::need(TEST, "wrk") else {
        return;
    };
    let proxy = Proxy::to(&[&address]);
    let mut command = Command::new(wrk);
    command.args([
        "-t1",
        "-c16",
        "-d2s",
        &format!("http://{}/small.txt", proxy.web()),
    ]);
    let said = output(&mut command).success().stdout;
    assert!(
        !said.contains("Non-2xx") && !said.contains("Socket errors"),
        "{said}"
    );
    assert!(said.contains("requests in"), "{said}");
    let failures = proxy.metrics().sum("outrigger_failures_total", &[]);
    // wrk resets what is open when its time is over: that is its doing.
    let gone = proxy
        .metrics()
        .sum("outrigger_failures_total", &[("cause", "client_gone")]);
    assert!(
        (failures - gone).abs() < 0.5,
        "{failures} failures, {gone} of them clients that left"
    );
}

const PYTHON: &str = r#"
import http.client, sys
host, port = sys.argv[1].rsplit(":", 1)
conn = http.client.HTTPConnection(host, int(port), timeout=20)
for n in range(20):
    conn.request("GET", "/small.txt")
    answer = conn.getresponse()
    assert answer.status == 200 and answer.read() == b"from nginx\n", answer.status
conn.request("HEAD", "/small.txt")
answer = conn.getresponse()
assert answer.read() == b"" and answer.getheader("content-length") == "11"
conn.request("POST", "/missing", body=iter([b"a", b"b" * 1000]), encode_chunked=True)
answer = conn.getresponse()
assert answer.status in (404, 405), answer.status
answer.read()
conn.request("GET", "/large.bin")
assert len(conn.getresponse().read()) == 3 << 20
print("fine")
"#;

#[test]
fn python_before_nginx_behind() {
    const TEST: &str = "python_before_nginx_behind";
    let dir = TempDir::new();
    let Some((_nginx, address)) = nginx(TEST, &dir) else {
        return;
    };
    let Some(python) = tools::need(TEST, "python3") else {
        return;
    };
    let proxy = Proxy::to(&[&address]);
    let mut command = Command::new(python);
    command.args(["-c", PYTHON, &proxy.web().to_string()]);
    assert_eq!(output(&mut command).success().stdout, "fine\n");
}

#[test]
fn python_behind() {
    const TEST: &str = "python_behind";
    let Some(python) = tools::need(TEST, "python3") else {
        return;
    };
    let dir = TempDir::new();
    fs::write(dir.file("page.txt"), "from python\n").unwrap();
    let folder = dir.path().display().to_string();
    // Its server speaks HTTP/1.0 and closes: the end of the connection ends the body.
    let (_server, address) = serve("python", &dir, |port| {
        let mut command = Command::new(&python);
        command.args([
            "-m",
            "http.server",
            "--bind",
            "127.0.0.1",
            "--directory",
            &folder,
            &port.to_string(),
        ]);
        command
    });
    let proxy = Proxy::to(&[&address]);
    let mut client = Client::connect(proxy.web());
    for _ in 0..10 {
        assert_eq!(client.get("/page.txt").text(), "from python\n");
        assert_eq!(client.get("/missing").status(), 404);
    }
}

fn redis_cli(test: &str) -> Option<(PathBuf, PathBuf)> {
    Some((
        tools::need(test, "redis-server")?,
        tools::need(test, "redis-cli")?,
    ))
}

#[test]
fn redis_over_tcp() {
    const TEST: &str = "redis_over_tcp";
    let Some((server, cli)) = redis_cli(TEST) else {
        return;
    };
    let dir = TempDir::new();
    let folder = dir.path().display().to_string();
    let (_redis, address) = serve("redis", &dir, |port| {
        let mut command = Command::new(&server);
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            &folder,
        ]);
        command
    });
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: db, bind: '127.0.0.1:0', protocol: tcp, cluster: redis }}]
clusters: [{{ name: redis, endpoints: ['{address}'] }}]"
    ));
    let port = proxy.listener("db").tcp().port().to_string();
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(&cli);
        command.args(["-p", &port]).args(arguments);
        output(&mut command).success().stdout
    };
    assert_eq!(ask(&["PING"]), "PONG\n");
    assert_eq!(ask(&["SET", "key", &"v".repeat(10_000)]), "OK\n");
    assert_eq!(ask(&["STRLEN", "key"]), "10000\n");
    assert_eq!(ask(&["GET", "key"]).trim_end().len(), 10_000);
    if let Some(bench) = tools::need(TEST, "redis-benchmark") {
        let mut command = Command::new(bench);
        command.args([
            "-p", &port, "-n", "5000", "-c", "10", "-P", "4", "-t", "set,get", "-q",
        ]);
        let said = output(&mut command).success().stdout;
        assert!(said.contains("GET") && !said.contains("Error"), "{said}");
    }
}

/// A protocol in which either side may speak at any time.
#[test]
fn postgres_over_tcp() {
    const TEST: &str = "postgres_over_tcp";
    let Some(psql) = tools::need(TEST, "psql") else {
        return;
    };
    let bin = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|e| Some(e.ok()?.path().join("bin")))
        .find(|bin| bin.join("initdb").is_file());
    let Some(bin) = bin else {
        return tools::skip(TEST, "the PostgreSQL server is not installed");
    };
    let Some(runuser) = tools::need(TEST, "runuser") else {
        return;
    };
    let dir = TempDir::new();
    let data = dir.file("pg");
    fs::create_dir(&data).unwrap();
    // It will not run as root: as the user its package made.
    let as_postgres = |program: &str| {
        let mut command = Command::new(&runuser);
        command
            .args(["-u", "postgres", "--"])
            .arg(bin.join(program))
            .current_dir("/");
        command
    };
    let mut chown = Command::new("chown");
    chown.args(["-R", "postgres"]).arg(dir.path());
    if output(&mut chown).code != Some(0) {
        return tools::skip(TEST, "cannot give a folder to the user postgres");
    }
    let mut init = as_postgres("initdb");
    init.args(["-A", "trust", "-U", "postgres", "-N", "-D"])
        .arg(&data);
    let _ = output(&mut init).success();
    let folder = dir.path().display().to_string();
    let (_server, address) = serve("postgres", &dir, |port| {
        let mut command = as_postgres("postgres");
        command
            .args([
                "-p",
                &port.to_string(),
                "-h",
                "127.0.0.1",
                "-k",
                &folder,
                "-D",
            ])
            .arg(&data);
        command
    });
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: db, bind: '127.0.0.1:0', protocol: tcp, cluster: pg }}]
clusters: [{{ name: pg, endpoints: ['{address}'] }}]"
    ));
    let port = proxy.listener("db").tcp().port().to_string();
    let said = wait::until_within(Duration::from_secs(30), "a query to succeed", || {
        let mut command = Command::new(&psql);
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "postgres",
            "-At",
            "-c",
        ]);
        command.arg("select sum(n), repeat('x', 100000) from generate_series(1, 1000) n");
        Some(output(&mut command)).filter(|o| o.code == Some(0))
    });
    assert!(said.stdout.starts_with("500500|xxx") && said.stdout.len() > 100_000);
}

/// The simplest text is also what a stranger to the project tries first.
#[test]
fn the_readmes_first_steps_work_with_curl() {
    const TEST: &str = "the_readmes_first_steps_work_with_curl";
    let Some(curl) = tools::need(TEST, "curl") else {
        return;
    };
    let upstream = Upstream::fixed("ok");
    let proxy = Proxy::start(&simple(&[&upstream.address]));
    let mut command = Command::new(curl);
    command.args([
        "-sS",
        "--max-time",
        "20",
        "--noproxy",
        "*",
        "-w",
        " %{http_code} %{num_connects}",
    ]);
    command.arg(format!("http://{}/", proxy.web()));
    assert_eq!(output(&mut command).success().stdout, "ok 200 1");
}
