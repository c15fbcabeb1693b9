//! A sketch of a distribution of whole numbers: how many of them lie in each bucket.
//!
//! The buckets are fixed and never collapse, so a sketch depends on the numbers alone: not on their order, nor on how
//! they are split over batches and partitions. Two sketches merge by addition, with nothing lost. That is the idea of
//! DDSketch (Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
//! guarantees", VLDB 2019), and why a quantile is off by a share of itself at most. Its buckets grow by a power whose
//! logarithm would be taken in floats, which round differently from machine to machine; here each doubling is cut
//! into equally wide ones instead, as HdrHistogram does, which is exact in whole numbers.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Into how many buckets, as a power of two, the numbers from one power of two to the next are divided. A bucket
/// is then at most 1/64 as wide as any number in it, and its middle at most 1/128 of such a number away: 0.8 %.
const BUCKETS_BITS: u32 = 6;

/// How many numbers lie in each bucket. Up to 2^63 there are 3,712 buckets; empty ones are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Sketch(BTreeMap<u16, u64>);

impl Sketch {
    /// Adds a number. Its counts cannot overflow unless that of all numbers does.
    pub(super) fn add(&mut self, number: u64) {
        *self.0.entry(bucket(number)).or_default() += 1;
    }

    /// Adds all numbers of another one; `None` where a count would be over 2^64.
    pub(super) fn merge(&mut self, other: &Self) -> Option<()> {
        for (bucket, count) in &other.0 {
            let merged = self.0.entry(*bucket).or_default();
            *merged = merged.checked_add(*count)?;
        }
        Some(())
    }

    /// About the number that stands at `rank`, from 1, when all are sorted; `None` where there are fewer.
    pub(super) fn at(&self, rank: u64) -> Option<u64> {
        let mut passed = 0u64;
        let reached = self.0.iter().find(|(_, count)| {
            passed = passed.saturating_add(**count);
            passed >= rank
        });
        reached.map(|(bucket, _)| middle(*bucket))
    }
}

/// The bucket of a number. Those below 128 have one each.
fn bucket(number: u64) -> u16 {
    let shift = shift(number);
    let bucket = (u64::from(shift) << BUCKETS_BITS) + (number >> shift);
    u16::try_from(bucket).expect("a number of 64 bits is shifted by at most 57, and then has 7 bits")
}

/// How many of a number's last digits, in binary, do not matter.
fn shift(number: u64) -> u32 {
    number.checked_ilog2().unwrap_or(0).saturating_sub(BUCKETS_BITS)
}

/// The number in the middle of a bucket.
fn middle(bucket: u16) -> u64 {
    let shift = u32::from(bucket >> BUCKETS_BITS).saturating_sub(1);
    let lowest = (u64::from(bucket) - (u64::from(shift) << BUCKETS_BITS)) << shift;
    lowest + ((1 << shift) - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn buckets_follow_one_another_without_a_gap() {
        let ends: Vec<u64> = (0..64).map(|bits| 1u64 << bits).chain([u64::MAX, i64::MAX as u64]).collect();
        for end in ends {
            let steps = bucket(end) - bucket(end - 1);
            assert!(steps <= 1 && (end > 128 || steps == 1), "{end}");
        }
        assert_eq!((bucket(0), bucket(127), bucket(i64::MAX as u64)), (0, 127, 3_711));
    }

    #[test]
    fn small_numbers_are_exact() {
        for number in 0..128 {
            assert_eq!(middle(bucket(number)), number);
        }
    }

    #[test]
    fn a_quantile_is_off_by_less_than_it_says() {
        let mut random = SmallRng::seed_from_u64(7);
        type Shape = fn(f64) -> f64;
        let distributions: [(&str, Shape); 5] = [
            ("even", |x| 20.0 + x * 4_979.0),
            ("exponential", |x| -(1.0 - x).ln() * 50_000.0),
            ("heavy tail", |x| (1.0 - x).powi(-3)),
            ("two peaks", |x| if x < 0.5 { 1_000.0 + x } else { 1e12 + x }),
            ("all of 63 bits", |x| x * 9.2e18),
        ];
        for (name, shape) in distributions {
            for size in [1usize, 2, 10, 1_000, 50_000] {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "positive, below 2^63"
                )]
                let mut numbers: Vec<u64> = (0..size).map(|_| shape(random.random()) as u64).collect();
                let mut sketch = Sketch::default();
                numbers.iter().for_each(|number| sketch.add(*number));
                numbers.sort_unstable();
                for percent in [0, 1, 10, 50, 90, 99, 100] {
                    let rank = (size * percent).div_ceil(100).max(1);
                    let (found, exact) = (sketch.at(rank as u64).unwrap(), numbers[rank - 1]);
                    assert!(
                        found.abs_diff(exact) <= exact / 128,
                        "{name}, {size}, {percent} %: {found} for {exact}"
                    );
                }
                assert_eq!(sketch.at(size as u64 + 1), None);
            }
        }
    }

    proptest! {
        #[test]
        fn any_number_is_near_the_middle_of_its_bucket(number: u64, bits in 0u32..64) {
            let number = number >> bits;
            let middle = middle(bucket(number));
            prop_assert_eq!(bucket(middle), bucket(number));
            prop_assert!(middle.abs_diff(number) <= number / 128);
        }

        #[test]
        fn greater_numbers_lie_in_later_buckets(one: u64, other: u64, bits in 0u32..64) {
            let (low, high) = ((one >> bits).min(other), (one >> bits).max(other));
            prop_assert!(bucket(low) <= bucket(high));
        }
    }
}
