//! Engines of other machines that are reached by ssh.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{host, objects, variable};
use crate::support::Ci;

/// A directory with an `ssh` that knows the way to the engine's machine, and writes down each process that it
/// is.
struct Ssh(tempfile::TempDir);

impl Ssh {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let real = Path::new(&variable("CI_TEST_DOCKER_SSH")).join("ssh");
        let (pids, real) = (directory.path().join("pids"), real.display());
        let script = format!("#!/bin/sh\necho $$ >> {}\nexec {real} \"$@\"\n", pids.display());
        let ssh = directory.path().join("ssh");
        std::fs::write(&ssh, script).unwrap();
        std::fs::set_permissions(&ssh, PermissionsExt::from_mode(0o755)).unwrap();
        Self(directory)
    }

    fn path(&self) -> String {
        format!("{}:/usr/bin:/bin", self.0.path().display())
    }

    /// Waits for the end of all that it was. There was one at least.
    fn ends(&self) {
        let pids = std::fs::read_to_string(self.0.path().join("pids")).unwrap();
        assert_ne!(pids, "");
        for pid in pids.lines() {
            let process = format!("/proc/{pid}/cmdline");
            // It is ended a moment after its connection.
            while std::fs::read_to_string(&process).is_ok_and(|line| line.contains("dial-stdio")) {
                std::thread::yield_now();
            }
        }
    }
}

#[test]
fn an_engine_is_reached_by_ssh() {
    let hello = r#"await runtime.run({
        name: "t", image: "busybox", command: { path: "cat" }, stdin: "hello",
    });"#;
    let ssh = Ssh::new();
    let run = |host: &str| {
        let driver = format!("docker://ssh?host={host}");
        let ci = Ci::pipeline(hello).args(["--output", "plain", "--driver", &driver]);
        ci.env("PATH", ssh.path()).run()
    };
    let address = variable("CI_TEST_DOCKER_SSH_ADDRESS");
    let socket = host();
    let socket = socket.strip_prefix("unix://").unwrap();
    for host in ["ssh://tests", &format!("ssh://root@{address}"), &format!("ssh://tests{socket}")] {
        run(host).exits(0).stdout_has("[t] hello");
    }
    // What `ssh`, and the command over there, have to say.
    let told = |host: &str, reason: &str| {
        let tried = format!("no engine answers at `{host}` (from `host=`)");
        run(host).exits(3).stderr_has(&tried).stderr_has(reason);
    };
    told("ssh://tests/no/such.sock", "no such file or directory");
    told(&format!("ssh://nobody-knows@{address}"), "Permission denied");
    told("ssh://root@127.0.0.1:1", "Connection refused");
    run("ssh://root:secret@tests").exits(2).stderr_has("`ssh://***@tests`").lacks("secret");
    ssh.ends();
}

/// The way back stays open for what a command writes.
#[test]
fn a_command_through_ssh_need_not_read_its_input() {
    let ssh = Ssh::new();
    let body = r#"
        const args = ["-c", "head -c 1; exec <&-; seq 200000; seq 200000 >&2"];
        const count = { stdout: 0, stderr: 0 };
        const { code } = await runtime.run({
            name: "t", image: "busybox", command: { path: "sh", args }, stdin: "x".repeat(8 << 20),
            onOutput: (stream, data) => { count[stream] += data.length },
        });
        console.log("all", code, count.stdout, count.stderr);
    "#;
    let ci =
        Ci::pipeline(body).args(["--output", "json", "--driver", "docker://ssh?host=ssh://tests"]);
    ci.env("PATH", ssh.path()).run().exits(0).stdout_has("all 0 1288896 1288895");
    ssh.ends();
}

/// Ctrl-C is for all processes of a terminal.
#[test]
fn a_run_through_ssh_may_clean_up_when_it_is_interrupted() {
    let ssh = Ssh::new();
    let namespace = format!("ssh-{}", std::process::id());
    let script = "trap 'echo cleaned up; exit 1' TERM; echo ready; sleep 1000 & wait";
    let body = format!(
        r#"await runtime.run({{
            name: "t", image: "busybox", command: {{ path: "sh", args: ["-c", `{script}`] }},
        }});"#
    );
    let driver = format!("docker://{namespace}?host=ssh://tests");
    let ci = Ci::pipeline(&body).args(["--output", "plain", "--driver", &driver]);
    let ci = ci.env("PATH", ssh.path());
    let mut child = ci.command().process_group(0).stdout(Stdio::piped()).spawn().unwrap();
    let group = Pid::from_raw(child.id().try_into().unwrap());
    let mut text = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains("[t] ready") {
            killpg(group, Signal::SIGINT).unwrap();
        }
        text += &line;
        text.push('\n');
    }
    assert_eq!(child.wait().unwrap().code(), Some(130), "{text}");
    assert!(text.contains("[t] cleaned up") && !text.contains("lost"), "{text}");
    assert_eq!(objects("ci.namespace", &namespace), Vec::<String>::new());
    ssh.ends();
}
