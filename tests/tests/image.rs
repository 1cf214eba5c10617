//! The image: the static binary runs on nothing, the Dockerfile builds, and what it builds serves
//! as the user and with the health check that it says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use outrigger_tests::{
    client,
    files::TempDir,
    process::{Process, Signal, output},
    tools, wait,
    wire::Address,
};

const CONFIG: &str = "version: 1
probes: { bind: 127.0.0.1:0 }
listeners: [{ name: web, bind: '127.0.0.1:0', protocol: http }]
routes: [{ name: all, rules: [{ filters: [{ direct_response: { status: 200, body: from the image } }] }] }]
";

/// The repository.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The binary as the image has it, but for the profile: built once, beside the other artefacts.
fn static_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let test = std::env::current_exe().unwrap();
        let artefacts = test.ancestors().nth(3).unwrap().join("static");
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(repository())
            .args([
                "build",
                "--locked",
                "-p",
                "outrigger-proxy",
                "--target",
                &target,
            ])
            .env("CARGO_TARGET_DIR", &artefacts)
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env(
                "RUSTFLAGS",
                "-C target-feature=+crt-static --cfg getrandom_backend=\"linux_getrandom\"",
            );
        let dir = TempDir::new();
        let mut build = Process::start(&mut cargo, "cargo", dir.path());
        let status = build.exit_within(Duration::from_mins(15));
        assert!(status.success(), "{}", build.stderr());
        artefacts.join(target).join("debug/outrigger")
    })
}

/// A folder that holds a configuration, and that the user of the image may write into.
fn settings() -> TempDir {
    let dir = TempDir::new();
    fs::write(dir.file("proxy.yaml"), CONFIG).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

/// Waits for the ready file and asks the proxy that wrote it.
fn serves(process: &mut Process, ready: &Path) {
    let text = wait::until("the proxy to be ready", || {
        assert!(
            process.is_running(),
            "{}{}",
            process.stdout(),
            process.stderr()
        );
        fs::read_to_string(ready).ok()
    });
    let ready: serde_json::Value = serde_json::from_str(&text).unwrap();
    let address = |v: &serde_json::Value| Address::parse(v.as_str().unwrap());
    let web = address(&ready["listeners"]["web"]);
    assert_eq!(client::fetch(web, "GET", "/", &[]).text(), "from the image");
    let probes = address(&ready["probes"]);
    assert_eq!(
        client::fetch(probes, "GET", "/ready", &["Host: localhost"]).status(),
        200
    );
}

fn is_root() -> bool {
    output(Command::new("id").arg("-u")).stdout.trim() == "0"
}

#[test]
fn the_static_binary_runs_in_an_empty_root() {
    const TEST: &str = "the_static_binary_runs_in_an_empty_root";
    if !is_root() {
        return tools::skip(TEST, "chroot needs root");
    }
    let Some(chroot) = tools::need(TEST, "chroot") else {
        return;
    };
    let root = settings();
    fs::copy(static_binary(), root.file("outrigger")).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&chroot);
        command
            .arg("--userspec=2102:2102")
            .arg(root.path())
            .arg("/outrigger")
            .args(arguments);
        command
    };
    assert!(
        output(&mut run(&["--version"]))
            .success()
            .stdout
            .starts_with("outrigger ")
    );
    let out = TempDir::new();
    let mut command = run(&[
        "run",
        "--config",
        "/proxy.yaml",
        "--ready-file",
        "/ready.json",
    ]);
    let mut process = Process::start(&mut command, "chroot", out.path());
    serves(&mut process, &root.file("ready.json"));
    process.signal(Signal::Term);
    assert_eq!(process.exit().code(), Some(0));
}

/// What the build needs of the repository, with the binary in the place of a compiler.
fn context() -> TempDir {
    let dir = TempDir::new();
    fs::create_dir_all(dir.file("docker/prebuilt")).unwrap();
    for file in ["LICENSE", "docker/Dockerfile", ".dockerignore"] {
        fs::copy(repository().join(file), dir.file(file)).unwrap();
    }
    fs::copy(static_binary(), dir.file("docker/prebuilt/outrigger")).unwrap();
    dir
}

#[test]
fn the_image_builds_and_serves() {
    const TEST: &str = "the_image_builds_and_serves";
    let mut reasons = Vec::new();
    for name in ["docker", "podman"] {
        let Some(engine) = tools::find(name) else {
            continue;
        };
        if output(Command::new(&engine).arg("info")).code != Some(0) {
            reasons.push(format!("{name} does not answer"));
            continue;
        }
        match with_engine(&engine) {
            Ok(()) => return,
            Err(reason) => reasons.push(format!("{name} cannot run containers here: {reason}")),
        }
    }
    match tools::find("buildah") {
        Some(buildah) if is_root() => return with_buildah(&buildah),
        Some(_) => reasons.push("buildah without an engine needs root".to_owned()),
        None => reasons.push("no buildah is installed".to_owned()),
    }
    tools::skip(TEST, &reasons.join("; "));
}

/// What the image says of itself, whoever built it.
fn check(config: &serde_json::Value) {
    assert_eq!(config["User"], "2102:2102", "{config}");
    assert_eq!(
        config["Entrypoint"],
        serde_json::json!(["/outrigger"]),
        "{config}"
    );
    assert_eq!(config["Healthcheck"]["Test"][2], "healthcheck", "{config}");
    assert_eq!(config["StopSignal"], "SIGTERM", "{config}");
}

/// An image of an engine, which the test removes.
struct Image<'a> {
    engine: &'a Path,
    name: String,
}

impl Drop for Image<'_> {
    fn drop(&mut self) {
        let _ = Command::new(self.engine)
            .args(["rmi", "--force", &self.name])
            .output();
    }
}

/// # Errors
/// Why the engine starts no container at all: codes that it keeps for itself. Podman answers also
/// where its runtime does not get along with the kernel's control groups.
fn with_engine(engine: &Path) -> Result<(), String> {
    let context = context();
    let image = Image {
        engine,
        name: format!("outrigger-image-test-{}", std::process::id()),
    };
    let mut build = Command::new(engine);
    build
        .current_dir(context.path())
        .env("DOCKER_BUILDKIT", "1");
    // Else Podman writes OCI's format, which has no health check.
    build.env("BUILDAH_FORMAT", "docker").args([
        "build",
        "--build-arg",
        "BIN_STAGE=prebuilt",
        "-f",
        "docker/Dockerfile",
        "-t",
        &image.name,
        ".",
    ]);
    let _ = output(&mut build).success();
    let mut inspect = Command::new(engine);
    inspect.args(["image", "inspect", &image.name]);
    let inspected = output(&mut inspect).success();
    let inspected: serde_json::Value = serde_json::from_str(&inspected.stdout).unwrap();
    let config = &inspected[0]["Config"];
    // Podman shows the health check beside it.
    let mut config = config.clone();
    if config["Healthcheck"].is_null() {
        config["Healthcheck"] = inspected[0]["Healthcheck"].clone();
    }
    check(&config);

    // Without a network: the engine's own would be made, and left behind, on this machine.
    let mut version = Command::new(engine);
    version.args(["run", "--rm", "--network", "none", &image.name, "--version"]);
    let version = output(&mut version);
    if matches!(version.code, Some(125 | 126)) {
        return Err(version.stderr);
    }
    assert!(version.success().stdout.starts_with("outrigger "));
    let settings = settings();
    let mount = format!("{}:/etc/outrigger", settings.path().display());
    let mut run = Command::new(engine);
    run.args([
        "run",
        "--rm",
        "--network",
        "host",
        "--read-only",
        "--cap-drop",
        "ALL",
        "-v",
        &mount,
        &image.name,
    ]);
    run.args([
        "run",
        "--config",
        "/etc/outrigger/proxy.yaml",
        "--ready-file",
        "/etc/outrigger/ready.json",
    ]);
    let out = TempDir::new();
    let mut process = Process::start(&mut run, "engine", out.path());
    serves(&mut process, &settings.file("ready.json"));
    // The engine hands the signal on.
    process.signal(Signal::Term);
    assert_eq!(process.exit().code(), Some(0));
    Ok(())
}

fn with_buildah(buildah: &Path) {
    let (context, store) = (context(), TempDir::new());
    let base = |arguments: &[&str]| {
        let mut command = Command::new(buildah);
        command
            .current_dir(context.path())
            .args(["--storage-driver", "vfs", "--root"]);
        command
            .arg(store.file("root"))
            .arg("--runroot")
            .arg(store.file("run"));
        command.args(arguments);
        command
    };
    let _ = output(&mut base(&[
        "bud",
        "--isolation",
        "chroot",
        "--format",
        "docker",
        "--build-arg",
        "BIN_STAGE=prebuilt",
        "-f",
        "docker/Dockerfile",
        "-t",
        "outrigger-test",
        ".",
    ]))
    .success();
    let inspected = output(&mut base(&["inspect", "--type", "image", "outrigger-test"])).success();
    let image: serde_json::Value = serde_json::from_str(&inspected.stdout).unwrap();
    check(&image["Docker"]["config"]);

    let container = output(&mut base(&["from", "--pull-never", "outrigger-test"])).success();
    let settings = settings();
    let mount = format!("{}:/etc/outrigger", settings.path().display());
    let mut run = base(&[
        "run",
        "--isolation",
        "chroot",
        "-v",
        &mount,
        container.stdout.trim(),
        "--",
        "/outrigger",
        "run",
        "--config",
        "/etc/outrigger/proxy.yaml",
        "--ready-file",
        "/etc/outrigger/ready.json",
    ]);
    let out = TempDir::new();
    let mut process = Process::start(&mut run, "buildah", out.path());
    serves(&mut process, &settings.file("ready.json"));
    // By its own id: buildah does not pass signals to what it runs.
    let text = fs::read_to_string(settings.file("ready.json")).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&text).unwrap();
    let pid = ready["pid"].to_string();
    let _ = output(Command::new("sh").args(["-c", "kill -s TERM \"$0\"", &pid])).success();
    assert_eq!(process.exit().code(), Some(0));
    let _ = output(&mut base(&["rm", "--all"]));
}
