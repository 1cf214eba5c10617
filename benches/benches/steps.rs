//! Time of each step, by Criterion: `cargo bench -p outrigger-bench`.

#![allow(missing_docs, reason = "a program, and what Criterion's macros make")]

#[path = "../steps/mod.rs"]
#[allow(unreachable_pub, reason = "a module of two programs")]
mod steps;

use criterion::{Criterion, criterion_group, criterion_main};

fn all(criterion: &mut Criterion) {
    for step in steps::STEPS {
        // Only what was asked for is made ready.
        criterion.bench_function(step.name, |bencher| {
            let mut ready = (step.ready)();
            bencher.iter(&mut ready);
        });
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
