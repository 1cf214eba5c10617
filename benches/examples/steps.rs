//! Does a step so many times more than it has to: `gate` runs it twice under valgrind and takes
//! the difference, so that making ready does not count.
//!
//! `steps` lists names and times; `steps NAME TIMES` does one.

#![allow(clippy::print_stdout, reason = "what `gate` reads")]

#[path = "../steps/mod.rs"]
#[allow(unreachable_pub, reason = "a module of two programs")]
mod steps;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [name, times] = arguments.as_slice() else {
        for step in steps::STEPS {
            println!("{} {}", step.name, step.times);
        }
        return ExitCode::SUCCESS;
    };
    let step = steps::STEPS.iter().find(|step| step.name == name);
    let (Some(step), Ok(times)) = (step, times.parse::<u32>()) else {
        return ExitCode::from(2);
    };
    let mut ready = (step.ready)();
    for _ in 0..times {
        ready();
    }
    ExitCode::SUCCESS
}
