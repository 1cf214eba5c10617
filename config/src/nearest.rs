//! The known name nearest to a misspelt one.

/// The nearest of `known` to `name`, if one is near enough to be meant.
pub(crate) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let wanted = folded(name);
    let length = wanted.chars().count();
    // One slip in a short name, up to three in a long one.
    let limit = (length / 3).clamp(1, 3);
    let mut row = Row::default();
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let bound = best.map_or(limit, |(distance, _)| distance.saturating_sub(1));
        // A name without any letter in common is no misspelling.
        if candidate.len().abs_diff(name.len()) > 4 * (limit + 1) || length == 0 {
            continue;
        }
        let distance = row.distance(&wanted, &folded(candidate));
        if distance <= bound && distance < length {
            best = Some((distance, candidate));
            if distance == 0 {
                break;
            }
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Upper case and `-` for `_` are no slips worth counting.
fn folded(name: &str) -> String {
    name.chars()
        .take(64)
        .map(|c| {
            if c == '-' {
                '_'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect()
}

/// Distance by insertion, deletion, replacement and swap of neighbours.
#[derive(Default)]
struct Row {
    before: Vec<usize>,
    last: Vec<usize>,
    current: Vec<usize>,
}

impl Row {
    fn distance(&mut self, a: &str, b: &str) -> usize {
        let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
        self.last = (0..=b.len()).collect();
        self.before.clone_from(&self.last);
        for (i, &x) in a.iter().enumerate() {
            self.current.clear();
            self.current.push(i + 1);
            for (j, &y) in b.iter().enumerate() {
                let replaced = self.last[j] + usize::from(x != y);
                let mut least = replaced.min(self.last[j + 1] + 1).min(self.current[j] + 1);
                if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                    least = least.min(self.before[j - 1] + 1);
                }
                self.current.push(least);
            }
            std::mem::swap(&mut self.before, &mut self.last);
            std::mem::swap(&mut self.last, &mut self.current);
        }
        self.last[b.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_name_that_was_meant() {
        let known = [
            "name",
            "bind",
            "protocol",
            "max_connections",
            "max_lifetime",
            "tcp",
        ];
        for (name, expected) in [
            ("protocl", Some("protocol")),
            ("protcool", Some("protocol")),
            ("Protocol", Some("protocol")),
            ("max-connections", Some("max_connections")),
            ("max_conections", Some("max_connections")),
            ("maxlifetime", Some("max_lifetime")),
            ("nmae", Some("name")),
            ("tpc", Some("tcp")),
            ("bnd", Some("bind")),
            ("x", None),
            ("", None),
            ("port", None),
            ("something_else", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
        assert_eq!(nearest("api-v3", ["api-v1", "web"]), Some("api-v1"));
    }
}
