//! Every wait ends: with a stop, with the first error, and when a thread panics.

use std::io;
use std::sync::{Arc, Condvar, Mutex};

use archive::{
    self, Budget, Compression, Control, PackError, Sink, Source, Stage, UnpackError, Wake,
};
use bytes::Bytes;

use super::pressure::watched;
use super::{Buffer, pack, pack_options, parts, unpack_options};

/// Does not answer until it is interrupted.
#[derive(Clone, Default)]
struct Stuck(Arc<(Mutex<bool>, Condvar)>);

impl Stuck {
    fn wait(&self) -> io::Error {
        let Self(shared) = self;
        let interrupted = shared.0.lock().unwrap();
        drop(shared.1.wait_while(interrupted, |interrupted| !*interrupted).unwrap());
        io::Error::other("interrupted")
    }

    fn interrupt(&self) -> Option<Arc<dyn Wake>> {
        Some(Arc::new(self.clone()))
    }
}

impl Wake for Stuck {
    fn wake(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

/// Gives these bytes, and then nothing more.
struct StuckSource(Option<Bytes>, Stuck);

impl Source for StuckSource {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        match self.0.take() {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(self.1.wait()),
        }
    }

    fn interrupt(&self) -> Option<Arc<dyn Wake>> {
        self.1.interrupt()
    }
}

struct StuckSink(Stuck);

impl Sink for StuckSink {
    fn write(&mut self, _: Bytes) -> io::Result<()> {
        Err(self.0.wait())
    }

    fn interrupt(&self) -> Option<Arc<dyn Wake>> {
        self.0.interrupt()
    }
}

/// Stops the work as soon as it is in a stage.
fn stop_in(stage: Stage, control: &Control) -> std::thread::JoinHandle<()> {
    let control = control.clone();
    std::thread::spawn(move || {
        while control.stage() != Some(stage) {
            std::thread::yield_now();
        }
        control.stop();
    })
}

fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    std::fs::write(tree.path().join("a"), vec![1; 3_000_000]).unwrap();
    tree
}

#[test]
fn a_stop_ends_the_wait_for_a_source() {
    let whole = pack(tree().path(), Compression::Zstd);
    for length in [0, 4, 30, whole.len() / 2, whole.len()] {
        for compression in Compression::ALL {
            let start = Bytes::copy_from_slice(&whole[..length]);
            watched(&format!("{compression:?}, {length} bytes"), move || {
                let (root, control) = (tempfile::tempdir().unwrap(), Control::new());
                let stopper = stop_in(Stage::Download, &control);
                let mut source = StuckSource(Some(start), Stuck::default());
                let options = unpack_options();
                let result =
                    archive::unpack(&mut source, compression, root.path(), &options, &control);
                assert!(matches!(result, Err(UnpackError::Stopped | UnpackError::Corrupt(_))));
                control.stop();
                // It may have seen the end of the work before the stage.
                drop(stopper);
            });
        }
    }
}

#[test]
fn a_stop_ends_the_wait_for_a_sink() {
    watched("packing", || {
        let control = Control::new();
        let stopper = stop_in(Stage::Upload, &control);
        let options = pack_options(Compression::Zstd);
        let mut sink = StuckSink(Stuck::default());
        let result = archive::pack(tree().path(), &options, &mut sink, &control);
        assert!(matches!(result, Err(PackError::Stopped | PackError::Sink(_))), "{result:?}");
        stopper.join().unwrap();
    });
}

#[test]
fn a_stop_ends_the_wait_for_memory() {
    watched("two archives with memory for one", || {
        let options = archive::UnpackOptions { budget: Budget::new(0), ..unpack_options() };
        let (first, second) = (Control::new(), Control::new());
        std::thread::scope(|scope| {
            let stuck = scope.spawn(|| unpack_nothing(&options, &first));
            while first.stage() != Some(Stage::Download) {
                std::thread::yield_now();
            }
            stop_in(Stage::Memory, &second);
            assert!(matches!(unpack_nothing(&options, &second), UnpackError::Stopped));
            first.stop();
            stuck.join().unwrap();
        });
    });
}

/// Unpacks an archive that never comes.
fn unpack_nothing(options: &archive::UnpackOptions, control: &Control) -> UnpackError {
    let root = tempfile::tempdir().unwrap();
    let mut source = StuckSource(None, Stuck::default());
    archive::unpack(&mut source, Compression::Zstd, root.path(), options, control).unwrap_err()
}

#[test]
fn an_error_does_not_wait_for_a_source_that_gives_no_more() {
    watched("unpacking", || {
        let root = tempfile::tempdir().unwrap();
        // No tar archive, and no end.
        let mut source = StuckSource(Some(Bytes::from(vec![1; 2000])), Stuck::default());
        let options = unpack_options();
        let plain = Compression::None;
        let result = archive::unpack(&mut source, plain, root.path(), &options, &Control::new());
        assert!(matches!(result, Err(UnpackError::Corrupt(_))), "{result:?}");
    });
}

#[test]
fn an_error_does_not_wait_for_a_sink_that_takes_no_more() {
    watched("packing", || {
        let tree = tree();
        std::os::unix::fs::symlink("../../..", tree.path().join("z")).unwrap();
        let mut sink = StuckSink(Stuck::default());
        let options = pack_options(Compression::Zstd);
        let result = archive::pack(tree.path(), &options, &mut sink, &Control::new());
        assert!(matches!(result, Err(PackError::Refused { .. })), "{result:?}");
    });
}

#[test]
fn a_file_that_cannot_be_created_ends_everything_with_its_error() {
    let whole = pack(tree().path(), Compression::Zstd);
    watched("unpacking", move || {
        let top = tempfile::tempdir().unwrap();
        // Something is in the way of what is not known to be there.
        std::fs::write(top.path().join("a"), "in the way").unwrap();
        let options = unpack_options();
        let zstd = Compression::Zstd;
        let result =
            archive::unpack(&mut parts(&whole), zstd, top.path(), &options, &Control::new());
        assert!(matches!(result, Err(UnpackError::Io { .. })), "{result:?}");
    });
}

struct Panicking;

impl Source for Panicking {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        panic!("the source has a bug");
    }
}

impl Sink for Panicking {
    fn write(&mut self, _: Bytes) -> io::Result<()> {
        panic!("the sink has a bug");
    }
}

#[test]
fn a_thread_that_panics_ends_the_work_with_an_error() {
    watched("unpacking and packing", || {
        for compression in Compression::ALL {
            let root = tempfile::tempdir().unwrap();
            let (options, control) = (unpack_options(), Control::new());
            let result =
                archive::unpack(&mut Panicking, compression, root.path(), &options, &control);
            let error = result.unwrap_err().to_string();
            assert!(error.contains("`split` panicked: the source has a bug"), "{error}");
            let options = pack_options(compression);
            let result = archive::pack(tree().path(), &options, &mut Panicking, &control);
            let error = result.unwrap_err().to_string();
            assert!(error.contains("`deliver` panicked: the sink has a bug"), "{error}");
            // One archive has nothing to do with another one.
            let mut buffer = Buffer::default();
            archive::pack(tree().path(), &options, &mut buffer, &control).unwrap();
        }
    });
}
