//! Engines of other machines: the way to them, and volumes that no directory of this one has.

use ci::driver::Driver;
use ci::driver::docker::DockerConfig;

use super::{Run, variable};
use crate::conformance::{mounted, sh, succeed, volume};
use crate::support::Ci;

#[test]
fn an_engine_is_reached_by_tls_with_the_keys_of_docker() {
    let host = variable("CI_TEST_DOCKER_TLS_HOST");
    let run = || {
        Ci::pipeline("console.log(pipelineContext.driverName)")
            .args(["--output", "plain", "--driver", "docker"])
            .env("DOCKER_HOST", &host)
    };
    run()
        .env("DOCKER_TLS_VERIFY", "1")
        .env("DOCKER_CERT_PATH", variable("CI_TEST_DOCKER_TLS_KEYS"))
        .run()
        .exits(0)
        .stdout_has("docker");
    let nowhere = tempfile::tempdir().unwrap();
    run()
        .env("DOCKER_TLS_VERIFY", "1")
        .env("DOCKER_CERT_PATH", nowhere.path())
        .run()
        .exits(3)
        .stderr_has("no engine answers at");
    run().run().exits(3).stderr_has("no engine answers at");
}

#[test]
fn an_engine_is_reached_by_ssh() {
    let path = format!("{}:/usr/bin:/bin", variable("CI_TEST_DOCKER_SSH"));
    let hello = r#"await runtime.run({
        name: "t", image: "busybox", command: { path: "cat" }, stdin: "hello",
    });"#;
    Ci::pipeline(hello)
        .args(["--output", "plain", "--driver", "docker://ssh?host=ssh://tests"])
        .env("PATH", path)
        .run()
        .exits(0)
        .stdout_has("[t] hello");
}

/// A volume's content goes through the engine as an archive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_are_read_and_written_as_archives() {
    let run = Run::with(DockerConfig::default()).await;
    let (from, to) = (volume(&run.driver, "from").await, volume(&run.driver, "to").await);
    let make = "mkdir -p v/a/b && echo x > v/a/b/file && ln -s a/b v/link && ln v/a/b/file v/hard
        chmod 0500 v/a && chown 1234:99 v/a/b/file
        printf y > \"v/$(printf '\\377')\"
        find v -mindepth 1 -exec touch -h -d 2001-02-03T04:05:06 {} +";
    succeed(&run.driver, &mounted(sh(make), &[(&from, "v")])).await;
    let look = "cd v; find . -mindepth 1 -printf '%p %y %m %U:%G %T@ %n %l\\n' | tr '\\377' '?' | sort; cat hard";
    let before = succeed(&run.driver, &mounted(sh(look), &[(&from, "v")])).await;
    assert!(before.contains("1234:99"), "{before}");

    let archive = run.driver.read_volume(&from.name).await.unwrap();
    run.driver.write_volume(&to.name, archive).await.unwrap();
    assert_eq!(succeed(&run.driver, &mounted(sh(look), &[(&to, "v")])).await, before);

    // Cut off, and with an error: nothing is better than a part.
    let empty = volume(&run.driver, "empty").await;
    for error in [None, Some(std::io::Error::other("lost"))] {
        let mut archive = run.driver.read_volume(&from.name).await.unwrap();
        let (sender, part) = tokio::sync::mpsc::channel(2);
        sender.send(Ok(archive.recv().await.unwrap().unwrap().slice(..1536))).await.unwrap();
        if let Some(error) = error {
            sender.send(Err(error)).await.unwrap();
        }
        drop(sender);
        run.driver.write_volume(&empty.name, part).await.unwrap_err();
        let read = mounted(sh("ls -A v"), &[(&empty, "v")]);
        assert_eq!(succeed(&run.driver, &read).await, "");
    }
    run.end().await;
}
