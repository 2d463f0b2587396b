//! The machine, the build and the moment: stored with every report.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::system::uname;
use rustix::thread::{CpuSet, sched_getaffinity};
use serde::Serialize;

use crate::clock;
use crate::runner::Schedule;

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Environment {
    pub(crate) date: String,
    pub(crate) command: String,
    pub(crate) version: &'static str,
    pub(crate) commit: Option<&'static str>,
    pub(crate) dirty: Option<bool>,
    pub(crate) rustc: Option<&'static str>,
    pub(crate) target: Option<&'static str>,
    pub(crate) profile: Option<&'static str>,
    pub(crate) opt_level: Option<&'static str>,
    pub(crate) debug_build: bool,
    pub(crate) kernel: String,
    pub(crate) cpu_model: Option<String>,
    pub(crate) virtualised: bool,
    pub(crate) cores_allowed: usize,
    pub(crate) cpus_allowed: Vec<usize>,
    /// Empty: not pinned.
    pub(crate) cpus_pinned: Vec<usize>,
    pub(crate) smt_active: Option<bool>,
    pub(crate) cgroup_cpu_max: Option<String>,
    pub(crate) governor: Option<String>,
    pub(crate) clocksource: Option<String>,
    pub(crate) clock_overhead_ns: f64,
    pub(crate) seed: u64,
    pub(crate) rounds: u32,
    pub(crate) slice_ms: f64,
    pub(crate) load_before: Option<f64>,
    pub(crate) load_after: Option<f64>,
    /// Time the hypervisor gave to others during the run, all allowed CPUs together.
    pub(crate) steal_ms: Option<u64>,
    pub(crate) duration_s: f64,
    #[serde(skip)]
    pub(crate) start_ns: u64,
    #[serde(skip)]
    pub(crate) steal_before_ms: Option<u64>,
}

impl Environment {
    pub(crate) fn before(schedule: &Schedule) -> Environment {
        let allowed = allowed_cpus();
        let uname = uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        let steal_before_ms = steal_ms(&allowed);
        Environment {
            date: iso_date(unix_seconds()),
            command: command(std::env::args_os().map(|word| word.to_string_lossy().into_owned())),
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("SHMQ_BUILD_COMMIT"),
            dirty: option_env!("SHMQ_BUILD_DIRTY").map(|dirty| dirty == "true"),
            rustc: option_env!("SHMQ_BUILD_RUSTC"),
            target: option_env!("SHMQ_BUILD_TARGET"),
            profile: option_env!("SHMQ_BUILD_PROFILE"),
            opt_level: option_env!("SHMQ_BUILD_OPT_LEVEL"),
            debug_build: cfg!(debug_assertions),
            kernel: format!("{} {}", text(uname.sysname()), text(uname.release())),
            cpu_model: cpuinfo("model name"),
            virtualised: cpuinfo("flags").is_some_and(|flags| has_word(&flags, "hypervisor")),
            cores_allowed: allowed.len(),
            cpus_allowed: allowed,
            cpus_pinned: schedule.cpus.clone(),
            smt_active: line("/sys/devices/system/cpu/smt/active").map(|value| value == "1"),
            cgroup_cpu_max: line("/sys/fs/cgroup/cpu.max"),
            governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            clocksource: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            clock_overhead_ns: clock::overhead_ns(),
            seed: schedule.seed,
            rounds: schedule.rounds,
            slice_ms: schedule.slice.as_secs_f64() * 1e3,
            load_before: load(),
            start_ns: clock::now_ns(),
            steal_before_ms,
            ..Environment::default()
        }
    }

    pub(crate) fn after(&mut self) {
        self.load_after = load();
        self.duration_s = (clock::now_ns() - self.start_ns) as f64 / 1e9;
        let before_and_after = self.steal_before_ms.zip(steal_ms(&self.cpus_allowed));
        self.steal_ms = before_and_after.map(|(before, after)| after.saturating_sub(before));
    }
}

pub(crate) fn allowed_cpus() -> Vec<usize> {
    let cpus = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|&cpu| cpus.is_set(cpu)).collect()
}

/// As typed, without the folder the binary lies in.
fn command(mut arguments: impl Iterator<Item = String>) -> String {
    let program = arguments.next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|line| !line.is_empty())
}

fn cpuinfo(field: &str) -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(name, _)| name.trim() == field).map(|(_, value)| value.trim().to_owned())
}

fn has_word(text: &str, word: &str) -> bool {
    text.split_whitespace().any(|candidate| candidate == word)
}

/// The load average of the last minute.
fn load() -> Option<f64> {
    line("/proc/loadavg")?.split_whitespace().next()?.parse().ok()
}

fn steal_ms(cpus: &[usize]) -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    Some(stolen(&text, cpus)? * 1000 / rustix::param::clock_ticks_per_second())
}

/// Of lines `cpuN user nice system idle iowait irq softirq steal ..`, in ticks of the clock.
fn stolen(stat: &str, cpus: &[usize]) -> Option<u64> {
    let of = |cpu: &usize| {
        let name = format!("cpu{cpu}");
        let mut lines = stat.lines().map(str::split_whitespace);
        let mut fields = lines.find_map(|mut fields| (fields.next()? == name).then_some(fields))?;
        fields.nth(7)?.parse::<u64>().ok()
    };
    cpus.iter().map(of).sum()
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Seconds since 1970 as `2026-11-23T16:03:00Z`, by the civil-from-days algorithm.
fn iso_date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // days since 0000-03-01, in eras of 400 years = 146097 days
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_against_known_ones() {
        assert_eq!(iso_date(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso_date(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(iso_date(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(iso_date(4_102_444_799), "2099-12-31T23:59:59Z");
    }

    #[test]
    fn what_was_stolen_is_counted_on_the_allowed_cpus() {
        let stat = "cpu 1 2 3 4 5 6 7 99 0\ncpu0 1 2 3 4 5 6 7 8 0\ncpu1 0 0 0 0 0 0 0 30 0\n";
        assert_eq!(stolen(stat, &[0]), Some(8));
        assert_eq!(stolen(stat, &[0, 1]), Some(38));
        assert_eq!(stolen(stat, &[2]), None);
    }

    #[test]
    fn the_command_has_no_folder() {
        let arguments = ["some/where/shmq-harness", "--size", "8"].map(String::from);
        assert_eq!(command(arguments.into_iter()), "shmq-harness --size 8");
    }

    #[test]
    fn there_is_a_cpu_to_run_on() {
        assert!(!allowed_cpus().is_empty());
    }
}
