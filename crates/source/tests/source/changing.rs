//! Files that change while they are copied.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use source::{Selection, SourceError};

use super::{Place, git};

/// Runs `change` again and again on a thread of its own while `work` runs.
fn while_changing<T>(change: impl Fn(u64) + Sync, work: impl FnOnce() -> T) -> T {
    /// Also if `work` panics, or nobody would end the thread.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (stop, started) = (AtomicBool::new(false), std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            started.wait();
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                change(round);
                round += 1;
            }
        });
        started.wait();
        work()
    })
}

/// Whether these bytes are what one round wrote.
fn is_whole(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == bytes[0])
}

#[test]
fn a_file_that_is_rewritten_all_the_time_is_whole_or_an_error() {
    let place = Place::empty();
    let size = 3 << 20;
    fs::write(place.root.join("busy"), vec![0_u8; size]).unwrap();
    let file = File::options().write(true).open(place.root.join("busy")).unwrap();
    let change = |round: u64| file.write_all_at(&vec![round as u8; size], 0).unwrap();
    while_changing(change, || {
        for _ in 0..10 {
            match place.import(&Selection::default()) {
                Ok(copy) => {
                    let bytes = fs::read(copy.root.join("busy")).unwrap();
                    assert!(bytes.len() == size && is_whole(&bytes));
                }
                Err(SourceError::Changed { path, attempts }) => {
                    assert_eq!((&*path, attempts), ("busy", 8));
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
}

#[test]
fn files_that_editors_replace_are_whole() {
    let place = Place::empty();
    let names: Vec<String> = (0..50).map(|name| name.to_string()).collect();
    names.iter().for_each(|name| fs::write(place.root.join(name), vec![0; 300_000]).unwrap());
    let change = |round: u64| {
        let name = &names[(round % 50) as usize];
        fs::write(place.top.join("new"), vec![round as u8; 300_000]).unwrap();
        fs::rename(place.top.join("new"), place.root.join(name)).unwrap();
    };
    while_changing(change, || {
        for _ in 0..5 {
            let copy = place.import(&Selection::default()).unwrap();
            for name in &names {
                let bytes = fs::read(copy.root.join(name)).unwrap();
                assert!(bytes.len() == 300_000 && is_whole(&bytes));
            }
        }
    });
}

#[test]
fn files_that_come_and_go_do_no_harm() {
    let place = Place::with(&["stays", "d/stays"]);
    let change = |round: u64| {
        let directory = place.root.join(format!("d/{}", round % 20));
        if fs::create_dir(&directory).is_ok() {
            fs::write(directory.join("x"), "x").unwrap();
            // A link to what must never be in a copy takes the place of a directory.
            std::os::unix::fs::symlink("/etc", directory.join("link")).unwrap();
        } else if directory.is_symlink() {
            fs::remove_file(&directory).unwrap();
        } else {
            fs::remove_dir_all(&directory).unwrap();
            std::os::unix::fs::symlink("/etc", &directory).unwrap();
        }
    };
    while_changing(change, || {
        for _ in 0..50 {
            let copy = place.import(&Selection::default()).unwrap();
            let files = copy.files();
            assert!(files.contains(&"d/stays".to_owned()) && files.contains(&"stays".to_owned()));
            assert!(files.iter().all(|file| !file.contains("passwd")), "{files:?}");
        }
    });
}

#[test]
fn a_repository_that_grows_is_copied_with_all_that_it_names() {
    let place = Place::repository(&["a"]);
    place.commit();
    let change = |round: u64| {
        // On a slow machine no copy is faster than a commit, so these have an end.
        if round >= 40 {
            return std::thread::yield_now();
        }
        git(&place.root, &["commit", "--quiet", "--allow-empty", "--message=y"]);
        if round % 4 == 3 {
            git(&place.root, &["repack", "-a", "-d", "--quiet"]);
        }
    };
    let mut copies = 0;
    while_changing(change, || {
        while copies < 10 {
            match place.import(&Selection::default()) {
                Ok(copy) => {
                    copy.git(&["fsck", "--strict"]);
                    copies += 1;
                }
                Err(error) => assert!(matches!(error, SourceError::Changed { .. }), "{error}"),
            }
        }
    });
}
