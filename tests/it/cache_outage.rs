//! Stores that are out of order for a while, and connections that are slow.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use store::{CacheStore, StoreError};

use crate::cache::{BUILD, run};
use crate::support::Ci;
use testkit::S3;
use testkit::{Answer, Fault, Proxy};
use testkit::{behind, content, get, key, open, put};

/// A store that answers 503 until this long after its first request.
fn out_of_order_for(time: Duration) -> Proxy {
    let begun = Mutex::new(None);
    Proxy::start(&S3::from_environment().address, move |_, _| {
        let begun = *begun.lock().unwrap().get_or_insert_with(Instant::now);
        (begun.elapsed() < time).then_some(Fault::Overloaded)
    })
}

#[test]
fn a_store_that_is_out_of_order_when_a_run_begins_is_used_when_it_is_back() {
    let s3 = S3::from_environment();
    for (policy, restore) in [("pull-push", "cache miss"), ("push", "")] {
        let name = format!("outage-{policy}");
        let proxy = out_of_order_for(Duration::from_secs(5));
        let url = s3.url(&name).replace(&s3.address, &proxy.address.to_string());
        let url = format!("{url}&cache_policy={policy}");
        run(BUILD, &url, &["--cache-strict"])
            .exits(0)
            .stdout_has(restore)
            .stdout_has("uploaded ")
            .lacks("warning: ");
    }
    let proxy = out_of_order_for(Duration::from_secs(5));
    let url = s3.url("outage-pull-push").replace(&s3.address, &proxy.address.to_string());
    run(BUILD, &url, &["--cache-strict"]).exits(0).stdout_has("hit ").lacks("warning: ");
}

/// Reading works from the start, writing later.
#[test]
fn a_store_that_takes_no_uploads_for_a_while_is_read_meanwhile() {
    let s3 = S3::from_environment();
    run(BUILD, &s3.url("half-outage"), &[]).exits(0);
    let begun = Mutex::new(None);
    let proxy = Proxy::start(&s3.address, move |_, head| {
        let begun = *begun.lock().unwrap().get_or_insert_with(Instant::now);
        let writes = head.starts_with("POST ") || head.starts_with("PUT ");
        (writes && begun.elapsed() < Duration::from_secs(5)).then_some(Fault::Overloaded)
    });
    let url = s3.url("half-outage").replace(&s3.address, &proxy.address.to_string());
    let body = BUILD.replace("cat made link", "echo more > more; cat made link");
    run(&body, &url, &["--cache-strict"])
        .exits(0)
        .stdout_has("hit ")
        .stdout_has("uploaded ")
        .lacks("warning: ");
}

/// The archive that could not be read may be good.
#[test]
fn a_volume_whose_restore_met_an_outage_is_not_persisted() {
    let s3 = S3::from_environment();
    run(BUILD, &s3.url("lasting-outage"), &[]).exits(0);
    // Out of order until the task runs.
    let proxy = Proxy::start(&s3.address, |_, _| Some(Fault::Overloaded));
    let url = s3.url("lasting-outage").replace(&s3.address, &proxy.address.to_string());
    let body = r#"
        const modules = await runtime.createVolume({ name: "modules" });
        await runtime.run({ name: "touch", image: "busybox", command: { path: "touch", args: ["modules/small"] }, mounts: { modules } });
    "#;
    let outcome = run(body, &url, &[]).exits(0).stdout_has("warning: the cache is not used: ");
    assert_eq!(outcome.stdout.matches("warning: ").count(), 1, "{}", outcome.transcript());
    outcome.stdout_has("the archive in the cache may be good").lacks("uploaded ");
}

/// More failures than the six that were the most once, of one part of an upload.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_outlasts_many_failures() {
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    let failures = AtomicUsize::new(0);
    let proxy = Proxy::start(&s3.address, move |_, head| {
        let line = head.lines().next().unwrap_or_default();
        let fails = line.contains("partNumber=2&") && failures.fetch_add(1, Ordering::SeqCst) < 7;
        fails.then_some(Fault::Answer(Answer {
            headers: &["Retry-After: 0"],
            ..Answer::new(503, "<Error><Code>SlowDown</Code></Error>")
        }))
    });
    let (store, url) = behind(&proxy, "many-failures", &state);
    let key = key(&url, "volume.tar.zst");
    put(&*store, &key, content(1, 20_000_000)).await.unwrap();
    assert!(get(&*store, &key).await.unwrap().unwrap() == content(1, 20_000_000));
}

/// Each part takes longer than a stall, and moves all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_is_no_stalled_one() {
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(&s3.address, |_, head| {
        head.starts_with("PUT ").then_some(Fault::Slow { bytes_per_second: 3 << 19 })
    });
    let url = s3.url("slow").replace(&s3.address, &proxy.address.to_string());
    let store = open(&format!("{url}&cache_stall=5s&cache_budget=100s"), &state);
    let key = key(&url, "volume.tar.zst");
    put(&*store, &key, content(1, 20_000_000)).await.unwrap();
    let parts = proxy.requests().iter().filter(|line| line.starts_with("PUT ")).count();
    assert_eq!(parts, 3, "{:#?}", proxy.requests());
    assert!(
        get(&*open(&s3.url("slow"), &state), &key).await.unwrap().unwrap()
            == content(1, 20_000_000)
    );
}

/// A part is sent, and nothing is said about it.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_not_answered_is_sent_again() {
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    let seen = AtomicUsize::new(0);
    let proxy = Proxy::start(&s3.address, move |_, head| {
        let still = head.contains("partNumber=1&") && seen.fetch_add(1, Ordering::SeqCst) == 0;
        still.then_some(Fault::Hold)
    });
    let url = s3.url("still").replace(&s3.address, &proxy.address.to_string());
    let store = open(&format!("{url}&cache_stall=2s&cache_budget=100s"), &state);
    put(&*store, &key(&url, "volume.tar.zst"), content(1, 20_000_000)).await.unwrap();
}

/// Somebody waits for a command.
#[test]
fn commands_end_whatever_a_store_answers() {
    let s3 = S3::from_environment();
    for fault in [Fault::Overloaded, Fault::Reset] {
        let proxy = Proxy::start(&s3.address, move |_, _| Some(fault));
        let url = s3.url("commands-end").replace(&s3.address, &proxy.address.to_string());
        let url = format!("{url}&cache_budget=3s");
        for args in [&["ls"][..], &["uploads"], &["prune", "--older-than", "1d", "--yes"]] {
            Ci::new().args(["cache"]).args(args).args(["--store", &url]).run().exits(3);
        }
    }
}

/// A clock that is set while a run goes on differs once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_is_corrected_for_each_request() {
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    // The first attempt at each of two requests.
    let proxy = Proxy::start(&s3.address, |n, _| match n {
        0 => Some(Fault::Skewed(3 * 3600)),
        2 => Some(Fault::Skewed(-3 * 3600)),
        _ => None,
    });
    let (store, url) = behind(&proxy, "set-clock", &state);
    let key = key(&url, "volume.tar.zst");
    for _ in 0..2 {
        // Garage does not mind what the clock was corrected to in between.
        match store.stat(&key).await {
            Ok(None) => {}
            other => panic!("{other:?}: {:#?}", proxy.requests()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_refused_for_good_is_not_sent_again() {
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    let denied = Answer::new(403, "<Error><Code>AccessDenied</Code></Error>");
    let proxy = Proxy::start(&s3.address, move |_, _| Some(Fault::Answer(denied)));
    let (store, url) = behind(&proxy, "denied", &state);
    let error = CacheStore::list(&*store, &"p".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, StoreError::Denied(_)), "{url}: {error}");
    assert_eq!(proxy.requests().len(), 1);
}
