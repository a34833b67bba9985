//! Transfers of volumes that stand still, on whichever side: they end with the stage that does not go on,
//! and the run goes on without.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use archive::Root;
use async_trait::async_trait;
use bytes::Bytes;
use ci::driver::Volume;
use ci::event::CacheOutcome;
use ci::event::EventSink;
use ci::volume::{RunOutcome, Usage, VolumeCache, VolumeName};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use store::{
    CacheConfig, CacheKey, CacheStore, Download, KeyPrefix, Metadata, ObjectInfo, Objects,
    PutCondition, StoreError, Stored, Upload, UploadInfo,
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use transfer::{LocalDirectory, VolumeAccess, VolumeArchive, VolumeStream};

use crate::cache::{LIST, file_cache, run};

/// A disk that does not answer: a file system in user space whose server says nothing.
struct StuckDisk {
    at: TempDir,
    /// The kernel ends what waits for an answer when this is closed.
    server: Option<File>,
}

impl StuckDisk {
    fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(at: TempDir) -> Self {
        let server = OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        mount(Some("stuck"), at.path(), Some("fuse"), MsFlags::empty(), Some(&*options))
            .expect("the suite mounts a file system as root");
        Self { at, server: Some(server) }
    }
}

impl Drop for StuckDisk {
    fn drop(&mut self) {
        self.server = None;
        _ = umount2(self.at.path(), MntFlags::MNT_DETACH);
    }
}

/// A volume that nothing comes out of and nothing goes into.
struct StuckVolume {
    /// Never used; without it the archive would have ended.
    silent: mpsc::Sender<std::io::Result<Bytes>>,
    archive: std::sync::Mutex<Option<VolumeArchive>>,
}

impl StuckVolume {
    fn access() -> VolumeAccess {
        let (silent, archive) = mpsc::channel(1);
        VolumeAccess::Stream(Arc::new(Self {
            silent,
            archive: std::sync::Mutex::new(Some(archive)),
        }))
    }
}

#[async_trait]
impl VolumeStream for StuckVolume {
    fn root(&self) -> Root {
        assert!(!self.silent.is_closed());
        Root::default()
    }

    async fn read(&self) -> std::io::Result<VolumeArchive> {
        Ok(self.archive.lock().unwrap().take().unwrap())
    }

    async fn write(&self, _archive: VolumeArchive) -> std::io::Result<()> {
        std::future::pending().await
    }
}

/// A store that takes no uploads, and is like another one in everything else.
struct StuckStore {
    store: Arc<dyn CacheStore>,
    /// How long it takes to find out that an object is not there.
    slow: Duration,
}

#[async_trait]
impl Objects for StuckStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<(ObjectInfo, Download)>, StoreError> {
        tokio::time::sleep(self.slow).await;
        self.store.get(key).await
    }

    async fn put(
        &self,
        _: &CacheKey,
        _: &Metadata,
        _: &PutCondition,
        parts: Upload,
    ) -> Result<Stored, StoreError> {
        let _parts = parts;
        std::future::pending().await
    }
}

#[async_trait]
impl CacheStore for StuckStore {
    async fn probe(&self, writes: bool) -> Result<(), StoreError> {
        self.store.probe(writes).await
    }

    async fn stat(&self, key: &CacheKey) -> Result<Option<ObjectInfo>, StoreError> {
        self.store.stat(key).await
    }

    async fn tail(
        &self,
        key: &CacheKey,
        bytes: u64,
    ) -> Result<Option<(ObjectInfo, Bytes)>, StoreError> {
        self.store.tail(key, bytes).await
    }

    async fn start(
        &self,
        key: &CacheKey,
        bytes: u64,
    ) -> Result<Option<(ObjectInfo, Bytes)>, StoreError> {
        self.store.start(key, bytes).await
    }

    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<ObjectInfo>, StoreError> {
        self.store.list(prefix).await
    }

    async fn delete(&self, key: &CacheKey, etag: &str) -> Result<bool, StoreError> {
        self.store.delete(key, etag).await
    }

    async fn left_behind(&self) -> Result<u64, StoreError> {
        self.store.left_behind().await
    }

    async fn uploads(&self, prefix: &KeyPrefix) -> Result<Vec<UploadInfo>, StoreError> {
        self.store.uploads(prefix).await
    }

    async fn abort_upload(&self, upload: &UploadInfo) -> Result<bool, StoreError> {
        self.store.abort_upload(upload).await
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        self.store.sweep().await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

/// A cache, and a volume `modules` that it may be used for.
struct Case {
    top: TempDir,
    cache: VolumeCache,
    volume: Volume,
    /// Takes what would be shown to a user.
    _events: mpsc::Receiver<ci::event::Message>,
}

impl Case {
    fn new(
        set: impl FnOnce(&mut CacheConfig),
        store: impl FnOnce(Arc<dyn CacheStore>) -> Arc<dyn CacheStore>,
    ) -> Self {
        let top = tempfile::tempdir().unwrap();
        let url = file_cache(&top.path().join("cache"));
        let mut config = CacheConfig::from_url(&url).unwrap();
        config.stall = Duration::from_secs(1);
        set(&mut config);
        let store = store(store::open(&config, top.path().join("state")));
        let (events, _events) = EventSink::new();
        let cancel = CancellationToken::new();
        let cache = VolumeCache::new(config, store, "test".to_owned(), events, cancel);
        let path = top.path().join("volume");
        fs::create_dir(&path).unwrap();
        let volume = Volume {
            name: VolumeName::new("modules".to_owned()).unwrap(),
            path: path.display().to_string(),
            access: VolumeAccess::Local(LocalDirectory {
                staging: top.path().join("staging"),
                path,
            }),
        };
        Self { top, cache, volume, _events }
    }

    /// Puts a tree with this many random bytes into the cache.
    async fn fill(&self, bytes: usize) {
        let mut volume = self.volume.clone();
        let source = self.top.path().join("source");
        fs::create_dir(&source).unwrap();
        let mut content = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut content);
        fs::write(source.join("file"), content).unwrap();
        let staging = self.top.path().join("unused");
        volume.access = VolumeAccess::Local(LocalDirectory { path: source, staging });
        self.persist(&volume).await;
        assert_eq!(self.cache.failures(), [""; 0]);
    }

    async fn persist(&self, volume: &Volume) {
        let missed = self.cache.restore(volume).await;
        let usage = Usage { mounted: true, ..Usage::default() };
        self.cache.persist(volume, Some(Arc::new(missed)), usage, RunOutcome::Succeeded).await;
    }

    async fn restore_fails_with(&self, reason: &str) {
        let restored = self.cache.restore(&self.volume).await;
        assert_eq!(restored.outcome, CacheOutcome::Failed);
        self.failed_with(reason);
        assert!(is_empty(self.top.path().join("volume")));
    }

    #[track_caller]
    fn failed_with(&self, reason: &str) {
        let failures = self.cache.failures();
        assert!(failures.len() == 1 && failures[0].contains(reason), "{failures:?}");
    }
}

fn is_empty(directory: impl AsRef<Path>) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

/// Runs a test with a bound that only a hang reaches.
fn bounded(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let ended = runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(120), test).await.is_ok() });
    runtime.shutdown_background();
    assert!(ended, "it hangs");
}

#[test]
fn a_disk_that_does_not_answer_leaves_the_volume_empty() {
    bounded(async {
        let disk = StuckDisk::new();
        let mut case = Case::new(|_| {}, |store| store);
        case.fill(1000).await;
        let (path, staging) = (case.top.path().join("volume"), disk.at.path().join("staging"));
        case.volume.access = VolumeAccess::Local(LocalDirectory { path, staging });
        case.restore_fails_with("writing the volume made no progress for 1s").await;
        // The thread that waited for it puts nothing into the volume any more.
        drop(disk);
        assert!(is_empty(case.top.path().join("volume")));
    });
}

#[test]
fn a_driver_that_takes_no_archive_leaves_the_volume_empty() {
    bounded(async {
        let mut case = Case::new(|_| {}, |store| store);
        case.fill(30_000_000).await;
        case.volume.access = StuckVolume::access();
        case.restore_fails_with("writing the volume made no progress for 1s").await;
    });
}

#[test]
fn a_budget_ends_what_a_stall_would_not() {
    bounded(async {
        let set = |config: &mut CacheConfig| {
            config.stall = Duration::from_secs(1000);
            config.budget = Duration::from_secs(4);
        };
        let mut case = Case::new(set, |store| store);
        case.fill(30_000_000).await;
        case.volume.access = StuckVolume::access();
        case.restore_fails_with("gave up after 4s").await;
    });
}

#[test]
fn all_candidates_of_a_restore_have_one_budget() {
    bounded(async {
        let set = |config: &mut CacheConfig| {
            config.stall = Duration::from_secs(1000);
            config.budget = Duration::from_secs(1);
            config.fallback = ["a", "b", "c", "d"].map(|prefix| prefix.parse().unwrap()).to_vec();
        };
        let slow = Duration::from_millis(600);
        let case = Case::new(set, |store| Arc::new(StuckStore { store, slow }));
        case.restore_fails_with("gave up after 1s").await;
    });
}

#[test]
fn a_driver_that_gives_no_archive_ends_the_persist() {
    bounded(async {
        let mut case = Case::new(|_| {}, |store| store);
        case.volume.access = StuckVolume::access();
        case.persist(&case.volume).await;
        case.failed_with("reading the volume made no progress for 1s");
    });
}

#[test]
fn a_store_that_takes_no_upload_ends_the_persist() {
    for bytes in [1000, 60_000_000] {
        bounded(async {
            let case =
                Case::new(|_| {}, |store| Arc::new(StuckStore { store, slow: Duration::ZERO }));
            let content = vec![1; bytes];
            fs::write(case.top.path().join("volume/file"), content).unwrap();
            case.persist(&case.volume).await;
            case.failed_with("the upload made no progress for 1s");
        });
    }
}

#[test]
fn a_store_that_does_not_answer_leaves_the_volume_empty_and_the_run_goes_on() {
    let store = tempfile::tempdir().unwrap();
    let disk =
        StuckDisk::at(tempfile::Builder::new().prefix("p").tempdir_in(store.path()).unwrap());
    let prefix = disk.at.path().file_name().unwrap().to_str().unwrap();
    let cache = format!("{}&cache_prefix={prefix}&cache_stall=1s", file_cache(store.path()));
    run(LIST, &cache, &["--timeout", "100s"])
        .exits(0)
        .stdout_has("the download made no progress for 1s")
        .stdout_has("[list] 0");
}

/// A pipeline that fills volumes with files that do not compress, or counts what is in them.
fn volumes(count: usize, size: usize) -> String {
    format!(
        r#"
        const names = Array.from({{ length: {count} }}, (_, number) => `v${{number}}`);
        const volumes = await Promise.all(names.map((name) => runtime.createVolume({{ name }})));
        const script = `cd v; if [ -e x299 ]; then ls | wc -l; else
            dd if=/dev/urandom bs={size} count=300 iflag=fullblock status=none | split -b {size} -d -a 3 - x; fi`;
        const results = await Promise.all(volumes.map((v, number) => runtime.run({{
            name: `t${{number}}`, image: "busybox", command: {{ path: "sh", args: ["-c", script] }}, mounts: {{ v }},
        }})));
        for (const {{ code }} of results) assert.equal(code, 0);
        console.log(results.map(({{ stdout }}) => stdout.trim()).join(" "));
        "#
    )
}

/// Files that are finished must not keep the memory that the next ones of another volume need.
#[test]
fn volumes_of_many_files_are_restored_at_once() {
    for (count, size) in [(2, 900_000), (3, 512 << 10)] {
        let store = tempfile::tempdir().unwrap();
        let cache = file_cache(store.path());
        let body = volumes(count, size);
        run(&body, &cache, &["--cache-strict", "--timeout", "300s"]).exits(0);
        let expected = vec!["300"; count].join(" ");
        run(&body, &cache, &["--cache-strict", "--timeout", "300s"]).exits(0).stdout_has(&expected);
    }
}
