use std::process::ExitCode;

fn main() -> ExitCode {
    ci::driver::native::supervisor::run_if_asked();
    ci::script::transpiler::run_if_asked();
    ci::allocator::return_large_blocks();
    ci::cli::run()
}
