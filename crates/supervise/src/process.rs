//! What holds for the supervisor and its reapers alike, as processes.

use nix::libc;
use nix::sys::signal::Signal;

/// Signals that a user's terminal or service manager sends to whole groups. The driver hears of
/// them and decides; what it started must not die of them on its own.
pub const IGNORED: [Signal; 5] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGPIPE];

/// Ends the process without what a whole program does at its end, none of which was set up.
pub fn exit(code: i32) -> ! {
    // SAFETY: `_exit` takes any code and touches no memory of this process.
    unsafe { libc::_exit(code) }
}
