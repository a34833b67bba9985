//! What a persist finds under its key and did not write: it stays. And archives whose content somebody has
//! changed.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;

use crate::cache::{BUILD, file_cache, run};
use crate::support::Ci;
use testkit::S3;
use testkit::{get, key, open, put};

/// Adds a file to the volume, which may hold others.
const ADD: &str = r#"
    const modules = await runtime.createVolume({ name: "modules" });
    await runtime.run({ name: "add", image: "busybox", command: { path: "sh", args: ["-c", "echo new > modules/new; ls modules"] }, mounts: { modules } });
"#;

const NOT_OURS: &str = "was not written by `ci`, remove it with `ci cache rm --include-foreign` or choose another `cache_prefix`";

/// How archives are compressed: the setting, the name of the volume's archive, and what has tar make one.
const KINDS: [(&str, &str, &str); 3] = [
    ("zstd", "modules.tar.zst", "--zstd"),
    ("gzip", "modules.tar.gzip", "--gzip"),
    ("none", "modules.tar", "--no-auto-compress"),
];

/// An archive that tar has made of somebody's photos.
fn photos(dir: &Path, option: &str) -> Vec<u8> {
    let tree = dir.join("photos");
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("photo"), "of somebody\n").unwrap();
    let archive = dir.join("made-by-tar");
    let made = Command::new("tar")
        .args(["-C", tree.to_str().unwrap(), option, "-cf"])
        .arg(&archive)
        .arg(".")
        .status();
    assert!(made.unwrap().success());
    fs::read(archive).unwrap()
}

#[test]
fn an_archive_of_another_program_is_restored_and_not_replaced_on_s3() {
    let s3 = S3::from_environment();
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (compression, name, option) in KINDS {
        let tar = photos(dir.path(), option);
        let root = dir.path().join(compression);
        fs::create_dir(&root).unwrap();
        let urls = [file_cache(&root), s3.url(&format!("photos-{compression}"))];
        for url in urls {
            let state = tempfile::tempdir().unwrap();
            let (store, key) = (open(&url, &state), key(&url, name));
            runtime.block_on(put(&*store, &key, tar.clone().into())).unwrap();
            let cache = format!("{url}&cache_compression={compression}");
            for _ in 0..2 {
                run(ADD, &cache, &["--cache-strict"])
                    .exits(0)
                    .stdout_has("hit ")
                    .stdout_has("[add] photo")
                    .stdout_has("[add] new")
                    .stdout_has(&format!("skipped: `{key}` {NOT_OURS}"))
                    .lacks("uploaded ");
            }
            // Nor is it by a run that does not look at it first.
            run(ADD, &format!("{cache}&cache_policy=push"), &["--cache-strict"])
                .exits(0)
                .stdout_has(NOT_OURS)
                .lacks("uploaded ");
            // Nor when it is too old to count.
            run(ADD, &format!("{cache}&ttl=1ms"), &["--cache-strict"])
                .exits(0)
                .stdout_has(NOT_OURS)
                .lacks("uploaded ");
            let found = runtime.block_on(get(&*store, &key)).unwrap().unwrap();
            assert!(found == tar, "{url}");
            // What the reason says helps.
            Ci::new()
                .args(["cache", "rm", key.as_str(), "--include-foreign", "--yes", "--store", &url])
                .run()
                .exits(0);
            run(ADD, &cache, &["--cache-strict"]).exits(0).stdout_has("uploaded ");
        }
    }
}

#[test]
fn rubbish_of_another_program_is_not_replaced_on_s3() {
    let s3 = S3::from_environment();
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (compression, name, _) in KINDS {
        for (number, size) in [7, 512, 20_000].into_iter().enumerate() {
            let root = dir.path().join(format!("{compression}-{number}"));
            fs::create_dir(&root).unwrap();
            let bucket = s3.url(&format!("rubbish-{compression}-{number}"));
            for url in [file_cache(&root), bucket] {
                let state = tempfile::tempdir().unwrap();
                let (store, key) = (open(&url, &state), key(&url, name));
                let rubbish = Bytes::from(vec![b'#'; size]);
                runtime.block_on(put(&*store, &key, rubbish.clone())).unwrap();
                run(BUILD, &format!("{url}&cache_compression={compression}"), &[])
                    .exits(0)
                    .stdout_has("starts empty, restoring it from `")
                    .stdout_has(NOT_OURS)
                    .lacks("uploaded ");
                let found = runtime.block_on(get(&*store, &key)).unwrap().unwrap();
                assert!(found == rubbish, "{url}");
            }
        }
    }
}

/// A file that appears while the pipeline runs.
#[test]
fn what_another_program_puts_there_meanwhile_stays() {
    let dir = tempfile::tempdir().unwrap();
    let cache = file_cache(dir.path());
    let archive = dir.path().join("modules.tar.zst");
    let script = format!("echo of somebody else > {}; echo x > modules/x", archive.display());
    let body = format!(
        r#"
        const modules = await runtime.createVolume({{ name: "modules" }});
        await runtime.run({{ name: "meanwhile", image: "busybox", command: {{ path: "sh", args: ["-c", {script:?}] }}, mounts: {{ modules }} }});
        "#
    );
    Ci::pipeline(&body)
        .args(["--output", "plain", "--driver", &format!("native://?cache={cache}")])
        .run()
        .exits(0)
        .stdout_has("cache miss")
        .stdout_has(NOT_OURS)
        .lacks("uploaded ");
    assert_eq!(fs::read_to_string(archive).unwrap(), "of somebody else\n");
}

/// Archives that were copied have no metadata; one whose copy was cut off has no end either.
#[test]
fn an_archive_of_ours_is_known_without_its_metadata() {
    let dir = tempfile::tempdir().unwrap();
    for (compression, name, _) in KINDS {
        let root = dir.path().join(compression);
        let cache = format!("{}&cache_compression={compression}", file_cache(&root));
        let archive = root.join(name);
        // Random content, so that what is cut off is more than the end of the first KiB.
        let fill = r#"
            const modules = await runtime.createVolume({ name: "modules" });
            await runtime.run({ name: "fill", image: "busybox", command: { path: "sh", args: ["-c", "head -c 100000 /dev/urandom > modules/random"] }, mounts: { modules } });
        "#;
        run(fill, &cache, &["--cache-strict"]).exits(0).stdout_has("uploaded ");
        let whole = fs::read(&archive).unwrap();
        for length in [whole.len(), whole.len() - 1, whole.len() / 2, 4096] {
            for entry in fs::read_dir(&root).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
            fs::write(&archive, &whole[..length]).unwrap();
            run(ADD, &cache, &[]).exits(0).stdout_has("uploaded ");
        }
    }
}

/// Changes the content of a file in a tar.
fn change(tar: &mut [u8]) {
    let made = tar.windows(6).position(|part| part == b"made\n\0").unwrap();
    tar[made] ^= 1;
}

/// Changes content of an archive, and leaves everything that says what it was: metadata, size and time of one
/// that is not compressed, and the trailer of one that is.
fn poison(archive: &Path) {
    let mut content = fs::read(archive).unwrap();
    if archive.extension().unwrap() == "zst" {
        let trailer = content.windows(4).rposition(|magic| magic == [0x5c, 0x2a, 0x4d, 0x18]);
        let tar = archive.with_extension("poisoned");
        let zstd = |args: &[&str], from: &Path, to: &Path| {
            let done = Command::new("zstd").args(args).arg(from).arg("-o").arg(to).status();
            assert!(done.unwrap().success());
        };
        zstd(&["-qdf"], archive, &tar);
        let mut poisoned = fs::read(&tar).unwrap();
        change(&mut poisoned);
        fs::write(&tar, poisoned).unwrap();
        zstd(&["-qf"], &tar, archive);
        fs::remove_file(tar).unwrap();
        let mut poisoned = fs::read(archive).unwrap();
        poisoned.extend_from_slice(&content[trailer.unwrap()..]);
        fs::write(archive, poisoned).unwrap();
        return;
    }
    let modified = fs::metadata(archive).unwrap().modified().unwrap();
    change(&mut content);
    let file = File::options().write(true).open(archive).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &content, 0).unwrap();
    file.set_modified(modified).unwrap();
}

#[test]
fn a_poisoned_archive_is_refused_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    for (compression, name) in [("zstd", "modules.tar.zst"), ("none", "modules.tar")] {
        let root = dir.path().join(compression);
        let cache = format!("{}&cache_compression={compression}", file_cache(&root));
        let archive = root.join(name);
        let is_good = || {
            run(BUILD, &format!("{cache}&cache_policy=pull"), &["--cache-strict"])
                .exits(0)
                .stdout_has("hit ")
                .stdout_has(r#"volume: "made\ndeep\n""#);
        };
        run(BUILD, &cache, &["--cache-strict"]).exits(0);
        poison(&archive);
        run(BUILD, &cache, &[])
            .exits(0)
            .stdout_has("starts empty, restoring it from `")
            .stdout_has("[build] building")
            .stdout_has("uploaded ");
        is_good();
        // A run that makes the same content, and does not restore first.
        poison(&archive);
        let push = format!("{cache}&cache_policy=push");
        run(BUILD, &push, &["--cache-strict"]).exits(0).stdout_has("uploaded ");
        is_good();
        run(BUILD, &push, &["--cache-strict"]).exits(0).stdout_has("unchanged").lacks("uploaded ");
    }
}

/// The same in a bucket, where metadata stay with an object that its owner has changed.
#[test]
fn a_poisoned_archive_in_a_bucket_is_refused_and_replaced_on_s3() {
    let s3 = S3::from_environment();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for policy in ["pull-push", "push"] {
        let url = s3.url(&format!("poisoned-{policy}"));
        let cache = format!("{url}&cache_compression=none");
        run(BUILD, &cache, &["--cache-strict"]).exits(0);
        runtime.block_on(async {
            let state = tempfile::tempdir().unwrap();
            let (store, key) = (open(&url, &state), key(&url, "modules.tar"));
            let metadata = store.stat(&key).await.unwrap().unwrap().metadata;
            let mut content = get(&*store, &key).await.unwrap().unwrap();
            change(&mut content);
            let none = store::PutCondition::None;
            let content = content.into();
            testkit::put_if(&*store, &key, &metadata, &none, content).await.unwrap();
        });
        run(BUILD, &format!("{cache}&cache_policy={policy}"), &[]).exits(0).stdout_has("uploaded ");
        run(BUILD, &format!("{cache}&cache_policy=pull"), &["--cache-strict"])
            .exits(0)
            .stdout_has("hit ")
            .stdout_has(r#"volume: "made\ndeep\n""#);
    }
}

/// What has the name of an archive and is no regular file.
#[test]
fn what_is_no_regular_file_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    fs::write(&target, "of somebody else").unwrap();
    let make = |kind: &str, at: &Path| match kind {
        "link" => symlink(&target, at).unwrap(),
        "dangling" => symlink("nowhere", at).unwrap(),
        "loop" => symlink(at, at).unwrap(),
        "directory" => fs::create_dir(at).unwrap(),
        _ => nix::unistd::mkfifo(at, nix::sys::stat::Mode::S_IRUSR).unwrap(),
    };
    for kind in ["link", "dangling", "loop", "directory", "pipe"] {
        for policy in ["pull-push", "push"] {
            let root = dir.path().join(format!("{kind}-{policy}"));
            fs::create_dir(&root).unwrap();
            let archive: PathBuf = root.join("modules.tar.zst");
            make(kind, &archive);
            let before = fs::symlink_metadata(&archive).unwrap();
            let cache = format!("{}&cache_policy={policy}", file_cache(&root));
            run(BUILD, &cache, &[])
                .exits(0)
                .stdout_has("warning: volume `modules` ")
                .stdout_has("it is no regular file, move it away or choose another `cache_prefix`")
                .lacks("uploaded ");
            let after = fs::symlink_metadata(&archive).unwrap();
            let identity = |found: &fs::Metadata| {
                use std::os::unix::fs::MetadataExt;
                (found.ino(), found.file_type())
            };
            assert_eq!(identity(&before), identity(&after), "{kind}");
            assert_eq!(fs::read_dir(&root).unwrap().count(), 1, "{kind}");
        }
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), "of somebody else");
}
