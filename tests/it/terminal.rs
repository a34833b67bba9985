//! `ci run --shell-on-failure`, as somebody at a terminal has it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::docker::{host, objects};
use crate::ending::files_in;
use crate::support::Ci;

/// In ms. A terminal in which nothing has happened for so long has had its last word.
const PATIENCE: u16 = 60_000;

/// `ci` in a terminal of its own.
struct Session {
    /// Its directory goes with it.
    ci: Ci,
    child: Child,
    keyboard: File,
    seen: String,
    /// Where the last look ended.
    looked: usize,
    /// A copy of what `ci` has, to see what becomes of it.
    theirs: OwnedFd,
}

impl Session {
    fn start(ci: Ci) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let theirs = ioctl_tiocgptpeer(&ours, flags).unwrap();
        resize(&ours, 40, 100);
        let given = ci.command();
        // Makes its standard input the terminal of a new session, and becomes `ci`.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(given.get_program()).args(given.get_args());
        for (name, value) in given.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let stream = || Stdio::from(theirs.try_clone().unwrap());
        let child = command
            .current_dir(ci.dir())
            .env("TERM", "dumb")
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap();
        Self { ci, child, keyboard: File::from(ours), seen: String::new(), looked: 0, theirs }
    }

    /// Reads until this appears, after what was looked for before.
    #[track_caller]
    fn until(&mut self, part: &str) {
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = self.seen[self.looked..].find(part) {
                self.looked += at + part.len();
                return;
            }
            assert!(!self.seen.contains("\nrun "), "no `{part}` in\n{}", self.seen);
            let mut keyboard = [PollFd::new(self.keyboard.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut keyboard, PATIENCE).unwrap();
            assert!(ready > 0, "no `{part}` in\n{}", self.seen);
            let read = self.keyboard.read(&mut buffer).unwrap();
            self.seen += std::str::from_utf8(&buffer[..read]).unwrap();
        }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the end. All that was shown, and how the process ended.
    fn end(mut self) -> (String, ExitStatus, Ci) {
        // Whatever programs did to it, lines are edited and keys have their meaning again.
        let is_as_before = || {
            let modes = tcgetattr(&self.theirs).unwrap().local_modes;
            modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
        };
        let mut copy = self.keyboard.try_clone().unwrap();
        let theirs = self.theirs.try_clone().unwrap();
        // The terminal must not fill up meanwhile.
        let reader = std::thread::spawn(move || {
            let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
            while let Ok(read) = copy.read(&mut buffer) {
                all.extend_from_slice(&buffer[..read]);
                if buffer[..read].contains(&0) {
                    break;
                }
            }
            all
        });
        let status = self.child.wait().unwrap();
        assert!(is_as_before());
        // A byte that no program writes tells the end.
        File::from(theirs).write_all(b"\0").unwrap();
        self.seen += &String::from_utf8_lossy(&reader.join().unwrap());
        (self.seen, status, self.ci)
    }
}

fn resize(terminal: impl AsFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}

/// A pipeline whose task fails in a directory with a file and a volume.
const FAILS: &str = r#"
    const made = await runtime.createVolume({ name: "made" });
    const script = "echo of the task > file; echo of the volume > v/file; exit 3";
    const result = await runtime.run({
        name: "build", image: "debian:12", mounts: { v: made }, env: { WORD: "a word" },
        command: { path: "sh", args: ["-c", script] },
    });
    console.log("the pipeline goes on:", result.code);
    assert.equal(result.code, 0);
"#;

fn look_around(ci: Ci) {
    let mut session = Session::start(ci.args(["--shell-on-failure"]));
    session.until("[build] failed");
    session.until("opening a shell where task `build` failed; `exit` goes on with the run");
    session.press("PS1='re''ady> '\n");
    session.press("cat file; cat v/file; echo $WORD; stty size\n");
    for line in ["\nof the task\r\n", "of the volume\r\n", "a word\r\n", "40 100\r\n"] {
        session.until(line);
    }
    resize(&session.keyboard, 50, 120);
    session.press("until [ \"$(stty size)\" = '50 120' ]; do :; done; echo 1$((1 + 1))3\n");
    session.until("\n123\r\n");
    session.press("echo 7$((4 + 4))9; cat\n");
    session.until("789\r\n");
    session.press("typed\n");
    session.until("typed\r\ntyped\r\n");
    // It ends what runs in the shell, and nothing else.
    session.press("\x03");
    // What was typed before the prompt would be lost with what the key has ended.
    session.until("ready> ");
    session.press("echo 4$((2 + 3))6\n");
    session.until("\n456\r\n");
    session.press("exit\n");
    let (seen, status, _ci) = session.end();
    let after = &seen[seen.rfind("456\r\n").unwrap()..];
    assert!(after.contains("the pipeline goes on: 3\r\n"), "{seen}");
    assert!(after.contains("run failed in"), "{seen}");
    assert_eq!(status.code(), Some(1), "{seen}");
}

#[test]
fn a_failed_task_can_be_looked_into() {
    look_around(Ci::pipeline(FAILS));
}

#[test]
fn a_container_of_docker_can_be_looked_into() {
    look_around(Ci::pipeline(FAILS).args(["--driver", &format!("docker://?host={}", host())]));
}

#[test]
fn what_others_write_comes_after_the_shell() {
    let ci = Ci::pipeline(
        r#"
        const sh = (name: string, script: string) =>
            runtime.run({ name, image: "debian:12", command: { path: "sh", args: ["-c", script] } });
        const volume = await runtime.createVolume({ name: "shared" });
        const other = runtime.run({
            name: "other", image: "debian:12", mounts: { v: volume },
            command: { path: "sh", args: ["-c", "until [ -e v/go ]; do :; done; echo from afar; touch v/gone"] },
        });
        await runtime.run({
            name: "first", image: "debian:12", mounts: { v: volume }, command: { path: "false", args: [] }, allowFailure: true,
        });
        await other;
        console.log("second:", (await sh("second", "exit 1")).code);
        "#,
    );
    let mut session = Session::start(ci.args(["--shell-on-failure", "--output", "tty"]));
    session.until("opening a shell where task `first` failed");
    session.press("touch v/go; until [ -e v/gone ]; do :; done; echo 1$((1 + 1))3\n");
    session.until("\n123\r\n");
    assert!(!session.seen.contains("from afar\r"), "{}", session.seen);
    session.press("exit\n");
    let (seen, status, _ci) = session.end();
    let after = &seen[seen.rfind("123\r\n").unwrap()..];
    assert!(after.contains("[other] from afar\r\n"), "{seen}");
    // Only the first failure is looked into.
    assert!(after.contains("second: 1\r\n"), "{seen}");
    assert_eq!(seen.matches("opening a shell").count(), 1, "{seen}");
    assert_eq!(status.code(), Some(0), "{seen}");
}

/// No deadline of a step passes while the shell is open.
#[test]
fn a_step_has_as_much_time_after_the_shell_as_before() {
    let shared = tempfile::tempdir().unwrap();
    let go = shared.path().join("go");
    let yaml = format!(
        r#"
jobs:
- name: a
  plan:
  - in_parallel:
    - try: {{ task: fails, config: {{ run: {{ path: 'false' }} }} }}
    - do:
      - task: one
        config: {{ run: {{ path: sh, args: [-c, "until [ -e {go} ]; do sleep 0.05; done"] }} }}
      - {{ task: two, config: {{ run: {{ path: echo, args: [on time] }} }} }}
      timeout: 2s
"#,
        go = go.display()
    );
    let ci = Ci::new().file("p.yml", &yaml).args(["run", "p.yml", "--shell-on-failure"]);
    let mut session = Session::start(ci);
    session.until("opening a shell where task");
    session.press(&format!("sleep 3; touch {}; exit\n", go.display()));
    let (seen, status, _ci) = session.end();
    assert!(seen.contains("[two] on time\r\n"), "{seen}");
    assert_eq!(status.code(), Some(0), "{seen}");
}

#[test]
fn a_signal_ends_the_shell_and_the_run() {
    let ci = Ci::pipeline(FAILS).args(["--shell-on-failure"]);
    let mut session = Session::start(ci);
    session.until("opening a shell where task");
    session.press("echo 1$((1 + 1))3; trap '' TERM; sleep 1000\n");
    session.until("\n123\r\n");
    kill(Pid::from_raw(session.child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let (seen, status, ci) = session.end();
    assert!(seen.contains("interrupted"), "{seen}");
    assert_eq!(status.code(), Some(130), "{seen}");
    assert_eq!(files_in(&ci.state()), 0);
}

/// The image that the shell's container was made from goes with what else a killed run leaves.
#[test]
fn a_killed_run_leaves_no_image_of_docker_for_ever() {
    let namespace = "killed-shell";
    let driver = format!("docker://{namespace}?host={}", host());
    let mut session =
        Session::start(Ci::pipeline(FAILS).args(["--shell-on-failure", "--driver", &driver]));
    session.until("opening a shell where task");
    session.press("echo 1$((1 + 1))3\n");
    session.until("\n123\r\n");
    session.child.kill().unwrap();
    session.child.wait().unwrap();
    assert_ne!(objects("ci.namespace", namespace), Vec::<String>::new());
    Ci::new()
        .env("XDG_CACHE_HOME", session.ci.state())
        .args(["prune", "--driver", &driver])
        .run()
        .exits(0)
        .stdout_has("1 image");
    assert_eq!(objects("ci.namespace", namespace), Vec::<String>::new());
}

#[test]
fn a_shell_needs_somebody_to_type() {
    let outcome = Ci::pipeline(FAILS).args(["--shell-on-failure"]).run().exits(2);
    outcome
        .stderr_has("`--shell-on-failure` needs a terminal: the standard input is no terminal")
        .stderr_has("run it from one, or leave the option out");
    Ci::pipeline(FAILS)
        .args(["--shell-on-failure", "--output", "json"])
        .run()
        .exits(2)
        .stderr_has("`--shell-on-failure` does not go with `--output json`");
}
