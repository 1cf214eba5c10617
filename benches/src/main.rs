//! `outrigger-bench`: the same work through Outrigger and its peers, and the generator and back
//! end that it is done with. Nothing here is `unsafe`; what the kernel is asked for goes through
//! rustix.

mod backend;
mod child;
mod commands;
mod compare;
mod cpus;
mod framing;
mod gather;
mod histogram;
mod interrupt;
mod load;
mod peers;
mod poll;
mod report;
mod scenario;
mod stats;
mod timer;
mod usage;

fn main() -> std::process::ExitCode {
    commands::main()
}
