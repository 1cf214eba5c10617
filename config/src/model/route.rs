//! Routes: hosts, rules, matches, filters and backends, with the semantics of Gateway API's `HTTPRoute`.

use std::time::Duration;

use super::{HeaderName, HeaderValue, HostPattern, Name, PathText, Pattern, Text};

crate::engine::model! {
    /// Rules for a set of hosts.
    pub struct Route {
        /// Unique among routes.
        name: Name;
        /// Hosts served: exact, or `*.suffix`. Empty: every host.
        hosts: Vec<HostPattern> = Vec::new();
        /// The most specific matching rule wins: exact path, longest prefix, regex, method, most
        /// headers, most query parameters, then order.
        rules: Vec<Rule>;
    }

    /// What happens to requests that match.
    pub struct Rule {
        /// Alternatives; one must match. Empty: everything does.
        matches: Vec<Match> = Vec::new();
        /// Applied in order to the request, and in reverse to the response.
        filters: Vec<Filter> = Vec::new();
        /// Deadlines.
        timeouts: Timeouts = Timeouts::default();
        /// Where matching requests go, by weight. Required unless a filter answers.
        backends: Vec<Backend> = Vec::new();
        /// Keep a client on the endpoint that first served it.
        session: Option<Session> = None;
    }

    /// Conditions that must all hold.
    pub struct Match {
        /// Condition on the path.
        path: Option<PathMatch> = None;
        /// Exact request method.
        method: Option<Text> = None;
        /// A gRPC call, by service and method. Not beside `path` and `method`, which it stands for.
        grpc: Option<GrpcMatch> = None;
        /// Conditions on fields; each field name at most once.
        headers: Vec<HeaderMatch> = Vec::new();
        /// Conditions on query parameters; each at most once.
        query: Vec<QueryMatch> = Vec::new();
    }

    /// A condition on the normalised path.
    pub oneof PathMatch {
        /// The whole path.
        Exact = "exact": PathText;
        /// A prefix of whole segments: `/foo` matches `/foo` and `/foo/bar`, not `/foobar`.
        Prefix = "prefix": PathText;
        /// A regular expression for the whole path.
        Regex = "regex": Pattern;
    }

    /// A gRPC call: a POST of `Content-Type: application/grpc`, alone or with `+` or `;` behind it, whose path
    /// is `/service/method`. Empty: every call. Service and method in full count as an exact path,
    /// a service in full as a prefix, everything else as a regular expression.
    pub struct GrpcMatch {
        /// The service with its package: `shop.v1.Cart`. Absent: every service.
        service: Option<GrpcName> = None;
        /// The method: `AddItem`. Absent: every method.
        method: Option<GrpcName> = None;
    }

    /// A condition on a name in a gRPC call. Exactly one of `exact` and `regex`.
    pub struct GrpcName from exact {
        /// The whole name; case matters.
        exact: Option<Text> = None;
        /// A regular expression for the whole name.
        regex: Option<Pattern> = None;
    }

    /// A condition on a field. Exactly one of `exact`, `regex` and `present`.
    pub struct HeaderMatch {
        /// Field name; case does not matter.
        name: HeaderName;
        /// The whole value. Of several fields of this name one must match.
        exact: Option<Text> = None;
        /// A regular expression for the whole value.
        regex: Option<Pattern> = None;
        /// Whether the field must be there (`true`) or must not (`false`).
        present: Option<bool> = None;
    }

    /// A condition on a query parameter (its first occurrence). Exactly one of `exact`, `regex` and `present`.
    pub struct QueryMatch {
        /// Name of the parameter.
        name: Text;
        /// The whole value, percent-decoded.
        exact: Option<Text> = None;
        /// A regular expression for the whole value, percent-decoded.
        regex: Option<Pattern> = None;
        /// Whether the parameter must be there (`true`) or must not (`false`).
        present: Option<bool> = None;
    }

    /// Deadlines of a request. `0s` or absent: none.
    pub struct Timeouts {
        /// From the request's head to the end of the response, over all tries; else 504.
        request: Option<Duration> = None;
        /// From sending to one endpoint until the end of its response; not longer than `request`; else 504.
        backend_request: Option<Duration> = None;
    }

    /// A share of the requests of a rule.
    pub struct Backend {
        /// Name of a cluster.
        cluster: Name;
        /// Share among the backends of the rule. `0`: none.
        /// Why: equal shares, as in Gateway API.
        weight: u32 = 1, in 0..=1_000_000;
        /// Filters for this backend alone, after those of the rule.
        filters: Vec<Filter> = Vec::new();
    }

    /// Session persistence by a cookie of our own (GEP-1619).
    pub struct Session {
        /// Name of the cookie.
        cookie: Text = Text::from("outrigger-session");
        /// Path of the cookie.
        path: PathText = PathText::root();
        /// Lifetime of the cookie. Absent: until the browser closes.
        max_age: Option<Duration> = None;
    }

    /// A step applied to a request or response. Exactly one per list entry.
    pub oneof Filter {
        /// Change fields of the request.
        RequestHeaders = "request_headers": HeaderEdits;
        /// Change fields of the response.
        ResponseHeaders = "response_headers": HeaderEdits;
        /// Change host or path of the request.
        Rewrite = "rewrite": Rewrite;
        /// Answer with a redirect.
        Redirect = "redirect": Redirect;
        /// Answer at once.
        DirectResponse = "direct_response": DirectResponse;
    }

    /// Changes to fields, in this order: remove, set, add.
    pub struct HeaderEdits {
        /// Fields to remove.
        remove: Vec<HeaderName> = Vec::new();
        /// Fields to set, replacing all of the same name.
        set: Vec<(HeaderName, HeaderValue)> = Vec::new();
        /// Fields to add beside those of the same name.
        add: Vec<(HeaderName, HeaderValue)> = Vec::new();
    }

    /// A change of host or path before forwarding.
    pub struct Rewrite {
        /// New value of `Host`.
        host: Option<Text> = None;
        /// New path.
        path: Option<PathRewrite> = None;
    }

    /// A new path. The query is kept.
    pub oneof PathRewrite {
        /// Replaces the whole path.
        ReplaceFull = "replace_full": PathText;
        /// Replaces the prefix that matched; only in rules whose matches all have a `prefix`.
        ReplacePrefix = "replace_prefix": PathText;
    }

    /// A redirect built from the request.
    pub struct Redirect {
        /// `http` or `https`. Absent: that of the request.
        scheme: Option<Text> = None;
        /// Host of the location. Absent: that of the request.
        host: Option<Text> = None;
        /// Path of the location. Absent: that of the request.
        path: Option<PathRewrite> = None;
        /// Port of the location. Absent: none if `scheme` is given, else that of the request.
        port: Option<u16> = None;
        /// 301, 302, 303, 307 or 308.
        /// Why: as in Gateway API; browsers do not remember it for ever.
        status: u16 = 302;
    }

    /// A fixed answer.
    pub struct DirectResponse {
        /// Status code.
        status: u16, in 200..=599;
        /// Body.
        body: Text = Text::from("");
        /// Value of `Content-Type`, where there is a body.
        content_type: HeaderValue = HeaderValue::from("text/plain; charset=utf-8");
    }
}
