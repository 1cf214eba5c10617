//! Files that change while the proxy serves.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use outrigger_tests::{client::request, proxy::run, secure::Secured, upstream::Upstream, wait};

use super::{site, start, text};

#[test]
fn certificates_are_renewed_under_load_and_nothing_is_lost() {
    let (dir, authority) = site();
    let upstream = Upstream::fixed("hello");
    let proxy = start(&dir, "", &upstream);
    let web = proxy.web();
    let config = Arc::new(authority.client(&["http/1.1"]));
    let (over, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let load: Vec<_> = (0..3)
        .map(|number| {
            let (config, over, done) = (Arc::clone(&config), Arc::clone(&over), Arc::clone(&done));
            thread::spawn(move || {
                let get = request("GET", "/", &[], b"");
                let mut kept = Secured::connect(web, "a.example", &config).unwrap();
                while !over.load(SeqCst) {
                    // One keeps its connection over everything; others make new ones.
                    if number > 0 {
                        kept = Secured::connect(web, "a.example", &config).unwrap();
                    }
                    assert_eq!(kept.ask(&get).unwrap().status(), 200);
                    done.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    let served = || {
        // Not resumed, so that a certificate is shown.
        let fresh = Arc::new(authority.client(&["http/1.1"]));
        Secured::connect(web, "a.example", &fresh)
            .unwrap()
            .certificate()
    };
    for _ in 0..2 {
        let before = done.load(SeqCst);
        let next = authority.issue(dir.path(), "site", &["a.example"]);
        wait::until("the renewed certificate", || {
            (served() == next).then_some(())
        });
        wait::until("more load", || {
            (done.load(SeqCst) > before + 10).then_some(())
        });
    }
    over.store(true, SeqCst);
    for each in load {
        each.join().unwrap();
    }
    let metrics = proxy.metrics();
    let failed = metrics.sum("outrigger_failures_total", &[]);
    assert!(failed < 0.5, "{failed} failures");
}

#[test]
fn what_does_not_fit_is_refused_and_what_serves_goes_on() {
    let (dir, authority) = site();
    let upstream = Upstream::fixed("hello");
    let proxy = start(&dir, "", &upstream);
    let config = Arc::new(authority.client(&["http/1.1"]));
    let mut client = Secured::connect(proxy.web(), "a.example", &config).unwrap();
    let before = client.certificate();
    // A key of another certificate.
    authority.issue(dir.path(), "other", &["a.example"]);
    fs::rename(dir.file("other.key"), dir.file("site.key")).unwrap();
    let rejected = wait::until("the refusal", || {
        let rejected = proxy.ask_json("/config")["rejected"].clone();
        (!rejected.is_null()).then_some(rejected)
    });
    let problem = rejected["problems"][0].as_str().unwrap();
    assert!(
        problem.starts_with("listeners[0].tls.certificates[0].key: ")
            && problem.contains("not the key of the certificate"),
        "{problem}"
    );
    let get = request("GET", "/", &[], b"");
    assert_eq!(client.ask(&get).unwrap().status(), 200);
    let fresh = Arc::new(authority.client(&["http/1.1"]));
    let new = Secured::connect(proxy.web(), "a.example", &fresh).unwrap();
    assert_eq!(new.certificate(), before);
    // Its certificate follows, and all is well.
    fs::rename(dir.file("other.pem"), dir.file("site.pem")).unwrap();
    wait::until("the pair to serve", || {
        let fresh = Arc::new(authority.client(&["http/1.1"]));
        let new = Secured::connect(proxy.web(), "a.example", &fresh).unwrap();
        (new.certificate() != before).then_some(())
    });
    wait::until("no refusal", || {
        proxy.ask_json("/config")["rejected"]
            .is_null()
            .then_some(())
    });
    assert_eq!(client.ask(&get).unwrap().status(), 200);
}

#[test]
fn a_key_that_others_may_read_keeps_it_from_starting() {
    let (dir, _) = site();
    let upstream = Upstream::fixed("hello");
    let config = dir.file("proxy.yaml");
    fs::write(
        &config,
        format!("version: 1\n{}", text(&dir, "", &upstream)),
    )
    .unwrap();
    fs::set_permissions(dir.file("site.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let seen = run(&["run", "--config", config.to_str().unwrap()]);
    assert!(
        seen.stderr.contains("tls.certificates[0].key: ") && seen.stderr.contains("mode 0644"),
        "{}",
        seen.stderr
    );
}
