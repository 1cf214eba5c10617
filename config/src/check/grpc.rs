//! Matches of gRPC calls.

use super::Checker;
use crate::model::{GrpcMatch, GrpcName, Match};

pub(super) fn check(condition: &Match, grpc: &GrpcMatch, checker: &mut Checker<'_>) {
    let expected = "nothing beside `grpc`, which says path and method of HTTP";
    if condition.path.is_some() {
        checker.problem_at("path", "found a path", expected);
    }
    if condition.method.is_some() {
        checker.problem_at("method", "found a method", expected);
    }
    checker.field("grpc", |checker| {
        if let Some(service) = &grpc.service {
            let expected = "a service with its package, such as shop.v1.Cart";
            checker.field("service", |c| check_name(service, is_service, expected, c));
        }
        if let Some(method) = &grpc.method {
            let expected = "a method, such as AddItem";
            checker.field("method", |c| check_name(method, is_identifier, expected, c));
        }
    });
}

fn check_name(
    name: &GrpcName,
    is_valid: fn(&str) -> bool,
    expected: &'static str,
    checker: &mut Checker<'_>,
) {
    match (&name.exact, &name.regex) {
        (Some(exact), None) if !is_valid(exact.as_str()) => {
            checker.problem(format!("found {:?}", exact.as_str()), expected);
        }
        (Some(_), None) | (None, Some(_)) => {}
        (None, None) if checker.is_unread() => {}
        (None, None) => checker.problem("found no condition", "exactly one of exact, regex"),
        (Some(_), Some(_)) => {
            checker.problem("found exact, regex together", "exactly one of exact, regex");
        }
    }
}

/// Identifiers with dots between them, as in Gateway API.
fn is_service(text: &str) -> bool {
    text.split('.').all(is_identifier)
}

fn is_identifier(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(word) && !text.starts_with(|c: char| c.is_ascii_digit()) && !text.is_empty()
}
