//! Transfers by a process that has none of the store's credentials, but requests that were signed for it.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use archive::Budget;
use serde::{Deserialize, Serialize};
use store::{
    CacheConfig, CacheKey, CacheStore, Grant, Metadata, PutCondition, SentPart, StoreOptions,
};
use tempfile::TempDir;
use testkit::{S3, content, get, key, open, uploads};
use tokio_util::sync::CancellationToken;
use transfer::{
    Candidate, Deadlines, Execution, LocalDirectory, Operation, Outcome, TransferError,
    TransferJob, TransferReport, VolumeAccess, execute,
};

const VALID: Duration = Duration::from_secs(600);

/// Where the process without credentials finds what it has to do.
const ORDER: &str = "CI_TEST_ORDER";

/// What the process without credentials is given, and all that it has.
#[derive(Serialize, Deserialize)]
struct Order {
    job: TransferJob,
    grant: Grant,
    path: std::path::PathBuf,
    staging: std::path::PathBuf,
}

/// Has a transfer done by a process without an environment.
fn transferred(
    operation: Operation,
    grant: &Grant,
    (top, directory): (&TempDir, &Path),
) -> Result<TransferReport, TransferError> {
    let config = CacheConfig::from_url("file:///unused").unwrap();
    let job = TransferJob {
        operation,
        format: (&config).into(),
        deadlines: Deadlines { stall: VALID, budget: VALID, spent: Duration::ZERO },
    };
    let (path, staging) = (directory.to_owned(), top.path().join("staging"));
    let order = Order { job, grant: grant.clone(), path, staging };
    let file = top.path().join("order.json");
    let text = serde_json::to_string(&order).unwrap();
    let s3 = S3::from_environment();
    assert!(!text.contains(&s3.secret));
    fs::write(&file, text).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "a_process_without_credentials"])
        .env_clear()
        .env(ORDER, &file)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(child.success());
    serde_json::from_slice(&fs::read(file.with_extension("answer")).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "is the child process of the other tests, which run it without credentials"]
async fn a_process_without_credentials() {
    let file = std::path::PathBuf::from(std::env::var(ORDER).unwrap());
    assert_eq!(std::env::vars().filter(|(name, _)| name.contains("AWS")).count(), 0);
    let Order { job, grant, path, staging } =
        serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let options = StoreOptions {
        stall: Duration::from_secs(20),
        budget: VALID,
        retry: Duration::from_secs(20),
        prefix: store::KeyPrefix::default(),
        state: staging.with_extension("state"),
    };
    let store = grant.open(&options).await.unwrap();
    let access = VolumeAccess::Local(LocalDirectory { path, staging });
    let execution = Execution {
        store: Some(&*store),
        volume: Some(&access),
        budget: &Budget::new(100 << 20),
        updates: None,
        cancel: &CancellationToken::new(),
    };
    let answer: Result<TransferReport, TransferError> = execute(&job, execution).await;
    fs::write(file.with_extension("answer"), serde_json::to_vec(&answer).unwrap()).unwrap();
}

struct Case {
    top: TempDir,
    url: String,
    store: Arc<dyn CacheStore>,
}

impl Case {
    fn new(name: &str) -> Self {
        let (top, url) = (tempfile::tempdir().unwrap(), S3::from_environment().url(name));
        let store = open(&url, &top);
        Self { top, url, store }
    }

    fn key(&self, name: &str) -> CacheKey {
        key(&self.url, &format!("{name}.tar.zst"))
    }

    /// A directory with a file of so many bytes that do not compress.
    fn volume(&self, bytes: usize) -> std::path::PathBuf {
        let path = self.top.path().join(format!("source-{bytes}"));
        fs::create_dir_all(path.join("below")).unwrap();
        fs::write(path.join("below/file"), content(3, bytes)).unwrap();
        path
    }

    fn restored(&self, key: &CacheKey, grant: &Grant) -> Result<TransferReport, TransferError> {
        let path = self.top.path().join("restored");
        _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        let candidate = Candidate { key: key.clone(), is_legacy: false, max_age: None };
        let operation = Operation::Restore { candidates: vec![candidate] };
        transferred(operation, grant, (&self.top, &path))
    }
}

fn persist(key: &CacheKey) -> Operation {
    let (metadata, condition) = (Metadata::default(), PutCondition::None);
    Operation::Persist { key: key.clone(), metadata, condition }
}

fn parts(report: TransferReport) -> (Vec<SentPart>, u64) {
    match report.outcome {
        Outcome::Sent { parts } => (parts, report.bytes),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_persisted_and_restored_by_signed_requests_alone() {
    let case = Case::new("granted");
    let grants = case.store.grants().unwrap();
    for bytes in [0, 1000, 8 << 20, 30_000_000] {
        let (volume, key) = (case.volume(bytes), case.key(&format!("v{bytes}")));
        let metadata =
            Metadata { writer: Some("test".into()), version: Some(1), ..Metadata::default() };
        let (grant, upload) =
            grants.grant_write(&key, &metadata, bytes as u64 + 100_000, VALID).await.unwrap();
        assert!(!format!("{grant:?}").contains("Signature"), "{grant:?}");
        let report = transferred(persist(&key), &grant, (&case.top, &volume)).unwrap();
        let digest = report.digest;
        let (parts, size) = parts(report);
        // Only the holder of the credentials publishes it.
        assert!(get(&*case.store, &key).await.unwrap().is_none());
        grants.complete(upload, parts, size, &PutCondition::Ours(None)).await.unwrap();
        assert_eq!(get(&*case.store, &key).await.unwrap().unwrap().len() as u64, size);

        let grant = grants.grant_read(&key, VALID).await.unwrap();
        let report = case.restored(&key, &grant).unwrap();
        assert_eq!(report.outcome, Outcome::Restored { candidate: 0 });
        assert_eq!((report.digest, report.bytes), (digest, size));
        assert_eq!(report.object.unwrap().metadata.writer.as_deref(), Some("test"));
        let read = fs::read(case.top.path().join("restored/below/file")).unwrap();
        assert!(read == content(3, bytes), "{bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_an_upload_that_is_not_completed() {
    let case = Case::new("given-up");
    let grants = case.store.grants().unwrap();
    let key = case.key("v");
    let volume = case.volume(20_000_000);
    let metadata = Metadata::default();
    // Allowed are two parts, which the archive does not fit into.
    let (grant, upload) = grants.grant_write(&key, &metadata, 16 << 20, VALID).await.unwrap();
    let error = transferred(persist(&key), &grant, (&case.top, &volume)).unwrap_err();
    assert!(error.to_string().contains("is larger than the upload that was granted"), "{error}");
    assert_eq!(uploads(&case.url).await.len(), 1);
    drop(upload);
    case.store.close().await;
    assert_eq!(uploads(&case.url).await.len(), 0);
    assert!(get(&*case.store, &key).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_for_one_object_and_one_purpose() {
    let case = Case::new("purpose");
    let grants = case.store.grants().unwrap();
    let (key, other) = (case.key("v"), case.key("other"));
    let volume = case.volume(10);
    let grant = grants.grant_read(&key, VALID).await.unwrap();
    let report = case.restored(&key, &grant).unwrap();
    assert!(matches!(report.outcome, Outcome::Missing { .. }), "{report:?}");
    for error in [
        case.restored(&other, &grant).unwrap_err(),
        transferred(persist(&key), &grant, (&case.top, &volume)).unwrap_err(),
    ] {
        assert!(matches!(error, TransferError::Denied(_)), "{error:?}");
        assert!(error.to_string().contains("nobody has granted access to"), "{error}");
    }
    // One that somebody has changed.
    let text = serde_json::to_string(&grant).unwrap();
    let at = text.find("X-Amz-Signature=").unwrap() + "X-Amz-Signature=".len();
    let digit = if text[at..].starts_with('0') { "1" } else { "0" };
    let forged = format!("{}{digit}{}", &text[..at], &text[at + 1..]);
    let error = case.restored(&key, &serde_json::from_str(&forged).unwrap()).unwrap_err();
    assert!(matches!(error, TransferError::Denied(_)), "{error:?}");
    assert!(!error.to_string().contains("Signature"), "{error}");
}
