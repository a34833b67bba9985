//! The `docker` driver on a real engine: the conformance suite, and what is its alone.

mod elsewhere;
mod endings;
mod images;
mod impostors;
mod leases;
mod places;
mod ssh;
mod starts;

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ci::driver::docker::{DockerConfig, DockerDriver};
use ci::driver::{Driver, DriverError, RunIdentity};
use ci::task::{Limits, TaskExit, TaskSpec};

use crate::conformance::{edit, finish, mounted, sh, succeed, task, volume};
use crate::support::Ci;

/// The engine that the suite's setup starts.
pub fn host() -> String {
    variable("CI_TEST_DOCKER_HOST")
}

/// What the setup says about its servers.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "`{name}` is not set: run `scripts/test`, or `eval \"$(scripts/docker start DIR)\"` first"
        )
    })
}

/// A DSN of that engine, with a namespace of the test's own.
fn dsn(namespace: &str) -> String {
    format!("docker://{namespace}?host={}&grace=200ms", host())
}

/// What `docker` prints about that engine.
fn docker(args: &[&str]) -> String {
    let output =
        Command::new("/usr/bin/docker").args(["--host", &host()]).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Everything that carries a label with this value.
pub fn objects(label: &str, value: &str) -> Vec<String> {
    let filter = format!("label={label}={value}");
    let list = |args: &[&str]| docker(&[args, &["--quiet", "--filter", &filter]].concat());
    let kinds: [&[&str]; 4] =
        [&["container", "ls", "--all"], &["volume", "ls"], &["network", "ls"], &["image", "ls"]];
    kinds.map(list).iter().flat_map(|text| text.lines().map(str::to_owned)).collect()
}

/// A driver with a namespace of its own.
struct Run {
    driver: DockerDriver,
    run: String,
    notices: Arc<Mutex<Vec<String>>>,
}

impl Run {
    async fn start() -> Self {
        Self::with(DockerConfig::default()).await
    }

    async fn with(config: DockerConfig) -> Self {
        let run = format!("test-{}", uuid::Uuid::new_v4());
        let config = DockerConfig {
            host: config.host.or_else(|| host().parse().ok()),
            namespace: Some(run.clone()),
            grace: Duration::from_millis(200),
            ..config
        };
        let notices = Arc::new(Mutex::new(Vec::new()));
        let sink = notices.clone();
        let sink = Arc::new(move |notice| sink.lock().unwrap().push(notice));
        let identity = RunIdentity { run: run.clone(), pipeline: "pipeline".into() };
        let driver = DockerDriver::start(&config, &identity, sink).await.unwrap();
        Self { driver, run, notices }
    }

    /// Closes the driver, after which nothing is left.
    async fn end(self) {
        self.driver.close().await.unwrap();
        assert_eq!(objects("ci.run", &self.run), Vec::<String>::new());
    }
}

/// Runs each function of the suite against a new driver.
macro_rules! conforms {
    ($module:ident, $suite:ident, |$driver:ident| $of:expr, $($name:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let run = super::Run::start().await;
                    let $driver = &run.driver;
                    crate::$suite::$name($of).await;
                    run.end().await;
                }
            )*
        }
    };
}

// All but what a process may do in the background: it ends with its container.
conforms! { contract, conformance, |driver| driver,
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
    a_process_that_never_stops_writing_does_not_keep_its_task
    closing_ends_running_tasks
    closing_does_not_wait_for_a_listener
    cancelling_does_not_wait_for_a_listener
}

// The same for commands in sandboxes.
conforms! { contract_in_sandboxes, conformance, |driver| &crate::sandboxes::Sandboxed(driver),
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
    volumes_can_be_mounted_in_volumes
    mounts_that_make_no_sense_are_refused
    a_command_that_does_not_exist_is_named
    names_may_be_any_text
    a_cancelled_task_leaves_no_process
    a_cancelled_task_may_clean_up
    a_task_that_is_cancelled_before_it_starts_does_not_run
    dropping_a_run_ends_its_task
    a_process_that_never_stops_writing_does_not_keep_its_task
    closing_ends_running_tasks
    closing_does_not_wait_for_a_listener
    cancelling_does_not_wait_for_a_listener
}

conforms! { shells, shells, |driver| driver,
    a_shell_has_what_its_task_had
    a_shell_of_another_user_is_that_users
    a_shell_is_there_for_a_command_that_is_not
    a_shell_is_there_for_a_command_in_a_sandbox
    a_shell_shows_every_byte
    a_shell_leaves_nothing_running
    a_shell_ends_with_its_terminal
    a_shell_whose_terminal_is_stuck_ends_with_its_user
    a_sandbox_waits_for_a_shell
    a_place_is_free_when_it_is_discarded
    nothing_is_kept_that_was_not_to_be
    what_is_kept_goes_at_the_end
}

conforms! { sandboxes, sandboxes, |driver| driver,
    commands_share_a_place
    commands_run_at_the_same_time
    many_commands_run_at_the_same_time
    a_process_in_the_background_stays_until_the_sandbox_is_closed
    ending_a_command_leaves_nothing_of_it_and_everything_of_others
    a_closed_sandbox_runs_nothing
    closing_asks_before_it_ends
    the_end_of_the_driver_is_that_of_its_sandboxes
    a_sandbox_that_nobody_waits_for_is_not_opened
    what_is_wrong_with_a_sandbox_is_told
}

#[tokio::test]
async fn an_image_is_an_environment_and_nothing_more() {
    let run = Run::start().await;
    let in_image =
        |spec: TaskSpec| edit(spec, |spec| spec.container.image = "opinionated:1".into());
    let cache = volume(&run.driver, "cache").await;
    // Neither its entry point nor its directory, but its variables and its user, who may write.
    let script =
        "pwd; id -u; echo $FROM_IMAGE; echo x > file && echo y > v/file && cat file v/file";
    let text = succeed(&run.driver, &in_image(mounted(sh(script), &[(&cache, "v")]))).await;
    assert_eq!(text, "/ci/test\n1000\n1\nx\ny\n");
    let mut spec = in_image(sh("id -u; touch file"));
    spec.exec.command.user = Some("0".into());
    assert_eq!(succeed(&run.driver, &spec).await, "0\n");
    spec.exec.command.user = Some("daemon".into());
    assert_eq!(succeed(&run.driver, &spec).await, "1\n");
    let deep = volume(&run.driver, "deep").await;
    let mut below = mounted(sh("touch file ../file a/file a/b/file"), &[(&deep, "a/b")]);
    below.exec.command.user = Some("daemon".into());
    below.exec.work_dir = Some("some/where".into());
    succeed(&run.driver, &below).await;
    spec.exec.command.user = Some("nobody-knows".into());
    let error = finish(&run.driver, &spec).await.unwrap_err();
    assert!(
        matches!(&error, DriverError::Refused(text) if text.contains("nobody-knows")),
        "{error}"
    );
    run.end().await;
}

#[tokio::test]
async fn volumes_are_mounted_wherever_a_task_wants_them() {
    let run = Run::start().await;
    let cache = volume(&run.driver, "cache").await;
    let write = mounted(sh("echo x > /root/.cache/file"), &[(&cache, "/root/.cache")]);
    succeed(&run.driver, &write).await;
    let read = mounted(sh("cat deep/er/file"), &[(&cache, "deep/er")]);
    assert_eq!(succeed(&run.driver, &read).await, "x\n");
    run.end().await;
}

#[tokio::test]
async fn limits_hold_and_say_so() {
    let run = Run::start().await;
    let memory = Limits { memory: Some(32 << 20), cpu: Some(0.5) };
    let spec = edit(sh("tail /dev/zero"), |spec| spec.container.limits = memory);
    assert_eq!(finish(&run.driver, &spec).await.unwrap().exit, TaskExit::OutOfMemory);
    let spec =
        edit(sh("true"), |spec| spec.container.limits = Limits { memory: Some(1), cpu: None });
    let error = finish(&run.driver, &spec).await.unwrap_err();
    assert!(matches!(error, DriverError::Refused(_)), "{error:?}");
    let spec =
        edit(sh("true"), |spec| spec.container.limits = Limits { memory: None, cpu: Some(0.001) });
    let error = finish(&run.driver, &spec).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "a container has at least 0.01 of a core, raise its limit of `cpu`"
    );
    let spec = sh("mount -t tmpfs tmpfs /tmp");
    assert_ne!(finish(&run.driver, &spec).await.unwrap().exit, TaskExit::Code(0));
    succeed(&run.driver, &edit(spec, |spec| spec.container.privileged = true)).await;
    run.end().await;
}

#[tokio::test]
async fn two_runs_at_the_same_time_do_not_see_each_other() {
    let (one, two) = (Run::start().await, Run::start().await);
    for run in [&one, &two] {
        let cache = volume(&run.driver, "cache").await;
        let script = "ls -A v; echo x > v/file; pwd";
        let text = succeed(&run.driver, &mounted(sh(script), &[(&cache, "v")])).await;
        assert_eq!(text, "/ci/test\n");
    }
    one.end().await;
    let cache = volume(&two.driver, "cache").await;
    let read = mounted(sh("cat v/file"), &[(&cache, "v")]);
    assert_eq!(succeed(&two.driver, &read).await, "x\n");
    two.end().await;
}

#[test]
fn an_engine_that_is_not_there_is_told_with_what_was_tried() {
    let run = |host: &str| Ci::pipeline("").args(["--driver", &format!("docker://?host={host}")]);
    run("unix:///nowhere/docker.sock")
        .run()
        .exits(3)
        .stderr_has("no engine answers at `unix:///nowhere/docker.sock` (from `host=`)");
    run("tcp://127.0.0.1:1").run().exits(3).stderr_has("tcp://127.0.0.1:1");
    run("127.0.0.1:1")
        .run()
        .exits(2)
        .stderr_has("expected `unix:///path`, `tcp://host` or `ssh://host`");
    Ci::pipeline("")
        .args(["--driver", "docker"])
        .env("DOCKER_HOST", "unix:///gone")
        .run()
        .exits(3)
        .stderr_has("(from `DOCKER_HOST`)");
    Ci::pipeline("console.log(pipelineContext.driverName)")
        .args(["--driver", "docker"])
        .env("DOCKER_HOST", host())
        .run()
        .exits(0)
        .stdout_has("docker");
}

#[tokio::test]
async fn tasks_and_sandboxes_reach_each_other_by_their_names() {
    let run = Run::start().await;
    let spec = TaskSpec { name: "The database!".into(), ..sh("true") }.sandbox();
    let sandbox = run.driver.open_sandbox(&spec).await.unwrap();
    // Nothing listens there, but somebody is there to say so.
    let script = |host: &str| format!("(exec 3<>/dev/tcp/{host}/1) 2>&1; true");
    let look = |host: &str| task("look", "bash", &["-c", &script(host)]);
    let text = succeed(&run.driver, &look("the-database")).await;
    assert!(text.contains("Connection refused"), "{text}");
    let text = succeed(&run.driver, &look("elsewhere")).await;
    assert!(!text.contains("Connection refused"), "{text}");
    sandbox.close().await;
    run.end().await;
}

#[test]
fn a_network_that_is_not_there_is_named_before_anything_runs() {
    let driver = format!("docker://?host={}&network=nowhere", host());
    Ci::pipeline(r#"console.log("runs")"#)
        .args(["--driver", &driver])
        .run()
        .exits(3)
        .lacks("runs")
        .stderr_has(
            "the engine has no network `nowhere`, create it with `docker network create nowhere`",
        );
}
