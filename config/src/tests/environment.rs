//! Values from the environment, and that dumps hide them.

use std::cell::RefCell;

use crate::model::{BindAddress, LogOutput, Workers};

const TEXT: &str = r#"
version: 1
admin: { token_file: "${SECRET}" }
mesh:
  workers: ${COUNT}
  access_log: { output: "${LOG:-stderr}" }
listeners:
  - { name: web, bind: "127.0.0.1:${PORT}", http: { via: "${VIA}", max_headers: "${COUNT}0" } }
routes:
  - name: r
    rules:
      - matches: [{ headers: [{ name: x, exact: "$${PORT}" }] }]
        filters: [{ request_headers: { set: { x-key: "${SECRET}" } } }]
        backends: &b [{ cluster: c, weight: "${COUNT}" }]
      - backends: *b
clusters: [{ name: c, dns: "${HOST}:80" }]
"#;

fn environment(name: &str) -> Option<String> {
    let value = match name {
        "SECRET" => "s3cret",
        "COUNT" => "4",
        "PORT" => "8081",
        "VIA" => "false",
        "HOST" => "hidden.internal",
        _ => return None,
    };
    Some(value.to_owned())
}

#[test]
fn values_are_put_in() {
    let loaded = crate::read(TEXT, "x.yaml", &environment).unwrap();
    let config = &loaded.config;
    let token = config.admin.as_ref().unwrap().token_file.as_ref().unwrap();
    assert_eq!(token.as_str(), "s3cret");
    assert_eq!(config.mesh.workers, Workers::Count(4));
    let log = config.mesh.access_log.as_ref().unwrap();
    assert_eq!(log.output, LogOutput::Stderr);
    let listener = &config.listeners[0];
    assert_eq!(
        listener.bind,
        BindAddress::Tcp("127.0.0.1:8081".parse().unwrap())
    );
    assert!(!listener.http.via);
    assert_eq!(listener.http.max_headers, 40);
    let rules = &config.routes[0].rules;
    let exact = rules[0].matches[0].headers[0].exact.as_ref().unwrap();
    assert_eq!(exact.as_str(), "${PORT}");
    assert_eq!(rules[1].backends[0].weight, 4);
}

#[test]
fn dumps_show_what_was_written() {
    let loaded = crate::read(TEXT, "x.yaml", &environment).unwrap();
    let dump = loaded.redacted_json();
    for hidden in ["s3cret", "8081", "hidden", ": 4,", ": 4\n"] {
        assert!(!dump.contains(hidden), "{hidden} in {dump}");
    }
    let dump: serde_json::Value = serde_json::from_str(&dump).unwrap();
    for (path, written) in [
        ("/admin/token_file", "${SECRET}"),
        ("/mesh/workers", "${COUNT}"),
        ("/mesh/access_log/output", "${LOG:-stderr}"),
        ("/listeners/0/bind", "127.0.0.1:${PORT}"),
        ("/listeners/0/http/via", "${VIA}"),
        (
            "/routes/0/rules/0/filters/0/request_headers/set/x-key",
            "${SECRET}",
        ),
        ("/routes/0/rules/0/backends/0/weight", "${COUNT}"),
        ("/routes/0/rules/1/backends/0/weight", "${COUNT}"),
        ("/clusters/0/dns", "${HOST}:80"),
    ] {
        let shown = dump.pointer(path).and_then(|value| value.as_str());
        assert_eq!(shown, Some(written), "{path}");
    }
    // What was not replaced is not hidden, and defaults are shown.
    let exact = dump.pointer("/routes/0/rules/0/matches/0/headers/0/exact");
    assert_eq!(exact.unwrap(), "${PORT}");
    assert_eq!(dump.pointer("/listeners/0/backlog").unwrap(), 4_096);
}

#[test]
fn problems_do_not_show_values() {
    let text = "version: 1\nadmin: { bind: \"${SECRET}\" }\nmesh: { workers: \"${SECRET}\" }\n";
    let problems = crate::read(text, "x.yaml", &environment).unwrap_err();
    assert_eq!(problems.count(), 2);
    assert!(!problems.to_string().contains("s3cret"), "{problems}");
}

#[test]
fn only_values_that_need_it_are_asked_for() {
    let asked = RefCell::new(Vec::new());
    let environment = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        Some("x".to_owned())
    };
    let text = "version: 1 # ${COMMENT}\nadmin: { token_file: \"$${NO} $NO\", allowed_hosts: [\"${YES}\"] }\n";
    crate::read(text, "x.yaml", &environment).unwrap();
    assert_eq!(*asked.borrow(), ["YES"]);
}
