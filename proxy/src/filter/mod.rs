//! Steps that a rule applies to a request and its response: they look at a head, note edits, or
//! answer themselves. They never see sockets, bodies or the protocol.
//!
//! A filter is compiled from its settings once, when a table is built, and holds no state of a
//! request. To add one: its settings in the configuration, its file, and its line below.

mod direct_response;
mod header_edits;
mod path_rewrite;
mod redirect;
mod request_headers;
mod response_headers;
mod rewrite;

use bytes::Bytes;
use outrigger_config::model;

use crate::message::{Edits, RequestView, ResponseView};

/// The filters of a rule or a backend, in order.
pub(crate) type Filters = Box<[Box<dyn Filter>]>;

/// One step.
pub(crate) trait Filter: Send + Sync {
    /// Before the request goes anywhere.
    fn on_request(&self, _cx: &mut RequestContext<'_>) -> Flow {
        Flow::Continue
    }

    /// Before the response's head goes back.
    fn on_response(&self, _cx: &mut ResponseContext<'_>) {}
}

/// What a filter makes of its settings.
type Compiled = Result<Box<dyn Filter>, String>;

/// One filter from its settings. These have been validated, so that an error is not expected; it
/// says what was wrong.
pub(crate) fn compile(settings: &model::Filter) -> Compiled {
    match settings {
        model::Filter::RequestHeaders(settings) => request_headers::compile(settings),
        model::Filter::ResponseHeaders(settings) => response_headers::compile(settings),
        model::Filter::Rewrite(settings) => rewrite::compile(settings),
        model::Filter::Redirect(settings) => redirect::compile(settings),
        model::Filter::DirectResponse(settings) => direct_response::compile(settings),
    }
}

/// A request on its way through the filters, and what they may know of it. One context serves
/// the filters of the rule and then those of the backend.
pub(crate) struct RequestContext<'a> {
    pub(crate) request: RequestView<'a>,
    pub(crate) edits: &'a mut Edits,
    /// `http` or `https`, as the client used it.
    pub(crate) scheme: &'a str,
    /// Length of the path's prefix that the rule matched, without a slash at its end (the prefix
    /// `/` has length 0). `None` where the rule did not match by prefix. Follows rewrites.
    pub(crate) matched_prefix: Option<usize>,
    /// The port clients address where their `Host` names none. `None`: the scheme's default.
    pub(crate) listener_port: Option<u16>,
}

impl RequestContext<'_> {
    /// The path as it stands after earlier filters, without query.
    pub(crate) fn path(&self) -> &[u8] {
        self.edits
            .path
            .as_deref()
            .unwrap_or_else(|| self.request.path())
    }

    /// Host and optional port as they stand after earlier filters.
    pub(crate) fn authority(&self) -> &[u8] {
        self.edits
            .host
            .as_deref()
            .unwrap_or_else(|| self.request.authority())
    }
}

/// A response on its way back.
pub(crate) struct ResponseContext<'a> {
    pub(crate) response: ResponseView<'a>,
    pub(crate) edits: &'a mut Edits,
}

/// What happens next.
#[derive(Debug)]
pub(crate) enum Flow {
    /// The next filter, and then the backend.
    Continue,
    /// This answer instead.
    Reply(Reply),
}

/// An answer of our own. Whoever writes it adds framing, `Date` and the like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Field lines, each `name: value\r\n`.
    pub(crate) lines: Bytes,
    pub(crate) body: Bytes,
}

/// Applies filters in order, until one answers.
pub(crate) fn apply_to_request(
    filters: &[Box<dyn Filter>],
    context: &mut RequestContext<'_>,
) -> Flow {
    for filter in filters {
        if let Flow::Reply(reply) = filter.on_request(context) {
            return Flow::Reply(reply);
        }
    }
    Flow::Continue
}

/// Applies filters to a response, in reverse order.
pub(crate) fn apply_to_response(filters: &[Box<dyn Filter>], context: &mut ResponseContext<'_>) {
    for filter in filters.iter().rev() {
        filter.on_response(context);
    }
}

/// Visible ASCII without blanks: what may stand in a host or a location.
fn is_visible(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod testing {
    //! Running filters on heads made up for a test.

    use super::*;
    use crate::message::testing::TestRequest;

    /// What filters did to a request.
    pub(super) struct Outcome {
        pub(super) flow: Flow,
        pub(super) edits: Edits,
    }

    impl Outcome {
        /// The rewritten path, or empty.
        pub(super) fn path(&self) -> &str {
            str::from_utf8(self.edits.path.as_deref().unwrap_or_default()).unwrap()
        }

        /// The rewritten host, or empty.
        pub(super) fn host(&self) -> &str {
            str::from_utf8(self.edits.host.as_deref().unwrap_or_default()).unwrap()
        }

        /// The answer, which there must be.
        pub(super) fn reply(&self) -> &Reply {
            match &self.flow {
                Flow::Reply(reply) => reply,
                Flow::Continue => panic!("no reply"),
            }
        }
    }

    /// Applies filters to a plain HTTP request.
    pub(super) fn run(
        filters: &[model::Filter],
        request: &TestRequest,
        matched_prefix: Option<usize>,
    ) -> Outcome {
        let filters: Vec<_> = filters.iter().map(|f| compile(f).unwrap()).collect();
        let mut edits = Edits::default();
        let flow = apply_to_request(
            &filters,
            &mut RequestContext {
                request: request.view(),
                edits: &mut edits,
                scheme: "http",
                matched_prefix,
                listener_port: None,
            },
        );
        Outcome { flow, edits }
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::run, *};
    use crate::message::testing::{TestRequest, TestResponse};

    fn add(value: &str) -> model::HeaderEdits {
        model::HeaderEdits {
            remove: Vec::new(),
            set: Vec::new(),
            add: vec![(
                model::HeaderName::from("x"),
                model::HeaderValue::from(value),
            )],
        }
    }

    #[test]
    fn responses_meet_filters_in_reverse() {
        let filters: Vec<_> = [add("1"), add("2")]
            .map(model::Filter::ResponseHeaders)
            .iter()
            .map(|f| compile(f).unwrap())
            .collect();
        let response = TestResponse::new(200, &[]);
        let mut edits = Edits::default();
        apply_to_response(
            &filters,
            &mut ResponseContext {
                response: response.view(),
                edits: &mut edits,
            },
        );
        assert_eq!(response.lines(&edits), ["x: 2", "x: 1"]);
    }

    #[test]
    fn an_answer_ends_the_chain() {
        let answer = model::DirectResponse {
            status: 418,
            body: model::Text::from(""),
            content_type: model::HeaderValue::from("text/plain"),
        };
        let filters = [
            model::Filter::RequestHeaders(add("1")),
            model::Filter::DirectResponse(answer),
            model::Filter::RequestHeaders(add("2")),
        ];
        let request = TestRequest::get("", "/");
        let outcome = run(&filters, &request, None);
        assert_eq!(outcome.reply().status, 418);
        assert_eq!(request.lines(&outcome.edits), ["x: 1"]);
    }
}
