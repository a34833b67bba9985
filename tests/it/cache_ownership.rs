//! What `ci` did not write, it does not touch.

use std::path::Path;

use aws_sdk_s3::primitives::ByteStream;
use serde_json::Value;

use crate::cache::{BUILD, file_cache, run};
use crate::support::{Ci, Outcome};
use testkit::S3;
use testkit::{Answer, Fault, Proxy};
use testkit::{key, open, other_program, put, uploads};

fn cache(url: &str, args: &[&str]) -> Outcome {
    Ci::new().args(["cache"]).args(args).args(["--store", url]).run()
}

fn shown(url: &str) -> Vec<String> {
    let listed = cache(url, &["ls", "--json"]).exits(0);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let listed = listed.as_array().unwrap().iter();
    listed
        .map(|archive| {
            let foreign = if archive["foreign"] == true { " foreign" } else { "" };
            format!("{}{foreign}", archive["name"].as_str().unwrap())
        })
        .collect()
}

/// Names that other programs give their files, some of them in the form of ours.
const OTHERS: [&str; 9] = [
    "prod/backup.sql",
    "thesis.docx",
    "backup.tar.gz",
    ".tar",
    "notes/.tar.zst",
    ".ci-temp-notes",
    ".ci-meta-notes",
    "photos.tar",
    "deep/er/photos.tar.zst",
];

/// Puts what other programs have into a store, and an archive of ours beside it.
fn with_others(name: &str, test: impl Fn(&str, &dyn Fn() -> Vec<String>)) {
    let dir = tempfile::tempdir().unwrap();
    for other in OTHERS {
        let path = dir.path().join(other);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "of somebody else").unwrap();
    }
    let url = file_cache(dir.path());
    run(BUILD, &url, &["--cache-strict"]).exits(0);
    test(&url, &|| {
        let there = |other: &&&str| dir.path().join(Path::new(other)).exists();
        OTHERS.iter().filter(there).map(|other| (*other).to_owned()).collect()
    });

    let s3 = S3::from_environment();
    let url = s3.url(name);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let state = tempfile::tempdir().unwrap();
    let store = open(&url, &state);
    runtime.block_on(async {
        for other in OTHERS {
            put(&*store, &key(&url, other), "of somebody else".into()).await.unwrap();
        }
    });
    run(BUILD, &url, &["--cache-strict"]).exits(0);
    test(&url, &|| {
        runtime.block_on(async {
            let mut there = Vec::new();
            for other in OTHERS {
                let found = store.stat(&key(&url, other)).await.unwrap();
                there.extend(found.map(|_| other.to_owned()));
            }
            there
        })
    });
}

#[test]
fn pruning_takes_nothing_that_others_wrote_on_s3() {
    with_others("prune-others", |url, others| {
        assert_eq!(others(), OTHERS);
        assert_eq!(shown(url), ["deep/er/photos foreign", "modules", "photos foreign"]);
        cache(url, &["ls"]).exits(0).stdout_has("(foreign)").lacks("backup.sql").lacks("thesis");
        cache(url, &["prune", "--older-than", "0s", "--dry-run"])
            .exits(0)
            .stdout_has("modules.tar.zst")
            .stdout_has("would remove `")
            .stdout_has("2 foreign archives would stay, pass `--include-foreign`");
        assert_eq!(shown(url), ["deep/er/photos foreign", "modules", "photos foreign"]);
        // It shows what it would remove, and asks.
        cache(url, &["prune", "--older-than", "0s"])
            .exits(2)
            .stdout_has("modules.tar.zst")
            .stderr_has("`--yes`");
        let pruned = cache(url, &["prune", "--older-than", "0s", "--yes", "--json"]).exits(0);
        let pruned: Value = serde_json::from_str(&pruned.stdout).unwrap();
        assert_eq!(pruned.as_array().unwrap().len(), 1);
        assert_eq!(pruned[0]["volume"], "modules");
        assert_eq!(others(), OTHERS);
        assert_eq!(shown(url), ["deep/er/photos foreign", "photos foreign"]);
        cache(url, &["rm", "photos", "--yes"]).exits(2).stderr_has("`--include-foreign`");
        cache(url, &["rm", "thesis.docx", "--yes", "--include-foreign"]).exits(1);
        assert_eq!(others(), OTHERS);
        cache(url, &["rm", "photos", "--yes", "--include-foreign"]).exits(0);
        cache(url, &["prune", "--older-than", "0s", "--yes", "--include-foreign"])
            .exits(0)
            .stdout_has("deep/er/photos.tar.zst");
        // What has not the form of an archive is never one.
        assert_eq!(others(), OTHERS[..7]);
        cache(url, &["prune", "--older-than", "0s", "--yes"])
            .exits(0)
            .stdout_has("nothing is older");
        let nothing = cache(url, &["prune", "--older-than", "0s", "--yes", "--json"]).exits(0);
        assert_eq!(nothing.stdout.trim(), "[]");
    });
}

#[test]
fn a_run_clears_up_nothing_that_others_wrote_on_s3() {
    with_others("run-others", |url, others| {
        run(BUILD, url, &["--cache-strict"]).exits(0).stdout_has("hit ");
        assert_eq!(others(), OTHERS);
    });
}

/// A file whose place another program has taken is foreign, and so is one that was copied.
#[test]
fn a_file_that_was_replaced_or_copied_is_foreign() {
    let dir = tempfile::tempdir().unwrap();
    let url = file_cache(dir.path());
    run(BUILD, &url, &[]).exits(0);
    let archive = dir.path().join("modules.tar.zst");
    std::fs::copy(&archive, dir.path().join("copy.tar.zst")).unwrap();
    assert_eq!(shown(&url), ["copy foreign", "modules"]);
    let content = std::fs::read(&archive).unwrap();
    std::fs::remove_file(&archive).unwrap();
    std::fs::write(&archive, content).unwrap();
    assert_eq!(shown(&url), ["copy foreign", "modules foreign"]);
    cache(&url, &["prune", "--older-than", "0s", "--yes"]).exits(0);
    assert!(archive.exists());
}

#[test]
fn a_temporary_file_is_cleared_up_only_if_its_name_and_lock_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let url = file_cache(dir.path());
    let left = dir.path().join(".ci-temp-3f0c9a52-7d6b-4c1e-9a55-0d9f6a1b2c3d");
    let held = dir.path().join(".ci-temp-4f0c9a52-7d6b-4c1e-9a55-0d9f6a1b2c3d");
    let others =
        [".ci-temp-", ".ci-temp-3f0c9a52", ".ci-temp-3f0c9a52-7d6b-4c1e-9a55-0d9f6a1b2c3d.docx"];
    for name in others {
        std::fs::write(dir.path().join(name), "of somebody else").unwrap();
    }
    // One that somebody has just written to may be of a machine whose locks do not show here.
    let fresh = dir.path().join(".ci-temp-5f0c9a52-7d6b-4c1e-9a55-0d9f6a1b2c3d");
    for path in [&left, &held, &fresh] {
        std::fs::write(path, "half an archive").unwrap();
    }
    for path in [&left, &held] {
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7 * 3600);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    }
    let lock = std::fs::File::open(&held).unwrap();
    lock.lock().unwrap();
    let listed = cache(&url, &["uploads", "--json"]).exits(0);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed[0]["writer"], "killed on this machine");
    assert_eq!(listed[1]["writer"], "running on this machine");
    assert_eq!(listed[2]["writer"], "unknown");
    run(BUILD, &url, &["--cache-strict"]).exits(0);
    assert!(!left.exists() && held.exists() && fresh.exists());
    std::fs::remove_file(fresh).unwrap();
    for name in others {
        assert!(dir.path().join(name).exists(), "{name}");
    }
    cache(&url, &["uploads", "--yes"]).exits(0);
    assert!(held.exists());
    drop(lock);
    cache(&url, &["uploads", "--yes"]).exits(0).stdout_has("aborted 1 upload");
    assert!(!held.exists());
}

/// Somebody says no at a terminal, or only looks.
#[test]
fn pruning_sweeps_nothing_without_consent() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let url = file_cache(dir.path());
    let left = dir.path().join(".ci-temp-3f0c9a52-7d6b-4c1e-9a55-0d9f6a1b2c3d");
    let leave = || {
        std::fs::write(&left, "half an archive").unwrap();
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7 * 3600);
        std::fs::File::options().write(true).open(&left).unwrap().set_modified(long_ago).unwrap();
    };
    let prune = |older_than: &str, answer: &str| {
        let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
        let mut terminal = std::fs::File::from(rustix::pty::openpt(flags).unwrap());
        rustix::pty::grantpt(&terminal).unwrap();
        rustix::pty::unlockpt(&terminal).unwrap();
        let theirs = rustix::pty::ioctl_tiocgptpeer(&terminal, flags).unwrap();
        writeln!(terminal, "{answer}").unwrap();
        let ci = Ci::new().args(["cache", "prune", "--older-than", older_than, "--store", &url]);
        let output = ci.command().stdin(theirs).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    // With an archive that it asks about, and without one.
    for older_than in ["0s", "1d"] {
        leave();
        run(BUILD, &format!("{url}&cache_policy=push&cache_prefix=fill"), &[]).exits(0);
        leave();
        let said = prune(older_than, "n");
        assert!(said.contains("to be removed: 1 unfinished upload of killed runs"), "{said}");
        assert!(said.contains("nothing was removed"), "{said}");
        assert!(left.exists());
        cache(&url, &["prune", "--older-than", older_than, "--dry-run"])
            .exits(0)
            .stdout_has("would remove 1 unfinished upload of killed runs");
        cache(&url, &["prune", "--older-than", older_than]).exits(2).stderr_has("`--yes`");
        assert!(left.exists());
        let said = prune(older_than, "y");
        assert!(said.contains("removed 1 unfinished upload of killed runs"), "{said}");
        assert!(!left.exists());
    }
}

/// A listing of uploads that began long ago, by whomever.
const OLD_UPLOADS: &str = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>\
    <Upload><Key>prod/big.bin</Key><UploadId>1</UploadId><Initiated>2001-01-01T00:00:00Z</Initiated></Upload>\
    <Upload><Key>modules.tar.zst</Key><UploadId>2</UploadId><Initiated>2001-01-01T00:00:00Z</Initiated></Upload>\
    </ListMultipartUploadsResult>";

#[test]
fn a_run_aborts_no_upload_that_its_journal_does_not_name_on_s3() {
    let s3 = S3::from_environment();
    let proxy = Proxy::start(&s3.address, |_, head| {
        let line = head.lines().next().unwrap_or_default();
        let lists = line.starts_with("GET ") && line.contains("?uploads");
        lists.then_some(Fault::Answer(Answer::new(200, OLD_UPLOADS)))
    });
    let url = s3.url("old-ones").replace(&s3.address, &proxy.address.to_string());
    run(BUILD, &url, &["--cache-strict"]).exits(0);
    cache(&url, &["prune", "--older-than", "1d", "--yes"]).exits(0);
    let aborted = |line: &String| line.starts_with("DELETE ") && !line.contains("/.ci-probe?");
    let aborted: Vec<String> = proxy.requests().into_iter().filter(aborted).collect();
    assert_eq!(aborted, [""; 0]);
}

#[test]
fn uploads_of_archives_are_listed_and_aborted_on_request_on_s3() {
    let s3 = S3::from_environment();
    let url = s3.url("uploads");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let names = ["app/v.tar.zst", "app/deep/v.tar", "big.bin", ".ci-probe"];
    runtime.block_on(async {
        let client = other_program();
        for name in names {
            let begin = client.create_multipart_upload().bucket(&s3.bucket);
            begin.key(key(&url, name).as_str()).send().await.unwrap();
        }
    });
    let left = || {
        let mut left = runtime.block_on(uploads(&url));
        left.sort();
        left
    };
    let full = |name: &str| key(&url, name).to_string();
    let listed = cache(&url, &["uploads"]).exits(0);
    let listed = listed.stdout_has(&full("app/v.tar.zst")).stdout_has("unknown");
    assert!(!listed.stdout.contains("big.bin"), "{}", listed.transcript());
    cache(&url, &["uploads", "--older-than", "1d", "--yes"])
        .exits(0)
        .stdout_has("no upload is unfinished");
    cache(&url, &["uploads", "--abort"]).exits(2).stderr_has("`--yes`");
    cache(&url, &["uploads", "--abort", "--dry-run"]).exits(0).stdout_has("would abort 3 uploads");
    assert_eq!(left().len(), 4);
    // Those of a prefix are not those of another one below it.
    cache(&format!("{url}&cache_prefix=app"), &["uploads", "--older-than", "0s", "--yes"])
        .exits(0)
        .stdout_has("aborted 1 upload\n");
    let json = cache(&url, &["uploads", "--json", "--yes"]).exits(0);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2);
    assert!(json[0]["age_seconds"].is_u64(), "{json}");
    assert_eq!(left(), [full("big.bin")]);
    runtime.block_on(async {
        let client = other_program();
        let found = client.list_multipart_uploads().bucket(&s3.bucket).prefix(full("big.bin"));
        for upload in found.send().await.unwrap().uploads() {
            let abort = client.abort_multipart_upload().bucket(&s3.bucket);
            let (key, id) = (upload.key().unwrap(), upload.upload_id().unwrap());
            abort.key(key).upload_id(id).send().await.unwrap();
        }
    });
}

/// The prefix of one project may begin with that of another one.
#[test]
fn commands_with_a_prefix_leave_other_prefixes_alone_on_s3() {
    let s3 = S3::from_environment();
    let dir = tempfile::tempdir().unwrap();
    for url in [s3.url("prefixes"), format!("{}?ttl=7d", file_cache(dir.path()))] {
        for prefix in ["ci", "ci/main", "ci-2"] {
            run(BUILD, &format!("{url}&cache_prefix={prefix}"), &["--cache-strict"]).exits(0);
        }
        assert_eq!(shown(&url), ["ci-2/modules", "ci/main/modules", "ci/modules"]);
        let ci = format!("{url}&cache_prefix=ci");
        assert_eq!(shown(&ci), ["modules"]);
        cache(&ci, &["rm", "main/modules", "--yes"]).exits(1);
        cache(&ci, &["prune", "--older-than", "0s", "--yes"]).exits(0);
        assert_eq!(shown(&url), ["ci-2/modules", "ci/main/modules"]);
    }
}

/// What is written in metadata by whoever may write to the bucket.
#[test]
fn a_writer_cannot_write_to_the_terminal_on_s3() {
    let s3 = S3::from_environment();
    let url = s3.url("writer");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        other_program()
            .put_object()
            .bucket(&s3.bucket)
            .key(key(&url, "v\u{202e}.tar").as_str())
            .metadata("ci-writer", "me%1B%5B2J%C2%9B31m%E2%80%AE")
            .metadata("ci-version", "1")
            .metadata("ci-digest", "%1B]0;x%07")
            .body(ByteStream::from_static(b"x"))
            .send()
            .await
            .unwrap();
    });
    let name = "v\u{202e}";
    for args in [
        &["ls"][..],
        &["ls", "--json"],
        &["stat", name],
        &["verify"],
        &["rm", "v"],
        &["rm", name],
        &["prune", "--older-than", "0s", "--dry-run"],
    ] {
        let told = cache(&url, args);
        for text in [&told.stdout, &told.stderr] {
            let bad = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
            assert_eq!(bad, None, "{args:?}: {text:?}");
        }
    }
    cache(&url, &["ls"]).exits(0).stdout_has("me\\u{1b}[2J\\u{9b}31m\\u{202e}");
}

/// Times that cannot be written down.
#[test]
fn files_of_any_time_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    for (name, date) in [("old", "1901-01-01"), ("new", "2400-01-01"), ("far", "@300000000000")] {
        let path = dir.path().join(format!("{name}.tar"));
        std::fs::write(&path, "x").unwrap();
        let touched = std::process::Command::new("touch").args(["-d", date]).arg(&path).status();
        assert!(touched.unwrap().success());
    }
    let url = file_cache(dir.path());
    cache(&url, &["ls", "--json"]).exits(0);
    cache(&url, &["stat", "old", "new", "far"]).exits(0);
}
