//! Imports that are cancelled.

use std::fs;
use std::sync::Arc;

use source::{Progress, Selection, SourceError, import};

use super::{Place, options};

/// The threads of this process that an import has started.
fn threads() -> usize {
    let names = fs::read_dir("/proc/self/task").unwrap().filter_map(|task| {
        // A thread may end while they are counted.
        fs::read_to_string(task.unwrap().path().join("comm")).ok()
    });
    names.filter(|name| name.starts_with("import-")).count()
}

#[test]
fn an_import_that_is_cancelled_before_copies_nothing() {
    let place = Place::with(&["a"]);
    let to = place.top.join("copy");
    fs::create_dir(&to).unwrap();
    let progress = Progress::default();
    progress.cancel();
    let copied = import(&place.project(), &Selection::default(), &options(), &to, &progress);
    assert!(matches!(copied, Err(SourceError::Cancelled)));
    assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
}

#[test]
fn an_import_that_is_cancelled_leaves_no_thread() {
    let place = Place::empty();
    for directory in 0..100 {
        let path = place.root.join(directory.to_string());
        fs::create_dir(&path).unwrap();
        (0..100).for_each(|file| fs::write(path.join(file.to_string()), [1; 5000]).unwrap());
    }
    let to = place.top.join("copy");
    fs::create_dir(&to).unwrap();
    let progress = Arc::new(Progress::default());
    let (project, watched, target) = (place.project(), progress.clone(), to.clone());
    let importing = std::thread::spawn(move || {
        import(&project, &Selection::default(), &options(), &target, &watched)
    });
    while progress.files() == 0 {
        std::thread::yield_now();
    }
    progress.cancel();
    let copied = importing.join().unwrap();
    assert!(matches!(copied, Err(SourceError::Cancelled)), "{copied:?}");
    assert!(progress.files() < 10_000);
    // A thread that has done its work is still there for a moment.
    while threads() > 0 {
        std::thread::yield_now();
    }
}
