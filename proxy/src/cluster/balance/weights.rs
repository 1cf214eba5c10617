//! Drawing an endpoint by chance and weight, in constant time.

use crate::cluster::PickContext;

/// Weights prepared for drawing by the alias method (Vose 1991).
#[derive(Debug)]
pub(super) enum Weights {
    /// All have the same; no table is needed.
    Equal(usize),
    /// Every endpoint has a slot. A draw finds a slot, and in it either the slot's own endpoint,
    /// in that share of 2^32, or the other one.
    Alias(Box<[Slot]>),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    own_share: u32,
    other: u32,
}

impl Weights {
    pub(super) fn new(weights: &[u32]) -> Self {
        if weights.windows(2).all(|pair| pair.first() == pair.last()) {
            return Self::Equal(weights.len());
        }
        Self::Alias(slots(weights))
    }

    /// An index; 0 where there is nothing to draw from.
    pub(super) fn draw(&self, cx: &PickContext<'_>) -> usize {
        match self {
            Self::Equal(count) => cx.below(*count),
            Self::Alias(slots) => {
                let bits = cx.bits();
                let index = (((bits >> 32) * slots.len() as u64) >> 32) as usize;
                match slots.get(index) {
                    Some(slot) if (bits as u32) < slot.own_share => index,
                    Some(slot) => slot.other as usize,
                    None => 0,
                }
            }
        }
    }
}

/// In units of 1/(count * total), each weight is `weight * count` and each slot holds `total`:
/// slots that are too full give what is too much to those that are too empty.
fn slots(weights: &[u32]) -> Box<[Slot]> {
    let count = weights.len() as u64;
    let total: u64 = weights.iter().map(|it| u64::from(*it)).sum();
    let share = |part: u64| {
        let part = (u128::from(part) << 32) / u128::from(total.max(1));
        u32::try_from(part).unwrap_or(u32::MAX)
    };
    let mut left: Vec<u64> = weights.iter().map(|it| u64::from(*it) * count).collect();
    let mut slots: Vec<Slot> = (0..weights.len() as u32)
        .map(|own| Slot {
            own_share: u32::MAX,
            other: own,
        })
        .collect();
    let (mut poor, mut rich): (Vec<usize>, Vec<usize>) =
        (0..weights.len()).partition(|i| left.get(*i).is_some_and(|part| *part < total));
    while let (Some(receiver), Some(giver)) = (poor.pop(), rich.last().copied()) {
        let part = left.get(receiver).copied().unwrap_or_default();
        if let Some(slot) = slots.get_mut(receiver) {
            *slot = Slot {
                own_share: share(part),
                other: giver as u32,
            };
        }
        if let Some(of_giver) = left.get_mut(giver) {
            *of_giver -= total - part;
            if *of_giver < total {
                rich.pop();
                poor.push(giver);
            }
        }
    }
    slots.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The shares the slots add up to are the weights, within the rounding of 2^-32 per slot.
        #[test]
        fn slots_hold_the_weights(weights in prop::collection::vec(1u32..=65_535, 1..200)) {
            let slots = slots(&weights);
            let mut shares = vec![0f64; weights.len()];
            for (own, slot) in slots.iter().enumerate() {
                let own_share = if slot.other as usize == own { 1.0 } else { f64::from(slot.own_share) / 2f64.powi(32) };
                shares[own] += own_share;
                shares[slot.other as usize] += 1.0 - own_share;
            }
            let total: u64 = weights.iter().map(|it| u64::from(*it)).sum();
            for (share, weight) in shares.iter().zip(&weights) {
                let expected = f64::from(*weight) / total as f64 * weights.len() as f64;
                prop_assert!((share - expected).abs() < 1e-6, "{share} {expected}");
            }
        }
    }

    #[test]
    fn nothing_to_draw_from_is_no_fault() {
        assert!(slots(&[]).is_empty());
    }
}
