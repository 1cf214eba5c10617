//! One normal form of the path for routing and for the upstream (S13, S14): no spelling of a
//! guarded path gets around its rule.

use outrigger_tests::{
    client::{Client, request},
    proxy::Proxy,
    upstream::Upstream,
};

#[test]
fn no_spelling_of_a_path_gets_around_its_rule() {
    let open = Upstream::fixed("open");
    let proxy = Proxy::start(&format!(
        "listeners:
  - {{ name: web, bind: '127.0.0.1:0', protocol: http }}
  - {{ name: merging, bind: '127.0.0.1:0', protocol: http, http: {{ merge_slashes: true }} }}
routes:
  - name: all
    rules:
      - {{ matches: [{{ path: {{ prefix: /admin }} }}], filters: [{{ direct_response: {{ status: 403 }} }}] }}
      - {{ backends: [{{ cluster: open }}] }}
clusters: [{{ name: open, endpoints: ['{}'] }}]",
        open.address
    ));
    for target in [
        "/admin",
        "/admin/",
        "/admin?x",
        "/./admin",
        "/x/../admin",
        "/%61dmin",
        "/admi%6e/secret",
        "/x/%2e%2e/admin",
        "/x/.%2E/admin",
        "/%2e/admin",
        "/a/b/../../admin",
        "http://a.example/x/../admin",
    ] {
        let mut client = Client::connect(proxy.web());
        client.send(request("GET", target, &[], b""));
        assert_eq!(client.response().status(), 403, "{target}");
    }
    for target in ["//admin", "/x/..//admin", "///admin//x"] {
        let mut client = Client::connect(proxy.listener("merging"));
        client.send(request("GET", target, &[], b""));
        assert_eq!(
            client.response().status(),
            403,
            "{target} with merged slashes"
        );
    }
    assert_eq!(open.count(), 0);
    // And what goes on is what was judged.
    for (target, forwarded) in [
        ("/x/../y", "/y"),
        ("/%7Euser", "/~user"),
        ("/x%2F..%2Fadmin", "/x%2F..%2Fadmin"),
        ("/x;a=b/../y", "/y"),
    ] {
        let mut client = Client::connect(proxy.web());
        assert_eq!(client.get(target).text(), "open", "{target}");
        assert_eq!(open.take()[0].target(), forwarded);
    }
}
