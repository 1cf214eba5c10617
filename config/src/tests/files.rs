//! What lies beside the sources: examples with their pages, and the generated documents.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn stems(name: &str, extension: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder(name)).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_example_is_right_and_has_its_page() {
    let examples = stems("examples", "yaml");
    assert!(examples.len() >= 7, "{examples:?}");
    let mut pages = stems("docs", "md");
    // These are generated: from the types here, and from the metrics of the proxy.
    assert!(pages.remove("reference") && pages.remove("metrics"));
    assert_eq!(examples, pages);
    for stem in examples {
        let text =
            std::fs::read_to_string(folder("examples").join(format!("{stem}.yaml"))).unwrap();
        let loaded = crate::read(&text, &stem, &|_| None).unwrap_or_else(|p| panic!("{p}"));
        assert!(
            text.starts_with("# "),
            "{stem} begins with a word about itself"
        );
        // What an example says can be said as JSON too, and means the same.
        let json = serde_json::to_string(&loaded.config).unwrap();
        let again = crate::read(&json, "x.json", &|_| None).unwrap_or_else(|p| panic!("{p}"));
        assert_eq!(again.config, loaded.config);
        assert_eq!(again.hash, loaded.hash);
        let page = std::fs::read_to_string(folder("docs").join(format!("{stem}.md"))).unwrap();
        assert!(
            page.contains(&format!("(../examples/{stem}.yaml)")),
            "{stem}"
        );
    }
}

fn is_current(file: &str, expected: &str) {
    let path = folder("docs").join(file);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let actual = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        actual == expected,
        "{file} is out of date; run `UPDATE=1 cargo test -p outrigger-config`"
    );
}

#[test]
fn the_reference_is_current() {
    is_current("reference.md", &crate::reference());
}

#[test]
fn the_schema_is_current() {
    let schema = serde_json::to_string_pretty(&crate::schema()).unwrap() + "\n";
    is_current("schema.json", &schema);
}

/// A number without a reason cannot be judged.
#[test]
fn every_number_has_its_reason() {
    use crate::engine::{Catalogue, FieldDefault, Shape, TypeRef};
    let catalogue = Catalogue::of::<crate::model::Config>();
    for definition in &catalogue.definitions {
        let Shape::Object { fields, .. } = &definition.shape else {
            continue;
        };
        for field in fields {
            let is_number = matches!(&field.value, TypeRef::Scalar(scalar)
                if ["whole number", "duration", "size", "percentage"].contains(&scalar.name));
            let has_default = matches!(field.default, FieldDefault::Value(_));
            let has_reason = field.doc.contains("Why:");
            let place = format!("{}.{}", definition.name, field.name);
            assert!(has_reason || !is_number || !has_default, "{place}");
        }
    }
}
