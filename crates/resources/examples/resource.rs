//! Carries out one action of a resource type: `resource TYPE check|in|out [DIRECTORY]`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (kind, action, directory) = match args.as_slice() {
        [kind, action] => (kind, action, None),
        [kind, action, directory] => (kind, action, Some(Path::new(directory))),
        _ => {
            eprintln!("usage: resource TYPE check|in|out [DIRECTORY]");
            return ExitCode::from(2);
        }
    };
    let (mut input, mut output, mut log) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let done = action.parse().and_then(|action| {
        resources::execute(kind, action, directory, &mut input, &mut output, &mut log)
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
