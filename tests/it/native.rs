//! The `native` driver: the conformance suite, and what is its alone.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ci::driver::native::{MountMode, NativeConfig, NativeDriver};
use ci::driver::{Driver, DriverError, RunIdentity};
use ci::task::{Limits, Stream, TaskExit, TaskSpec};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::conformance::{self, Finished, finish, mounted, sh, succeed, task, volume};

/// A driver with a root directory of its own.
struct Run {
    driver: NativeDriver,
    root: TempDir,
    notices: Arc<Mutex<Vec<String>>>,
}

impl Run {
    async fn start(mounts: MountMode) -> Self {
        let root = tempfile::tempdir().unwrap();
        // Open to tasks of other users.
        fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let (driver, notices) = start(root.path(), mounts).await;
        Self { driver, root, notices }
    }

    /// Closes the driver, after which nothing is left.
    async fn end(self) {
        self.driver.close().await.unwrap();
        assert_eq!(files(self.root.path()), Vec::<PathBuf>::new());
    }

    fn slot(&self, number: u32) -> PathBuf {
        self.root.path().join(format!("native/default/pipeline/{number}"))
    }
}

async fn start(root: &Path, mounts: MountMode) -> (NativeDriver, Arc<Mutex<Vec<String>>>) {
    let config = NativeConfig {
        dir: Some(root.into()),
        mounts,
        grace: Duration::from_millis(200),
        supervisor: Some(supervisor()),
        ..NativeConfig::default()
    };
    let notices = Arc::new(Mutex::new(Vec::new()));
    let sink = notices.clone();
    let sink = Arc::new(move |notice| sink.lock().unwrap().push(notice));
    let driver = NativeDriver::start(&config, &identity(), sink).await.unwrap();
    (driver, notices)
}

fn identity() -> RunIdentity {
    RunIdentity { run: "run".into(), pipeline: "pipeline".into() }
}

fn supervisor() -> PathBuf {
    std::env::var_os("CI_TEST_SUPERVISOR").unwrap_or_else(|| env!("CARGO_BIN_EXE_ci").into()).into()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Runs each function of the suite against a new driver.
macro_rules! conforms {
    ($mode:expr, $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let run = super::Run::start($mode).await;
                crate::conformance::$name(&run.driver).await;
                run.end().await;
            }
        )*
    };
}

/// Volumes as bind mounts.
mod bind {
    use ci::driver::native::MountMode::Bind;

    conforms! { Bind,
        exit_codes_are_reported
        signals_are_reported
        output_is_bytes_as_written
        output_is_whole_and_in_order
        much_output_at_once_is_whole
        a_slow_listener_makes_the_task_wait
        nobody_has_to_listen
        stdin_is_passed_on
        the_environment_is_clean
        the_pipeline_overrides_variables
        temporary_files_have_a_place
        the_working_directory_is_stable_and_empty_at_the_start
        tasks_see_each_others_files_in_volumes
        volumes_keep_modes_links_and_times
        a_volume_is_created_once
        volumes_can_be_mounted_in_volumes
        mounts_that_make_no_sense_are_refused
        a_command_that_does_not_exist_is_named
        many_tasks_run_at_the_same_time
        names_may_be_any_text
        a_cancelled_task_leaves_no_process
        a_cancelled_task_may_clean_up
        a_task_that_is_cancelled_before_it_starts_does_not_run
        dropping_a_run_ends_its_task
        a_process_in_the_background_stays_until_the_end
        a_process_that_never_stops_writing_does_not_keep_its_task
        closing_ends_running_tasks
        closing_does_not_wait_for_a_listener
        cancelling_does_not_wait_for_a_listener
    }
}

/// Volumes as links: what has to do with volumes, once more.
mod link {
    use ci::driver::native::MountMode::Link;

    conforms! { Link,
        tasks_see_each_others_files_in_volumes
        volumes_keep_modes_links_and_times
        a_volume_is_created_once
        mounts_that_make_no_sense_are_refused
        a_cancelled_task_leaves_no_process
        a_task_that_is_cancelled_before_it_starts_does_not_run
        dropping_a_run_ends_its_task
        a_process_in_the_background_stays_until_the_end
    }
}

#[tokio::test]
async fn what_has_no_effect_is_said_once() {
    let run = Run::start(MountMode::Auto).await;
    let mut spec = sh("true");
    spec.privileged = true;
    spec.limits = Limits { cpu: Some(1.0), memory: None };
    for _ in 0..2 {
        succeed(&run.driver, &spec).await;
        run.driver
            .create_volume(&ci::volume::VolumeName::new("v").unwrap(), Some(1 << 20))
            .await
            .unwrap();
    }
    assert_eq!(
        *run.notices.lock().unwrap(),
        [
            "the `native` driver runs tasks as processes of this machine, `image` has no effect",
            "the `native` driver runs tasks as processes of this machine, `privileged` has no effect",
            "the `native` driver runs tasks as processes of this machine, `containerLimits` has no effect",
            "the `native` driver keeps volumes as directories, `size` has no effect",
        ]
    );
    run.end().await;
}

#[tokio::test]
async fn why_a_command_cannot_start() {
    let run = Run::start(MountMode::Auto).await;
    let slot = run.slot(0);
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str, mode: u32| {
        let path = files.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    symlink("/no/such", files.path().join("dangling")).unwrap();
    let dangling = files.path().join("dangling").to_str().unwrap().to_owned();
    let table = [
        ("/no/such".to_owned(), "there is no such file".to_owned()),
        (
            "./tool".into(),
            format!(
                "there is no such file in the working directory `{}/tasks/test`",
                slot.display()
            ),
        ),
        (
            "no-such".into(),
            "there is no such command in the task's PATH `/a:/b`; install it or give its path"
                .into(),
        ),
        (String::new(), "the command is empty".into()),
        ("/usr".into(), "is a directory".into()),
        (file("text", "x", 0o644), "is not executable, make it so with `chmod +x`".into()),
        (dangling, "is a link to a file that does not exist".into()),
        (
            file("script", "#!/no/interpreter -x\n", 0o755),
            "needs the interpreter `/no/interpreter`, which is missing".into(),
        ),
        (
            file("data", "data", 0o755),
            "is neither a program for this machine nor a script that starts with `#!` and its \
             interpreter"
                .into(),
        ),
    ];
    for (path, reason) in table {
        let mut spec = task("test", &path, &[]);
        spec.env = vec![("PATH".into(), "/a:/b".into())];
        let error = finish(&run.driver, &spec).await.unwrap_err().to_string();
        assert_eq!(error, format!("cannot start `{path}`: {reason}"));
    }
    let long = task("test", "true", &[&"x".repeat(1 << 20)]);
    let error = finish(&run.driver, &long).await.unwrap_err().to_string();
    assert!(error.contains("more arguments and variables than the kernel takes"), "{error}");
    run.end().await;
}

#[tokio::test]
async fn a_task_has_a_session_of_its_own_and_default_signals() {
    let run = Run::start(MountMode::Auto).await;
    let spec =
        sh("ps -o pid=,pgid=,sid=,tty= -p $$; echo $$; ls /proc/self/fd; pwd -P >/dev/null; \
                   sed -n 's/^Sig\\(Blk\\|Cgt\\):[[:space:]]*//p' /proc/self/status");
    let text = succeed(&run.driver, &spec).await;
    let lines: Vec<&str> = text.lines().collect();
    let pid = lines[1];
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), [pid, pid, pid, "?"]);
    // The directory that is being read is the fourth.
    assert_eq!(lines[2..6], ["0", "1", "2", "3"]);
    assert_eq!(lines[6..], ["0000000000000000"; 2]);
    run.end().await;
}

#[tokio::test]
async fn variables_of_this_machine_are_passed_by_name() {
    let root = tempfile::tempdir().unwrap();
    let passed = conformance::unexpected_variables().remove(0);
    let config = NativeConfig {
        dir: Some(root.path().into()),
        env: vec![passed.clone(), "NOT_SET_ANYWHERE".into()],
        supervisor: Some(supervisor()),
        ..NativeConfig::default()
    };
    let driver = NativeDriver::start(&config, &identity(), Arc::new(|_| {})).await.unwrap();
    let text = succeed(&driver, &task("env", "env", &[])).await;
    let mut names: Vec<&str> =
        text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.retain(|name| *name != passed);
    names.sort();
    assert_eq!(names, ["HOME", "LANG", "PATH", "TMPDIR", "USER"]);
    assert!(text.contains(&format!("{passed}={}", std::env::var(&passed).unwrap())));
    driver.close().await.unwrap();
}

#[tokio::test]
async fn concurrent_runs_share_no_directory_and_later_ones_get_the_same() {
    let first = Run::start(MountMode::Auto).await;
    let (second, _) = start(first.root.path(), MountMode::Auto).await;
    let directory = |number| format!("{}/tasks/test\n", first.slot(number).display());
    assert_eq!(succeed(&first.driver, &sh("pwd")).await, directory(0));
    assert_eq!(succeed(&second, &sh("pwd")).await, directory(1));
    first.driver.close().await.unwrap();
    let (third, _) = start(first.root.path(), MountMode::Auto).await;
    assert_eq!(succeed(&third, &sh("pwd")).await, directory(0));
    second.close().await.unwrap();
    third.close().await.unwrap();
    first.end().await;
}

#[tokio::test]
async fn a_second_task_of_a_name_gets_a_directory_of_its_own() {
    let run = Run::start(MountMode::Auto).await;
    let shared = volume(&run.driver, "shared").await;
    succeed(&run.driver, &mounted(sh("mkfifo v/a"), &[(&shared, "v")])).await;
    let (first, second) = (sh("pwd; echo > v/a"), sh("pwd; cat v/a"));
    let mounts = [(&shared, "v")];
    let (first, second) = (mounted(first, &mounts), mounted(second, &mounts));
    let (a, b) = tokio::join!(succeed(&run.driver, &first), succeed(&run.driver, &second));
    let work = run.slot(0).join("tasks");
    assert_eq!(a, format!("{}\n", work.join("test").display()));
    assert_eq!(b, format!("{}\n\n", work.join("test.2").display()));
    run.end().await;
}

#[tokio::test]
async fn whatever_a_task_leaves_in_its_directory_is_removed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "stays").unwrap();
    let run = Run::start(MountMode::Auto).await;
    let scripts = [
        // As the Go module cache does it.
        "mkdir -p a/b/c; touch a/b/c/f; chmod -R a-w a",
        "mkdir -p a/b; touch a/b/f; chmod 0 a",
        "chmod 0 .",
        "ln -s $OUTSIDE link; ln -s $OUTSIDE/file link2; ln -s . loop",
        "i=0; while [ $i -lt 300 ]; do mkdir d; touch f; cd d; i=$((i+1)); done",
        "cd ..; rmdir test; ln -s $OUTSIDE test",
        "cd ..; rmdir test; touch test",
        "mkfifo fifo; touch \"$(printf 'a\\nb')\"; touch $TMPDIR/x; mkdir -m 0 $TMPDIR/y",
    ];
    for script in scripts {
        let mut spec = sh(script);
        spec.env = vec![("OUTSIDE".into(), outside.path().to_str().unwrap().into())];
        succeed(&run.driver, &spec).await;
        let look = sh("ls -A . $TMPDIR | wc -l; pwd");
        let text = succeed(&run.driver, &look).await;
        assert!(text.starts_with("3\n") && text.ends_with("/tasks/test\n"), "{script}: {text}");
    }
    assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "stays");
    run.end().await;
}

#[tokio::test]
async fn what_a_task_left_mounted_is_unmounted_and_not_emptied() {
    if !is_root() {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "stays").unwrap();
    let run = Run::start(MountMode::Auto).await;
    let mut spec = sh("mkdir -p a/b; mount --bind $OUTSIDE a/b; test -f a/b/file");
    spec.env = vec![("OUTSIDE".into(), outside.path().to_str().unwrap().into())];
    succeed(&run.driver, &spec).await;
    run.end().await;
    assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "stays");
}

#[tokio::test]
async fn mount_points_in_a_directory_of_the_machine_go_again() {
    for mode in [MountMode::Bind, MountMode::Link] {
        let run = Run::start(mode).await;
        let project = tempfile::tempdir().unwrap();
        fs::write(project.path().join("main.c"), "").unwrap();
        fs::create_dir(project.path().join("there")).unwrap();
        let cache = volume(&run.driver, "cache").await;
        let work = |script: &str, path: &str| {
            let work_dir = Some(project.path().to_str().unwrap().into());
            mounted(TaskSpec { work_dir, ..sh(script) }, &[(&cache, path)])
        };
        succeed(&run.driver, &work("test -f main.c; echo x > .cache/build/file", ".cache/build"))
            .await;
        succeed(&run.driver, &work("cat .cache/build/file && touch made", ".cache/build")).await;
        // Two at the same time.
        succeed(&run.driver, &work("mkfifo c/fifo", "c")).await;
        let (write, read) = (work("echo y > c/fifo", "c"), work("cat c/fifo", "c"));
        let (_, text) = tokio::join!(succeed(&run.driver, &write), succeed(&run.driver, &read));
        assert_eq!(text, "y\n");
        if mode == MountMode::Bind {
            succeed(&run.driver, &work("cat there/file", "there")).await;
        } else {
            let error = finish(&run.driver, &work("true", "there")).await.unwrap_err().to_string();
            assert!(error.contains("choose a path that is free"), "{error}");
        }
        run.end().await;
        let mut left: Vec<_> =
            files(project.path()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        left.sort();
        assert_eq!(left, ["made", "main.c", "there"], "{mode:?}");
    }
}

#[tokio::test]
async fn a_mount_path_through_a_link_is_refused() {
    let run = Run::start(MountMode::Auto).await;
    let (project, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(outside.path(), project.path().join("link")).unwrap();
    fs::write(project.path().join("file"), "").unwrap();
    let cache = volume(&run.driver, "cache").await;
    for path in ["link", "link/below", "file", "file/below"] {
        let work_dir = Some(project.path().to_str().unwrap().into());
        let spec = mounted(TaskSpec { work_dir, ..sh("echo ran") }, &[(&cache, path)]);
        let error = finish(&run.driver, &spec).await.unwrap_err().to_string();
        assert!(error.contains("is a link or a file"), "{error}");
    }
    // A link that another task put into a volume is no way out either.
    let target = outside.path().to_str().unwrap();
    let spec = mounted(task("link", "ln", &["-s", target, "v/out"]), &[(&cache, "v")]);
    succeed(&run.driver, &spec).await;
    let other = volume(&run.driver, "other").await;
    let spec = mounted(sh("true"), &[(&cache, "v"), (&other, "v/out/x")]);
    let error = finish(&run.driver, &spec).await.unwrap_err().to_string();
    assert!(error.contains("is a link or a file"), "{error}");
    assert_eq!(files(outside.path()), Vec::<PathBuf>::new());
    run.end().await;
}

#[tokio::test]
async fn a_link_cannot_hold_another_mount() {
    let run = Run::start(MountMode::Link).await;
    let cache = volume(&run.driver, "cache").await;
    let spec = mounted(sh("true"), &[(&cache, "a"), (&cache, "a/b")]);
    let error = finish(&run.driver, &spec).await.unwrap_err().to_string();
    assert!(error.starts_with("mount path `a/b`: it is below the mount at `a`"), "{error}");
    run.end().await;
}

#[tokio::test]
async fn an_absolute_mount_path_is_refused_with_what_to_do() {
    let run = Run::start(MountMode::Auto).await;
    let cache = volume(&run.driver, "cache").await;
    let error = finish(&run.driver, &mounted(sh("true"), &[(&cache, "/data")])).await.unwrap_err();
    assert!(error.to_string().contains("use a path relative to the working directory"), "{error}");
    run.end().await;
}

#[tokio::test]
async fn a_working_directory_of_the_machine_must_exist() {
    let run = Run::start(MountMode::Auto).await;
    for path in ["/no/such/directory", "/etc/passwd"] {
        let spec = TaskSpec { work_dir: Some(path.into()), ..sh("true") };
        let error = finish(&run.driver, &spec).await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("working directory `{path}`: ")), "{error}");
    }
    run.end().await;
}

#[tokio::test]
async fn root_runs_tasks_as_other_users() {
    if !is_root() {
        return;
    }
    let run = Run::start(MountMode::Bind).await;
    let (old, new) = (volume(&run.driver, "old").await, volume(&run.driver, "new").await);
    succeed(&run.driver, &mounted(sh("echo root > v/file"), &[(&old, "v")])).await;
    let as_user = |user: &str, script: &str| {
        let mut spec = mounted(sh(script), &[(&old, "old"), (&new, "deep/new")]);
        spec.command.user = Some(user.into());
        spec
    };
    let script = "id -un; id -gn; id -G; echo $USER $HOME; touch file $TMPDIR/x deep/new/y deep/z; \
                  cat old/file; touch old/x 2>/dev/null || echo old is read only";
    let text = succeed(&run.driver, &as_user("nobody", script)).await;
    let expected = "nobody\nnogroup\n65534\nnobody /nonexistent\nroot\nold is read only\n";
    assert_eq!(text, expected);
    assert_eq!(fs::metadata(new.directory.unwrap().path).unwrap().uid(), 65534);
    let table = [("65534", "65534 65534"), ("1234:4321", "1234 4321"), ("nobody:root", "65534 0")];
    for (user, ids) in table {
        let mut spec = sh("echo $(id -u) $(id -g); touch x");
        spec.command.user = Some(user.into());
        assert_eq!(succeed(&run.driver, &spec).await, format!("{ids}\n"));
    }
    // Root again, in a directory that was somebody else's.
    assert_eq!(succeed(&run.driver, &sh("stat -c %u . $TMPDIR")).await, "0\n0\n");
    for (user, problem) in [("no-such", "there is no user"), ("0:no-such", "there is no group")] {
        let mut spec = sh("true");
        spec.command.user = Some(user.into());
        let error = finish(&run.driver, &spec).await.unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
    run.end().await;
}

/// Starts a task and reads its first line. The task goes on.
async fn first_line<'a>(driver: &'a NativeDriver, spec: &'a TaskSpec) -> (String, Rest<'a>) {
    let (sink, mut chunks) = mpsc::channel::<(Stream, Vec<u8>)>(4);
    let mut run = Box::pin(driver.run(spec, sink, CancellationToken::new()));
    let line = tokio::select! {
        exit = &mut run => panic!("{exit:?}"),
        chunk = chunks.recv() => String::from_utf8(chunk.unwrap().1).unwrap(),
    };
    let rest = async move {
        let exit = run.await;
        drop(chunks);
        exit
    };
    (line, Box::pin(rest))
}

type Rest<'a> = Pin<Box<dyn Future<Output = Result<TaskExit, DriverError>> + 'a>>;

fn kill(pid: &str) {
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).unwrap();
}

/// Waits for what nothing announces.
async fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn runs(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

#[tokio::test]
async fn a_task_whose_reaper_is_killed_is_lost_and_nothing_stays() {
    let run = Run::start(MountMode::Auto).await;
    let script = "setsid sh -c 'trap \"\" TERM HUP; echo $$; while :; do sleep 1000; done' & \
                  wait";
    let spec = sh(script);
    let (daemon, rest) = first_line(&run.driver, &spec).await;
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.trim())).unwrap();
    let shell = stat.split_whitespace().nth(3).unwrap();
    let stat = fs::read_to_string(format!("/proc/{shell}/stat")).unwrap();
    kill(stat.split_whitespace().nth(3).unwrap());
    let error = rest.await.unwrap_err().to_string();
    assert!(error.contains("was ended from outside"), "{error}");
    // The command goes with its reaper, and what else there was at the end of the run.
    until(|| !runs(shell)).await;
    // Others are not affected.
    succeed(&run.driver, &sh("true")).await;
    run.end().await;
    assert!(!runs(daemon.trim()));
}

#[tokio::test]
async fn a_stopped_process_hears_that_it_is_to_end() {
    let run = Run::start(MountMode::Auto).await;
    let script = "sh -c 'trap \"echo woken; exit\" TERM; kill -STOP $$; wait' & trap '' TERM
                  until grep -q '^State:.*stopped' /proc/$!/status; do :; done; echo ready; wait";
    let (sink, mut chunks) = mpsc::channel::<(Stream, Vec<u8>)>(4);
    let cancel = CancellationToken::new();
    let listen = async {
        let mut text = Vec::new();
        while let Some((_, bytes)) = chunks.recv().await {
            text.extend(bytes);
            cancel.cancel();
        }
        String::from_utf8(text).unwrap()
    };
    let spec = sh(script);
    let (exit, text) = tokio::join!(run.driver.run(&spec, sink, cancel.clone()), listen);
    assert_eq!((exit.unwrap(), text.as_str()), (TaskExit::Cancelled, "ready\nwoken\n"));
    run.end().await;
}

#[tokio::test]
async fn running_tasks_outlive_the_supervisor_and_new_ones_say_what_happened() {
    let run = Run::start(MountMode::Auto).await;
    let shared = volume(&run.driver, "shared").await;
    let script = "mkfifo v/door; cut -d ' ' -f 4 /proc/$PPID/stat; cat v/door; exit 7";
    let spec = mounted(sh(script), &[(&shared, "v")]);
    let (supervisor, rest) = first_line(&run.driver, &spec).await;
    kill(&supervisor);
    let error = finish(&run.driver, &sh("true")).await.unwrap_err().to_string();
    assert!(error.contains("ended from outside"), "{error}");
    let door = shared.directory.unwrap().path.join("door");
    tokio::task::spawn_blocking(|| fs::write(door, "")).await.unwrap().unwrap();
    assert_eq!(rest.await.unwrap(), TaskExit::Code(7));
    run.end().await;
}

/// This test program again, to run one ignored test in another process.
fn this_program(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command
}

#[tokio::test]
#[ignore = "started by the tests below, in a process to be killed"]
async fn the_owner_of_a_run_that_is_killed() {
    let root = PathBuf::from(std::env::var_os("CI_TEST_ROOT").unwrap());
    let (driver, _) = start(&root, MountMode::Auto).await;
    let left = volume(&driver, "left").await;
    let script = "echo left > v/file; mkdir -p a/b; \
                  setsid sh -c 'trap \"\" TERM HUP; sleep 1000 & wait' & \
                  (trap '' TERM; sleep 1000) & \
                  echo $(cut -d ' ' -f 4 /proc/$PPID/stat) $PPID $$ $(ls /proc/self/task); wait";
    let spec = mounted(sh(script), &[(&left, "v")]);
    let (line, rest) = first_line(&driver, &spec).await;
    println!("\nready {line}");
    let _ = rest.await;
}

#[tokio::test]
async fn when_the_owner_is_killed_its_tasks_die_and_the_next_run_cleans_up() {
    let root = tempfile::tempdir().unwrap();
    let mut owner = this_program("native::the_owner_of_a_run_that_is_killed")
        .env("CI_TEST_ROOT", root.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let ready = lines.map_while(Result::ok).find_map(|line| {
        Some(line.strip_prefix("ready ")?.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    });
    let pids = ready.unwrap();
    let slot = root.path().join("native/default/pipeline/0");
    assert!(runs(&pids[0]) && slot.join("tasks/test/a/b").exists());
    owner.kill().unwrap();
    owner.wait().unwrap();

    // The lock is free when the last process that could write there has ended.
    let lock = fs::File::open(slot.join("lock")).unwrap();
    tokio::task::spawn_blocking(move || lock.lock()).await.unwrap().unwrap();
    assert_eq!(tasks_below(root.path()), Vec::<PathBuf>::new());

    let (driver, _) = start(root.path(), MountMode::Auto).await;
    assert_eq!(
        succeed(&driver, &sh("pwd; ls -A")).await,
        format!("{}/tasks/test\n", slot.display())
    );
    driver.close().await.unwrap();
    assert_eq!(files(root.path()), Vec::<PathBuf>::new());
}

/// The processes of tasks whose temporary files are below this directory.
fn tasks_below(root: &Path) -> Vec<PathBuf> {
    let variable = format!("TMPDIR={}", root.display());
    let mut processes = files(Path::new("/proc"));
    processes.retain(|process| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|pair| pair.starts_with(variable.as_bytes()))
    });
    processes
}

#[tokio::test]
#[ignore = "started by the test below, with a cache directory that cannot be written"]
async fn a_run_with_a_read_only_cache_directory() {
    let config = NativeConfig { supervisor: Some(supervisor()), ..NativeConfig::default() };
    let sink = Arc::new(|notice| println!("\nnotice {notice}"));
    let driver = NativeDriver::start(&config, &identity(), sink).await.unwrap();
    println!("\nin {}", succeed(&driver, &sh("pwd")).await);
    driver.close().await.unwrap();
}

#[test]
fn a_cache_directory_that_cannot_be_written_is_replaced() {
    let tmp = tempfile::tempdir().unwrap();
    let output = this_program("native::a_run_with_a_read_only_cache_directory")
        // Nobody can make a directory there, not even root.
        .env("XDG_CACHE_HOME", "/proc/cache")
        .env("TMPDIR", tmp.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let private = tmp.path().join(format!("ci-{}", nix::unistd::geteuid()));
    let expected = format!(
        "notice working directories are in `{}`, because `/proc/cache/ci` cannot be used: ",
        private.display()
    );
    assert!(text.contains(&expected), "{text}");
    let expected = format!("in {}/native/default/pipeline/0/tasks/test\n", private.display());
    assert!(text.contains(&expected), "{text}");
    assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(files(&private), Vec::<PathBuf>::new());
}

#[tokio::test]
#[ignore = "started by the test below, without the right to mount"]
async fn a_run_that_may_not_mount() {
    let run = Run::start(MountMode::Auto).await;
    let (a, b) = (volume(&run.driver, "a").await, volume(&run.driver, "b").await);
    for _ in 0..2 {
        let spec = mounted(sh("test -L x/a -a -L b; touch b/f"), &[(&a, "x/a"), (&b, "b")]);
        succeed(&run.driver, &spec).await;
    }
    for notice in run.notices.lock().unwrap().iter() {
        println!("\nnotice {notice}");
    }
    run.end().await;
    let run = Run::start(MountMode::Bind).await;
    let a = volume(&run.driver, "a").await;
    let error = finish(&run.driver, &mounted(sh("true"), &[(&a, "a")])).await.unwrap_err();
    println!("error {error}");
    run.end().await;
}

#[test]
fn where_mounts_are_impossible_volumes_are_linked() {
    if !is_root() {
        return;
    }
    let program = this_program("native::a_run_that_may_not_mount");
    let output = Command::new("setpriv")
        .arg("--bounding-set=-sys_admin")
        .arg(program.get_program())
        .args(program.get_args())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    let notices: Vec<&str> = text.lines().filter(|line| line.contains("symbolic links")).collect();
    let expected = "notice volumes are symbolic links in the working directory, because they \
                    cannot be mounted here (cannot make a mount namespace: ";
    assert!(notices.len() == 1 && notices[0].starts_with(expected), "{text}");
    assert!(text.contains("error volumes cannot be mounted, run as root, allow user"), "{text}");
}

/// Runs tests of this program once more as an ordinary user, for whom its files may be out of
/// reach where they are.
#[test]
fn the_suite_holds_for_an_ordinary_user() {
    if !is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    chown(home.path(), Some(65534), Some(65534)).unwrap();
    let copy = |from: &Path, name: &str| {
        let to = home.path().join(name);
        fs::copy(from, &to).unwrap();
        to
    };
    let program = copy(&std::env::current_exe().unwrap(), "it");
    let supervisor = copy(&supervisor(), "ci");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program)
        .args(["native::", "--skip", "native::link", "--test-threads=4"])
        .current_dir(home.path())
        .env("CI_TEST_SUPERVISOR", supervisor)
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("bind::volumes_can_be_mounted"), "{text}");
}

/// With 64 open files, tasks wait for each other instead of failing.
#[test]
fn few_open_files_are_enough_for_many_tasks() {
    let test = "native::bind::many_tasks_run_at_the_same_time";
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 160 && exec \"$0\" --exact \"$1\" --test-threads=1"])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn an_ordinary_user_cannot_run_tasks_as_another() {
    if is_root() {
        return;
    }
    let run = Run::start(MountMode::Auto).await;
    let mut spec = sh("id -u");
    spec.command.user = Some("root".into());
    let error = finish(&run.driver, &spec).await.unwrap_err().to_string();
    assert_eq!(error, "user `root`: only root can run a task as another user, leave `user` out");
    spec.command.user = Some(nix::unistd::geteuid().to_string());
    let Finished { exit, .. } = finish(&run.driver, &spec).await.unwrap();
    assert_eq!(exit, TaskExit::Code(0));
    run.end().await;
}

#[tokio::test]
async fn thousands_of_tasks_leave_nothing() {
    let run = Run::start(MountMode::Auto).await;
    let mut batch = tokio::task::JoinSet::new();
    let driver: Arc<NativeDriver> = Arc::new(run.driver);
    for _ in 0..2000 {
        let driver = driver.clone();
        batch.spawn(async move { succeed(&*driver, &conformance::task("t", "true", &[])).await });
    }
    batch.join_all().await;
    driver.close().await.unwrap();
    assert_eq!(files(run.root.path()), Vec::<PathBuf>::new());
}
