//! Changes fields of the request. `Host` is changed by a rewrite instead.

use outrigger_config::model;

use super::{Compiled, Filter, Flow, RequestContext, header_edits::HeaderEdits};

struct RequestHeaders(HeaderEdits);

pub(super) fn compile(settings: &model::HeaderEdits) -> Compiled {
    Ok(Box::new(RequestHeaders(HeaderEdits::compile(settings)?)))
}

impl Filter for RequestHeaders {
    fn on_request(&self, cx: &mut RequestContext<'_>) -> Flow {
        let request = cx.request;
        self.0.apply(cx.edits, |name, edits| {
            request.head.drop_fields(request.bytes, name, edits);
        });
        Flow::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::run, *};
    use crate::message::testing::TestRequest;

    fn edits(remove: &[&str], set: &[(&str, &str)], add: &[(&str, &str)]) -> model::Filter {
        let pairs = |list: &[(&str, &str)]| {
            let pair = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
            list.iter().map(pair).collect()
        };
        model::Filter::RequestHeaders(model::HeaderEdits {
            remove: remove.iter().map(|name| (*name).into()).collect(),
            set: pairs(set),
            add: pairs(add),
        })
    }

    fn check(filters: &[model::Filter], before: &[(&str, &str)], after: &[&str]) {
        let request = TestRequest::new("GET", "", "/", before);
        let outcome = run(filters, &request, None);
        assert!(matches!(outcome.flow, Flow::Continue));
        assert_eq!(request.lines(&outcome.edits), after);
    }

    #[test]
    fn fields_are_removed_set_and_added() {
        let before = [("A", "1"), ("b", "2"), ("a", "3"), ("c", "4")];
        check(&[edits(&["a"], &[], &[])], &before, &["b: 2", "c: 4"]);
        check(
            &[edits(&[], &[("a", "x")], &[])],
            &before,
            &["b: 2", "c: 4", "a: x"],
        );
        check(
            &[edits(&[], &[], &[("a", "x")])],
            &before,
            &["A: 1", "b: 2", "a: 3", "c: 4", "a: x"],
        );
        check(
            &[edits(&["a"], &[("a", "s")], &[("a", "x"), ("a", "y")])],
            &before,
            &["b: 2", "c: 4", "a: s", "a: x", "a: y"],
        );
        check(&[edits(&["missing"], &[], &[])], &[("a", "1")], &["a: 1"]);
    }

    #[test]
    fn later_filters_see_what_earlier_ones_added() {
        let first = edits(&[], &[], &[("X-A", "1"), ("x-ab", "2")]);
        let set = edits(&[], &[("x-a", "3")], &[]);
        check(&[first.clone(), set], &[], &["x-ab: 2", "x-a: 3"]);
        check(&[first, edits(&["x-AB"], &[], &[])], &[], &["X-A: 1"]);
    }
}
