//! The other commands of the binary, as a user types them.

use std::{fs, path::Path, process::Command};

use outrigger_tests::{
    files::TempDir,
    process::{Output, output},
    proxy::{self, run},
    upstream::Upstream,
};

fn validate(dir: &TempDir, text: &str) -> Output {
    let file = dir.file("proxy.yaml");
    fs::write(&file, text).unwrap();
    run(&["validate", &file.display().to_string()])
}

#[test]
fn validate_tells_every_problem_at_its_place() {
    let dir = TempDir::new();
    let said = validate(
        &dir,
        "version: 1
listeners:
  - { name: web, bind: '127.0.0.1:8080', protocl: http }
  - { name: web, bind: nonsense, protocol: http }
routes:
  - { name: all, rules: [{ backends: [{ cluster: nowhere }] }] }
",
    );
    assert_eq!(said.code, Some(1), "{said:?}");
    let all = format!("{}{}", said.stdout, said.stderr);
    for word in [
        "proxy.yaml:3",
        "proxy.yaml:4",
        "protocl",
        "protocol",
        "nonsense",
        "nowhere",
    ] {
        assert!(all.contains(word), "{word} in {all}");
    }
}

#[test]
fn validate_is_content_with_good_files() {
    let dir = TempDir::new();
    let said = validate(
        &dir,
        "version: 1
listeners: [{ name: web, bind: '127.0.0.1:8080', protocol: http }]
routes: [{ name: all, rules: [{ filters: [{ direct_response: { status: 200 } }] }] }]
",
    );
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn validate_takes_every_file_and_fails_if_one_fails() {
    let dir = TempDir::new();
    let (good, bad) = (dir.file("good.yaml"), dir.file("bad.json"));
    fs::write(&good, "version: 1\n").unwrap();
    fs::write(&bad, "{\"version\": 2}").unwrap();
    let said = run(&[
        "validate",
        &good.display().to_string(),
        &bad.display().to_string(),
    ]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(format!("{}{}", said.stdout, said.stderr).contains("bad.json"));
}

/// The files of the Compose set-up are read by nobody but the image's users: here they are read.
#[test]
fn the_files_of_the_compose_set_up_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/compose/standalone");
    for name in ["proxy", "red", "blue"] {
        let file = folder.join(name).join("proxy.yaml");
        let said = run(&["validate", &file.display().to_string()]);
        assert_eq!(said.code, Some(0), "{name}: {said:?}");
    }
}

#[test]
fn the_schema_is_json_schema() {
    let said = run(&["schema"]).success();
    let schema: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert!(
        schema["$schema"].is_string() || schema["properties"].is_object(),
        "{schema}"
    );
    assert!(said.stdout.contains("listeners"));
}

#[test]
fn version_and_help_teach() {
    assert!(
        run(&["--version"])
            .success()
            .stdout
            .starts_with("outrigger ")
    );
    let help = run(&["--help"]).success().stdout;
    for command in ["run", "validate", "schema", "demo", "drain", "healthcheck"] {
        assert!(help.contains(command), "{command} in {help}");
    }
    assert_ne!(run(&["nonsense"]).code, Some(0));
}

#[test]
fn run_refuses_a_bad_file_and_says_why() {
    let dir = TempDir::new();
    let file = dir.file("proxy.yaml");
    fs::write(&file, "version: 1\nlistners: []\n").unwrap();
    let said = run(&["run", "--config", &file.display().to_string()]);
    assert!(said.code.is_some_and(|c| c != 0), "{said:?}");
    assert!(
        said.stderr.contains("listners") && said.stderr.contains("listeners"),
        "{said:?}"
    );
    let said = run(&[
        "run",
        "--config",
        &dir.file("missing.yaml").display().to_string(),
    ]);
    assert!(said.code.is_some_and(|c| c != 0), "{said:?}");
    assert!(said.stderr.contains("missing.yaml"), "{said:?}");
}

/// Sharing a port with another process by accident would split the traffic between the two.
#[test]
fn run_refuses_a_port_that_another_proxy_has() {
    let upstream = Upstream::fixed("ok");
    let proxy = proxy::Proxy::to(&[&upstream.address]);
    let dir = TempDir::new();
    let file = dir.file("proxy.yaml");
    let bind = format!("bind: '{}'", proxy.web());
    let text = proxy::simple(&[&upstream.address]).replace("bind: '127.0.0.1:0'", &bind);
    fs::write(&file, format!("version: 1\n{text}")).unwrap();
    let said = run(&["run", "--config", &file.display().to_string()]);
    assert!(said.code.is_some_and(|c| c != 0), "{said:?}");
    assert!(said.stderr.contains(&proxy.web().to_string()), "{said:?}");
}

#[test]
fn the_health_check_follows_readiness() {
    let upstream = Upstream::fixed("ok");
    let proxy = proxy::Proxy::start(&format!(
        "probes: {{ bind: 127.0.0.1:0 }}\n{}",
        proxy::simple(&[&upstream.address])
    ));
    let probes = proxy.probes().to_string();
    assert_eq!(run(&["healthcheck", &probes]).code, Some(0));
    drop(proxy);
    assert_ne!(run(&["healthcheck", &probes]).code, Some(0));
}

#[test]
fn run_prints_nothing_on_standard_output() {
    let upstream = Upstream::fixed("ok");
    let proxy = proxy::Proxy::to(&[&upstream.address]);
    outrigger_tests::client::get(proxy.web(), "/");
    assert_eq!(proxy.process.stdout(), "");
}

#[test]
fn the_environment_is_substituted_where_asked_for() {
    let dir = TempDir::new();
    let file = dir.file("proxy.yaml");
    fs::write(
        &file,
        "version: 1
listeners: [{ name: web, bind: '127.0.0.1:${PORT}', protocol: http }]
routes: [{ name: all, rules: [{ filters: [{ direct_response: { status: 200 } }] }] }]
",
    )
    .unwrap();
    let check = |port: Option<&str>| {
        let mut command = Command::new(proxy::binary());
        command.args(["validate", &file.display().to_string()]);
        match port {
            Some(port) => command.env("PORT", port),
            None => command.env_remove("PORT"),
        };
        output(&mut command).code
    };
    assert_eq!(check(Some("8080")), Some(0));
    assert_eq!(check(Some("eighty")), Some(1));
    assert_eq!(check(None), Some(1));
}

#[test]
fn the_demo_runs_to_its_end() {
    let said = run(&["demo", "--requests", "200", "--exit"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!said.stdout.is_empty());
}
