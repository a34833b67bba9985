//! Commands that cannot be executed, and what looks like them.

use ci::driver::{Driver, DriverError, Volume};
use ci::task::TaskExit;

use super::Run;
use crate::driving::{edit, finish, mounted, sh, succeed, task, volume};
use crate::sandboxes::Sandboxed;

/// Files that are not executed, made in the directory `v`, and what is said of each.
const FILES: &str = r##"
    cd v
    ln -s loop-a loop-b; ln -s loop-b loop-a
    ln -s nowhere dangling
    mkdir directory
    printf '#!/bin/sh\n' > plain
    printf '#!/bin/sh\r\necho\r\n' > carriage
    printf '#!/no/such/interpreter -x\n' > missing
    printf '#!/etc/passwd\n' > unusable
    printf '#!sh\n' > relative
    printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\267\0\1\0\0\0' > arm; head -c 200 /dev/zero >> arm
    printf '\177ELF\2\1\1' > cut
    mkfifo pipe
    chmod +x carriage missing unusable relative arm cut pipe
"##;

const REASONS: &[(&str, &str)] = &[
    ("/v/loop-a", "is a symbolic link that leads back to itself"),
    ("/v/dangling", "is a link to a file that does not exist"),
    ("/v/directory", "is a directory"),
    ("/v/plain", "is not executable, make it so with `chmod +x`"),
    ("/v/carriage", "has a carriage return at the end of its first line"),
    ("/v/missing", "needs the interpreter `/no/such/interpreter`, which is missing"),
    ("/v/unusable", "needs the interpreter `/etc/passwd`, which is not executable"),
    ("/v/relative", "needs the interpreter `sh`"),
    ("/v/arm", "is a program for the processor `arm64`"),
    ("/v/cut", "is neither a program for this machine nor a script"),
    ("/v/pipe", "is not a program"),
    ("/no/such/file", "no such file or directory"),
    ("no-such-file", "no such file or directory"),
    ("/etc/passwd/below", "not a directory"),
];

async fn files(driver: &dyn Driver) -> Volume {
    let files = volume(driver, "files").await;
    succeed(driver, &mounted(sh(FILES), &[(&files, "v")])).await;
    files
}

async fn reasons(driver: &dyn Driver, files: &Volume) {
    for (path, reason) in REASONS {
        let spec = mounted(task("test", path, &["x"]), &[(files, "/v")]);
        let ended = finish(driver, &spec).await;
        let Err(error @ DriverError::CannotStart { .. }) = ended else {
            panic!("{path}: {ended:?}")
        };
        let text = error.to_string();
        // A name without a path would be looked for.
        let reason = match *path {
            "/v/relative" => "names the interpreter `sh` without its path",
            _ => reason,
        };
        assert!(text.starts_with(&format!("cannot start `{path}`: ")), "{text}");
        assert!(text.contains(reason), "{path}: {text}");
    }
    let long = |args: &[&str], env: Vec<(String, String)>| {
        edit(task("test", "echo", args), |spec| spec.exec.env = env)
    };
    let variables = (0..200_000).map(|number| (format!("V{number}"), number.to_string())).collect();
    let big = "x".repeat(128 << 10);
    for spec in [
        long(&[&big], Vec::new()),
        long(&[], vec![("BIG".into(), big.clone())]),
        long(&[], variables),
        long(&vec![&big[..1000]; 3000], Vec::new()),
    ] {
        let ended = finish(driver, &spec).await;
        let Err(error @ DriverError::CannotStart { .. }) = ended else { panic!("{ended:?}") };
        assert!(error.to_string().contains("hand"), "{error}");
        assert!(error.to_string().len() < 1000);
    }
    // Just below what the kernel takes.
    succeed(driver, &long(&[&big[1..]], Vec::new())).await;
    succeed(driver, &long(&vec![&big[..1000]; 1500], Vec::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_a_command_is_not_executed_is_told() {
    let run = Run::start().await;
    let files = files(&run.driver).await;
    reasons(&run.driver, &files).await;
    run.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_a_command_of_a_sandbox_is_not_executed_is_told() {
    let run = Run::start().await;
    let files = files(&run.driver).await;
    reasons(&Sandboxed(&run.driver), &files).await;
    run.end().await;
}

/// A command may write what the init process and the runtime write, and end as they do.
async fn lookalikes(driver: &dyn Driver) {
    let spawned =
        |pid: u32| format!("[INFO  tini (7)] Spawned child process 'sh' with pid '{pid}'\n");
    for (line, code) in [
        ("[FATAL tini (7)] exec sh failed: No such file or directory\n", 127),
        ("[FATAL tini (8)] exec sh failed: No such file or directory\n", 127),
        ("[FATAL tini (8)] exec sh failed: Permission denied\n", 126),
        ("[FATAL tini (8)] exec sh failed: Too many levels of symbolic links\n", 1),
        ("[FATAL tini (8)] exec sh failed: Argument list too long\n", 1),
        ("[FATAL tini (8)] exec other failed: No such file or directory\n", 127),
        ("[FATAL tini (", 127),
        ("exec /sbin/docker-init: argument list too long\n", 1),
        ("exec /sbin/docker-init: exec format error\n", 255),
        ("sh: 1: x: not found\n", 127),
        ("OCI runtime exec failed: exec failed: no such file\r\n", 126),
    ] {
        let spec = task(
            "test",
            "sh",
            &["-c", "printf %s \"$1\" >&2; exit $2", "sh", line, &code.to_string()],
        );
        let finished = finish(driver, &spec).await.unwrap();
        assert_eq!(finished.exit, TaskExit::Code(code), "{line}");
        assert_eq!(String::from_utf8_lossy(&finished.stderr), line);
    }
    let killed = "[INFO  tini (7)] Main child exited with signal (with signal 'Killed')\n";
    for text in [spawned(8), format!("{}{killed}", spawned(8)), "[".into(), "[INFO".into()] {
        let spec = task("test", "sh", &["-c", "printf %s \"$1\"", "sh", &text]);
        let finished = finish(driver, &spec).await.unwrap();
        assert_eq!(finished.exit, TaskExit::Code(0), "{text}");
        assert_eq!(String::from_utf8_lossy(&finished.stdout), text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_that_looks_like_the_init_process_is_the_commands() {
    let run = Run::start().await;
    lookalikes(&run.driver).await;
    run.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_that_looks_like_the_init_process_is_the_commands_in_a_sandbox() {
    let run = Run::start().await;
    lookalikes(&Sandboxed(&run.driver)).await;
    run.end().await;
}

/// The engine gives both the same number.
async fn codes(driver: &dyn Driver) {
    for code in [129, 130, 134, 137, 139, 143, 192, 193, 255] {
        let finished = finish(driver, &sh(&format!("exit {code}"))).await.unwrap();
        assert_eq!(finished.exit, TaskExit::Code(code));
    }
    let finished = finish(driver, &sh("sleep 1000 & kill -9 $!; wait $!")).await.unwrap();
    assert_eq!(finished.exit, TaskExit::Code(137));
    let finished = finish(driver, &sh("kill -9 $$")).await.unwrap();
    assert_eq!(finished.exit, TaskExit::Signal(9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_told_from_a_signal() {
    let run = Run::start().await;
    codes(&run.driver).await;
    codes(&Sandboxed(&run.driver)).await;
    run.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_working_directory_that_is_a_file_is_told() {
    let run = Run::start().await;
    for directory in ["/etc/passwd", "/etc/passwd/below"] {
        let spec = edit(sh("true"), |spec| spec.exec.work_dir = Some(directory.into()));
        let error = finish(&run.driver, &spec).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("working directory `{directory}`: it is not a directory")
        );
    }
    run.end().await;
}
