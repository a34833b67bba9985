//! What a run needs of the system, and what it does with little.

use std::os::unix::process::CommandExt;

use super::*;
use crate::support::Ci;

/// `ci` with at most that many open files.
fn with_files(ci: &Ci, files: u64) -> Command {
    let mut command = ci.command();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let limit = move || -> std::io::Result<()> {
        use nix::sys::resource::{Resource, setrlimit};
        Ok(setrlimit(Resource::RLIMIT_NOFILE, files, files)?)
    };
    // SAFETY: between fork and exec this makes a single system call, and allocates nothing.
    unsafe { command.pre_exec(limit) };
    command
}

#[test]
fn too_few_open_files_are_an_error_at_the_start() {
    let ci = Ci::pipeline(r#"console.log("started");"#);
    for files in [16, 17, 32, 64, 100, 127] {
        let output = with_files(&ci, files).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let expected = format!(
            "error: cannot start the run: a run needs 128 open files at least and may have {files}, \
             raise the limit with `ulimit -n`\n"
        );
        assert_eq!((output.status.code(), &*stderr), (Some(3), &*expected));
    }
}

#[test]
fn too_little_address_space_is_an_error_at_the_start() {
    let ci = Ci::pipeline("");
    let mut command = ci.command();
    let limit = || -> std::io::Result<()> {
        use nix::sys::resource::{Resource, setrlimit};
        Ok(setrlimit(Resource::RLIMIT_AS, 16 << 30, 16 << 30)?)
    };
    // SAFETY: between fork and exec this makes a single system call, and allocates nothing.
    unsafe { command.pre_exec(limit) };
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    let expected = "error: cannot start the run: a run reserves 40.0 GiB of address space, of which \
                    it uses little, and may have 16.0 GiB, raise the limit with `ulimit -v`\n";
    assert_eq!(stderr, expected);
}

#[test]
fn the_fewest_open_files_are_enough_for_everything() {
    let ci = Ci::pipeline(
        r#"
        const volume = await runtime.createVolume({ name: "v" });
        const sh = (name: string) => runtime.run({
            name, image: "busybox", stdin: "x", mounts: { v: volume },
            command: { path: "sh", args: ["-c", `cat >v/${name}`] },
        });
        const results = await Promise.all(Array.from({ length: 100 }, (_, i) => sh(`t${i}`)));
        assert.equal(results.filter((result) => result.code === 0).length, 100);
        "#,
    );
    let cache = format!("native://?cache=file://{}", ci.dir().join("cache").display());
    for _ in 0..2 {
        let output = with_files(&ci, 128).args(["--driver", &cache]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(!text.contains("warning"), "{text}");
    }
}

#[test]
fn too_few_processes_are_an_error_at_the_start() {
    if !is_root() {
        return;
    }
    let ci = Ci::pipeline("");
    fs::set_permissions(ci.dir(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = ci.dir().join("ci");
    fs::copy(supervisor(), &program).unwrap();
    // No other test runs as this user, whose processes count.
    let output = Command::new("setpriv")
        .args(["--reuid=54321", "--regid=54321", "--clear-groups", "prlimit", "--nproc=5"])
        .arg(program)
        .args(["run", "pipeline.ts"])
        .current_dir(ci.dir())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    let expected = "error: cannot start the run: a run needs ";
    assert!(stderr.starts_with(expected) && stderr.contains("raise the limit"), "{stderr}");
}

/// With 1,024 open files each share was four, and the 232nd command waited for ever.
#[test]
fn commands_that_leave_processes_in_the_background_keep_what_they_have_open() {
    let ci = Ci::pipeline(
        r#"
        const sandbox = await runtime.startSandbox({ name: "box", image: "busybox" });
        for (let i = 0; i < 100; i++) {
            const args = ["-c", "exec >/dev/null 2>&1; sleep 1000 & sleep 1000 &"];
            assert.equal((await sandbox.exec({ command: { path: "sh", args } })).code, 0);
        }
        "#,
    );
    let output = with_files(&ci, 256).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_wait_for_open_files_is_told_and_can_be_interrupted() {
    let ci = Ci::pipeline(
        r#"
        const sandbox = await runtime.startSandbox({ name: "box", image: "busybox" });
        for (let i = 0; i < 100; i++) {
            await sandbox.exec({ command: { path: "sh", args: ["-c", "sleep 1000 &"] } });
        }
        "#,
    );
    let mut child = with_files(&ci, 128).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = lines.find(|line| {
        let line = line.as_deref().unwrap();
        line.contains("tasks wait until others have ended") && line.contains("`ulimit -n`")
    });
    assert!(told.is_some());
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::SIGINT).unwrap();
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// Processes in the background that keep what they have open, which may be for ever.
#[test]
fn a_wait_for_what_is_never_given_back_is_an_error() {
    let ci = Ci::pipeline(
        r#"
        const sandbox = await runtime.startSandbox({ name: "box", image: "busybox" });
        for (let i = 0; i < 100; i++) {
            await sandbox.exec({ command: { path: "sh", args: ["-c", "sleep 1000 &"] } });
        }
        "#,
    );
    let output = with_files(&ci, 128).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("`ci` may not open more than 128 files"), "{text}");
    assert!(text.contains("keep them open, those of `box` ("), "{text}");
    assert!(text.contains("raise the limit with `ulimit -n`"), "{text}");
}

/// Somebody else may lock a directory of the machine for ever.
#[test]
fn a_wait_for_a_mount_point_is_told_and_can_be_interrupted() {
    if !is_root() {
        return;
    }
    let project = tempfile::tempdir().unwrap();
    fs::create_dir(project.path().join("v")).unwrap();
    let locked = fs::File::open(project.path().join("v")).unwrap();
    locked.lock().unwrap();
    let body = format!(
        r#"
        const v = await runtime.createVolume({{ name: "v" }});
        await runtime.run({{
            name: "t", image: "busybox", command: {{ path: "true" }}, workDir: {:?}, mounts: {{ v }},
        }});
        "#,
        project.path()
    );
    let ci = Ci::pipeline(&body).args(["--driver", "native://?mounts=bind"]);
    let mut child = ci.spawn();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = lines.find(|line| {
        let line = line.as_deref().unwrap();
        line.contains("waits for the mount point") && line.contains("another process has locked")
    });
    assert!(told.is_some());
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::SIGINT).unwrap();
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(locked);
}

#[tokio::test]
async fn a_task_that_needs_more_files_than_there_are_is_refused() {
    let program = this_program("native::limits::a_task_with_many_mount_points");
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 160 && exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("files have to be open for this task and 60 can be"), "{text}");
}

#[tokio::test]
#[ignore = "started by the test above, with few open files"]
async fn a_task_with_many_mount_points() {
    let run = Run::start(MountMode::Bind).await;
    let project = tempfile::tempdir().unwrap();
    let v = volume(&run.driver, "v").await;
    let paths: Vec<String> = (0..80).map(|number| format!("m{number}")).collect();
    let mounts: Vec<_> = paths.iter().map(|path| (&v, path.as_str())).collect();
    let mut spec = mounted(sh("true"), &mounts);
    spec.exec.work_dir = Some(project.path().to_str().unwrap().into());
    println!("{}", finish(&run.driver, &spec).await.unwrap_err());
    run.end().await;
}

#[tokio::test]
async fn more_variables_and_arguments_than_the_kernel_takes_are_an_error_of_the_task() {
    let run = Run::start(MountMode::Auto).await;
    let mut many = sh("true");
    many.exec.env = (0..200_000).map(|number| (format!("V{number}"), "x".repeat(20))).collect();
    let mut huge = sh("true");
    huge.exec.env = (0..100).map(|number| (format!("V{number}"), "x".repeat(100_000))).collect();
    let mut long = sh("true");
    long.exec.env = vec![("LONG".into(), "x".repeat(128 << 10))];
    let arguments = vec!["x"; 1_000_000];
    let words = "got more arguments and variables than the kernel takes";
    let table = [
        (many, words),
        (huge, words),
        (task("test", "true", &arguments), words),
        (long, "got an argument or a variable of 131077 bytes, and the kernel takes 131071"),
    ];
    for (spec, expected) in table {
        let error = finish(&run.driver, &spec).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        // Nothing of that is left for the next one.
        succeed(&run.driver, &sh("true")).await;
    }
    // The most that it takes of one.
    let mut most = sh("printf %s \"$LONG\" | wc -c");
    most.exec.env = vec![("LONG".into(), "x".repeat((128 << 10) - "LONG=".len() - 1))];
    assert_eq!(succeed(&run.driver, &most).await, "131066\n");
    run.end().await;
}

#[tokio::test]
async fn nobody_has_to_read_a_large_stdin() {
    let run = Run::start(MountMode::Auto).await;
    let mut spec = sh("wc -c");
    spec.exec.stdin = Some(vec![b'x'; 64 << 20]);
    assert_eq!(succeed(&run.driver, &spec).await, "67108864\n");
    spec.exec.command.args = vec!["-c".into(), "head -c 1 >/dev/null".into()];
    succeed(&run.driver, &spec).await;
    // A process in the background has it, and does not read.
    spec.exec.command.args =
        vec!["-c".into(), "exec 3<&0; sleep 1000 <&3 >/dev/null 2>&1 &".into()];
    succeed(&run.driver, &spec).await;
    run.end().await;
}

#[tokio::test]
async fn the_memory_of_a_reaper_does_not_grow_with_what_it_starts() {
    let run = Run::start(MountMode::Auto).await;
    let memory = async || {
        let mut spec = sh("echo $PPID; sed -n 's/^RssAnon:[^0-9]*\\([0-9]*\\).*/\\1/p' \
                           /proc/$PPID/status");
        spec.exec.env = (0..20_000).map(|number| (format!("V{number}"), String::new())).collect();
        let text = succeed(&run.driver, &spec).await;
        let (reaper, kib) = text.trim().split_once('\n').unwrap();
        (reaper.to_owned(), kib.parse::<usize>().unwrap())
    };
    // What one launch needs is there after the first ones.
    for _ in 0..10 {
        memory().await;
    }
    let (reaper, before) = memory().await;
    for _ in 0..100 {
        memory().await;
    }
    let (same, after) = memory().await;
    assert_eq!(reaper, same);
    // The kernel's list of pointers alone has 160 KB for each launch.
    assert!(after < before + 2048, "{before} KiB, then {after} KiB");
    run.end().await;
}
