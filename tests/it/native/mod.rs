//! The `native` driver: the conformance suite, and what is its alone.

mod directories;
mod ending;
mod limits;
mod machine;
mod start;
mod stopped;

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
use ci::task::{Limits, TaskExit, TaskSpec};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::conformance;
use crate::driving::{Finished, edit, exit, finish, mounted, sh, succeed, task, updates, volume};

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
    ($suite:ident, |$driver:ident| $of:expr, $mode:expr, $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let run = super::Run::start($mode).await;
                let $driver = &run.driver;
                    crate::$suite::$name($of).await;
                run.end().await;
            }
        )*
    };
}

/// Volumes as bind mounts.
mod bind {
    use ci::driver::native::MountMode::Bind;

    contract! { commands: conformance, |driver| driver, Bind, }
    contract! { drivers: conformance, |driver| driver, Bind, }
    contract! { places: mounts, |driver| driver, Bind, }
    contract! { mounts: mounts, |driver| driver, Bind, }
    contract! { processes: conformance, |driver| driver, Bind, }
    contract! { shells: shells, |driver| driver, Bind, }
    contract! { sandboxes: sandboxes, |driver| driver, Bind, }
}

/// Volumes as links.
mod link {
    use ci::driver::native::MountMode::Link;

    contract! { commands: conformance, |driver| driver, Link, }
    contract! { drivers: conformance, |driver| driver, Link, }
    contract! { places: mounts, |driver| driver, Link, }
    contract! { processes: conformance, |driver| driver, Link, }
    contract! { shells: shells, |driver| driver, Link, }
    contract! { sandboxes: sandboxes, |driver| driver, Link, }
}

/// The contract once more, for commands in sandboxes.
mod in_sandboxes {
    use ci::driver::native::MountMode::Bind;

    use crate::sandboxes::Sandboxed;

    contract! { commands: conformance, |driver| &Sandboxed(driver), Bind, }
    contract! { places: mounts, |driver| &Sandboxed(driver), Bind, }
    contract! { mounts: mounts, |driver| &Sandboxed(driver), Bind, }
}

#[tokio::test]
async fn what_has_no_effect_is_said_once() {
    let run = Run::start(MountMode::Auto).await;
    let mut spec = sh("true");
    spec.container.privileged = true;
    spec.container.limits = Limits { cpu: Some(1.0), memory: None };
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
async fn thousands_of_tasks_leave_nothing() {
    let run = Run::start(MountMode::Auto).await;
    let mut batch = tokio::task::JoinSet::new();
    let driver: Arc<NativeDriver> = Arc::new(run.driver);
    for _ in 0..2000 {
        let driver = driver.clone();
        batch
            .spawn(async move { succeed(&*driver, &crate::driving::task("t", "true", &[])).await });
    }
    batch.join_all().await;
    driver.close().await.unwrap();
    assert_eq!(files(run.root.path()), Vec::<PathBuf>::new());
}

/// This test program again, to run one ignored test in another process.
fn this_program(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command
}
