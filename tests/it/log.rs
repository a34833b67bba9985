//! Whatever becomes of the output: the run ends as it would have, and cleans up.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::process::Stdio;

use crate::ending::files_in;
use crate::support::Ci;

const FORMATS: [&str; 3] = ["plain", "tty", "json"];

fn pipeline(code: i32) -> Ci {
    Ci::pipeline(&format!(
        r#"
        for (let i = 0; i < 20; i++) {{
            await runtime.run({{ name: `t${{i}}`, image: "busybox", command: {{ path: "seq", args: ["2000"] }} }});
        }}
        const last = await runtime.run({{ name: "last", image: "busybox", command: {{ path: "sh", args: ["-c", "exit {code}"] }} }});
        assert.equal(last.code, 0);
        "#
    ))
}

#[test]
fn closed_outputs_change_no_exit_code() {
    for format in FORMATS {
        for code in [0, 1] {
            for (close_out, close_err) in [(true, false), (false, true), (true, true)] {
                let ci = pipeline(code).args(["--output", format]);
                let mut command = ci.command();
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                let mut child = command.spawn().unwrap();
                let (mut stdout, stderr) = (child.stdout.take(), child.stderr.take());
                if close_out {
                    stdout = None;
                }
                let stderr = stderr.filter(|_| !close_err);
                if let Some(stdout) = &mut stdout {
                    std::io::copy(stdout, &mut std::io::sink()).unwrap();
                }
                let status = child.wait().unwrap();
                drop(stderr);
                assert_eq!(status.code(), Some(code), "{format}, {close_out}, {close_err}");
                assert_eq!(files_in(&ci.state()), 0);
            }
        }
    }
}

#[test]
fn outputs_that_were_closed_before_the_start_change_no_exit_code() {
    for (redirection, code) in [(">&-", 0), ("2>&-", 1), (">&- 2>&-", 1), (">&- 2>&- <&-", 0)] {
        let ci = pipeline(code);
        let given = ci.command();
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("exec \"$0\" \"$@\" {redirection}")]).arg(given.get_program());
        command.args(given.get_args()).current_dir(ci.dir());
        for (name, value) in given.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{redirection}");
        assert_eq!(files_in(&ci.state()), 0);
    }
}

#[test]
fn a_full_disk_under_the_log_is_told_and_cleans_up() {
    let full = || -> File { OpenOptions::new().write(true).open("/dev/full").unwrap() };
    for format in FORMATS {
        let ci = pipeline(0).args(["--output", format]);
        let output = ci.command().stdout(full()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        assert!(stderr.contains("No space left on device"), "{stderr}");
        assert_eq!(files_in(&ci.state()), 0);
        // A run that has failed itself says so.
        let ci = pipeline(1).args(["--output", format]);
        assert_eq!(ci.command().stdout(full()).output().unwrap().status.code(), Some(1));
        // And nobody hears anything of one whose error output is full, too.
        let ci = pipeline(1).args(["--output", format]);
        let status = ci.command().stdout(full()).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(1));
    }
    for args in [&["check", "p.yml"][..], &["run", "p.yml"], &["check", "--json", "p.yml"]] {
        let ci = Ci::new().file("p.yml", "jobs: [{}]").args(args);
        let status = ci.command().stdout(full()).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn no_line_is_lost_at_the_end() {
    let body = r#"
        const tasks = Array.from({ length: 30 }, (_, i) => runtime.run({
            name: `t${i}`, image: "busybox", command: { path: "sh", args: ["-c", "seq 500; printf last"] },
        }));
        for (const { code } of await Promise.all(tasks)) assert.equal(code, 0);
        for (let i = 0; i < 500; i++) console.log("end", i);
    "#;
    for format in FORMATS {
        let outcome = Ci::pipeline(body).args(["--output", format]).run().exits(0);
        let (last, end) = match format {
            "json" => (r#"last"}"#, r#""text":"end 499\n""#),
            _ => ("] last\n", "end 499\n"),
        };
        assert_eq!(outcome.stdout.matches(last).count(), 30, "{format}");
        outcome.stdout_has(end);
    }
}

#[test]
fn a_progress_bar_is_shown_as_a_terminal_would_at_its_end() {
    let script = r"printf 'Building\rX\n'; printf 'Downloading 10%%\rDownloading 99%%\r\033[Kdone\n'; printf 'spin |\b/\b-'";
    for format in ["plain", "tty"] {
        let body = format!(
            "const r = await runtime.run({{ name: 't', image: 'busybox', command: {{ path: 'sh', args: ['-c', {}] }} }}); assert.equal(r.code, 0);",
            serde_json::Value::from(script)
        );
        Ci::pipeline(&body)
            .args(["--output", format])
            .run()
            .exits(0)
            .stdout_has("[t] Xuilding\n")
            .stdout_has("[t] done\n")
            .stdout_has("[t] spin -\n");
    }
}

#[test]
fn nothing_that_a_task_or_a_name_says_does_something_to_a_terminal() {
    let evil = r"\u001b[2J\u009b2J\u007f\u001b]0;title\u0007";
    let body = format!(
        r#"
        console.log("{evil}");
        const volume = await runtime.createVolume();
        const result = await runtime.run({{ name: "{evil}", image: "{evil}", command: {{ path: "printf", args: ["%s", "{evil}"] }} }});
        await runtime.run({{ name: "{evil}", image: "x", command: {{ path: "{evil}" }} }}).catch((e) => console.log(e.message));
        throw new Error("{evil}" + result.stdout);
        "#
    );
    for format in FORMATS {
        let outcome = Ci::pipeline(&body).args(["--output", format]).run().exits(1);
        for text in [&outcome.stdout, &outcome.stderr] {
            let found = text.chars().find(|c| c.is_control() && !"\n\t".contains(*c));
            assert_eq!(found, None, "{format}: {text:?}");
        }
    }
    let ci = Ci::new().file("a\x1b[2J.yml", "jobs: [{ \"\\e[2J\": 1 }]");
    let outcome = ci.args(["check", "a\x1b[2J.yml"]).run().exits(2);
    assert!(!outcome.stderr.contains('\x1b'), "{:?}", outcome.stderr);
}

#[test]
fn a_reader_that_stops_and_goes_on_gets_everything() {
    let ci = pipeline(0);
    let mut child = ci.command().stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 10];
    stdout.read_exact(&mut first).unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(rest.matches("] 2000\n").count(), 20);
}

/// Nobody waits for the log of the program itself.
#[test]
fn a_log_of_the_program_that_nobody_reads_holds_nothing_up() {
    let body = r#"
        for (let i = 0; i < 400; i++) {
            await runtime.run({ name: "t", image: "busybox", command: { path: "true" } });
        }
    "#;
    for to_file in [false, true] {
        let mut ci = Ci::pipeline(body).env("CI_LOG", "trace");
        let fifo = ci.dir().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Holds the other end open and never reads.
        let _unread = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        if to_file {
            ci = ci.env("CI_LOG_FILE", fifo.to_str().unwrap());
        }
        let mut command = ci.command();
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let unread = child.stderr.take();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{to_file}");
        drop(unread);
    }
}

#[test]
fn a_log_of_the_program_that_fails_changes_no_exit_code() {
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    for code in [0, 1] {
        for file in ["", "/dev/full"] {
            let ci = pipeline(code).env("CI_LOG", "debug").env("CI_LOG_FILE", file);
            let mut command = ci.command();
            command.stdout(Stdio::null());
            command.stderr(if file.is_empty() { Stdio::from(full()) } else { Stdio::null() });
            assert_eq!(command.spawn().unwrap().wait().unwrap().code(), Some(code), "{file}");
        }
    }
}
