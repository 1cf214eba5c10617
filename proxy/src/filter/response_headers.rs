//! Changes fields of the response.

use outrigger_config::model;

use super::{Compiled, Filter, ResponseContext, header_edits::HeaderEdits};

struct ResponseHeaders(HeaderEdits);

pub(super) fn compile(settings: &model::HeaderEdits) -> Compiled {
    Ok(Box::new(ResponseHeaders(HeaderEdits::compile(settings)?)))
}

impl Filter for ResponseHeaders {
    fn on_response(&self, cx: &mut ResponseContext<'_>) {
        let response = cx.response;
        self.0.apply(cx.edits, |name, edits| {
            response.head.drop_fields(response.bytes, name, edits);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Edits, testing::TestResponse};

    #[test]
    fn fields_are_removed_set_and_added() {
        let settings = model::HeaderEdits {
            remove: vec!["server".into()],
            set: vec![("Cache-Control".into(), "no-store".into())],
            add: vec![("set-cookie".into(), "c=3".into())],
        };
        let filter = compile(&settings).unwrap();
        let response = TestResponse::new(
            200,
            &[
                ("Server", "x"),
                ("set-cookie", "a=1"),
                ("cache-control", "public"),
                ("Set-Cookie", "b=2"),
            ],
        );
        let mut edits = Edits::default();
        filter.on_response(&mut ResponseContext {
            response: response.view(),
            edits: &mut edits,
        });
        assert_eq!(
            response.lines(&edits),
            [
                "set-cookie: a=1",
                "Set-Cookie: b=2",
                "Cache-Control: no-store",
                "set-cookie: c=3",
            ]
        );
    }
}
