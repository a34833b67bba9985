//! What a cache keeps when a run is ended in the middle, or a disk is full.

use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cache::{BUILD, FILL, LIST, driver, file_cache, run};
use crate::support::{Ci, Outcome};
use testkit::S3;
use testkit::{Fault, Proxy};

/// A run that was ended in the middle of a transfer.
struct Ended {
    ci: Ci,
    proxy: Proxy,
    /// Of the cache, through the proxy.
    url: String,
    code: Option<i32>,
    log: String,
}

/// Ends a run of a pipeline at the first request with this line.
fn ended_at(
    name: &str,
    body: &str,
    policy: &str,
    signal: Signal,
    request: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Ended {
    let s3 = S3::from_environment();
    let proxy = Proxy::start(&s3.address, move |_, line| {
        (line.contains("/modules.tar") && request(line)).then_some(Fault::Hold)
    });
    let url = s3.url(name).replace(&s3.address, &proxy.address.to_string());
    let driver = format!("{}cache={url}&cache_policy={policy}", driver());
    let ci = Ci::pipeline(body).args(["--output", "plain"]).env("CI_DRIVER", driver);
    let mut child = ci.spawn();
    proxy.until_held();
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
    let mut log = String::new();
    child.stdout.take().unwrap().read_to_string(&mut log).unwrap();
    let code = child.wait().unwrap().code();
    Ended { ci, proxy, url, code, log }
}

fn uploads(url: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(testkit::uploads(url))
}

impl Ended {
    /// The next run of the same machine, with another pipeline.
    fn next(self, body: &str) -> Outcome {
        self.proxy.release();
        let next = format!("export const pipeline = async () => {{\n{body}\n}};\n");
        self.ci
            .file("pipeline.ts", next)
            .env("CI_DRIVER", format!("{}cache={}", driver(), self.url))
            .run()
            .exits(0)
    }

    /// The old volume is what the next run finds, and no upload is left after it.
    #[track_caller]
    fn nothing_has_changed(self) {
        let url = self.url.clone();
        self.next(BUILD).stdout_has("hit ").stdout_has(r#"volume: "made\ndeep\n""#);
        assert_eq!(uploads(&url), [""; 0]);
    }
}

/// Ends a run that uploads, beside an object that is there already.
fn ended_while_uploading(
    name: &str,
    signal: Signal,
    request: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Ended {
    run(BUILD, &S3::from_environment().url(name), &[]).exits(0);
    ended_at(name, FILL, "push", signal, request)
}

#[test]
fn ctrl_c_while_uploading_leaves_the_old_object_and_no_upload_on_s3() {
    for part in 1..=3 {
        let request = move |line: &str| line.contains(&format!("partNumber={part}&"));
        let ended = ended_while_uploading(&format!("interrupted-{part}"), Signal::SIGINT, request);
        assert_eq!(ended.code, Some(130), "{}", ended.log);
        assert_eq!(uploads(&ended.url), [""; 0], "{}", ended.log);
        ended.nothing_has_changed();
    }
}

#[test]
fn after_sigkill_while_uploading_the_next_run_takes_the_upload_back_on_s3() {
    for part in 1..=3 {
        let request = move |line: &str| line.contains(&format!("partNumber={part}&"));
        let ended = ended_while_uploading(&format!("killed-{part}"), Signal::SIGKILL, request);
        assert_eq!(ended.code, None);
        assert_eq!(uploads(&ended.url).len(), 1, "{}", ended.log);
        ended.nothing_has_changed();
    }
}

/// Before an upload has begun and when it is about to end, the server may or may not do what it was asked
/// for; what there is is whole all the same.
#[test]
fn after_sigkill_at_the_ends_of_an_upload_there_is_the_old_object_or_the_new_one_on_s3() {
    let begins = |line: &str| line.starts_with("POST ") && line.contains("?uploads");
    let ended = ended_while_uploading("killed-begin", Signal::SIGKILL, begins);
    assert_eq!(ended.code, None);
    ended.next(BUILD).stdout_has("hit ").stdout_has(r#"volume: "made\ndeep\n""#);
    let ends = |line: &str| line.starts_with("POST ") && line.contains("uploadId=");
    let ended = ended_while_uploading("killed-end", Signal::SIGKILL, ends);
    assert_eq!(ended.code, None);
    let read = r#"
        const modules = await runtime.createVolume({ name: "modules" });
        await runtime.run({ name: "list", image: "busybox", command: { path: "ls", args: ["modules"] }, mounts: { modules } });
    "#;
    let url = ended.url.clone();
    let next = ended.next(read).stdout_has("hit ");
    let found = ["[list] made", "[list] random"].map(|name| next.stdout.contains(name));
    assert!(found[0] != found[1], "{}", next.transcript());
    assert_eq!(uploads(&url), [""; 0]);
}

#[test]
fn a_run_that_ends_while_restoring_leaves_nothing_that_the_next_one_minds_on_s3() {
    let s3 = S3::from_environment();
    // Each of the four ranges of the object.
    for number in 0..4 {
        for (signal, code) in [(Signal::SIGKILL, None), (Signal::SIGINT, Some(130))] {
            let name = format!("restoring-{number}-{signal}");
            run(FILL, &s3.url(&name), &[]).exits(0);
            let count = AtomicUsize::new(0);
            let request = move |_: &str| count.fetch_add(1, Ordering::Relaxed) == number;
            let ended = ended_at(&name, LIST, "pull", signal, request);
            assert_eq!(ended.code, code, "{}", ended.log);
            assert!(!ended.log.contains("[list] started"), "{}", ended.log);
            ended.next(LIST).stdout_has("hit ").stdout_has("[list] 1");
        }
    }
}

/// A file system with 8 MiB of space.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    pub fn new() -> Self {
        let disk = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(disk.path())
            .status();
        assert!(mount.unwrap().success(), "the suite mounts a small file system as root");
        Self(disk)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        _ = Command::new("umount").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_of_the_store_leaves_the_old_object() {
    let disk = SmallDisk::new();
    let cache = file_cache(disk.path());
    run(BUILD, &cache, &[]).exits(0);
    let names = || {
        let entries = std::fs::read_dir(disk.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (before, archive) = (names(), std::fs::read(disk.path().join("modules.tar.zst")).unwrap());
    run(FILL, &cache, &["--cache-strict"])
        .exits(3)
        .stdout_has("`modules.tar.zst` stays as it was")
        .stdout_has("No space left on device");
    assert_eq!(names(), before);
    assert_eq!(std::fs::read(disk.path().join("modules.tar.zst")).unwrap(), archive);
}

#[test]
fn a_full_disk_leaves_an_empty_volume_on_s3() {
    let s3 = S3::from_environment();
    run(FILL, &s3.url("full"), &[]).exits(0);
    let disk = SmallDisk::new();
    let dsn = format!(
        "native://?dir={}&cache={}&cache_policy=pull",
        disk.path().display(),
        s3.url("full")
    );
    let outcome = Ci::pipeline(LIST).args(["--output", "plain", "--driver", &dsn]).run();
    outcome.exits(0).stdout_has("No space left on device").stdout_has("[list] 0");
}
