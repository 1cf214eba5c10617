//! The schema takes what the reader takes. Judged by a small validator of the words we use.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;

use crate::engine::generate::{Generate, Random};
use crate::model::Config;

/// The first place where `value` is not what `schema` says.
fn refusal(value: &Value, schema: &Value, root: &Value, path: &str) -> Option<String> {
    let words = schema.as_object().expect("a schema is an object");
    words.iter().find_map(|(word, says)| {
        let none_of = |expected: std::ops::RangeInclusive<usize>| {
            let schemas = says.as_array().unwrap().iter();
            let all: Vec<_> = schemas.map(|one| refusal(value, one, root, path)).collect();
            let count = all.iter().filter(|refusal| refusal.is_none()).count();
            (!expected.contains(&count)).then(|| format!("{path}: {count} of {all:?}"))
        };
        let wrong = || Some(format!("{path}: {value} against {word} {says}"));
        match word.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "examples" | "format" => {
                None
            }
            "$ref" => {
                let pointer = says.as_str().unwrap().trim_start_matches('#');
                refusal(value, root.pointer(pointer).unwrap(), root, path)
            }
            "anyOf" => none_of(1..=usize::MAX),
            "oneOf" => none_of(1..=1),
            "items" => value.as_array().and_then(|items| {
                let mut items = items.iter().enumerate();
                items.find_map(|(i, item)| refusal(item, says, root, &format!("{path}/{i}")))
            }),
            "required" => {
                let mut names = says.as_array().unwrap().iter();
                let all = value.as_object().is_none_or(|object| {
                    names.all(|name| object.contains_key(name.as_str().unwrap()))
                });
                if all { None } else { wrong() }
            }
            "properties" => value.as_object().and_then(|object| {
                object.iter().find_map(|(name, value)| {
                    refusal(value, says.get(name)?, root, &format!("{path}/{name}"))
                })
            }),
            "additionalProperties" => value.as_object().and_then(|object| {
                let known = words.get("properties").and_then(Value::as_object);
                let mut others = object
                    .iter()
                    .filter(|(name, _)| known.is_none_or(|known| !known.contains_key(*name)));
                others.find_map(|(name, value)| match says {
                    Value::Bool(false) => Some(format!("{path}/{name}: unknown")),
                    says => refusal(value, says, root, &format!("{path}/{name}")),
                })
            }),
            word if is_met(value, word, says) => None,
            _ => wrong(),
        }
    })
}

/// What concerns one value without what it holds.
fn is_met(value: &Value, word: &str, says: &Value) -> bool {
    let text = value.as_str();
    match word {
        "const" => value == says,
        "type" => match says.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64(),
            "number" => value.is_number(),
            other => panic!("{other}"),
        },
        "minimum" => value.as_f64().is_none_or(|v| v >= says.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|v| v <= says.as_f64().unwrap()),
        "minLength" => text.is_none_or(|v| v.len() as u64 >= says.as_u64().unwrap()),
        "maxLength" => text.is_none_or(|v| v.len() as u64 <= says.as_u64().unwrap()),
        "pattern" => {
            let mut pattern = regex::bytes::RegexBuilder::new(says.as_str().unwrap());
            let pattern = pattern.unicode(false).build().unwrap();
            text.is_none_or(|v| pattern.is_match(v.as_bytes()))
        }
        other => panic!("{other}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn takes_what_is_written(seed: u64) {
        let config = Config::generate(&mut Random(seed));
        let value = serde_json::to_value(&config).unwrap();
        let schema = crate::schema();
        prop_assert_eq!(refusal(&value, &schema, &schema, ""), None);
    }
}

#[test]
fn refuses_what_is_wrong() {
    let schema = crate::schema();
    for text in [
        "{}",
        r#"{ "version": 2 }"#,
        r#"{ "version": 1, "listners": [] }"#,
        r#"{ "version": 1, "listeners": [{ "name": "a" }] }"#,
        r#"{ "version": 1, "listeners": [{ "name": "a", "bind": "127.0.0.1:1", "protocol": "udp" }] }"#,
        r#"{ "version": 1, "listeners": [{ "name": "a", "bind": "127.0.0.1:1", "idle_timeout": 5 }] }"#,
        r#"{ "version": 1, "clusters": [{ "name": "a", "balance": "maglev" }] }"#,
        r#"{ "version": 1, "clusters": [{ "name": "a", "balance": { "random": {}, "maglev": {} } }] }"#,
        r#"{ "version": 1, "clusters": [{ "name": "a", "pool": { "max_connections": 0 } }] }"#,
    ] {
        let value = serde_json::from_str(text).unwrap();
        assert!(refusal(&value, &schema, &schema, "").is_some(), "{text}");
    }
}

#[test]
fn the_schema_refers_to_what_it_defines() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                if let Some(target) = object.get("$ref").and_then(|r| r.as_str()) {
                    found.insert(target.replace("#/$defs/", ""));
                }
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|v| references(v, found)),
            _ => {}
        }
    }
    let schema = crate::schema();
    let mut found = BTreeSet::new();
    references(&schema, &mut found);
    let defined = schema["$defs"].as_object().unwrap();
    let defined: BTreeSet<String> = defined.keys().cloned().collect();
    assert_eq!(found, defined);
}
