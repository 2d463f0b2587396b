//! What may spoil the numbers, and what to do about it.

use std::fmt;

use crate::env::Environment;

const LOAD_MAX: f64 = 0.5;
const STEAL_SHARE_MAX: f64 = 0.01;
const CLOCK_SHARE_MAX: f64 = 0.05;
const DISTANCE_CHANGE_MAX: f64 = 1.5;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Warning {
    DebugBuild,
    LoadBefore { load: f64 },
    Steal { share: f64 },
    Governor { governor: String },
    SharedCores { processes: usize, cores: usize },
    FewRounds { rounds: u32 },
    ClockOverhead { overhead_ns: f64, fastest_ns: f64 },
    Jitter { cells: Vec<String> },
    Distance { least_ns: f64, most_ns: f64 },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::DebugBuild => {
                write!(f, "debug build: these numbers mean nothing; use cargo run --release")
            }
            Warning::LoadBefore { load } => write!(
                f,
                "the load average was {load:.2} before the start: something else is running; \
                 stop it and measure again"
            ),
            Warning::Steal { share } => write!(
                f,
                "the hypervisor gave {:.1} % of the CPU time to others; measure again, or on a \
                 machine of your own",
                share * 100.0
            ),
            Warning::Governor { governor } => write!(
                f,
                "frequency scaling is on (governor {governor}); set it to performance: \
                 cpupower frequency-set -g performance"
            ),
            Warning::SharedCores { processes, cores } => write!(
                f,
                "topologies with up to {processes} processes share {cores} CPUs: their rows show \
                 behaviour under oversubscription; for the others use --topology with fewer"
            ),
            Warning::FewRounds { rounds } => write!(
                f,
                "of {rounds} rounds all may fall on one side by chance, one time in {}; use --rounds 5 \
                 or more",
                1_u64 << (rounds - 1)
            ),
            Warning::ClockOverhead { overhead_ns, fastest_ns } => write!(
                f,
                "reading the clock costs {overhead_ns:.0} ns, a visible part of the fastest \
                 median round trip ({fastest_ns:.0} ns); it is the same for all transports"
            ),
            Warning::Jitter { cells } => write!(
                f,
                "rounds differ by more than a half in {}: {}; measure again with --rounds 15, \
                 on a quiet machine",
                if cells.len() == 1 { "one cell" } else { "some cells" },
                cells.join(", ")
            ),
            Warning::Distance { least_ns, most_ns } => write!(
                f,
                "between the CPUs a cache line took {least_ns:.0} ns there and back in some rounds, \
                 {most_ns:.0} ns in others: the host moves them; trust the ratios, which are of the same \
                 moments, or measure again (line_ns in report.json says which round is which)"
            ),
        }
    }
}

/// What the cells tell about the quality of the run.
#[derive(Debug, Default)]
pub(crate) struct Signs {
    pub(crate) processes_max: usize,
    pub(crate) fastest_rtt_ns: Option<f64>,
    /// What a cache line took there and back, usually: least and most.
    pub(crate) line_ns: Option<(f64, f64)>,
    /// Names of the cells whose slowest round took over 1.5 times the fastest.
    pub(crate) jittery: Vec<String>,
}

pub(crate) fn warnings(env: &Environment, signs: &Signs) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if env.debug_build {
        warnings.push(Warning::DebugBuild);
    }
    if let Some(load) = env.load_before.filter(|&load| load > LOAD_MAX) {
        warnings.push(Warning::LoadBefore { load });
    }
    let cpu_ms = env.duration_s * 1e3 * env.cores_allowed as f64;
    let steal = env.steal_ms.map(|steal_ms| steal_ms as f64 / cpu_ms);
    if let Some(share) = steal.filter(|&share| share > STEAL_SHARE_MAX) {
        warnings.push(Warning::Steal { share });
    }
    if let Some(governor) = env.governor.clone().filter(|governor| governor != "performance") {
        warnings.push(Warning::Governor { governor });
    }
    if signs.processes_max > env.cores_allowed {
        let (processes, cores) = (signs.processes_max, env.cores_allowed);
        warnings.push(Warning::SharedCores { processes, cores });
    }
    if env.rounds < 5 {
        warnings.push(Warning::FewRounds { rounds: env.rounds });
    }
    let overhead_ns = env.clock_overhead_ns;
    let fastest_rtt_ns =
        signs.fastest_rtt_ns.filter(|fastest_ns| overhead_ns > fastest_ns * CLOCK_SHARE_MAX);
    if let Some(fastest_ns) = fastest_rtt_ns {
        warnings.push(Warning::ClockOverhead { overhead_ns, fastest_ns });
    }
    if !signs.jittery.is_empty() {
        warnings.push(Warning::Jitter { cells: shortened(&signs.jittery) });
    }
    let moved = signs.line_ns.filter(|(least, most)| *most > least * DISTANCE_CHANGE_MAX);
    if let Some((least_ns, most_ns)) = moved {
        warnings.push(Warning::Distance { least_ns, most_ns });
    }
    warnings
}

/// The first few are enough.
fn shortened(names: &[String]) -> Vec<String> {
    const SHOWN: usize = 4;
    let mut shown: Vec<String> = names.iter().take(SHOWN).cloned().collect();
    if names.len() > SHOWN {
        shown.push(format!("and {} more", names.len() - SHOWN));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Environment {
        Environment { rounds: 5, cores_allowed: 2, duration_s: 60.0, ..Environment::default() }
    }

    #[test]
    fn a_quiet_machine_gets_no_warning() {
        assert_eq!(warnings(&quiet(), &Signs::default()), []);
    }

    #[test]
    fn each_sign_gets_its_warning_with_a_remedy() {
        let env = Environment {
            load_before: Some(1.5),
            steal_ms: Some(6_000),
            governor: Some("powersave".into()),
            rounds: 2,
            clock_overhead_ns: 20.0,
            ..quiet()
        };
        let signs = Signs {
            processes_max: 8,
            fastest_rtt_ns: Some(200.0),
            line_ns: Some((60.0, 300.0)),
            jittery: (0..9).map(|cell| format!("cell {cell}")).collect(),
        };
        let texts: Vec<String> = warnings(&env, &signs).iter().map(Warning::to_string).collect();
        let remedies = [
            "measure again",
            "5.0 %",
            "cpupower",
            "--topology",
            "--rounds 5",
            "20 ns",
            "and 5 more",
            "report.json",
        ];
        assert_eq!(texts.len(), remedies.len(), "{texts:#?}");
        for (text, remedy) in texts.iter().zip(remedies) {
            assert!(text.contains(remedy), "{remedy}: {text}");
        }
    }
}
