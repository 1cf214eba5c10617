//! A large configuration: 10,000 routes, each with a host of its own, to 1,000 clusters.

use std::fmt::Write;

/// How many routes it has. Route `n` is for the host `h{n}.example` and leads to cluster
/// `n % CLUSTERS`; any other host leads to the first cluster.
pub const ROUTES: usize = 10_000;
/// How many clusters it has.
pub const CLUSTERS: usize = 1_000;

/// The file, as JSON. `endpoints` says where a cluster leads; `version` stands in the field
/// `x-version` of every answer.
pub fn table(version: usize, endpoints: impl Fn(usize) -> Vec<String>) -> String {
    let mut routes = Vec::with_capacity(ROUTES);
    for n in 0..ROUTES {
        routes.push(format!(
            r#"{{"name":"r{n}","hosts":["h{n}.example"],"rules":[{{
"matches":[{{"path":{{"prefix":"/"}}}}],
"filters":[{{"response_headers":{{"set":{{"x-version":"{version}"}}}}}}],
"backends":[{{"cluster":"c{}"}}]}}]}}"#,
            n % CLUSTERS
        ));
    }
    routes.push(r#"{"name":"others","rules":[{"backends":[{"cluster":"c0"}]}]}"#.to_owned());
    let mut clusters = Vec::with_capacity(CLUSTERS);
    for n in 0..CLUSTERS {
        let mut list = String::new();
        for (position, endpoint) in endpoints(n).iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            let _ = write!(list, r#"{comma}"{endpoint}""#);
        }
        clusters.push(format!(r#"{{"name":"c{n}","endpoints":[{list}]}}"#));
    }
    format!(
        r#"{{"version":1,"mesh":{{"workers":1}},"admin":{{"bind":"127.0.0.1:0"}},
"listeners":[{{"name":"web","bind":"127.0.0.1:0","protocol":"http"}}],
"routes":[{}],
"clusters":[{}]}}"#,
        routes.join(",\n"),
        clusters.join(",\n")
    )
}
