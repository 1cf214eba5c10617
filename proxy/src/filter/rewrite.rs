//! Changes host or path of a request before it is forwarded.

use outrigger_config::model;

use super::{Compiled, Filter, Flow, RequestContext, is_visible, path_rewrite::PathRewrite};

struct Rewrite {
    host: Option<Box<[u8]>>,
    path: Option<PathRewrite>,
}

pub(super) fn compile(settings: &model::Rewrite) -> Compiled {
    let host = settings.host.as_ref().map(model::Text::as_str);
    if let Some(host) = host
        && (host.is_empty() || !is_visible(host.as_bytes()) || host.contains(['/', '?', '#', '@']))
    {
        return Err(format!("{host:?} is not a host"));
    }
    let path = settings.path.as_ref().map(PathRewrite::compile);
    Ok(Box::new(Rewrite {
        host: host.map(|host| host.as_bytes().into()),
        path: path.transpose()?,
    }))
}

impl Filter for Rewrite {
    fn on_request(&self, cx: &mut RequestContext<'_>) -> Flow {
        if let Some(host) = &self.host {
            cx.edits.host = Some(host.clone());
        }
        let path = self.path.as_ref();
        if let Some(new) = path.and_then(|rewrite| rewrite.apply(cx.path(), cx.matched_prefix)) {
            cx.edits.path = Some(new.path.into_boxed_slice());
            cx.matched_prefix = new.prefix;
        }
        Flow::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::run, *};
    use crate::message::testing::TestRequest;

    fn rewrite(host: Option<&str>, path: Option<model::PathRewrite>) -> model::Filter {
        model::Filter::Rewrite(model::Rewrite {
            host: host.map(model::Text::from),
            path,
        })
    }

    fn full(path: &str) -> model::PathRewrite {
        model::PathRewrite::ReplaceFull(path.into())
    }

    fn prefix(path: &str) -> model::PathRewrite {
        model::PathRewrite::ReplacePrefix(path.into())
    }

    fn check(filters: &[model::Filter], target: &str, matched: usize, host: &str, path: &str) {
        let request = TestRequest::get("a.example", target);
        let outcome = run(filters, &request, Some(matched));
        assert!(matches!(outcome.flow, Flow::Continue));
        assert_eq!((outcome.host(), outcome.path()), (host, path), "{target}");
    }

    #[test]
    fn host_and_path_are_rewritten() {
        check(&[rewrite(None, None)], "/a", 2, "", "");
        check(
            &[rewrite(Some("b.example:81"), None)],
            "/a",
            2,
            "b.example:81",
            "",
        );
        check(&[rewrite(None, Some(full("/x")))], "/a/b?q", 2, "", "/x");
        check(
            &[rewrite(None, Some(prefix("/x")))],
            "/a/b?q",
            2,
            "",
            "/x/b",
        );
        check(&[rewrite(None, Some(prefix("/")))], "/%61/./b", 2, "", "/b");
    }

    #[test]
    fn later_rewrites_see_earlier_ones() {
        let twice = [
            rewrite(None, Some(prefix("/long/x"))),
            rewrite(None, Some(prefix("/"))),
        ];
        check(&twice, "/a/b", 2, "", "/b");
        let after_full = [
            rewrite(None, Some(full("/x/y"))),
            rewrite(None, Some(prefix("/z"))),
        ];
        check(&after_full, "/a/b", 2, "", "/x/y");
        let hosts = [rewrite(Some("b"), None), rewrite(Some("c"), None)];
        check(&hosts, "/a", 0, "c", "");
    }

    #[test]
    fn odd_hosts_are_refused() {
        for host in ["", "a b", "a/b", "u@h", "a\r\nx: y", "h\u{e9}"] {
            let settings = model::Rewrite {
                host: Some(host.into()),
                path: None,
            };
            assert!(compile(&settings).is_err(), "{host:?}");
        }
    }
}
