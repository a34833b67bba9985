//! Where images come from, and with whose credentials.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ci::driver::docker::{DockerConfig, Pull};
use ci::driver::{Driver, TaskUpdate};
use nix::sys::signal::{Signal, kill};

use super::{Run, docker, host, variable};
use crate::driving::{edit, finish, sh, succeed, task};
use crate::interruptions::{code, silent};
use crate::support::{Ci, Outcome};

#[tokio::test]
async fn an_image_that_is_missing_is_named() {
    let run = Run::with(DockerConfig { pull: Pull::Never, ..DockerConfig::default() }).await;
    for (image, parts) in [
        ("no-such-image", ["`no-such-image:latest`", "`pull=never`"]),
        ("", ["runs each task in an image", "`busybox`"]),
        ("a b", ["`a b` is no image", "`node:20`"]),
    ] {
        let error =
            finish(&run.driver, &edit(sh("true"), |spec| spec.container.image = image.into()))
                .await;
        let error = error.unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    run.end().await;
    let run = Run::start().await;
    let spec =
        edit(task("t", "true", &[]), |spec| spec.container.image = "localhost:1/none:1".into());
    let error = finish(&run.driver, &spec).await.unwrap_err().to_string();
    assert!(error.contains("cannot pull image `localhost:1/none:1`"), "{error}");
    assert!(error.contains("does not get an answer from the registry `localhost:1`"), "{error}");
    assert_eq!(*run.notices.lock().unwrap(), ["pulling image `localhost:1/none:1`"]);
    run.end().await;
}

/// Of the registry that the setup starts.
const USER: &str = "ci";
const PASSWORD: &str = "ci-???>>>secret";

/// `ci run` of a pipeline that says hello in an image, with docker's own configuration.
fn hello(image: &str, pull: &str, config: &Path) -> Outcome {
    let body = format!(
        r#"await runtime.run({{ name: "t", image: "{image}", command: {{ path: "echo", args: ["hello"] }} }});"#
    );
    let driver = format!("docker://images?host={}&pull={pull}", host());
    Ci::pipeline(&body)
        .args(["--output", "plain", "--driver", &driver])
        .env("DOCKER_CONFIG", config)
        .env("AWS_SECRET_ACCESS_KEY", "HIDDEN")
        .env("PATH", format!("{}:/usr/bin:/bin", config.display()))
        .run()
        .lacks(PASSWORD)
}

/// The image under a name of the test's own, in the registry and not with the engine.
fn published(name: &str) -> String {
    let registry = variable("CI_TEST_REGISTRY");
    let config = configured(&auth(PASSWORD));
    let (from, to) = (format!("{registry}/tiny:1"), format!("{registry}/{name}:1"));
    docker(&["tag", &from, &to]);
    docker(&["--config", config.path().to_str().unwrap(), "push", "--quiet", &to]);
    docker(&["rmi", &to]);
    to
}

fn configured(config: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("config.json"), config).unwrap();
    directory
}

fn auth(password: &str) -> String {
    let registry = variable("CI_TEST_REGISTRY");
    format!(r#"{{"auths": {{"{registry}": {{"username": "{USER}", "password": "{password}"}}}}}}"#)
}

#[test]
fn images_are_pulled_as_the_policy_says() {
    let image = published("policy");
    let config = configured(&auth(PASSWORD));
    let says_hello = |pull| hello(&image, pull, config.path());
    says_hello("never").exits(1).stdout_has("`pull=never` keeps it from being pulled");
    let pulled = format!("pulled image `{image}` in ");
    says_hello("missing").exits(0).stdout_has(&pulled).stdout_has("[t] hello");
    says_hello("missing").exits(0).lacks("pull").stdout_has("[t] hello");
    says_hello("always").exits(0).stdout_has(&pulled).stdout_has("[t] hello");
    says_hello("never").exits(0).lacks("pull").stdout_has("[t] hello");
    // By its digest, whatever the tag says.
    let digest = docker(&["inspect", "--format", "{{index .RepoDigests 0}}", &image]);
    docker(&["rmi", &image]);
    let (_, digest) = digest.trim().split_once('@').unwrap();
    let digest = format!("{}@{digest}", image.trim_end_matches(":1"));
    hello(&digest, "missing", config.path())
        .exits(0)
        .stdout_has(&format!("pulled image `{digest}`"))
        .stdout_has("[t] hello");
}

/// As `docker images` shows it.
#[tokio::test]
async fn an_image_may_be_named_by_its_id() {
    let run = Run::with(DockerConfig { pull: Pull::Never, ..DockerConfig::default() }).await;
    let id = docker(&["images", "--quiet", "busybox:latest"]);
    succeed(&run.driver, &edit(sh("true"), |spec| spec.container.image = id.trim().into())).await;
    run.end().await;
}

#[test]
fn registries_are_asked_with_the_credentials_of_docker() {
    let image = published("credentials");
    let registry = variable("CI_TEST_REGISTRY");
    let login = format!("log in with `docker login {registry}`");
    hello(&image, "always", configured("{}").path()).exits(1).stdout_has(&login);
    hello(&image, "always", configured(&auth("wrong")).path()).exits(1).stdout_has(&login);
    // A helper is a program that knows them.
    let config = configured(&format!(r#"{{"credHelpers": {{"{registry}": "test"}}}}"#));
    let helper = config.path().join("docker-credential-test");
    let answer = format!(r#"{{"Username": "{USER}", "Secret": "{PASSWORD}"}}"#);
    let script = format!(
        "#!/bin/sh\nenv > env\nread registry\n[ \"$registry\" = {registry} ] && echo '{answer}'\n"
    );
    let script = script.replace("> env", &format!("> {}/env", config.path().display()));
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, PermissionsExt::from_mode(0o755)).unwrap();
    hello(&image, "always", config.path()).exits(0).stdout_has("[t] hello");
    let seen = std::fs::read_to_string(config.path().join("env")).unwrap();
    assert!(seen.contains("DOCKER_CONFIG=") && !seen.contains("AWS_"), "{seen}");
    std::fs::remove_file(&helper).unwrap();
    hello(&image, "always", config.path())
        .exits(1)
        .stdout_has(&format!("the credentials for `{registry}` cannot be read"));
}

/// A registry that nobody reaches is no fault of the pipeline, but a name that it does not know is.
#[test]
fn a_registry_out_of_reach_is_told_from_an_image_that_is_not_there() {
    let config = configured(&auth(PASSWORD));
    let pull = |image: &str| hello(image, "missing", config.path());
    for registry in ["127.0.0.1:1", "registry.invalid"] {
        pull(&format!("{registry}/none:1"))
            .exits(3)
            .stdout_has(&format!("does not get an answer from the registry `{registry}`"));
    }
    let registry = variable("CI_TEST_REGISTRY");
    pull(&format!("{registry}/none:1")).exits(1).lacks("does not get an answer");
    pull(&format!("{registry}/tiny:none")).exits(1).lacks("does not get an answer");
    pull(&format!("{registry}/UPPER:1")).exits(1).stdout_has("is no image, check its name");
    // So it is for a sandbox, and for what comes after another one that was caught.
    let sandbox = r#"
        const command = { path: "true" };
        await runtime.run({ name: "t", image: "127.0.0.1:1/none:1", command }).catch(() => undefined);
        await runtime.startSandbox({ name: "box", image: "127.0.0.1:1/x" });
    "#;
    let driver = format!("docker://images?host={}", host());
    Ci::pipeline(sandbox)
        .args(["--driver", &driver])
        .run()
        .exits(3)
        .stdout_has("does not get an answer from the registry `127.0.0.1:1`");
    // A pipeline that goes on without the image has not failed for it.
    let caught = r#"
        const command = { path: "true" };
        try { await runtime.run({ name: "t", image: "127.0.0.1:1/none:1", command }); } catch {}
        throw new Error("for a reason of its own");
    "#;
    Ci::pipeline(caught).args(["--driver", &driver]).run().exits(1);
}

/// The engine waits for a registry that takes connections and never says anything.
#[test]
fn a_pull_from_a_registry_that_never_answers_can_be_ended() {
    let pulling = |port: u16| {
        let body = format!(
            r#"await runtime.run({{ name: "t", image: "127.0.0.1:{port}/x", command: {{ path: "true" }} }});"#
        );
        Ci::pipeline(&body).args(["--driver", &format!("docker://images?host={}", host())])
    };
    let (listener, port) = silent();
    let ended = code(&pulling(port), &listener, |pid| kill(pid, Signal::SIGINT).unwrap());
    assert_eq!(ended, Some(130));
    let (listener, port) = silent();
    let ended = code(&pulling(port).args(["--timeout", "2s"]), &listener, |_| {});
    assert_eq!(ended, Some(124));
}

/// A registry that takes connections and never answers.
#[tokio::test]
async fn a_pull_has_a_limit_of_its_own() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("127.0.0.1:{}/none:1", silent.local_addr().unwrap().port());
    let pull_timeout = std::time::Duration::from_secs(1);
    let run = Run::with(DockerConfig { pull_timeout, ..DockerConfig::default() }).await;
    let spec = edit(sh("true"), |spec| spec.container.image = image.clone());
    let (sink, mut updates) = tokio::sync::mpsc::channel(4);
    let end = run.driver.run(&spec, sink, Default::default()).await;
    assert_eq!(
        end.exit.unwrap_err().to_string(),
        format!(
            "cannot pull image `{image}`: it has taken longer than 1s, allow more with `pull_timeout`"
        )
    );
    let what = format!("pulling image `{image}`");
    let first = updates.recv().await;
    assert_eq!(first, Some(TaskUpdate::Preparing { what, done: Some(0.0) }));
    run.end().await;
}

/// Whoever waits for the same image has the same deadline, and is told of the same failure.
#[tokio::test]
async fn tasks_that_wait_for_one_pull_fail_with_it() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("127.0.0.1:{}/none:1", silent.local_addr().unwrap().port());
    let pull_timeout = std::time::Duration::from_secs(2);
    let run = Run::with(DockerConfig { pull_timeout, ..DockerConfig::default() }).await;
    let spec = |id| {
        edit(sh("true"), |spec| {
            spec.container.image = image.clone();
            spec.id = ci::task::TaskId(id);
        })
    };
    let specs: Vec<_> = (1..=4).map(spec).collect();
    let ends =
        futures_util::future::join_all(specs.iter().map(|spec| finish(&run.driver, spec))).await;
    for end in ends {
        let error = end.unwrap_err().to_string();
        assert!(error.contains("it has taken longer than 2s"), "{error}");
    }
    assert_eq!(*run.notices.lock().unwrap(), [format!("pulling image `{image}`")]);
    // Whoever asks later tries again.
    assert!(finish(&run.driver, &spec(5)).await.is_err());
    assert_eq!(run.notices.lock().unwrap().len(), 2);
    run.end().await;
}

/// A step's timeout is heard while an image is pulled, and what did not start does not count.
#[test]
fn a_step_ends_while_its_image_is_pulled() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("127.0.0.1:{}/none", silent.local_addr().unwrap().port());
    let run = |step: &str, execution: &str| {
        let yaml = format!(
            r#"
assert: {{ execution: [a] }}
jobs:
- name: a
  plan:
  - try: {step}
  assert: {{ execution: [{execution}] }}
"#
        );
        let driver = format!("docker://images?host={}", host());
        Ci::new()
            .file("p.yml", &yaml)
            .args(["run", "p.yml", "--timeout", "2m", "--driver", &driver])
            .run()
    };
    let source = |image: &str| {
        format!(
            "platform: linux, image_resource: {{ type: registry-image, source: {{ repository: {image} }} }}"
        )
    };
    let (pulls, local) = (source(&image), source("busybox"));
    let bad = format!("{{ task: bad, config: {{ {local}, run: {{ path: 'false' }} }} }}");
    let slow = format!("task: slow, config: {{ {pulls}, run: {{ path: 'true' }} }}");
    let ran = run(&format!("{{ {slow}, timeout: 1s, on_failure: {bad} }}"), "slow, bad").exits(0);
    assert!(ran.stdout.contains("[slow] skipped: timed out after "), "{}", ran.stdout);
    let parallel =
        format!("{{ in_parallel: {{ fail_fast: true, steps: [{{ {slow} }}, {bad}] }} }}");
    let ran = run(&parallel, "bad");
    ran.exits(0).stdout_has("cancelled by the pipeline");
}

/// The image `debian:12` with an entrypoint and a command of its own.
fn with_own_command() -> String {
    let container = docker(&["create", "debian:12", "true"]);
    let entrypoint = r#"ENTRYPOINT ["echo", "its own"]"#;
    let args = ["commit", "--change", entrypoint, "--change", r#"CMD ["given"]"#, container.trim()];
    let image = docker(&args);
    docker(&["rm", container.trim()]);
    image.trim().trim_start_matches("sha256:").to_owned()
}

#[tokio::test]
async fn a_command_without_a_path_is_the_images_own() {
    let run = Run::with(DockerConfig { pull: Pull::Never, ..DockerConfig::default() }).await;
    let image = with_own_command();
    let own = edit(task("own", "", &["more", "words"]), |spec| {
        spec.container.image.clone_from(&image);
    });
    assert_eq!(succeed(&run.driver, &own).await, "its own given more words\n");
    let none = edit(task("none", "", &[]), |spec| spec.container.image = "debian:12".into());
    let error = finish(&run.driver, &none).await.unwrap_err().to_string();
    assert!(error.contains("has no command of its own"), "{error}");
    run.end().await;
    docker(&["rmi", &image]);
}
