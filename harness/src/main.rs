//! `shmq-harness`: the comparison with what the system has. All of it is in the library.

use std::process::ExitCode;

use shmq_harness::{BUILT_IN, Program};

fn main() -> ExitCode {
    shmq_harness::run(&Program {
        name: "shmq-harness",
        about: "Compares shmq with pipes and sockets, between real processes on this machine: \
                about a minute.",
        transports: BUILT_IN.iter().collect(),
    })
}
