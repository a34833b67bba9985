//! Volumes that a cache keeps from run to run, as a user sees it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::Value;

use crate::support::{Ci, Outcome};
use testkit::S3;
use testkit::{Fault, Proxy};

/// Makes the volume `modules` if it is empty, and says what it holds.
pub const BUILD: &str = r#"
    const modules = await runtime.createVolume({ name: "modules" });
    const script = `
        cd modules
        [ -e made ] || { echo made > made; mkdir -p a/b; echo deep > a/b/c; ln -s a/b/c link; echo building; }
        cat made link`;
    const { stdout, code } = await runtime.run({
        name: "build", image: "busybox", command: { path: "sh", args: ["-c", script] }, mounts: { modules },
    });
    assert.equal(code, 0);
    console.log("volume:", JSON.stringify(stdout));
"#;

/// How many entries the volume has.
pub const LIST: &str = r#"
    const modules = await runtime.createVolume({ name: "modules" });
    await runtime.run({ name: "list", image: "busybox", command: { path: "sh", args: ["-c", "ls -A modules | wc -l"] }, mounts: { modules } });
"#;

/// The beginning of a DSN. `CI_TEST_DRIVER=docker` runs all of this in containers.
pub fn driver() -> String {
    match std::env::var("CI_TEST_DRIVER").as_deref() {
        Ok("docker") => format!("docker://cache?host={}&grace=1s&", crate::docker::host()),
        Ok("native") | Err(_) => "native://?".to_owned(),
        Ok(other) => panic!("`CI_TEST_DRIVER` is `{other}`, expected `native` or `docker`"),
    }
}

/// `ci run` of a pipeline with a cache, in plain text.
pub fn run(body: &str, cache: &str, args: &[&str]) -> Outcome {
    Ci::pipeline(body)
        .args(["--output", "plain", "--driver", &format!("{}cache={cache}", driver())])
        .args(args)
        .run()
}

/// The events of the same.
fn events(body: &str, cache: &str) -> Vec<Value> {
    let outcome = Ci::pipeline(body)
        .args(["--output", "json", "--driver", &format!("{}cache={cache}", driver())])
        .run();
    outcome.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// How the restores and persists ended: `restore modules hit`.
fn ends(events: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut ends: Vec<String> = events
        .iter()
        .filter(|event| event["event"] == "cache_finished")
        .map(|event| [&event["operation"], &event["volume"], &event["outcome"]].map(text).join(" "))
        .collect();
    ends.sort();
    ends
}

pub fn file_cache(dir: &Path) -> String {
    format!("file://{}", dir.display())
}

#[track_caller]
fn cold_then_warm(cache: &str) {
    run(BUILD, cache, &["--cache-strict"])
        .exits(0)
        .stdout_has("* cache miss: `modules` (no `")
        .stdout_has("[build] building")
        .stdout_has("* persisting volume to cache: `modules`")
        .stdout_has("uploaded ")
        .stdout_has(r#"volume: "building\nmade\ndeep\n""#);
    let warm = run(BUILD, cache, &["--cache-strict"])
        .exits(0)
        .stdout_has("* restoring volume from cache: `modules`")
        .stdout_has("hit ")
        .stdout_has("unchanged")
        .stdout_has(r#"volume: "made\ndeep\n""#);
    assert!(!warm.stdout.contains("persisting"), "{}", warm.transcript());
}

#[test]
fn a_cold_run_fills_the_cache_and_a_warm_one_uses_it_on_s3() {
    let s3 = S3::from_environment();
    let dir = tempfile::tempdir().unwrap();
    for compression in ["zstd", "gzip", "none"] {
        let setting = format!("cache_compression={compression}");
        cold_then_warm(&format!("{}&{setting}", s3.url(&format!("cold-{compression}"))));
        let local = dir.path().join(compression);
        cold_then_warm(&format!("{}&{setting}", file_cache(&local)));
    }
}

#[test]
fn keys_are_the_documented_ones() {
    let dir = tempfile::tempdir().unwrap();
    let cache = file_cache(dir.path());
    for (settings, key) in [
        ("", "modules.tar.zst"),
        ("&cache_prefix=project-a&cache_compression=gzip", "project-a/modules.tar.gzip"),
        ("&cache_prefix=ci/main&cache_compression=none", "ci/main/modules.tar"),
    ] {
        run(BUILD, &format!("{cache}{settings}"), &[]).exits(0);
        assert!(dir.path().join(key).is_file(), "{key}");
    }
}

#[test]
fn anonymous_volumes_are_not_cached() {
    let dir = tempfile::tempdir().unwrap();
    let body = r#"
        const scratch = await runtime.createVolume();
        await runtime.run({ name: "fill", image: "busybox", command: { path: "touch", args: ["scratch/file"] }, mounts: { scratch } });
    "#;
    let events = events(body, &file_cache(dir.path()));
    assert_eq!(ends(&events), [""; 0]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_policy_limits_what_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let cache = file_cache(dir.path());
    let with = |policy: &str| ends(&events(BUILD, &format!("{cache}&cache_policy={policy}")));
    assert_eq!(with("pull"), ["restore modules miss"]);
    assert_eq!(with("none"), [""; 0]);
    assert_eq!(with("push"), ["persist modules uploaded"]);
    assert_eq!(with("push"), ["persist modules unchanged"]);
    assert_eq!(with("pull"), ["restore modules hit"]);
    assert_eq!(with("pull-push"), ["persist modules unchanged", "restore modules hit"]);
}

#[test]
fn the_end_of_the_pipeline_decides_what_is_persisted() {
    let failing = format!("{BUILD}\nthrow new Error('on purpose');");
    for (when, succeeded, failed) in [
        ("success", "uploaded", "skipped"),
        ("failure", "skipped", "uploaded"),
        ("always", "uploaded", "uploaded"),
    ] {
        for (body, outcome) in [(BUILD, succeeded), (failing.as_str(), failed)] {
            let dir = tempfile::tempdir().unwrap();
            let events = events(body, &format!("{}&cache_when={when}", file_cache(dir.path())));
            let expected = [format!("persist modules {outcome}"), "restore modules miss".into()];
            assert_eq!(ends(&events), expected, "{when}");
        }
    }
}

#[test]
fn a_volume_that_a_task_was_stopped_in_is_not_persisted() {
    let dir = tempfile::tempdir().unwrap();
    let body = r#"
        const modules = await runtime.createVolume({ name: "modules" });
        const script = "echo half > modules/file; exec sleep 1000";
        await runtime.run({
            name: "slow", image: "busybox", command: { path: "sh", args: ["-c", script] }, mounts: { modules }, timeout: "200ms", allowFailure: true,
        });
    "#;
    run(body, &format!("{}&cache_when=always", file_cache(dir.path())), &[])
        .exits(0)
        .stdout_has("skipped: task `slow` was ended while it had the volume mounted");
    let aborted = body.replace("timeout: \"200ms\", ", "");
    run(&aborted, &format!("{}&cache_when=always", file_cache(dir.path())), &["--timeout", "1s"])
        .exits(124)
        .stdout_has("the run was aborted");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_fallback_is_used_on_a_miss_and_persisted_under_the_own_key() {
    let dir = tempfile::tempdir().unwrap();
    let cache = file_cache(dir.path());
    run(BUILD, &format!("{cache}&cache_prefix=main"), &[]).exits(0);
    let feature = format!("{cache}&cache_prefix=feature&cache_fallback=release,main");
    run(BUILD, &feature, &[])
        .exits(0)
        .stdout_has("fallback ")
        .stdout_has(r#"volume: "made\ndeep\n""#)
        .stdout_has("uploaded ");
    assert!(dir.path().join("feature/modules.tar.zst").is_file());
    let again = ends(&events(BUILD, &feature));
    assert_eq!(again, ["persist modules unchanged", "restore modules hit"]);
}

#[test]
fn what_is_too_old_is_a_miss_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let cache = format!("{}?ttl=1ms", file_cache(dir.path()));
    run(BUILD, &cache, &[]).exits(0);
    run(BUILD, &cache, &[])
        .exits(0)
        .stdout_has("* cache miss: `modules` (`modules.tar.zst` is ")
        .stdout_has("uploaded ");
}

#[test]
fn a_broken_archive_leaves_an_empty_volume_and_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let cache = file_cache(dir.path());
    run(BUILD, &cache, &[]).exits(0);
    let archive = dir.path().join("modules.tar.zst");
    let whole = std::fs::read(&archive).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for broken in [b"".as_slice(), &whole[..whole.len() / 2], &whole[..whole.len() - 1], &flipped] {
        std::fs::write(&archive, broken).unwrap();
        run(BUILD, &cache, &["--cache-strict"])
            .exits(3)
            .stdout_has("warning: volume `modules` starts empty, restoring it from `modules.tar.zst` failed: ")
            .stdout_has("[build] building")
            .stdout_has("uploaded ")
            .stderr_has("starts empty");
        // The failed restore was healed by the persist.
        cold_is_over(&cache);
    }
}

#[track_caller]
fn cold_is_over(cache: &str) {
    assert_eq!(ends(&events(BUILD, cache)), ["persist modules unchanged", "restore modules hit"]);
}

#[test]
fn a_file_that_was_only_touched_is_no_change_and_another_content_of_the_same_size_is() {
    let dir = tempfile::tempdir().unwrap();
    let cache = file_cache(dir.path());
    let with = |script: &str| {
        let body = format!(
            r#"
            const modules = await runtime.createVolume({{ name: "modules" }});
            await runtime.run({{ name: "t", image: "busybox", command: {{ path: "sh", args: ["-c", {script:?}] }}, mounts: {{ modules }} }});
            "#
        );
        ends(&events(&body, &cache)).remove(0)
    };
    assert_eq!(
        with("echo one > modules/file; ln modules/file modules/hard"),
        "persist modules uploaded"
    );
    assert_eq!(with("touch modules/file"), "persist modules unchanged");
    assert_eq!(with("echo two > modules/file"), "persist modules uploaded");
    assert_eq!(
        with("touch -d 2001-01-01 modules/file; echo two > modules/file"),
        "persist modules unchanged"
    );
    assert_eq!(with("chmod 600 modules/file"), "persist modules uploaded");
    assert_eq!(with("mkdir modules/empty"), "persist modules uploaded");
    assert_eq!(
        with("rm modules/hard; cp -p modules/file modules/hard"),
        "persist modules uploaded"
    );
    assert_eq!(with("rm -r modules/*"), "persist modules uploaded");
    assert_eq!(with("true"), "persist modules unchanged");
}

#[test]
fn archives_of_tar_restore() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir_all(tree.join("a/b")).unwrap();
    std::fs::write(tree.join("made"), "by tar\n").unwrap();
    std::fs::write(tree.join("a/b/c"), "deep\n").unwrap();
    std::os::unix::fs::symlink("a/b/c", tree.join("link")).unwrap();
    let store = dir.path().join("store");
    std::fs::create_dir(&store).unwrap();
    for (settings, name, option) in [
        ("zstd", "modules.tar.zst", "--zstd"),
        ("gzip", "modules.tar.gzip", "--gzip"),
        ("none", "modules.tar", "--no-auto-compress"),
    ] {
        let status = std::process::Command::new("tar")
            .args(["-C", tree.to_str().unwrap(), option, "-cf"])
            .arg(store.join(name))
            .arg(".")
            .status()
            .unwrap();
        assert!(status.success());
        run(BUILD, &format!("{}&cache_compression={settings}", file_cache(&store)), &[])
            .exits(0)
            .stdout_has("hit ")
            .stdout_has(r#"volume: "by tar\ndeep\n""#);
    }
}

const TWO: &str = r#"
    for (const name of ["one", "two"]) {
        const volume = await runtime.createVolume({ name });
        await runtime.run({ name, image: "busybox", command: { path: "touch", args: ["v/file"] }, mounts: { v: volume } });
    }
"#;

#[test]
fn a_store_that_cannot_be_used_is_told_once_and_fails_nothing_on_s3() {
    let s3 = S3::from_environment();
    for (url, reason) in [
        (s3.url_of_bucket("no-such-bucket"), "there is no bucket `no-such-bucket`"),
        (s3.url_with("GKffffffffffffffffffffffff", &s3.secret, "p"), "access key"),
        (s3.url_with(&s3.key, &"0".repeat(64), "p"), "secret key"),
        (s3.url("p").replace("region=garage", "region=mars"), "region"),
        (s3.url("p").replace(&s3.address, "127.0.0.1:1"), "nothing listens there"),
    ] {
        let outcome = run(TWO, &url, &[]).exits(0).stdout_has("warning: the cache is not used: ");
        assert!(outcome.stdout.contains(reason), "no `{reason}` in\n{}", outcome.transcript());
        assert_eq!(outcome.stdout.matches("warning: ").count(), 1, "{}", outcome.transcript());
        let strict = run(TWO, &url, &["--cache-strict"]).exits(3);
        assert!(!strict.stdout.contains("started"), "{}", strict.transcript());
        for secret in [&s3.secret, &s3.reader_secret, &"0".repeat(64)] {
            for text in [&outcome.stdout, &outcome.stderr, &strict.stdout, &strict.stderr] {
                assert!(!text.contains(secret.as_str()), "{text}");
            }
        }
    }
}

#[test]
fn a_store_that_may_only_be_read_is_read_on_s3() {
    let s3 = S3::from_environment();
    run(BUILD, &s3.url("readable"), &["--cache-strict"]).exits(0);
    let reader = s3.url_with(&s3.reader_key, &s3.reader_secret, "readable");
    let outcome = run(BUILD, &reader, &[])
        .exits(0)
        .stdout_has("warning: volumes are not persisted: the cache cannot be written to, ")
        .stdout_has("hit ");
    assert_eq!(outcome.stdout.matches("warning: ").count(), 1, "{}", outcome.transcript());
    run(BUILD, &reader, &["--cache-strict"]).exits(3);
    let pull = format!("{reader}&cache_policy=pull");
    run(BUILD, &pull, &["--cache-strict"]).exits(0).stdout_has("hit ");
}

#[test]
fn secrets_in_a_dsn_are_never_shown() {
    let secret = "wJalrXUtnFEMI/K7MDENG";
    for dsn in [
        format!("native://?cache=s3://AKIA:{secret}@host/bucket&cache_colour=red"),
        format!("native://?cache=s3://AKIA:{secret}@host/"),
        format!("native://?cache=s3://AKIA:{secret}@host/bucket?ttl=soon"),
        format!("native://?cach=s3://AKIA:{secret}@host/bucket"),
        format!("native://AKIA:{secret}@host/bucket"),
        format!("nativ://?cache=s3://AKIA:{secret}@host/bucket"),
        format!("s3://AKIA:{secret}@host/bucket"),
        format!("native:cache=ftp://AKIA:{secret}@host/bucket"),
        format!("native://?s3://AKIA:{secret}@host/bucket"),
    ] {
        let outcome = Ci::pipeline("").args(["--driver", &dsn]).run().exits(2);
        assert!(!outcome.stderr.contains(secret), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("K7MDENG"), "{}", outcome.stderr);
        let help = Ci::new().args(["run", "--help"]).env("CI_DRIVER", &dsn).run().exits(0);
        assert!(!help.stdout.contains("K7MDENG"), "{}", help.stdout);
    }
}

#[test]
fn a_hundred_requests_for_one_volume_are_one_download_on_s3() {
    let s3 = S3::from_environment();
    run(BUILD, &s3.url("single"), &[]).exits(0);
    let proxy = Proxy::start(&s3.address, |_, _| None);
    let url = s3.url("single").replace(&s3.address, &proxy.address.to_string());
    let body = r#"
        const all = Array.from({ length: 100 }, () => runtime.createVolume({ name: "modules" }));
        const [modules] = await Promise.all(all);
        const read = () => runtime.run({ name: "read", image: "busybox", command: { path: "cat", args: ["m/made"] }, mounts: { m: modules } });
        const results = await Promise.all(Array.from({ length: 10 }, read));
        assert.truthy(results.every((result) => result.stdout === "made\n"));
    "#;
    run(body, &format!("{url}&cache_policy=pull"), &["--cache-strict"]).exits(0);
    let requests = proxy.requests();
    let gets = requests.iter().filter(|line| line.contains("/modules.tar.zst")).count();
    assert_eq!(gets, 1, "{requests:#?}");
}

#[test]
fn a_task_waits_for_its_own_volumes_only_on_s3() {
    let s3 = S3::from_environment();
    run(BUILD, &s3.url("waiting"), &[]).exits(0);
    let proxy =
        Proxy::start(&s3.address, |_, line| line.contains("/modules.tar").then_some(Fault::Hold));
    let url = s3.url("waiting").replace(&s3.address, &proxy.address.to_string());
    let body = r#"
        const modules = await runtime.createVolume({ name: "modules" });
        const other = await runtime.createVolume();
        await runtime.run({ name: "other", image: "busybox", command: { path: "true" }, mounts: { other } });
        console.log("meanwhile");
        await runtime.run({ name: "mine", image: "busybox", command: { path: "cat", args: ["m/made"] }, mounts: { m: modules } });
    "#;
    let ci = Ci::pipeline(body).args([
        "--output",
        "plain",
        "--driver",
        &format!("{}cache={url}&cache_policy=pull", driver()),
    ]);
    let mut child = ci.spawn();
    let mut log = BufReader::new(child.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("meanwhile") {
        assert!(log.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    assert!(!seen.contains("[mine]"), "{seen}");
    proxy.release();
    log.read_to_string(&mut seen).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{seen}");
    assert!(seen.contains("[mine] made"), "{seen}");
}

#[test]
fn a_server_with_a_certificate_of_ones_own_authority_is_trusted_if_the_user_does_on_s3() {
    let s3 = S3::from_environment();
    let proxy = Proxy::start_tls(&s3.address);
    let address = proxy.address.to_string();
    let url = s3.url("tls").replace("s3://http://", "s3://https://").replace(&s3.address, &address);
    let authority = testkit::AUTHORITY;
    let with = |body: &str, bundle: &str| {
        Ci::pipeline(body)
            .args(["--output", "plain", "--driver", &format!("native://?cache={url}")])
            .env("AWS_CA_BUNDLE", bundle)
            .run()
            .exits(0)
    };
    // Large enough for several parts and ranges.
    with(FILL, authority).stdout_has("uploaded ");
    with(LIST, authority).stdout_has("hit ").stdout_has("[list] 1").stdout_has("unchanged");
    for (bundle, reason) in [
        ("", "its TLS certificate is not accepted, name the file of the authority"),
        ("/no/such/file", "cannot use `/no/such/file`, which `AWS_CA_BUNDLE` names: No such file"),
        (testkit::NO_AUTHORITY, "it has no certificate of an authority"),
    ] {
        with(LIST, bundle)
            .stdout_has("warning: the cache is not used: ")
            .stdout_has(reason)
            .stdout_has("[list] 0");
    }
}

/// Fills the volume with more than two parts of an upload.
pub const FILL: &str = r#"
    const modules = await runtime.createVolume({ name: "modules" });
    const script = "head -c 30000000 /dev/urandom > modules/random";
    await runtime.run({ name: "fill", image: "busybox", command: { path: "sh", args: ["-c", script] }, mounts: { modules } });
"#;

/// When the upload of a large volume begins, nobody has read the volume yet.
#[test]
fn a_large_volume_that_was_never_seen_before_is_known_all_the_same_on_s3() {
    let s3 = S3::from_environment();
    let body = r#"
        const modules = await runtime.createVolume({ name: "modules" });
        const script = "[ -e modules/random ] || head -c 30000000 /dev/urandom > modules/random";
        await runtime.run({ name: "fill", image: "busybox", command: { path: "sh", args: ["-c", script] }, mounts: { modules } });
    "#;
    let dir = tempfile::tempdir().unwrap();
    for compression in ["zstd", "gzip"] {
        for cache in [s3.url(&format!("unseen-{compression}")), file_cache(dir.path())] {
            let url = format!("{cache}&cache_compression={compression}");
            assert_eq!(
                ends(&events(body, &url)),
                ["persist modules uploaded", "restore modules miss"]
            );
            let stat = Ci::new()
                .args(["cache", "stat", "modules", "--json"])
                .env("CI_DRIVER", format!("native://?cache={url}"))
                .run()
                .exits(0);
            let known: Value = serde_json::from_str(&stat.stdout).unwrap();
            assert_eq!(known[0]["entries"], 1, "{known}");
            Ci::new()
                .args(["cache", "stat", "modules"])
                .env("CI_DRIVER", format!("native://?cache={url}"))
                .run()
                .exits(0)
                .stdout_has("28.6 MiB in 1 entry\n");
            assert_eq!(known[0]["content_bytes"], 30_000_000);
            assert!(known[0]["digest"].is_string(), "{known}");
            let again = ["persist modules unchanged", "restore modules hit"];
            assert_eq!(ends(&events(body, &url)), again);
            // Another volume with the same content, which was not restored.
            let restored = format!("{url}&cache_policy=push");
            let same = body.replace("/dev/urandom", "/dev/zero");
            assert_eq!(ends(&events(&same, &restored)), ["persist modules uploaded"]);
            assert_eq!(ends(&events(&same, &restored)), ["persist modules unchanged"]);
        }
    }
}
