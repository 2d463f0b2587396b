//! `shmq-rivals`: the comparison of `shmq-harness`, with other queues in it.
//!
//! Each is used as its documentation says it is fastest, by the same worker loop as all, and what it
//! did is verified as for all. What it cannot do is said, not worked around.

mod cloudtoid;
mod crossbeam;
mod fixed;
mod iceoryx2;
mod ipc_channel;
mod mq;
mod rtrb;
mod scratch;
mod shaq;
mod waiting;

use std::process::ExitCode;

use shmq_harness::{BUILT_IN, Program, Transport};

/// In the order of reports, behind those that are built in.
static RIVALS: &[Transport] = &[
    shaq::MANY,
    shaq::ONE,
    shaq::BATCH,
    cloudtoid::TRANSPORT,
    iceoryx2::TRANSPORT,
    ipc_channel::TRANSPORT,
    mq::TRANSPORT,
    crossbeam::TRANSPORT,
    rtrb::TRANSPORT,
];

fn transports() -> Vec<&'static Transport> {
    BUILT_IN.iter().chain(RIVALS).collect()
}

fn main() -> ExitCode {
    shmq_harness::run(&Program {
        name: "shmq-rivals",
        about: "Compares shmq with other queues, and with pipes and sockets, on this machine: some \
                two minutes, and 20 seconds more for each queue that stalls (--patience).",
        transports: transports(),
    })
}

#[cfg(test)]
mod tests {
    use super::{RIVALS, transports};
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_say_what_is_threads() {
        let names: BTreeSet<_> = transports().iter().map(|transport| transport.name).collect();
        assert_eq!(names.len(), transports().len());
        for rival in RIVALS {
            assert_eq!(rival.name.ends_with("-threads"), rival.one_process, "{}", rival.name);
        }
    }

    #[test]
    fn all_say_how_they_wait() {
        for rival in RIVALS {
            let help = rival.help;
            let says = ["looks, then yields", "sleeps", "look, then yield"];
            assert!(says.iter().any(|how| help.contains(how)), "{}: {help}", rival.name);
        }
    }
}
