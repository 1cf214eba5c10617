//! Many objects: 10,000 routes and 1,000 clusters with 10 endpoints each.

use std::fmt::Write as _;
use std::time::Instant;

/// The text as JSON.
fn many(routes: usize, clusters: usize) -> String {
    let mut text = String::from("{\"version\":1,\"routes\":[");
    for route in 0..routes {
        let comma = if route > 0 { "," } else { "" };
        let cluster = route % clusters;
        write!(
            text,
            "{comma}{{\"name\":\"route-{route}\",\"hosts\":[\"host-{route}.example\"],\"rules\":[{{\
             \"matches\":[{{\"path\":{{\"prefix\":\"/service/{route}\"}}}}],\
             \"backends\":[{{\"cluster\":\"cluster-{cluster}\"}}]}}]}}"
        )
        .unwrap();
    }
    text += "],\"clusters\":[";
    for cluster in 0..clusters {
        let comma = if cluster > 0 { "," } else { "" };
        let (high, low) = (cluster / 250, cluster % 250);
        let endpoints: Vec<String> = (0..10)
            .map(|endpoint| format!("\"10.{high}.{low}.{endpoint}:8080\""))
            .collect();
        let endpoints = endpoints.join(",");
        write!(
            text,
            "{comma}{{\"name\":\"cluster-{cluster}\",\"endpoints\":[{endpoints}]}}"
        )
        .unwrap();
    }
    text + "]}"
}

#[test]
fn ten_thousand_routes_are_read_as_json_and_yaml() {
    let text = many(10_000, 1_000);
    for file in ["x.json", "x.yaml"] {
        let start = Instant::now();
        let loaded = crate::read(&text, file, &|_| None).unwrap();
        // Seen with --nocapture; machines differ too much for a bound here.
        println!("{file}: {} bytes, {:?}", text.len(), start.elapsed());
        assert_eq!(loaded.config.routes.len(), 10_000);
        assert_eq!(loaded.config.clusters[999].endpoints.len(), 10);
        assert!(loaded.config.routes.iter().all(|route| {
            let rule = &route.rules[0];
            rule.matches.capacity() == 1 && rule.backends.capacity() == 1
        }));
    }
}

/// Ten thousand wrong references must not take long either.
#[test]
fn problems_of_a_large_configuration_are_bounded() {
    let text = many(10_000, 1_000).replace("\"cluster\":\"cluster-", "\"cluster\":\"clutser-");
    let start = Instant::now();
    let problems = crate::read(&text, "x.json", &|_| None).unwrap_err();
    println!("{:?}", start.elapsed());
    assert_eq!(problems.count(), 10_000);
    let shown = problems.to_string();
    let first = shown.lines().next().unwrap();
    assert!(
        first.ends_with("no cluster is named \"clutser-0\"; did you mean \"cluster-0\"?"),
        "{first}"
    );
    assert!(shown.ends_with("and 9000 more"));
}
