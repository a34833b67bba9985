use std::process::ExitCode;

fn main() -> ExitCode {
    ci::process::allocator::return_large_blocks();
    supervise::run_if_asked();
    ci::script::transpiler::run_if_asked();
    ci::cli::run()
}
