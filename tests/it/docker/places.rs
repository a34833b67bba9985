//! Sandboxes and shells as containers, beyond what all drivers promise.

use ci::driver::{Driver, DriverError};
use ci::task::TaskExit;

use super::{Run, docker, host};
use crate::driving::{edit, finish_kept, sh};
use crate::sandboxes::{cancel_when_ready, command, finish_in, when_ready};
use crate::shells::{fail, has_line, type_in};
use crate::support::Ci;

#[tokio::test]
async fn a_sandbox_needs_something_that_keeps_its_container() {
    let run = Run::start().await;
    let spec = edit(sh("true"), |spec| spec.container.image = "ci-empty:1".into()).sandbox();
    let error = run.driver.open_sandbox(&spec).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "cannot open sandbox `test`: the image `ci-empty:1` has to have `cat` and a shell, use \
         another image: no such file or directory"
    );
    run.end().await;
}

#[tokio::test]
async fn a_command_that_runs_out_of_memory_is_told_from_one_that_was_killed() {
    let run = Run::start().await;
    let mut spec = sh("true").sandbox();
    spec.container.limits.memory = Some(32 << 20);
    let sandbox = run.driver.open_sandbox(&spec).await.unwrap();
    for (script, exit) in [
        ("kill -KILL $$", TaskExit::Signal(9)),
        ("tail /dev/zero", TaskExit::OutOfMemory),
        ("kill -KILL $$", TaskExit::Signal(9)),
        ("tail /dev/zero", TaskExit::OutOfMemory),
        ("true", TaskExit::Code(0)),
    ] {
        let finished = finish_in(&*sandbox, &command(&spec, script)).await.unwrap();
        assert_eq!(finished.exit, exit, "{script}");
    }
    run.end().await;
}

/// The shell goes on, and returns whatever code.
#[test]
fn what_ran_out_of_memory_below_a_shell_spoils_its_volumes() {
    for runs in [
        r#"runtime.run({ name: "work", image: "busybox", command, mounts, containerLimits })"#,
        r#"(await runtime.startSandbox({ name: "box", image: "busybox", mounts, containerLimits })).exec({ name: "work", command })"#,
    ] {
        let body = format!(
            r#"
            const mounts = {{ v: await runtime.createVolume({{ name: "v" }}) }};
            const containerLimits = {{ memory: 32 * 1024 * 1024 }};
            const command = {{ path: "sh", args: ["-c", "echo half > v/file; tail /dev/zero; exit 0"] }};
            const result = await {runs};
            console.log("ended with", result.code);
            "#
        );
        let dir = tempfile::tempdir().unwrap();
        let driver = format!("docker://oom?host={}&cache=file://{}", host(), dir.path().display());
        Ci::pipeline(&body)
            .args(["--output", "plain", "--driver", &driver])
            .run()
            .exits(0)
            .stdout_has("ended with 0")
            .stdout_has("a process of task `work` was ended while it had the volume mounted")
            .lacks("uploaded");
    }
}

#[tokio::test]
async fn a_user_of_a_sandbox_may_write_where_it_runs() {
    let run = Run::start().await;
    let mut spec = sh("true").sandbox();
    spec.user = Some("1000:1000".into());
    let sandbox = run.driver.open_sandbox(&spec).await.unwrap();
    let mut below = command(&spec, "id -u; touch file ../beside");
    below.exec.work_dir = Some("some/where".into());
    let finished = finish_in(&*sandbox, &below).await.unwrap();
    assert_eq!((finished.exit, &*finished.stdout), (TaskExit::Code(0), &b"1000\n"[..]));
    let mut other = command(&spec, "id -u");
    other.exec.command.user = Some("nobody-knows".into());
    let error = finish_in(&*sandbox, &other).await.unwrap_err();
    assert!(matches!(error, DriverError::CannotStart { .. }), "{error:?}");
    assert!(error.to_string().contains("unable to find user nobody-knows"), "{error}");
    // What looks like a message of the engine's is the command's.
    let finished =
        finish_in(&*sandbox, &command(&spec, "printf 'x\\r\\n'; exit 126")).await.unwrap();
    assert_eq!((finished.exit, &*finished.stdout), (TaskExit::Code(126), &b"x\r\n"[..]));
    run.end().await;
}

#[tokio::test]
async fn a_command_that_cannot_be_ended_alone_takes_its_sandbox_with_it() {
    let run = Run::start().await;
    let spec = sh("true").sandbox();
    let sandbox = run.driver.open_sandbox(&spec).await.unwrap();
    let stuck = command(&spec, "rm /bin/sh; echo ready; exec sleep 1000");
    assert_eq!(cancel_when_ready(&*sandbox, &stuck).await.0, TaskExit::Cancelled);
    assert_eq!(
        run.notices.lock().unwrap().last().unwrap(),
        "a command of sandbox `test` could not be ended alone, so all of the sandbox was ended"
    );
    let error = finish_in(&*sandbox, &command(&spec, "true")).await.unwrap_err();
    assert!(error.to_string().starts_with("lost sandbox `test`: "), "{error}");
    sandbox.close().await;
    run.end().await;
}

#[tokio::test]
async fn a_command_whose_container_is_gone_has_not_succeeded() {
    let run = Run::start().await;
    let spec = sh("true").sandbox();
    let sandbox = run.driver.open_sandbox(&spec).await.unwrap();
    let end = async { docker(&["kill", sandbox.id()]) };
    let script = "echo ready; exec sleep 1000";
    let error = when_ready(&*sandbox, &command(&spec, script), end).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "lost sandbox `test`: its container has ended, or somebody has removed it"
    );
    run.end().await;
}

#[tokio::test]
async fn a_shell_has_the_volumes_of_the_image() {
    let run = Run::start().await;
    let mut spec = edit(sh("echo kept > /data/file; exit 1"), |spec| {
        spec.container.image = "opinionated:1".into()
    });
    spec.exec.command.user = Some("0".into());
    spec.keep = true;
    let kept = fail(&run.driver, &spec).await;
    let keys = "cat /data/file; cat /proc/self/mountinfo; exit\n";
    let text = type_in(&*kept, keys).await.unwrap();
    has_line(&text, "kept");
    // The engine has made one without a name, which must not stay.
    let line = text.lines().find(|line| line.contains(" /data ")).unwrap();
    let volume = line.split('/').find(|part| part.len() == 64).unwrap();
    assert!(docker(&["volume", "ls", "--quiet"]).contains(volume));
    run.end().await;
    assert!(!docker(&["volume", "ls", "--quiet"]).contains(volume));
}

#[tokio::test]
async fn a_shell_that_is_not_there_is_said_to_be_missing() {
    let run = Run::start().await;
    let spec = edit(sh("true"), |spec| {
        spec.container.image = "ci-empty:1".into();
        spec.keep = true;
    });
    let (finished, kept) = finish_kept(&run.driver, &spec).await;
    finished.unwrap_err();
    let error = type_in(&*kept.unwrap(), "exit\n").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot start `/bin/sh`: no such file or directory in the image `ci-empty:1`"
    );
    run.end().await;
}
