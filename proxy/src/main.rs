//! The `outrigger` binary. Everything is in the library, so that tests and benchmarks reach it.

fn main() -> std::process::ExitCode {
    outrigger_proxy::main()
}
