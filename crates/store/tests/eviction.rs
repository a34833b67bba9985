//! A store in a directory that has to stay below a size.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::collections::HashSet;
use std::fs::{File, FileTimes, Metadata as FileMetadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use store::{CacheKey, CacheStore, DirectoryStore, Eviction, Metadata, Objects};
use tempfile::TempDir;
use testkit::{content, get, put_with};

struct Case {
    dir: TempDir,
    store: DirectoryStore,
    start: SystemTime,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = DirectoryStore::new(dir.path().to_owned());
        // Whole seconds, since not every file system has more.
        let start = SystemTime::UNIX_EPOCH
            + Duration::from_secs(
                SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(),
            );
        Self { dir, store, start }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.path().join(key)
    }

    /// Puts an archive that was used last so many hours from now: a use in the past would be before its writing.
    async fn put(&self, key: &str, size: usize, used: u64) {
        let ours =
            Metadata { writer: Some("a run".into()), version: Some(1), ..Metadata::default() };
        put_with(&self.store, &key.parse().unwrap(), &ours, content(1, size)).await.unwrap();
        use_at(&self.path(key), self.start + Duration::from_secs(used * 3600));
    }

    async fn evict(&self, limit: u64, kept: &[&str]) -> Eviction {
        let kept: HashSet<CacheKey> = kept.iter().map(|key| key.parse().unwrap()).collect();
        self.store.evict(limit, kept).await.unwrap()
    }

    async fn left(&self) -> Vec<String> {
        let left = self.store.list(&"".parse().unwrap()).await.unwrap();
        left.iter().map(|archive| archive.key.to_string()).collect()
    }
}

fn use_at(path: &Path, time: SystemTime) {
    File::open(path).unwrap().set_times(FileTimes::new().set_accessed(time)).unwrap();
}

fn times(path: &Path) -> (SystemTime, SystemTime) {
    let found: FileMetadata = path.metadata().unwrap();
    (found.accessed().unwrap(), found.modified().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_used_for_longest_goes_first_of_all_projects() {
    let case = Case::new();
    case.put("a/old.tar", 100, 1).await;
    case.put("b/older.tar", 100, 0).await;
    case.put("b/new.tar", 100, 9).await;
    case.put("in-the-root.tar", 100, 2).await;
    let eviction = case.evict(400, &[]).await;
    assert_eq!((eviction.removed, eviction.kept), (0, 0));
    let eviction = case.evict(399, &[]).await;
    assert_eq!((eviction.removed, eviction.bytes), (1, 100));
    assert_eq!(case.left().await, ["a/old.tar", "b/new.tar", "in-the-root.tar"]);
    let eviction = case.evict(150, &["a/old.tar"]).await;
    assert_eq!((eviction.removed, eviction.kept), (2, 100));
    assert_eq!(case.left().await, ["a/old.tar"]);
    // Nothing of it is left beside it either.
    assert_eq!(std::fs::read_dir(case.path("b")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_too_large_by_itself_goes_and_is_told() {
    let case = Case::new();
    case.put("small.tar", 100, 0).await;
    case.put("large.tar", 1000, 1).await;
    case.put("mine.tar", 400, 2).await;
    let eviction = case.evict(500, &["large.tar", "mine.tar"]).await;
    let too_large: Vec<&str> = eviction.too_large.iter().map(|it| it.key.as_str()).collect();
    assert_eq!((too_large, eviction.removed, eviction.kept), (vec!["large.tar"], 1, 400));
    assert_eq!(case.left().await, ["mine.tar", "small.tar"]);
    // Together they are more than there is room for, and each one fits.
    case.put("mine-too.tar", 400, 2).await;
    let eviction = case.evict(500, &["mine.tar", "mine-too.tar"]).await;
    assert_eq!((eviction.removed, eviction.kept, eviction.too_large.len()), (1, 800, 0));
    assert_eq!(case.left().await, ["mine-too.tar", "mine.tar"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_that_this_program_has_not_written() {
    let case = Case::new();
    case.put("p/ours.tar", 100, 1).await;
    case.put("p/copied.tar", 100, 0).await;
    std::fs::copy(case.path("p/copied.tar"), case.path("p/copy.tar")).unwrap();
    for name in ["p/photos.tar.zst", "photos.tar", "p/notes.txt", ".ci-meta-notes"] {
        std::fs::write(case.path(name), vec![0; 1000]).unwrap();
    }
    let away = tempfile::tempdir().unwrap();
    std::fs::write(away.path().join("far.tar"), "of somebody else").unwrap();
    std::os::unix::fs::symlink(away.path(), case.path("link")).unwrap();
    std::os::unix::fs::symlink(away.path().join("far.tar"), case.path("far.tar")).unwrap();
    let eviction = case.evict(0, &[]).await;
    assert_eq!((eviction.removed, eviction.bytes), (2, 200));
    for name in ["p/copy.tar", "p/photos.tar.zst", "photos.tar", "p/notes.txt", ".ci-meta-notes"] {
        assert!(case.path(name).exists(), "{name}");
    }
    assert!(case.path("link").exists() && case.path("far.tar").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_there_needs_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let store = DirectoryStore::new(dir.path().join("absent"));
    assert_eq!(store.evict(0, HashSet::new()).await.unwrap().removed, 0);
    assert!(!dir.path().join("absent").exists());
}

/// Both have the same store before them, and each one removes what the other one has left.
#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_remove_no_more_than_one() {
    let case = Case::new();
    for number in 0..40 {
        case.put(&format!("p{}/v{number:02}.tar", number % 4), 100, number).await;
    }
    let other = DirectoryStore::new(case.dir.path().to_owned());
    let (one, two) =
        tokio::join!(case.store.evict(1000, HashSet::new()), other.evict(1000, HashSet::new()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.removed + two.removed, 30);
    assert!(one.failed.is_none() && two.failed.is_none());
    let mut left = case.left().await;
    left.sort_by_key(|key| key.split_once('/').unwrap().1.to_owned());
    assert_eq!(left.len(), 10);
    assert!(left[0].ends_with("v30.tar"), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_an_archive_reads_it_to_its_end() {
    let case = Case::new();
    case.put("v.tar", 20_000_000, 0).await;
    let (_, mut download) = case.store.get(&"v.tar".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(case.evict(0, &[]).await.removed, 1);
    let mut bytes = 0;
    while let Some(chunk) = download.next().await.unwrap() {
        bytes += chunk.len();
    }
    assert_eq!(bytes, 20_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_is_recorded_and_reading_alone_is_none() {
    let case = Case::new();
    let key: CacheKey = "v.tar".parse().unwrap();
    case.put("v.tar", 100, 5).await;
    let before = case.store.stat(&key).await.unwrap().unwrap();
    assert_eq!(before.used, Some(case.start + Duration::from_secs(5 * 3600)));
    case.store.touch(&key).await.unwrap();
    let after = case.store.stat(&key).await.unwrap().unwrap();
    assert!(after.used < before.used && after.used >= Some(case.start), "{after:?}");
    // It is the same archive, of the same age, and proves whose it is.
    assert_eq!((&after.etag, after.modified), (&before.etag, before.modified));
    assert!(after.metadata.is_ours());
    assert!(case.store.touch(&"absent.tar".parse().unwrap()).await.is_ok());

    use_at(&case.path("v.tar"), SystemTime::UNIX_EPOCH);
    let before = times(&case.path("v.tar"));
    get(&case.store, &key).await.unwrap().unwrap();
    case.store.tail(&key, 10).await.unwrap().unwrap();
    assert_eq!(times(&case.path("v.tar")), before);
}
