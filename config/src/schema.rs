//! JSON Schema (2020-12) for editors, derived from the catalogue. It describes fields one by one;
//! what needs several to judge is left to `validate`.

use serde_json::{Map, Value, json};

use crate::engine::{Catalogue, Definition, Field, FieldDefault, Shape, TypeRef, Variant};
use crate::model::Config;

pub(crate) fn schema() -> Value {
    let catalogue = Catalogue::of::<Config>();
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Outrigger configuration",
        "$ref": "#/$defs/Config",
    });
    let definitions = catalogue.definitions.iter();
    let definitions: Map<String, Value> = definitions
        .map(|definition| (definition.name.to_owned(), define(definition)))
        .collect();
    schema["$defs"] = definitions.into();
    schema
}

fn define(definition: &Definition) -> Value {
    let mut schema = match &definition.shape {
        Shape::Object { fields, short } => object(fields, *short),
        Shape::Words(words) => {
            let words = words
                .iter()
                .map(|(word, doc)| json!({ "const": word, "description": text(doc) }));
            json!({ "oneOf": words.collect::<Vec<_>>() })
        }
        Shape::OneOf(variants) => {
            let schemas: Vec<Value> = variants.iter().flat_map(variant).collect();
            json!({ "oneOf": schemas })
        }
    };
    schema["description"] = text(definition.doc).into();
    schema
}

fn object(fields: &[Field], short: Option<&'static str>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in fields {
        properties.insert(field.name.to_owned(), property(field));
        if matches!(field.default, FieldDefault::Required) {
            required.push(field.name);
        }
    }
    let object = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    match fields.iter().find(|field| Some(field.name) == short) {
        Some(field) => json!({ "anyOf": [refer(&field.value), object] }),
        None => object,
    }
}

fn property(field: &Field) -> Value {
    let mut schema = refer(&field.value);
    if let Some((low, high)) = &field.range
        && low.is_number()
        && high.is_number()
    {
        schema["minimum"] = low.clone();
        schema["maximum"] = high.clone();
    }
    if let FieldDefault::Value(default) = &field.default {
        schema["default"] = default.clone();
    }
    schema["description"] = text(field.doc).into();
    schema
}

fn variant(variant: &Variant) -> Vec<Value> {
    let word = variant.word;
    let object = json!({
        "type": "object",
        "properties": { word: refer(&variant.value) },
        "required": [word],
        "additionalProperties": false,
        "description": text(variant.doc),
    });
    let mut schemas = vec![object];
    if variant.alone {
        schemas.push(json!({ "const": word, "description": text(variant.doc) }));
    }
    schemas
}

fn refer(value: &TypeRef) -> Value {
    match value {
        TypeRef::Scalar(scalar) => (scalar.schema)(),
        TypeRef::Named(name) => json!({ "$ref": format!("#/$defs/{name}") }),
        TypeRef::List(item) => json!({ "type": "array", "items": refer(item) }),
        TypeRef::Map(value) => json!({ "type": "object", "additionalProperties": refer(value) }),
    }
}

/// Documentation as one line.
pub(crate) fn text(doc: &str) -> String {
    let lines: Vec<&str> = doc
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    lines.join(" ")
}
