//! A run is interrupted, or times out, while it waits for something that does not answer.

use std::net::TcpListener;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::Ci;

/// A server that takes connections and never says anything.
pub fn silent() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Runs `ci` and calls `act` with its number when it has connected. Returns its exit code.
pub fn code(ci: &Ci, listener: &TcpListener, act: impl FnOnce(Pid)) -> Option<i32> {
    let mut child = ci.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _connection = listener.accept().unwrap();
    act(Pid::from_raw(child.id().cast_signed()));
    child.wait().unwrap().code()
}

fn strict(port: u16) -> Ci {
    let cache = format!("native://?cache=s3://http://K:S@127.0.0.1:{port}/bucket?region=us-east-1");
    Ci::pipeline("").args(["--cache-strict", "--driver", &cache])
}

fn docker(port: u16) -> Ci {
    Ci::pipeline("").args(["--driver", &format!("docker://?host=tcp://127.0.0.1:{port}")])
}

#[test]
fn signals_are_heard_while_a_cache_is_probed_or_a_driver_connects() {
    for of in [strict, docker] {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let (listener, port) = silent();
            let code = code(&of(port), &listener, |pid| kill(pid, signal).unwrap());
            assert_eq!(code, Some(130));
        }
    }
}

#[test]
fn the_timeout_is_heard_while_a_cache_is_probed_or_a_driver_connects() {
    for of in [strict, docker] {
        let (listener, port) = silent();
        let code = code(&of(port).args(["--timeout", "1s"]), &listener, |_| {});
        assert_eq!(code, Some(124));
    }
}
