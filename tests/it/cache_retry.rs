//! What passing failures of a store cost: a pause. And what a server that is no store is told as.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use store::{CacheStore, Metadata, PutCondition, StoreError};

use crate::cache::{BUILD, FILL, LIST, run};
use crate::support::Ci;
use testkit::S3;
use testkit::{Answer, Fault, Proxy};
use testkit::{behind, content, get, key, open, put, put_if, uploads};

const fn error(status: u16, body: &'static str) -> Fault {
    Fault::Answer(Answer::new(status, body))
}

/// Failures that pass.
const PASSING: [Fault; 11] = [
    Fault::Refuse,
    Fault::Reset,
    Fault::Overloaded,
    Fault::Skewed(3 * 3600),
    error(500, "<Error><Code>InternalError</Code><Message>again</Message></Error>"),
    error(503, "<html>a load balancer has nobody to ask</html>"),
    error(502, ""),
    error(429, "<Error><Code>TooManyRequests</Code><Message>slowly</Message></Error>"),
    error(429, ""),
    error(409, "<Error><Code>OperationAborted</Code><Message>a conflict</Message></Error>"),
    error(400, "<Error><Code>RequestTimeout</Code><Message>too slow</Message></Error>"),
];

/// Everything that a store does.
const OPERATIONS: [&str; 11] = [
    "probe",
    "list",
    "stat",
    "tail",
    "get",
    "put",
    "put large",
    "put if",
    "delete",
    "uploads",
    "sweep",
];

/// More than two parts of a multipart upload.
const LARGE: usize = 17_000_000;

const SMALL: usize = 1000;

/// Does one of [`OPERATIONS`] beside an object that is there.
async fn operate(store: &dyn CacheStore, url: &str, operation: &str) -> Result<(), StoreError> {
    let old = key(url, "old.tar.zst");
    match operation {
        "probe" => store.probe(true).await?,
        "list" => {
            let prefix = key(url, "x.tar").as_str().trim_end_matches("/x.tar").parse().unwrap();
            assert_eq!(store.list(&prefix).await?.len(), 1);
        }
        "stat" => assert_eq!(store.stat(&old).await?.unwrap().size, SMALL as u64),
        "tail" => {
            let (_, tail) = store.tail(&old, 100).await?.unwrap();
            assert!(tail == content(1, SMALL)[SMALL - 100..]);
        }
        "get" => assert!(get(store, &old).await?.unwrap() == content(1, LARGE)),
        "put" => _ = put(store, &key(url, "new.tar.zst"), content(2, 1000)).await?,
        "put large" => _ = put(store, &key(url, "new.tar.zst"), content(2, LARGE)).await?,
        "put if" => {
            let etag = store.stat(&old).await?.unwrap().etag;
            let condition = PutCondition::Version(etag);
            _ = put_if(store, &old, &Metadata::default(), &condition, content(3, 1000)).await?;
        }
        "delete" => {
            let etag = store.stat(&old).await?.unwrap().etag;
            assert!(store.delete(&old, &etag).await?);
        }
        "uploads" => {
            let prefix = key(url, "x.tar").as_str().trim_end_matches("/x.tar").parse().unwrap();
            store.uploads(&prefix).await?;
        }
        "sweep" => _ = store.sweep().await?,
        other => panic!("{other}"),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_failure_of_any_request_is_a_pause() {
    for operation in OPERATIONS {
        // How many requests it takes without a fault.
        let count = with_fault(operation, None).await;
        assert!(count > 0 || operation == "sweep", "{operation}");
        let faults = (0..count).flat_map(|number| PASSING.map(|fault| (number, fault)));
        futures_util::stream::iter(faults)
            .for_each_concurrent(8, |fault| async move {
                with_fault(operation, Some(fault)).await;
            })
            .await;
    }
}

/// Does an operation whose `number`th request goes wrong once, and returns how many requests it took.
async fn with_fault(operation: &str, fault: Option<(usize, Fault)>) -> usize {
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    let id = fault.map_or_else(
        || "none".to_owned(),
        |(number, fault)| {
            let hash = blake3::hash(format!("{fault:?}").as_bytes()).to_hex();
            format!("{number}-{}", &hash[..8])
        },
    );
    let name = format!("passing-{}-{id}", operation.replace(' ', "-"));
    let direct = open(&s3.url(&name), &state);
    let size = if operation == "get" { LARGE } else { SMALL };
    put(&*direct, &key(&s3.url(&name), "old.tar.zst"), content(1, size)).await.unwrap();
    let proxy = Proxy::start(&s3.address, move |n, _| {
        fault.filter(|(number, _)| *number == n).map(|(_, fault)| fault)
    });
    let (store, url) = behind(&proxy, &name, &state);
    if let Err(error) = operate(&*store, &url, operation).await {
        panic!("{operation} {fault:?}: {error}\n{:#?}", proxy.requests());
    }
    let count = proxy.requests().len();
    store.close().await;
    assert_eq!(uploads(&s3.url(&name)).await, [""; 0], "{operation} {fault:?}");
    count
}

/// The reported case: a single failure while a run begins.
#[test]
fn a_run_whose_probe_meets_a_passing_failure_uses_its_cache() {
    let s3 = S3::from_environment();
    for (index, fault) in PASSING.into_iter().enumerate() {
        for request in ["?uploads", ".ci-probe?x-id=GetObject", "/modules.tar.zst"] {
            let seen = AtomicUsize::new(0);
            let proxy = Proxy::start(&s3.address, move |_, head| {
                let line = head.lines().next().unwrap_or_default();
                let first = line.contains(request) && seen.fetch_add(1, Ordering::Relaxed) == 0;
                first.then_some(fault)
            });
            let name = format!("probe-{index}-{}", request.len());
            let url = s3.url(&name).replace(&s3.address, &proxy.address.to_string());
            run(BUILD, &url, &["--cache-strict"]).exits(0).stdout_has("uploaded ");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_corrected_once() {
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    for hours in [-5, 5] {
        let ahead = hours * 3600;
        let proxy = Proxy::start(&s3.address, move |n, _| (n == 0).then_some(Fault::Skewed(ahead)));
        let (store, _) = behind(&proxy, "skewed", &state);
        store.probe(false).await.unwrap();
        let heads = proxy.heads();
        assert!(signed_ahead(&heads[0]).abs() < 600, "{heads:#?}");
        let last = heads.last().unwrap();
        assert!((signed_ahead(last) - ahead).abs() < 600, "{heads:#?}");
        store.close().await;
    }
    // A server that never has enough of it is told.
    let proxy = Proxy::start(&s3.address, |_, _| Some(Fault::Skewed(7200)));
    let (store, _) = behind(&proxy, "skewed", &state);
    let error = store.probe(false).await.unwrap_err().to_string();
    assert!(error.contains("clock differs too much"), "{error}");
    assert!(proxy.requests().len() <= 4, "{:#?}", proxy.requests());
}

/// How many seconds the time that a request is signed with is ahead.
fn signed_ahead(head: &str) -> i64 {
    let date = head.lines().find_map(|line| line.strip_prefix("x-amz-date: ")).unwrap();
    // 20261129T045345Z
    let [date, time] = [&date[..8], &date[9..15]];
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &time[..2],
        &time[2..4],
        &time[4..]
    );
    let signed = humantime::parse_rfc3339(&text).unwrap();
    let seconds = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed()
    };
    seconds(signed) - seconds(SystemTime::now())
}

/// How often the archive may be replaced while it is read.
#[test]
fn a_restore_of_an_archive_that_is_replaced_meanwhile_starts_again_twice() {
    let s3 = S3::from_environment();
    for (times, hit) in [(1, true), (2, true), (3, false)] {
        let name = format!("again-{times}");
        run(FILL, &s3.url(&name), &[]).exits(0);
        let starts = AtomicUsize::new(0);
        let proxy = Proxy::start(&s3.address, move |_, head| {
            if !head.starts_with("GET ") || !head.contains("/modules.tar.zst") {
                return None;
            }
            let changed = Answer::new(412, "<Error><Code>PreconditionFailed</Code></Error>");
            if head.to_lowercase().contains("\nif-match:") {
                let started = starts.load(Ordering::SeqCst);
                return (started <= times).then_some(Fault::Answer(changed));
            }
            // The end of the object is looked at when it is persisted.
            if !head.contains("bytes=-") {
                starts.fetch_add(1, Ordering::SeqCst);
            }
            None
        });
        let url = s3.url(&name).replace(&s3.address, &proxy.address.to_string());
        let outcome = run(LIST, &url, &[]).exits(0);
        if hit {
            outcome.stdout_has("hit ").stdout_has("[list] 1").lacks("warning: ");
        } else {
            outcome
                .stdout_has("was replaced by another writer while it was read")
                .stdout_has("[list] 0")
                .lacks("uploaded ");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_store_is_told_as_such() {
    const PAGE: &str = "<!DOCTYPE html><html><body>Welcome</body></html>";
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    let answers = [
        (Answer::new(200, PAGE), ""),
        (Answer::new(404, PAGE), "a web page"),
        (Answer::new(403, PAGE), "a web page"),
        (Answer::new(405, "<html>"), "a web page"),
        (
            Answer {
                headers: &["Content-Type: text/html", "ETag: \"x\""],
                ..Answer::new(200, PAGE)
            },
            "a web page",
        ),
        (Answer { headers: &["Content-Type: text/html"], ..Answer::new(200, "\n\n <p>hi") }, ""),
        (
            Answer { headers: &["Location: /login?next=%2F"], ..Answer::new(302, "") },
            "redirects to `/login?next=%2F`",
        ),
        (
            Answer { headers: &["Location: /login"], ..Answer::new(307, PAGE) },
            "redirects to `/login`",
        ),
        (Answer::new(308, ""), "redirects without saying where"),
        (Answer::new(200, "{\"ok\":true}"), "something else"),
        (Answer::new(400, "Bad Request: {\"error\": 1}"), "something else"),
        (Answer::new(404, "404 page not found\n"), "something else"),
        (Answer::new(404, ""), "as none does"),
        (Answer::new(200, ""), ""),
    ];
    for (answer, how) in answers {
        let proxy = Proxy::start(&s3.address, move |_, _| Some(Fault::Answer(answer)));
        for writes in [false, true] {
            let (store, _) = behind(&proxy, "none", &state);
            let error = store.probe(writes).await.unwrap_err().to_string();
            assert!(error.contains("is no S3 server: it "), "{answer:?}: {error}");
            assert!(error.contains(how), "{answer:?}: {error}");
            for debug in ["Unhandled", "Error {", "ErrorMetadata", "SdkBody", "unhandled error"] {
                assert!(!error.contains(debug), "{answer:?}: {error}");
            }
        }
        // It is no passing failure, so nobody asks again.
        assert!(proxy.requests().len() <= 6, "{:#?}", proxy.requests());
    }
}

#[test]
fn commands_tell_what_is_no_store() {
    let s3 = S3::from_environment();
    for (answer, how) in [
        (Answer::new(200, "<html>hi</html>"), "answers with a web page"),
        (
            Answer { headers: &["Location: http://127.0.0.1/"], ..Answer::new(301, "") },
            "redirects to",
        ),
    ] {
        let proxy = Proxy::start(&s3.address, move |_, _| Some(Fault::Answer(answer)));
        let url = s3.url("none").replace(&s3.address, &proxy.address.to_string());
        for args in [&["ls"][..], &["uploads"], &["prune", "--older-than", "1d", "--yes"]] {
            Ci::new()
                .args(["cache"])
                .args(args)
                .args(["--store", &url])
                .run()
                .exits(3)
                .stderr_has("is no S3 server: it ")
                .stderr_has(how);
        }
        run(LIST, &url, &[]).exits(0).stdout_has("is no S3 server: it ").stdout_has("[list] 0");
    }
}

#[test]
fn an_answer_without_end_is_not_read_to_its_end() {
    let s3 = S3::from_environment();
    for status in [200, 301, 400, 403, 404, 409, 503] {
        let proxy = Proxy::start(&s3.address, move |_, _| {
            Some(Fault::Endless { status, bytes: 200_000_000 })
        });
        let url = s3.url("endless").replace(&s3.address, &proxy.address.to_string());
        let url = format!("{url}&cache_budget=3s");
        Ci::new().args(["cache", "ls", "--store", &url]).run().exits(3);
        // What the system takes for a client that does not read is more than the client reads.
        let requests = proxy.requests().len() as u64;
        assert!(proxy.sent() <= requests * (40 << 20), "{status}: {} in {requests}", proxy.sent());
    }
}

#[test]
fn what_a_server_says_does_not_reach_the_terminal_as_it_is() {
    let s3 = S3::from_environment();
    let said =
        "<Error><Code>Odd\u{9b}2J</Code><Message>a\u{9b}31m\u{202e}b&#x9b;c</Message></Error>";
    let proxy = Proxy::start(&s3.address, move |_, _| {
        Some(Fault::Answer(Answer {
            headers: &["x-amz-bucket-region: \u{9b}1m"],
            ..Answer::new(400, said)
        }))
    });
    let url = s3.url("said").replace(&s3.address, &proxy.address.to_string());
    let told = Ci::new().args(["cache", "ls", "--store", &url]).run().exits(3);
    told.lacks("\u{9b}").lacks("\u{202e}");
    run(LIST, &url, &[]).exits(0).lacks("\u{9b}").lacks("\u{202e}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_leads_nowhere_is_an_error() {
    const BEGINS: &str = "<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>a.tar</Key><Size>1</Size></Contents>";
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    let cases: [(&'static str, &str); 3] = [
        ("", "no token"),
        ("<NextContinuationToken></NextContinuationToken>", "no token"),
        ("<NextContinuationToken>t</NextContinuationToken>", "the same token again"),
    ];
    for (next, reason) in cases {
        let body: &'static str = format!("{BEGINS}{next}</ListBucketResult>").leak();
        let answer = Answer::new(200, body);
        let proxy = Proxy::start(&s3.address, move |_, _| Some(Fault::Answer(answer)));
        let (store, _) = behind(&proxy, "listing", &state);
        let error = store.list(&"".parse().unwrap()).await.unwrap_err().to_string();
        assert!(error.contains("is incomplete") && error.contains(reason), "{error}");
    }
    let uploads = [
        ("", "no marker"),
        (
            "<NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker>",
            "the same marker again",
        ),
    ];
    for (next, reason) in uploads {
        let body: &'static str = format!(
            "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>{next}</ListMultipartUploadsResult>"
        )
        .leak();
        let answer = Answer::new(200, body);
        let proxy = Proxy::start(&s3.address, move |_, _| Some(Fault::Answer(answer)));
        let (store, _) = behind(&proxy, "listing", &state);
        let error = store.uploads(&"".parse().unwrap()).await.unwrap_err().to_string();
        assert!(error.contains("is incomplete") && error.contains(reason), "{error}");
    }
}

/// Two tokens that lead to each other.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_goes_round_in_circles_is_an_error() {
    let s3 = S3::from_environment();
    let state = tempfile::tempdir().unwrap();
    let page = |next: &str| -> &'static str {
        format!("<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken></ListBucketResult>").leak()
    };
    let (a, b) = (page("a"), page("b"));
    let proxy = Proxy::start(&s3.address, move |n, _| {
        Some(Fault::Answer(Answer::new(200, if n % 2 == 0 { a } else { b })))
    });
    let (store, _) = behind(&proxy, "circle", &state);
    let prefix = "".parse().unwrap();
    let listed = tokio::time::timeout(Duration::from_secs(60), store.list(&prefix));
    let error = listed.await.expect("it ends").unwrap_err().to_string();
    assert!(error.contains("the same token again"), "{error}");
}

/// A run ends while its store says nothing.
#[test]
fn a_store_that_says_nothing_holds_up_no_end() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let s3 = S3::from_environment();
    for strict in [false, true] {
        let proxy = Proxy::start(&s3.address, |_, _| Some(Fault::Hold));
        let url = s3.url("hold").replace(&s3.address, &proxy.address.to_string());
        let dsn = format!("native://?cache={url}");
        let mut ci = Ci::pipeline(LIST).args(["--output", "plain", "--driver", &dsn]);
        if strict {
            ci = ci.args(["--cache-strict"]);
        }
        let mut child = ci.spawn();
        proxy.until_held();
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{strict}");
    }
}

/// What a killed run left is cleared up while volumes are restored.
#[test]
fn the_first_restore_does_not_wait_for_the_clean_up() {
    use std::io::Read;
    let s3 = S3::from_environment();
    let name = "sweeping";
    run(BUILD, &s3.url(name), &[]).exits(0);
    let proxy = Proxy::start(&s3.address, |_, head| {
        let line = head.lines().next().unwrap_or_default();
        (line.starts_with("DELETE ") && line.contains("left.tar.zst")).then_some(Fault::Hold)
    });
    let url = s3.url(name).replace(&s3.address, &proxy.address.to_string());
    let ci = Ci::pipeline(BUILD).args([
        "--output",
        "plain",
        "--driver",
        &format!("native://?cache={url}"),
    ]);
    // The journal of a run that was killed.
    let uploads = ci.state().join("ci/uploads");
    std::fs::create_dir_all(&uploads).unwrap();
    let record = serde_json::json!({
        "server": format!("http://{}", proxy.address), "bucket": s3.bucket, "key": "left.tar.zst", "upload": "u",
    });
    let entry = uploads.join("3f0c9a52-7d6b-4c1e-9a55-0d9f6a1b2c3d");
    std::fs::write(&entry, record.to_string()).unwrap();
    let mut child = ci.spawn();
    proxy.until_held();
    let mut log = String::new();
    let mut stdout = child.stdout.take().unwrap();
    let mut byte = [0];
    while !log.contains("volume: ") && stdout.read(&mut byte).unwrap() > 0 {
        log.push(char::from(byte[0]));
    }
    assert!(log.contains("volume: "), "{log}");
    proxy.release();
    stdout.read_to_string(&mut log).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{log}");
    assert!(!entry.exists(), "it was cleared up in the end");
}
