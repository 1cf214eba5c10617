//! The reference in Markdown: every type, and every field with type, default, range and reason.

use std::fmt::Write as _;

use crate::engine::{Catalogue, Definition, Field, FieldDefault, Shape, TypeRef, Variant, show};
use crate::model::Config;
use crate::schema::text;

const HEAD: &str = "\
# Configuration reference

Generated from the types in `config/src/model`; change it there and run `UPDATE=1 cargo test -p outrigger-config`.

The file is YAML 1.2 or, with the extension `.json`, JSON. Unknown fields, fields given twice and
empty values are errors, and all of them are shown at once. In text values `${NAME}` stands for a
variable of the environment, `${NAME:-default}` for one that may be unset or empty, and `$${` for
the characters `${`. Keys are never replaced. What came from the environment is hidden in dumps.
A number or a truth value may come from the environment too: `max_connections: ${LIMIT}`. In flow
style (`{ ... }`) put it in quotes.

Anchors and aliases are taken; merge keys (`<<`), tags and further documents are not. A text may
be 64 MiB long and 64 levels deep.

";

pub(crate) fn reference() -> String {
    let catalogue = Catalogue::of::<Config>();
    let mut page = HEAD.to_owned();
    for definition in &catalogue.definitions {
        section(definition, &mut page);
    }
    line(&mut page, "## Values\n\n| type | written as |\n|---|---|");
    for scalar in &catalogue.scalars {
        line(
            &mut page,
            &format!("| {} | {} |", scalar.name, cell(scalar.expected)),
        );
    }
    page
}

fn section(definition: &Definition, page: &mut String) {
    line(
        page,
        &format!("## {}\n\n{}\n", definition.name, text(definition.doc)),
    );
    match &definition.shape {
        Shape::Object { fields, .. } if fields.is_empty() => {}
        Shape::Object { fields, short } => {
            line(
                page,
                "| field | type | default | range | meaning |\n|---|---|---|---|---|",
            );
            for entry in fields {
                field(entry, page);
            }
            line(page, "");
            if let Some(short) = short {
                line(
                    page,
                    &format!("The value of `{short}` alone may stand for the object.\n"),
                );
            }
        }
        Shape::Words(words) => {
            line(page, "| word | meaning |\n|---|---|");
            for (word, doc) in words {
                line(page, &format!("| `{word}` | {} |", cell(&text(doc))));
            }
            line(page, "");
        }
        Shape::OneOf(variants) => {
            line(
                page,
                "Exactly one of:\n\n| key | value | meaning |\n|---|---|---|",
            );
            for entry in variants {
                variant(entry, page);
            }
            line(page, "");
        }
    }
}

fn field(field: &Field, page: &mut String) {
    let default = match &field.default {
        FieldDefault::Required => "required".to_owned(),
        FieldDefault::Absent => "absent".to_owned(),
        FieldDefault::Value(value) => match show(value).as_str() {
            "{}" => "its defaults".to_owned(),
            "" => "`\"\"`".to_owned(),
            shown => format!("`{shown}`"),
        },
    };
    let range = field
        .range
        .as_ref()
        .map_or_else(String::new, |(low, high)| {
            if low == high {
                format!("`{}`", show(low))
            } else {
                format!("`{}` to `{}`", show(low), show(high))
            }
        });
    let row = format!(
        "| `{}` | {} | {default} | {range} | {} |",
        field.name,
        name(&field.value),
        cell(&meaning(field.doc))
    );
    line(page, &row);
}

fn variant(variant: &Variant, page: &mut String) {
    let alone = if variant.alone {
        ", or the bare word"
    } else {
        ""
    };
    let row = format!(
        "| `{}` | {}{alone} | {} |",
        variant.word,
        name(&variant.value),
        cell(&text(variant.doc))
    );
    line(page, &row);
}

/// The first lines say what a field is; a line with `Why:` gives the reason of its default.
fn meaning(doc: &str) -> String {
    match doc.split_once("Why:") {
        Some((what, why)) => format!("{} *Why: {}*", text(what), text(why)),
        None => text(doc),
    }
}

fn name(value: &TypeRef) -> String {
    match value {
        TypeRef::Scalar(scalar) => format!("[{}](#values)", scalar.name),
        TypeRef::Named(known) => format!("[{known}](#{})", known.to_ascii_lowercase()),
        TypeRef::List(item) => format!("list of {}", name(item)),
        TypeRef::Map(value) => format!("object of {}", name(value)),
    }
}

/// `|` would end a cell of the table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn line(page: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(page, "{text}");
}
