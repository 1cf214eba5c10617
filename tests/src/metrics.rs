//! Metrics as the proxy exposes them, parsed.

use std::collections::BTreeMap;

/// One series.
#[derive(Clone, Debug)]
pub struct Series {
    /// With its suffix (`_total`, `_bucket`, `_sum`, `_count`).
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// One scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// All series, in order.
    pub series: Vec<Series>,
    /// Name and type of every family.
    pub families: BTreeMap<String, String>,
}

impl Metrics {
    /// Reads a scrape; fails on what is none.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        let body = text
            .strip_suffix("# EOF\n")
            .unwrap_or_else(|| panic!("OpenMetrics ends in `# EOF`: {text}"));
        for line in body.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ').expect("a type");
                let known = metrics.families.insert(name.into(), kind.into());
                assert!(known.is_none(), "the family {name} is there twice");
            } else if !line.starts_with('#') {
                metrics.series.push(series(line));
            }
        }
        metrics
    }

    /// Sum of all series of this name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|s| s.value).sum()
    }

    /// The series of this name that have these labels.
    pub fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Series> {
        self.series.iter().filter(move |s| {
            s.name == name
                && labels
                    .iter()
                    .all(|(k, v)| s.labels.get(*k).map(String::as_str) == Some(*v))
        })
    }
}

#[track_caller]
fn series(line: &str) -> Series {
    let (key, value) = match line.rsplit_once('}') {
        Some((key, value)) => (key, value),
        None => line.split_once(' ').expect("a value"),
    };
    let (name, labels) = key.split_once('{').unwrap_or((key, ""));
    Series {
        name: name.to_owned(),
        labels: split_labels(labels),
        value: value
            .split_whitespace()
            .next()
            .and_then(|v| v.parse().ok())
            .unwrap_or_else(|| panic!("no value: {line}")),
    }
}

fn split_labels(mut text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next() {
                Some((_, '\\')) => value.extend(chars.next().map(|(_, c)| c)),
                Some((at, '"')) => break at,
                Some((_, c)) => value.push(c),
                None => panic!("an open quote: {rest}"),
            }
        };
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        text = &rest[end + 1..];
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_labels_values_and_types() {
        let text = "# HELP a Help.\n# TYPE a counter\na_total{x=\"1\",y=\"q\\\"}\"} 2\n\
                    a_total{x=\"2\"} 3.5 17\nb 1\n# EOF\n";
        let metrics = Metrics::parse(text);
        assert!((metrics.sum("a_total", &[]) - 5.5).abs() < 1e-9);
        assert!((metrics.sum("a_total", &[("y", "q\"}")]) - 2.0).abs() < 1e-9);
        assert!((metrics.sum("b", &[]) - 1.0).abs() < 1e-9);
        assert_eq!(metrics.families["a"], "counter");
    }
}
