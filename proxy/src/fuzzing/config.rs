//! Configurations: refused with a place, or good for a table.

use std::sync::Arc;

use crate::{
    snapshot::{self, Snapshot},
    telemetry::registry::Metrics,
};

/// A configuration, as YAML and as JSON: every problem has its place, and what is valid can be
/// built, written and read again.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let environment = |name: &str| (!name.starts_with('N')).then(|| "127.0.0.1:1".to_owned());
    for file in ["fuzz.yaml", "fuzz.json"] {
        match outrigger_config::read(text, file, &environment) {
            Ok(loaded) => {
                let json = loaded.redacted_json();
                // `$${` is written as the `${` that it stands for, and would be substituted.
                if !text.contains("${") {
                    let again = outrigger_config::read(&json, "again.json", &environment)
                        .unwrap_or_else(|problems| panic!("{problems}\nin {json}"));
                    assert_eq!(loaded.config, again.config, "{json}");
                    assert_eq!(loaded.hash, again.hash, "{json}");
                }
                let metrics = Metrics::new(1, 16);
                let built = snapshot::build(
                    Arc::new(loaded),
                    crate::tls::Table::default(),
                    &Snapshot::empty(),
                    &metrics,
                    0,
                );
                built.unwrap_or_else(|problem| panic!("valid, and not built: {problem}\n{text}"));
            }
            Err(problems) => {
                let said = problems.to_string();
                assert!(!said.is_empty(), "refused without a reason");
                assert!(said.starts_with(file), "no place: {said}");
            }
        }
    }
}
