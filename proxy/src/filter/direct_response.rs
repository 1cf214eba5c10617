//! Answers at once, always the same.

use bytes::Bytes;
use outrigger_config::model;

use super::{Compiled, Filter, Flow, Reply, RequestContext};
use crate::message::HeaderLine;

struct DirectResponse(Reply);

pub(super) fn compile(settings: &model::DirectResponse) -> Compiled {
    let status = settings.status;
    if !(200..=599).contains(&status) {
        return Err(format!("{status} is not a final status"));
    }
    let body = settings.body.as_str();
    if !body.is_empty() && matches!(status, 204 | 205 | 304) {
        return Err(format!("a {status} has no body"));
    }
    let line = HeaderLine::new("content-type", settings.content_type.as_str());
    Ok(Box::new(DirectResponse(Reply {
        status,
        lines: match body {
            "" => Bytes::new(),
            _ => Bytes::copy_from_slice(line.line()),
        },
        body: Bytes::copy_from_slice(body.as_bytes()),
    })))
}

impl Filter for DirectResponse {
    fn on_request(&self, _: &mut RequestContext<'_>) -> Flow {
        Flow::Reply(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::run, *};
    use crate::message::testing::TestRequest;

    fn settings(status: u16, body: &str) -> model::DirectResponse {
        model::DirectResponse {
            status,
            body: body.into(),
            content_type: "application/json".into(),
        }
    }

    fn check(status: u16, body: &'static str, lines: &'static str) {
        let filter = model::Filter::DirectResponse(settings(status, body));
        let outcome = run(&[filter], &TestRequest::get("a", "/"), None);
        let expected = Reply {
            status,
            lines: Bytes::from_static(lines.as_bytes()),
            body: Bytes::from_static(body.as_bytes()),
        };
        assert_eq!(outcome.reply(), &expected);
    }

    #[test]
    fn answers_as_told() {
        check(200, "{}", "content-type: application/json\r\n");
        check(503, "", "");
        check(204, "", "");
    }

    #[test]
    fn impossible_answers_are_refused() {
        for (status, body) in [(100, ""), (199, ""), (600, ""), (204, "x"), (304, "x")] {
            assert!(compile(&settings(status, body)).is_err(), "{status}");
        }
    }
}
