//! Medians, and how sure of them we are.

use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

const RESAMPLES: usize = 10_000;
const CONFIDENCE: f64 = 0.95;

/// Of so many samples the bootstrap's interval is no narrower than their range.
const RANGE_MAX: u32 = 5;

/// What the interval around a median of so many rounds is.
pub(crate) fn interval(rounds: u32) -> &'static str {
    if rounds > RANGE_MAX { "95 % bootstrap interval" } else { "range" }
}

/// A median with the interval that a bootstrap puts around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Estimate {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Estimate {
    /// `None` without samples.
    pub(crate) fn of(samples: &[f64], seed: u64) -> Option<Estimate> {
        let median = median(samples)?;
        let (low, high) = bootstrap(samples, seed)?;
        Some(Estimate { median, low, high })
    }

    /// For ratios: the interval contains "the same".
    pub(crate) fn spans_one(&self) -> bool {
        self.low <= 1.0 && 1.0 <= self.high
    }
}

pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    median_of_sorted(&sorted)
}

fn median_of_sorted(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The percentile bootstrap of the median, 95 %.
fn bootstrap(samples: &[f64], seed: u64) -> Option<(f64, f64)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut resample = vec![0.0; samples.len()];
    let mut medians = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        for value in &mut resample {
            *value = samples[random.random_range(0..samples.len())];
        }
        resample.sort_by(f64::total_cmp);
        medians.push(median_of_sorted(&resample)?);
    }
    medians.sort_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let at = |quantile: f64| medians[((RESAMPLES - 1) as f64 * quantile).round() as usize];
    Some((at(tail), at(1.0 - tail)))
}

/// What a latency histogram is reported as, all in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p99_9: u64,
    pub(crate) max: u64,
    pub(crate) mean: f64,
    pub(crate) count: u64,
}

impl Percentiles {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Percentiles {
        Percentiles {
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p99_9: histogram.value_at_quantile(0.999),
            max: histogram.max(),
            mean: histogram.mean(),
            count: histogram.len(),
        }
    }
}

/// Three digits, from 1 ns to a minute; a longer wait is recorded as a minute.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("constant bounds are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_nothing() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        assert_eq!(Estimate::of(&[], 1), None);
    }

    #[test]
    fn the_interval_of_equal_samples_is_a_point() {
        let estimate = Estimate::of(&[7.0; 5], 1).unwrap();
        assert_eq!((estimate.low, estimate.median, estimate.high), (7.0, 7.0, 7.0));
    }

    /// P(median of 5 draws from 5 is the smallest) = P(Bin(5, 1/5) >= 3) = 5.8 % > 2.5 %:
    /// with five rounds the interval is the range.
    #[test]
    fn with_five_samples_the_interval_is_the_range() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 5.0], 1).unwrap();
        assert_eq!((estimate.low, estimate.median, estimate.high), (1.0, 3.0, 5.0));
    }

    /// P(median of 101 draws <= i-th) is a binomial tail: 2.5 % and 97.5 % are at the 41st
    /// and 61st of 1..=101 (the order-statistics interval, 51 ± 1.96·√101/2).
    #[test]
    fn with_many_samples_the_interval_is_that_of_order_statistics() {
        let samples: Vec<f64> = (1..=101).map(f64::from).collect();
        let estimate = Estimate::of(&samples, 42).unwrap();
        assert_eq!(estimate.median, 51.0);
        assert!((estimate.low - 41.0).abs() <= 1.0, "{estimate:?}");
        assert!((estimate.high - 61.0).abs() <= 1.0, "{estimate:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let samples: Vec<f64> = (0..20).map(|i| f64::from(i * i)).collect();
        assert_eq!(Estimate::of(&samples, 9), Estimate::of(&samples, 9));
    }

    #[test]
    fn ratios_that_span_one_show_no_difference() {
        assert!(Estimate { median: 1.1, low: 0.9, high: 1.3 }.spans_one());
        assert!(!Estimate { median: 1.1, low: 1.05, high: 1.3 }.spans_one());
    }

    #[test]
    fn percentiles_of_one_to_a_thousand() {
        let mut histogram = histogram();
        for value in 1..=1000 {
            histogram.record(value).unwrap();
        }
        let percentiles = Percentiles::of(&histogram);
        assert_eq!((percentiles.p50, percentiles.p90), (500, 900));
        assert_eq!((percentiles.p99, percentiles.p99_9, percentiles.max), (990, 999, 1000));
    }
}
