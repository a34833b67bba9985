//! When an archive in a cache may be replaced, and when it stays.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use store::{Metadata, PutCondition, StoreError};

use crate::cache::{FILL, LIST, file_cache, run};
use crate::cache_faults::SmallDisk;
use crate::support::{Ci, Outcome};
use testkit::S3;
use testkit::{Answer, Fault, Proxy};
use testkit::{behind, content, get, key, on_each_store, open, put, put_if};

/// Writes a small file into the volume, whatever it holds.
const TOUCH: &str = r#"
    const modules = await runtime.createVolume({ name: "modules" });
    await runtime.run({ name: "touch", image: "busybox", command: { path: "sh", args: ["-c", "echo small > modules/small"] }, mounts: { modules } });
"#;

/// The archive is as it was: it restores, and has one file.
#[track_caller]
fn is_untouched(cache: &str) {
    run(LIST, &format!("{cache}&cache_policy=pull"), &["--cache-strict"])
        .exits(0)
        .stdout_has("hit ")
        .stdout_has("[list] 1");
}

#[track_caller]
fn is_skipped(outcome: Outcome, reason: &str) {
    outcome
        .exits(0)
        .stdout_has("starts empty, restoring it from `")
        .stdout_has("skipped: the archive in the cache may be good, restoring it failed: ")
        .stdout_has(reason)
        .lacks("uploaded ");
}

#[test]
fn a_full_disk_does_not_cost_the_archive_on_s3() {
    let s3 = S3::from_environment();
    let dir = tempfile::tempdir().unwrap();
    for cache in [s3.url("full-disk"), file_cache(dir.path())] {
        run(FILL, &cache, &["--cache-strict"]).exits(0);
        let disk = SmallDisk::new();
        let dsn = format!("native://?dir={}&cache={cache}", disk.path().display());
        let outcome = Ci::pipeline(TOUCH).args(["--output", "plain", "--driver", &dsn]).run();
        is_skipped(outcome, "No space left on device");
        is_untouched(&cache);
    }
}

#[test]
fn a_download_that_fails_does_not_cost_the_archive_on_s3() {
    let s3 = S3::from_environment();
    for (name, fault) in [
        ("cut", Fault::Cut),
        ("refused", Fault::Refuse),
        ("overloaded", Fault::Overloaded),
        (
            "replaced",
            Fault::Answer(Answer::new(412, "<Error><Code>PreconditionFailed</Code></Error>")),
        ),
        ("denied", Fault::Answer(Answer::new(403, "<Error><Code>AccessDenied</Code></Error>"))),
    ] {
        let cache = s3.url(&format!("download-{name}"));
        run(FILL, &cache, &["--cache-strict"]).exits(0);
        // All ranges but the first one.
        let proxy = Proxy::start(&s3.address, move |_, head| {
            head.to_lowercase().contains("\nif-match:").then_some(fault)
        });
        let behind = cache.replace(&s3.address, &proxy.address.to_string());
        is_skipped(run(TOUCH, &format!("{behind}&cache_budget=8s"), &[]), "modules.tar.zst");
        is_untouched(&cache);
    }
}

#[test]
fn a_store_that_denies_reading_does_not_cost_the_archive_on_s3() {
    let s3 = S3::from_environment();
    let cache = s3.url("unreadable");
    run(FILL, &cache, &["--cache-strict"]).exits(0);
    let proxy = Proxy::start(&s3.address, |_, head| {
        let reads = head.starts_with("GET ") && head.contains("/modules.tar.zst");
        reads.then_some(Fault::Answer(Answer::new(403, "<Error><Code>AccessDenied</Code></Error>")))
    });
    let behind = cache.replace(&s3.address, &proxy.address.to_string());
    is_skipped(run(TOUCH, &behind, &[]), "denies access");
    is_untouched(&cache);
}

#[test]
fn settings_of_one_run_do_not_cost_the_archive_of_all() {
    let dir = tempfile::tempdir().unwrap();
    let cache = file_cache(dir.path());
    run(FILL, &cache, &["--cache-strict"]).exits(0);
    is_skipped(run(TOUCH, &format!("{cache}&cache_max_size=1MB"), &[]), "cache_max_size");
    is_untouched(&cache);
    let links = file_cache(&dir.path().join("links"));
    let body = r#"
        const modules = await runtime.createVolume({ name: "modules" });
        await runtime.run({ name: "link", image: "busybox", command: { path: "ln", args: ["-s", "/etc/hosts", "modules/out"] }, mounts: { modules } });
    "#;
    let keep = format!("{links}&cache_outside_links=keep");
    run(body, &keep, &["--cache-strict"]).exits(0);
    is_skipped(run(TOUCH, &links, &[]), "cache_outside_links");
    is_untouched(&keep);
}

/// A task replaces the damaged archive while its run is under way.
#[test]
fn a_damaged_archive_is_replaced_only_if_it_is_still_the_one_that_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let cache = file_cache(dir.path());
    run(FILL, &cache, &["--cache-strict"]).exits(0);
    let archive = dir.path().join("modules.tar.zst");
    let good = dir.path().join("good");
    std::fs::copy(&archive, &good).unwrap();
    let damaged = std::fs::read(&archive).unwrap();
    std::fs::write(&archive, &damaged[..damaged.len() / 2]).unwrap();
    let script = format!(
        "cp {0} {1}.new; mv {1}.new {1}; echo x > modules/x",
        good.display(),
        archive.display()
    );
    let body = format!(
        r#"
        const modules = await runtime.createVolume({{ name: "modules" }});
        await runtime.run({{ name: "meanwhile", image: "busybox", command: {{ path: "sh", args: ["-c", {script:?}] }}, mounts: {{ modules }} }});
        "#
    );
    let dsn = format!("native://?cache={cache}");
    Ci::pipeline(&body)
        .args(["--output", "plain", "--driver", &dsn])
        .run()
        .exits(0)
        .stdout_has("skipped: another run has replaced `modules.tar.zst`")
        .lacks("uploaded ");
    is_untouched(&cache);
    // Nobody is quicker this time.
    std::fs::write(&archive, &damaged[..damaged.len() / 2]).unwrap();
    run(TOUCH, &cache, &[]).exits(0).stdout_has("uploaded ");
}

#[test]
fn a_damaged_archive_in_a_bucket_is_replaced_on_s3() {
    let s3 = S3::from_environment();
    let url = s3.url("damaged");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let state = tempfile::tempdir().unwrap();
    for (seed, body) in [TOUCH, FILL].into_iter().enumerate() {
        runtime.block_on(async {
            let store = open(&url, &state);
            let damaged = content(seed as u8, 20_000_000);
            let key = key(&url, "modules.tar.zst");
            put_if(&*store, &key, &ours(), &PutCondition::None, damaged).await.unwrap();
        });
        run(body, &url, &[]).exits(0).stdout_has("the archive is corrupt").stdout_has("uploaded ");
        run(LIST, &url, &["--cache-strict"]).exits(0).stdout_has("hit ").stdout_has("[list] 1");
    }
}

/// What proves that this program wrote an object.
pub fn ours() -> Metadata {
    Metadata { writer: Some("a run".into()), version: Some(1), ..Metadata::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_decides_what_is_replaced_on_s3() {
    on_each_store("conditions", async |store, url| {
        let key = key(&url, "volume.tar.zst");
        let none = Metadata::default();
        for size in [0, 10, 20_000_000] {
            let (old, new) = (content(1, size), content(2, size + 1));
            put(&*store, &key, old.clone()).await.unwrap();
            let etag = store.stat(&key).await.unwrap().unwrap().etag;
            let same = PutCondition::Version(etag.clone());
            put_if(&*store, &key, &none, &same, new.clone()).await.unwrap();
            assert!(get(&*store, &key).await.unwrap().unwrap() == new);
            // It is another one now.
            let failed = put_if(&*store, &key, &none, &same, old.clone()).await.unwrap_err();
            assert!(matches!(failed, StoreError::Replaced { .. }), "{failed}");
            assert!(get(&*store, &key).await.unwrap().unwrap() == new);
            let etag = store.stat(&key).await.unwrap().unwrap().etag;
            store.delete(&key, &etag).await.unwrap();
            let gone = PutCondition::Version(etag);
            let failed = put_if(&*store, &key, &none, &gone, old.clone()).await.unwrap_err();
            assert!(matches!(failed, StoreError::Replaced { .. }), "{failed}");
            assert!(store.stat(&key).await.unwrap().is_none());
        }
    })
    .await;
}

/// Nothing, what has our metadata, and what turned out to be ours.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_is_replaced_on_no_condition_on_s3() {
    on_each_store("foreign-condition", async |store, url| {
        let key = key(&url, "volume.tar.zst");
        let publish = async |condition: PutCondition, bytes: Bytes| {
            put_if(&*store, &key, &ours(), &condition, bytes).await
        };
        for size in [10, 20_000_000] {
            let (old, new) = (content(1, size), content(2, size + 1));
            publish(PutCondition::Ours(None), old.clone()).await.unwrap();
            publish(PutCondition::Ours(None), new.clone()).await.unwrap();
            assert!(get(&*store, &key).await.unwrap().unwrap() == new);
            put(&*store, &key, old.clone()).await.unwrap();
            for known in [None, Some("another".to_owned())] {
                let failed = publish(PutCondition::Ours(known), new.clone()).await.unwrap_err();
                assert!(matches!(failed, StoreError::Foreign { .. }), "{failed}");
                assert!(get(&*store, &key).await.unwrap().unwrap() == old);
            }
            let etag = store.stat(&key).await.unwrap().unwrap().etag;
            publish(PutCondition::Ours(Some(etag)), new.clone()).await.unwrap();
            assert!(get(&*store, &key).await.unwrap().unwrap() == new);
            let etag = store.stat(&key).await.unwrap().unwrap().etag;
            store.delete(&key, &etag).await.unwrap();
        }
    })
    .await;
}

/// Another program puts its object there between the last look at the key and the upload.
#[tokio::test(flavor = "multi_thread")]
async fn what_appears_in_the_last_moment_stays_on_s3() {
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    for size in [1000, 20_000_000] {
        for is_foreign in [true, false] {
            let name = format!("appears-{size}-{is_foreign}");
            let direct = open(&s3.url(&name), &state);
            let key = key(&s3.url(&name), "volume.tar.zst");
            let metadata = if is_foreign { Metadata::default() } else { ours() };
            put_if(&*direct, &key, &metadata, &PutCondition::None, content(1, 10)).await.unwrap();
            let looks = AtomicUsize::new(0);
            let proxy = Proxy::start(&s3.address, move |_, head| {
                if head.starts_with("HEAD ") && looks.fetch_add(1, Ordering::SeqCst) == 0 {
                    return Some(Fault::Answer(Answer::new(404, "")));
                }
                let absent = head.to_lowercase().contains("\nif-none-match: *");
                let failed = Answer::new(412, "<Error><Code>PreconditionFailed</Code></Error>");
                absent.then_some(Fault::Answer(failed))
            });
            let (store, _) = behind(&proxy, &name, &state);
            let condition = PutCondition::Ours(None);
            let sent = put_if(&*store, &key, &ours(), &condition, content(2, size)).await;
            let found = get(&*direct, &key).await.unwrap().unwrap();
            if is_foreign {
                assert!(matches!(sent, Err(StoreError::Foreign { .. })), "{sent:?}");
                assert!(found == content(1, 10));
            } else {
                // Of runs of this program, the last one wins.
                sent.unwrap();
                assert!(found == content(2, size));
            }
            store.close().await;
        }
    }
}

/// Servers that do not know the condition for objects that are not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_condition_takes_the_archive_on_s3() {
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    for size in [1000, 20_000_000] {
        for status in [400, 501] {
            let name = format!("unknown-{size}-{status}");
            let key = key(&s3.url(&name), "volume.tar.zst");
            let proxy = Proxy::start(&s3.address, move |_, head| {
                let absent = head.to_lowercase().contains("\nif-none-match: *");
                let refused = "<Error><Code>NotImplemented</Code></Error>";
                absent.then_some(Fault::Answer(Answer::new(status, refused)))
            });
            let (store, _) = behind(&proxy, &name, &state);
            let condition = PutCondition::Ours(None);
            put_if(&*store, &key, &ours(), &condition, content(2, size)).await.unwrap();
            assert!(get(&*store, &key).await.unwrap().unwrap() == content(2, size));
            store.close().await;
        }
    }
}

/// Of many that want to replace the same version, one does.
#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_many_writers_replaces_a_version_of_a_file() {
    let (root, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = file_cache(root.path());
    let store = open(&url, &state);
    let key = key(&url, "volume.tar.zst");
    for round in 0..20 {
        put(&*store, &key, content(round, 1000)).await.unwrap();
        let etag = store.stat(&key).await.unwrap().unwrap().etag;
        let writers = (0..16u8).map(|writer| {
            let (store, key, condition) =
                (store.clone(), key.clone(), PutCondition::Version(etag.clone()));
            tokio::spawn(async move {
                let bytes = content(100 + writer, 1000);
                put_if(&*store, &key, &Metadata::default(), &condition, bytes).await
            })
        });
        let mut replaced = 0;
        for writer in writers.collect::<Vec<_>>() {
            match writer.await.unwrap() {
                Ok(_) => replaced += 1,
                Err(StoreError::Replaced { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(replaced, 1);
    }
}

/// A server that honours conditions is sent them, one that does not is asked right before.
#[tokio::test(flavor = "multi_thread")]
async fn servers_are_asked_whether_they_honour_conditions_on_s3() {
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    for size in [1000, 20_000_000] {
        for honours in [true, false] {
            let name = format!("honours-{size}-{honours}");
            let direct = open(&s3.url(&name), &state);
            let key = key(&s3.url(&name), "volume.tar.zst");
            put(&*direct, &key, content(1, size)).await.unwrap();
            let proxy = Proxy::start(&s3.address, move |_, head| {
                let conditional = head.to_lowercase().contains("\nif-match:");
                let is_probe = head.lines().next().unwrap_or_default().contains("/.ci-probe-");
                let failed = Answer::new(412, "<Error><Code>PreconditionFailed</Code></Error>");
                match honours {
                    true => (conditional && is_probe).then_some(Fault::Answer(failed)),
                    // As if it had ignored the condition.
                    false => (conditional && is_probe).then_some(Fault::Answer(Answer {
                        headers: &["ETag: \"x\""],
                        ..Answer::new(200, "<CompleteMultipartUploadResult><ETag>\"x\"</ETag></CompleteMultipartUploadResult>")
                    })),
                }
            });
            let (store, _) = behind(&proxy, &name, &state);
            let etag = direct.stat(&key).await.unwrap().unwrap().etag;
            let condition = PutCondition::Version(etag);
            let (sender, upload) = store::Upload::channel(1);
            let metadata = Metadata::default();
            let send = async {
                sender.send(content(2, size)).await.unwrap();
                sender.finish(None).await.unwrap();
            };
            let (stored, ()) = tokio::join!(store.put(&key, &metadata, &condition, upload), send);
            let stored = stored.unwrap();
            assert_eq!(stored.notice.is_none(), honours, "{stored:?}");
            assert!(get(&*direct, &key).await.unwrap().unwrap() == content(2, size));
            let sent = proxy.heads().iter().any(|head| {
                let line = head.lines().next().unwrap_or_default();
                line.contains("/volume.tar.zst") && head.to_lowercase().contains("\nif-match:")
            });
            assert_eq!(sent, honours, "{:#?}", proxy.requests());
            store.close().await;
        }
    }
}

/// The answer to the request that published the object is lost: the next attempt meets the own object.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_not_taken_for_another_writer_on_s3() {
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    for size in [1000, 20_000_000] {
        let name = format!("lost-{size}");
        let direct = open(&s3.url(&name), &state);
        let key = key(&s3.url(&name), "volume.tar.zst");
        put(&*direct, &key, content(1, size)).await.unwrap();
        let lost = std::sync::atomic::AtomicBool::new(false);
        let proxy = Proxy::start(&s3.address, move |_, head| {
            let line = head.lines().next().unwrap_or_default();
            let conditional = head.to_lowercase().contains("\nif-match:");
            let failed =
                Fault::Answer(Answer::new(412, "<Error><Code>PreconditionFailed</Code></Error>"));
            if !conditional {
                return None;
            }
            if line.contains("/.ci-probe-") {
                return Some(failed);
            }
            let again = lost.swap(true, std::sync::atomic::Ordering::SeqCst);
            Some(if again { failed } else { Fault::Lose })
        });
        let (store, _) = behind(&proxy, &name, &state);
        let etag = direct.stat(&key).await.unwrap().unwrap().etag;
        let condition = PutCondition::Version(etag);
        put_if(&*store, &key, &Metadata::default(), &condition, content(2, size)).await.unwrap();
        assert!(get(&*direct, &key).await.unwrap().unwrap() == content(2, size));
        store.close().await;
    }
}

/// Says in which volume of which prefix it ran first.
fn named(volume: &str, text: &str) -> String {
    format!(
        r#"
        const v = await runtime.createVolume({{ name: "{volume}" }});
        const script = "[ -e v/text ] || echo {text} > v/text; cat v/text";
        await runtime.run({{ name: "t", image: "busybox", command: {{ path: "sh", args: ["-c", script] }}, mounts: {{ v }} }});
        "#
    )
}

#[test]
fn a_volume_never_meets_one_of_another_name_or_prefix_on_s3() {
    let s3 = S3::from_environment();
    let dir = tempfile::tempdir().unwrap();
    for url in [s3.url("names"), file_cache(dir.path())] {
        let all = [
            ("", "main/v"),
            ("&cache_prefix=main", "v"),
            ("", "main%2Fv"),
            ("&cache_prefix=ci", "main/v"),
            ("&cache_prefix=ci/main", "v"),
            ("", "ci/main/v"),
            ("&cache_prefix=main/", "w"),
            ("", ".ci-temp-3f0c9a52-7d6b-4c1e-9a55-0d9f6a1b2c3d"),
        ];
        for (index, (settings, volume)) in all.iter().enumerate() {
            let body = named(volume, &format!("number-{index}"));
            run(&body, &format!("{url}{settings}"), &["--cache-strict"])
                .exits(0)
                .stdout_has("cache miss")
                .stdout_has(&format!("[t] number-{index}"));
        }
        for (index, (settings, volume)) in all.iter().enumerate() {
            run(&named(volume, "nothing"), &format!("{url}{settings}"), &["--cache-strict"])
                .exits(0)
                .stdout_has("hit ")
                .stdout_has(&format!("[t] number-{index}"));
        }
        let ls = Ci::new().args(["cache", "ls", "--store", &url]).run().exits(0);
        assert_eq!(ls.stdout.lines().count(), all.len() + 1, "{}", ls.stdout);
        let rm = |name: &str| Ci::new().args(["cache", "rm", name, "--yes", "--store", &url]).run();
        // A name is what it is called in the listing first, and then a volume's.
        rm("main/v").exits(0).stdout_has("main/v.tar.zst");
        rm("main/v").exits(0).stdout_has("main%2Fv.tar.zst");
        rm("main/v").exits(1);
    }
}

/// Keys that older versions gave volumes whose names have slashes.
#[test]
fn archives_with_keys_of_older_versions_are_still_read() {
    let dir = tempfile::tempdir().unwrap();
    let url = file_cache(dir.path());
    run(&named("v", "of-main"), &format!("{url}&cache_prefix=main"), &[]).exits(0);
    // What the older version wrote has no version of keys in its metadata.
    let sidecar = std::fs::read_dir(dir.path().join("main")).unwrap().flatten();
    let mut sidecars =
        sidecar.filter(|entry| entry.file_name().to_string_lossy().starts_with(".ci-meta-"));
    let sidecar = sidecars.next().unwrap().path();
    let text = std::fs::read_to_string(&sidecar).unwrap();
    let legacy = text.replace(r#",["key-version","2"]"#, "");
    assert_ne!(legacy, text);
    run(&named("main/v", "new"), &url, &[]).exits(0).stdout_has("[t] new").stdout_has("uploaded ");
    std::fs::remove_file(dir.path().join("main%2Fv.tar.zst")).unwrap();
    // An archive of today that has lost its metadata is of nobody knows which version.
    std::fs::remove_file(&sidecar).unwrap();
    run(&named("main/v", "new"), &url, &[]).exits(0).stdout_has("[t] new").stdout_has("uploaded ");
    std::fs::remove_file(dir.path().join("main%2Fv.tar.zst")).unwrap();
    std::fs::write(&sidecar, legacy).unwrap();
    run(&named("main/v", "new"), &url, &[])
        .exits(0)
        .stdout_has("fallback ")
        .stdout_has("[t] of-main")
        .stdout_has("uploaded ");
    run(&named("main/v", "new"), &url, &[]).exits(0).stdout_has("hit ").stdout_has("[t] of-main");
}
