//! `CI_LOG`, which says what the program itself does.

use crate::support::Ci;

const BODY: &str = r#"
    const v = await runtime.createVolume({ name: "v" });
    const command = { path: "sh", args: ["-c", "echo x > v/file"] };
    await runtime.run({ name: "work", image: "x", command, mounts: { v } });
"#;

#[test]
fn what_drivers_and_transfers_do_is_logged_on_request() {
    let store = tempfile::tempdir().unwrap();
    let driver = format!("native://?cache=file://{}", store.path().display());
    let run = || Ci::pipeline(BODY).args(["--driver", &driver]);
    let quiet = run().run().exits(0);
    assert_eq!(quiet.stderr, "");
    let loud = run().env("CI_LOG", "debug").run().exits(0);
    for part in [
        "task{id=1 name=\"work\"}",
        "has started",
        "transfer{operation=\"restore\" key=v.tar.zst}",
        "ends bytes=",
    ] {
        assert!(loud.stderr.contains(part), "{part}: {}", loud.stderr);
    }
    let file = store.path().join("log");
    let quiet = run().env("CI_LOG", "transfer=debug").env("CI_LOG_FILE", &file).run().exits(0);
    assert_eq!(quiet.stderr, "");
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains("transfer{") && !text.contains("task{"), "{text}");
}

#[test]
fn no_credential_is_logged() {
    let driver =
        "native://?cache=s3://http://KEYKEYKEY:SECRETSECRET@127.0.0.1:1/bucket&cache_budget=1s";
    let outcome = Ci::pipeline(BODY).args(["--driver", driver]).env("CI_LOG", "trace").run();
    assert!(!outcome.stderr.contains("SECRETSECRET"), "{}", outcome.stderr);
}

#[test]
fn a_log_that_cannot_be_written_is_told() {
    for (filter, file, part) in [
        ("a=b=c", "", "invalid `CI_LOG`: expected a filter such as `debug`"),
        ("debug", "/no/such/directory/log", "cannot open `/no/such/directory/log`"),
    ] {
        let outcome = Ci::pipeline(BODY).env("CI_LOG", filter).env("CI_LOG_FILE", file).run();
        outcome.exits(2).stderr_has(part);
    }
}
