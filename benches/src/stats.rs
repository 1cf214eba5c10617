//! Rounds to figures: median and spread, and who leads by more than the spread.

use serde::Serialize;

/// What rounds came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Summary {
    /// Of at least one value.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let half = sorted.len() / 2;
        let upper = *sorted.get(half)?;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(*sorted.get(half - 1)?, upper),
            _ => upper,
        };
        Some(Self { median, min, max })
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.min <= other.max && other.min <= self.max
    }
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Better {
    Less,
    More,
}

/// A place among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) place: usize,
    /// Another has the same.
    pub(crate) shared: bool,
}

/// Places of those that have a value. Who cannot be told from the one before, because their
/// rounds overlap, shares its place.
pub(crate) fn places(values: &[Option<Summary>], better: Better) -> Vec<Option<Place>> {
    let there = |at: &usize| values[*at].map(|value| (*at, value));
    let mut order: Vec<_> = (0..values.len()).collect::<Vec<_>>();
    order.retain(|at| values[*at].is_some());
    let mut order: Vec<(usize, Summary)> = order.iter().filter_map(there).collect();
    order.sort_by(|(_, a), (_, b)| match better {
        Better::Less => a.median.total_cmp(&b.median),
        Better::More => b.median.total_cmp(&a.median),
    });
    let mut places = vec![None; values.len()];
    let mut before: Option<(usize, Summary, usize)> = None;
    for (index, (at, value)) in order.into_iter().enumerate() {
        let tied = before.filter(|(_, first, _)| first.overlaps(&value));
        let place = tied.map_or(index + 1, |(_, _, place)| place);
        if let Some((other, ..)) = tied {
            let shared = true;
            places[other] = Some(Place { place, shared });
            places[at] = Some(Place { place, shared });
        } else {
            let shared = false;
            places[at] = Some(Place { place, shared });
            // Ties are with the first of a place, so that they do not chain.
            before = Some((at, value, place));
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn one(min: f64, median: f64, max: f64) -> Summary {
        Summary { median, min, max }
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(Summary::of(&[3.0, 1.0, 2.0]), Some(one(1.0, 2.0, 3.0)));
        assert_eq!(Summary::of(&[4.0, 1.0, 2.0, 3.0]), Some(one(1.0, 2.5, 4.0)));
        assert_eq!(Summary::of(&[f64::NAN, 1.0]), Some(one(1.0, 1.0, 1.0)));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn only_what_is_apart_has_a_place_of_its_own() {
        let place = |place, shared| Some(Place { place, shared });
        let values = [
            Some(one(12.0, 12.5, 13.0)),
            None,
            Some(one(11.0, 11.9, 12.1)),
            Some(one(20.0, 21.0, 22.0)),
        ];
        assert_eq!(
            places(&values, Better::Less),
            [place(1, true), None, place(1, true), place(3, false)]
        );
        assert_eq!(
            places(&values, Better::More),
            [place(2, true), None, place(2, true), place(1, false)]
        );
    }

    #[test]
    fn a_chain_of_overlaps_is_no_tie_of_all() {
        let place = |place, shared| Some(Place { place, shared });
        let values = [
            Some(one(1.0, 2.0, 3.0)),
            Some(one(2.5, 3.5, 4.5)),
            Some(one(4.0, 5.0, 6.0)),
        ];
        assert_eq!(
            places(&values, Better::Less),
            [place(1, true), place(1, true), place(3, false)]
        );
    }
}
