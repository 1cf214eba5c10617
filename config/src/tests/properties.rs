//! What holds for every configuration and every text.

use proptest::prelude::*;

use crate::engine::generate::{Generate, Random};
use crate::engine::{Model, Reader, Writing, Written};
use crate::model::Config;
use crate::problem::Collected;
use crate::text::{self, Format, Redactions};

/// Reads without the checks, which a configuration by chance does not pass.
fn read_fields(text: &str, format: Format) -> Config {
    let document = text::parse(text, format).unwrap();
    let mut reader = Reader::new(&document, Collected::default());
    let config = Config::read(document.root(), &mut reader);
    let problems = reader.problems.finish("generated", Some(&document));
    assert!(problems.count() == 0, "{problems}\n{text}");
    config
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(seed: u64) {
        let config = Config::generate(&mut Random(seed));
        let canonical = serde_json::to_string(&config).unwrap();
        prop_assert_eq!(&read_fields(&canonical, Format::Json), &config);
        prop_assert_eq!(&read_fields(&canonical, Format::Yaml), &config);
        let redactions = Redactions::default();
        let full = Writing::full(&redactions);
        let full = serde_json::to_string_pretty(&Written::new(&config, &full)).unwrap();
        prop_assert_eq!(&read_fields(&full, Format::Json), &config);
        prop_assert_eq!(serde_json::to_string(&read_fields(&full, Format::Yaml)).unwrap(), canonical);
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        for file in ["x.json", "x.yaml"] {
            let _ = crate::read(&text, file, &|_| None);
        }
    }

    #[test]
    fn no_shuffled_configuration_panics(
        pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..60),
    ) {
        let text = pieces.concat();
        for file in ["x.json", "x.yaml"] {
            let _ = crate::read(&text, file, &|name| (name == "A").then(|| "1".to_owned()));
        }
    }

    #[test]
    fn no_cut_configuration_panics(seed: u64, cut: prop::sample::Index, with in "[\\PC\n\t]{0,3}") {
        let config = Config::generate(&mut Random(seed));
        let mut json = serde_json::to_string(&config).unwrap();
        let mut at = cut.index(json.len());
        while !json.is_char_boundary(at) {
            at -= 1;
        }
        json.insert_str(at, &with);
        for file in ["x.json", "x.yaml"] {
            let _ = crate::read(&json, file, &|_| None);
        }
    }
}

/// What configurations are made of.
const PIECES: &[&str] = &[
    "version: 1\n",
    "listeners:\n",
    "routes:\n",
    "clusters:\n",
    "admin:",
    "  - ",
    "- ",
    "    ",
    "name: a\n",
    "bind: 127.0.0.1:1\n",
    "\n",
    " ",
    "{",
    "}",
    "[",
    "]",
    ",",
    ": ",
    ":",
    "? ",
    "|\n",
    ">-\n",
    "\"",
    "'",
    "&a ",
    "*a",
    "<<: *a\n",
    "!!str ",
    "!x ",
    "# c\n",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "${A}",
    "${B:-c}",
    "${",
    "$${",
    "null",
    "~",
    "true",
    "-1",
    "1e999",
    "\\u0000",
    "\\",
    "ü",
    "\u{feff}",
    "\t",
    "\r\n",
    "rules: [{}]\n",
    "matches:",
    "path: { prefix: / }",
    "\"version\":1",
    "\"routes\":[{}]",
    "balance: maglev\n",
    "endpoints: [127.0.0.1:1]\n",
    "@",
    "`",
    "-",
    "--",
    "\u{85}",
    "\u{2028}",
];
