//! How far apart the two CPUs are at the moment.
//!
//! In a virtual machine the host decides that, and anew as it likes: two CPUs may share a core now, be in
//! different parts of the chip a second later, and a cache line then takes several times as long between
//! them. All that goes from one process to another takes part in that, so it is measured beside every trial.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crossbeam_utils::CachePadded;

use crate::clock::now_ns;
use crate::worker::pin;

/// Trips of a measurement, and between two looks at the clock.
const TRIPS: u64 = 1_024;
const LAP: u64 = 16;
/// Where others have the CPUs, too, it is not waited for all of them.
const LONGEST_NS: u64 = 5_000_000;
/// Says that it is over.
const OVER: u64 = u64::MAX;

/// What such a round trip may take, in ns.
pub(crate) type Range = std::ops::RangeInclusive<u32>;

/// `60..100`
pub(crate) fn parse_range(text: &str) -> Result<Range, String> {
    let bounds = text
        .split_once("..")
        .and_then(|(least, most)| Some((least.trim().parse().ok()?, most.trim().parse().ok()?)));
    match bounds {
        Some((least, most)) if least < most => Ok(least..=most),
        _ => Err("two whole numbers of ns are wanted, the lesser first, as in 60..100".into()),
    }
}

/// A cache line from the first of these CPUs to the second and back, on average; `None`: there are no two, or
/// they can't be used.
pub(crate) fn round_trip_ns(cpus: &[usize]) -> Option<f64> {
    let &[near, far, ..] = cpus else { return None };
    if near == far {
        return None;
    }
    let line = CachePadded::new(AtomicU64::new(0));
    thread::scope(|scope| {
        let over = Over(&line);
        // Whoever is not where it should be plays all the same: the other waits for it.
        let echo = scope.spawn(|| {
            let pinned = pin(Some(far));
            let mut turn = 1;
            while wait_for(&line, turn) {
                line.store(turn + 1, RELAXED);
                turn += 2;
            }
            pinned.is_ok()
        });
        let ping = scope.spawn(|| {
            let pinned = pin(Some(near));
            let mut trips = 0;
            let mut lap = || {
                for _ in 0..LAP {
                    line.store(2 * trips + 1, RELAXED);
                    trips += 1;
                    wait_for(&line, 2 * trips);
                }
                trips
            };
            let warm_up = lap();
            let start = now_ns();
            let trip_ns = loop {
                let (trips, lasted_ns) = (lap() - warm_up, now_ns() - start);
                if trips >= TRIPS || lasted_ns > LONGEST_NS {
                    break lasted_ns as f64 / trips as f64;
                }
            };
            pinned.is_ok().then_some(trip_ns)
        });
        let trip = ping.join().ok()?;
        drop(over);
        echo.join().ok()?.then_some(trip)?
    })
}

/// Ends the game, whatever came of it.
struct Over<'l>(&'l AtomicU64);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(OVER, RELAXED);
    }
}

/// The number is all there is in the line.
const RELAXED: Ordering = Ordering::Relaxed;

/// Until it is this turn. Or is it over?
fn wait_for(line: &AtomicU64, turn: u64) -> bool {
    loop {
        match line.load(RELAXED) {
            now if now == turn => return true,
            OVER => return false,
            _ => std::hint::spin_loop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::allowed_cpus;

    #[test]
    fn a_line_takes_a_while_between_two_cpus() {
        let cpus = allowed_cpus();
        let trip_ns = round_trip_ns(&cpus);
        assert_eq!(trip_ns.is_some(), cpus.len() > 1);
        assert!(trip_ns.is_none_or(|ns| ns > 1.0), "{trip_ns:?}");
    }

    #[test]
    fn a_range_has_two_bounds_in_order() {
        assert_eq!(parse_range("60..100"), Ok(60..=100));
        for wrong in
            ["", "60", "..", "60..", "..100", "100..60", "60..60", "60-100", "-1..5", "a..b"]
        {
            assert!(parse_range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_two_cpus_there_is_no_distance() {
        assert_eq!(round_trip_ns(&[]), None);
        assert_eq!(round_trip_ns(&[0, 0]), None);
        assert_eq!(round_trip_ns(&[0, 1_000]), None);
    }
}
