//! What every store of archives keeps its word about, on a directory and on an S3 server.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use store::{CacheConfig, Metadata, PutCondition, StoreError, Upload};

use testkit::{
    Fault, Proxy, S3, behind, behind_for, content, get, key, on_each_store, open, put, put_with,
    uploads,
};

/// More than two parts of a multipart upload.
const LARGE: usize = 20_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_is_got_whatever_its_size() {
    on_each_store("sizes", async |store, url| {
        let key = key(&url, "volume.tar.zst");
        assert!(get(&*store, &key).await.unwrap().is_none());
        assert!(store.stat(&key).await.unwrap().is_none());
        assert!(store.tail(&key, 64).await.unwrap().is_none());
        assert!(store.start(&key, 64).await.unwrap().is_none());
        for size in [0, 1, 8 << 20, (8 << 20) + 1, LARGE, 40_000_000, 5] {
            let bytes = content(1, size);
            assert_eq!(put(&*store, &key, bytes.clone()).await.unwrap(), size as u64);
            assert!(get(&*store, &key).await.unwrap().unwrap() == bytes, "{size}");
            let info = store.stat(&key).await.unwrap().unwrap();
            assert_eq!(info.size, size as u64);
            for length in [1, 64, 1_000] {
                let (found, tail) = store.tail(&key, length).await.unwrap().unwrap();
                assert_eq!(found, info);
                let start = size.saturating_sub(length as usize);
                assert!(tail == bytes[start..], "{length} of {size}");
                let (found, start) = store.start(&key, length).await.unwrap().unwrap();
                assert_eq!(found, info);
                assert!(start == bytes[..size.min(length as usize)], "{length} of {size}");
            }
        }
        let etag = store.stat(&key).await.unwrap().unwrap().etag;
        put(&*store, &key, content(2, 7)).await.unwrap();
        assert!(!store.delete(&key, &etag).await.unwrap(), "it is another one");
        let etag = store.stat(&key).await.unwrap().unwrap().etag;
        assert!(store.delete(&key, &etag).await.unwrap());
        assert!(!store.delete(&key, &etag).await.unwrap());
        assert!(get(&*store, &key).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_stays_with_its_object() {
    on_each_store("metadata", async |store, url| {
        for size in [10, LARGE] {
            let key = key(&url, "volume.tar.zst");
            let metadata = Metadata {
                digest: Some("d1".into()),
                writer: Some("Ünï %41 🚀".into()),
                project: Some("host/ünï/p%41".into()),
                entries: Some(7),
                content_bytes: Some(u64::MAX),
                version: Some(1),
                key_version: Some(2),
            };
            put_with(&*store, &key, &metadata, content(2, size)).await.unwrap();
            assert_eq!(store.stat(&key).await.unwrap().unwrap().metadata, metadata);
            assert_eq!(store.get(&key).await.unwrap().unwrap().0.metadata, metadata);
            put(&*store, &key, content(3, 5)).await.unwrap();
            assert_eq!(store.stat(&key).await.unwrap().unwrap().metadata, Metadata::default());
        }
        // What is known at the end only is kept where that is possible.
        let key = key(&url, "late.tar.zst");
        let late = Metadata { entries: Some(7), ..Metadata::default() };
        let (sender, upload) = Upload::channel(1);
        let none = Metadata::default();
        let send = sender.finish(Some(late.clone()));
        let (stored, sent) =
            tokio::join!(store.put(&key, &none, &PutCondition::None, upload), send);
        stored.unwrap();
        sent.unwrap();
        assert_eq!(store.stat(&key).await.unwrap().unwrap().metadata, late);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_are_names() {
    on_each_store("names", async |store, url| {
        let names =
            ["a b+c%20.tar", "🚀/ünï.tar.zst", "x/y/z.tar", "..a.tar", "-rf.tar", "a&b=c?d#e.tar"];
        for (index, name) in names.iter().enumerate() {
            let key = key(&url, name);
            put(&*store, &key, content(index as u8, 100)).await.unwrap();
        }
        for (index, name) in names.iter().enumerate() {
            let found = get(&*store, &key(&url, name)).await.unwrap().unwrap();
            assert!(found == content(index as u8, 100), "{name}");
        }
        let prefix = CacheConfig::from_url(&url).unwrap().key_prefix().unwrap();
        let listed: Vec<String> =
            store.list(&prefix).await.unwrap().iter().map(|info| info.key.to_string()).collect();
        let mut expected: Vec<String> =
            names.iter().map(|name| key(&url, name).to_string()).collect();
        expected.sort();
        assert_eq!(listed, expected);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_have_all_pages_and_nothing_beside_the_prefix() {
    on_each_store("pages", async |store, url| {
        for index in 0..1_050 {
            let key = key(&url, &format!("p/{index:04}.tar"));
            put(&*store, &key, content(0, 1)).await.unwrap();
        }
        put(&*store, &key(&url, "p2/x.tar"), content(0, 1)).await.unwrap();
        let prefix = key(&url, "p").to_string().parse().unwrap();
        assert_eq!(store.list(&prefix).await.unwrap().len(), 1_050);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_not_finished_leaves_the_old_object() {
    on_each_store("unfinished", async |store, url| {
        let key = key(&url, "volume.tar.zst");
        let old = content(4, 1_000_000);
        put(&*store, &key, old.clone()).await.unwrap();
        // The sender goes away after each number of chunks.
        for chunks in 0..8 {
            let (sender, upload) = Upload::channel(1);
            let send = async {
                for _ in 0..chunks {
                    sender.send(content(5, 3_000_000)).await.unwrap();
                }
                drop(sender);
            };
            let metadata = Metadata::default();
            let (result, ()) = tokio::join!(store.put(&key, &metadata, &PutCondition::None, upload), send);
            assert!(matches!(result, Err(StoreError::Unfinished { .. })), "{result:?}");
            assert!(get(&*store, &key).await.unwrap().unwrap() == old);
        }
        // Whoever uploads is dropped after each number of chunks.
        for chunks in 0..8 {
            let (sender, upload) = Upload::channel(1);
            let metadata = Metadata::default();
            let send = async {
                for _ in 0..chunks {
                    sender.send(content(6, 3_000_000)).await.unwrap();
                }
            };
            tokio::select! {
                biased;
                _ = store.put(&key, &metadata, &PutCondition::None, upload) => panic!("there was no end"),
                () = send => {}
            }
            drop(sender);
            assert!(get(&*store, &key).await.unwrap().unwrap() == old);
        }
        store.close().await;
        if url.starts_with("s3://") {
            assert_eq!(uploads(&url).await, [""; 0]);
        } else {
            let root = url.strip_prefix("file://").unwrap();
            let left = std::fs::read_dir(root).unwrap().count();
            assert_eq!(left, 2, "an object and its metadata");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_one_wins_and_readers_see_whole_objects() {
    on_each_store("writers", async |store, url| {
        let key = key(&url, "volume.tar.zst");
        // Each content says by its first byte which one it is.
        let version = |writer: u8| {
            let mut bytes = content(writer, 50_000 + usize::from(writer) * 1_000).to_vec();
            bytes[0] = writer;
            Bytes::from(bytes)
        };
        put(&*store, &key, version(0)).await.unwrap();
        for _ in 0..50 {
            let writers = (0..16).map(|writer| {
                let (store, key) = (store.clone(), key.clone());
                tokio::spawn(async move { put(&*store, &key, version(writer)).await.unwrap() })
            });
            let writers: Vec<_> = writers.collect();
            for _ in 0..4 {
                match get(&*store, &key).await {
                    Ok(found) => {
                        let found = found.expect("there is always one");
                        assert!(found == version(found[0]));
                    }
                    Err(StoreError::Changed { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            for writer in writers {
                writer.await.unwrap();
            }
        }
    })
    .await;
}

const FAULTS: [Fault; 7] = [
    Fault::Refuse,
    Fault::Reset,
    Fault::Lose,
    Fault::Cut,
    Fault::Stall,
    Fault::Overloaded,
    Fault::Flip,
];

/// An upload is begun, three parts are sent and it is completed; each of these five requests goes wrong
/// in each way, once or from then on.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_survives_any_fault_or_leaves_the_old_object() {
    let once = (0..5).flat_map(|number| FAULTS.map(|fault| (fault, number, false)));
    let forever = (0..5)
        .flat_map(|number| [Fault::Overloaded, Fault::Refuse].map(|fault| (fault, number, true)));
    // Some at a time: a machine that is too busy to answer in time would be a fault of its own.
    futures_util::stream::iter(once.chain(forever))
        .for_each_concurrent(6, |(fault, number, forever)| put_with_fault(fault, number, forever))
        .await;
}

async fn put_with_fault(fault: Fault, number: usize, forever: bool) {
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    let (old, new) = (content(7, 100_000), content(8, LARGE));
    let name = format!("put-{fault:?}-{number}-{forever}");
    let direct = open(&s3.url(&name), &state);
    let key = key(&s3.url(&name), "volume.tar.zst");
    put(&*direct, &key, old.clone()).await.unwrap();
    let proxy = Proxy::start(&s3.address, move |n, _| {
        (n == number || (forever && n > number)).then_some(fault)
    });
    let (store, url) = match forever {
        true => behind_for("5s", &proxy, &name, &state),
        false => behind(&proxy, &name, &state),
    };
    let result = put(&*store, &key, new.clone()).await;
    store.close().await;
    let found = get(&*direct, &key).await.unwrap().unwrap();
    match result {
        Ok(_) => assert!(found == new, "{name}"),
        Err(error) => assert!(found == old, "{name}: {error}"),
    }
    // What could not be taken back is in the journal, unless nobody ever heard of it: such an upload
    // stays until somebody asks for its end.
    proxy.release();
    store.close().await;
    store.sweep().await.unwrap();
    let heard = number > 0 || matches!(fault, Fault::Refuse | Fault::Reset | Fault::Overloaded);
    if heard {
        assert_eq!(uploads(&url).await, [""; 0], "{name}");
    }
}

/// Three ranges; each of these requests goes wrong in each way, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_get_survives_any_fault_or_fails() {
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    let bytes = content(9, LARGE);
    let direct = open(&s3.url("get"), &state);
    let key = key(&s3.url("get"), "volume.tar.zst");
    put(&*direct, &key, bytes.clone()).await.unwrap();
    for fault in FAULTS {
        for number in 0..3 {
            let proxy = Proxy::start(&s3.address, move |n, _| (n == number).then_some(fault));
            let (store, _) = behind(&proxy, "get", &state);
            let found = get(&*store, &key).await;
            let found =
                found.unwrap_or_else(|error| panic!("{fault:?} {number}: {error}")).unwrap();
            match fault {
                // A store does not look into archives: that is for the checksums of their frames.
                Fault::Flip => assert_eq!(found.len(), bytes.len()),
                _ => assert!(found == bytes, "{fault:?} {number}"),
            }
        }
    }
    let proxy = Proxy::start(&s3.address, |n, _| (n > 0).then_some(Fault::Reset));
    let (store, _) = behind_for("5s", &proxy, "get", &state);
    let error = get(&*store, &key).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Unavailable(_) | StoreError::OverBudget { .. }),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_replaced_while_it_is_read_is_an_error_and_no_mixture() {
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    let url = s3.url("replaced");
    let direct = open(&url, &state);
    let key = key(&url, "volume.tar.zst");
    put(&*direct, &key, content(10, 60_000_000)).await.unwrap();
    let proxy = Proxy::start(&s3.address, |n, _| (n > 0).then_some(Fault::Hold));
    let (store, _) = behind(&proxy, "replaced", &state);
    let (_, mut download) = store.get(&key).await.unwrap().unwrap();
    put(&*direct, &key, content(11, 60_000_000)).await.unwrap();
    proxy.release();
    let error = loop {
        match download.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the old object is no more"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Changed { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_never_answers_is_given_up() {
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(&s3.address, |_, _| Some(Fault::Hold));
    let (store, _) = behind(&proxy, "silent", &state);
    let error = tokio::time::timeout(Duration::from_secs(60), store.probe(true)).await;
    let error = error.unwrap().unwrap_err().to_string();
    assert!(error.contains("does not answer"), "{error}");
}
