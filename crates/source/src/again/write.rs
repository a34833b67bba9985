//! The index of a tree that is as it should be.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use rustix::fd::OwnedFd;
use rustix::fs::fstat;

use super::compare::State;
use super::format::{self, Block, Identity, Index, Item, Root};
use super::header::boot;
use super::plan::{Target, Targets};
use super::trust::{is_plain, tells_changes};
use crate::batch::with_threads;
use crate::content::TICK;
use crate::handle::open_below;
use crate::listing::Stamp;
use crate::made::{Made, MadeFiles, Own, is_settled};

/// How long a thread sleeps before it looks at the clock again.
const PAUSE: Duration = Duration::from_millis(1);

/// What was in a tree before, and is known of it.
#[derive(Default)]
pub struct Old<'a> {
    pub index: Option<&'a Index<'a>>,
    pub states: HashMap<PathBuf, State>,
    /// Directories in which something was made or removed, or whose mode or time was set.
    pub touched: HashMap<PathBuf, bool>,
    /// Whether repositories changed while they were copied.
    pub is_unsettled: bool,
}

/// Writes the index. Where the file system does not tell of changes there is none.
pub fn write(
    tree: &OwnedFd,
    file: &Path,
    digest: [u8; 32],
    targets: &Targets<'_>,
    old: &Old<'_>,
    made: MadeFiles,
) -> io::Result<()> {
    let stat = fstat(tree)?;
    let Some(boot) = boot().filter(|_| tells_changes(tree) && is_plain(tree)) else {
        return Ok(());
    };
    let root = Root { boot, digest, device: Stamp::of(&stat).device, own: Own::of(&stat) };
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = file.with_file_name(name);
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = fill(new, tree, &root, targets, old, made);
    let written = written.and_then(|()| std::fs::rename(&temporary, file));
    if written.is_err() {
        _ = std::fs::remove_file(&temporary);
    }
    written
}

fn fill(
    mut new: File,
    tree: &OwnedFd,
    root: &Root,
    targets: &Targets<'_>,
    old: &Old<'_>,
    made: MadeFiles,
) -> io::Result<()> {
    let mut by_path: HashMap<PathBuf, Vec<Made>> = HashMap::new();
    for (path, made) in made.into_vec() {
        by_path.entry(path).or_default().extend(made);
    }
    // Among the same names the last one was made last.
    by_path.values_mut().for_each(|made| made.sort_by(|one, other| one.name.cmp(&other.name)));
    let writer = Writer { tree, device: root.device, old, made: &by_path };
    let indexed = with_threads(|_| {
        let blocks = targets.all.par_iter().map(|target| writer.block(target));
        let blocks = blocks.collect::<io::Result<Vec<_>>>()?;
        let latest = blocks.iter().filter_map(|block| block.latest).max();
        let mut bytes = format::begin(root);
        bytes.reserve(blocks.iter().map(|block| block.bytes.len()).sum());
        blocks.iter().for_each(|block| bytes.extend_from_slice(&block.bytes));
        format::end(&mut bytes);
        Ok::<_, io::Error>((bytes, latest))
    });
    let (bytes, latest) = indexed.map_err(io::Error::other)??;
    new.write_all(&bytes)?;
    match latest {
        Some(latest) => wait_for_tick(latest),
        None => Ok(()),
    }
}

/// Waits until a change would get another time than the last one of the import.
fn wait_for_tick(latest: (i64, u32)) -> io::Result<()> {
    let begun = Instant::now();
    while !is_settled(latest) {
        // The clock has been set, or is another one than the file system's.
        if begun.elapsed() > TICK * 3 {
            return Err(io::Error::other("the time of a change is in the future"));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The block of a directory.
struct NewBlock<'a> {
    bytes: Cow<'a, [u8]>,
    /// When something in it was changed last, if this import may have done so.
    latest: Option<(i64, u32)>,
}

struct Writer<'a> {
    tree: &'a OwnedFd,
    /// Of the tree.
    device: u64,
    old: &'a Old<'a>,
    made: &'a HashMap<PathBuf, Vec<Made>>,
}

impl<'a> Writer<'a> {
    fn block(&self, target: &Target<'_>) -> io::Result<NewBlock<'a>> {
        let old = self.old.index.and_then(|index| index.directories.get(target.path));
        let state = self.old.states.get(target.path);
        let is_unsettled = target.is_git && self.old.is_unsettled;
        let is_touched = self.old.touched.get(target.path).is_none_or(|touched| *touched);
        let is_same = matches!(state, Some(State::Same { is_untouched: true, .. }))
            && !is_touched
            && !is_unsettled;
        if let Some(old) = old.filter(|old| is_same && old.is_complete) {
            return Ok(NewBlock { bytes: Cow::Borrowed(old.raw), latest: None });
        }
        let directory = open_below(self.tree, target.path)?;
        let stat = fstat(&directory)?;
        let own = Own::of(&stat);
        let entries = target.entries();
        let old = old.filter(|_| !matches!(state, None | Some(State::New)));
        let items = self.items(target, old, state, &entries);
        let is_complete = items.len() == entries.len()
            && !target.has_written
            && !is_unsettled
            && Stamp::of(&stat).device == self.device
            && own.changed.1 != 0;
        let latest = items.iter().map(|item| item.own.changed).chain([own.changed]).max();
        let device = target.device.unwrap_or(0);
        let block = format::block(target.path, is_complete, device, &own, items.into_iter());
        let block = block.map(|bytes| NewBlock { bytes: Cow::Owned(bytes), latest });
        block.ok_or_else(|| io::Error::other("a path is too long"))
    }

    /// What is certain of the entries of a directory.
    fn items<'e>(
        &'e self,
        target: &Target<'e>,
        old: Option<&'e Block<'e>>,
        state: Option<&State>,
        entries: &[&'e crate::listing::Entry],
    ) -> Vec<Item<'e>> {
        if target.device.is_none() {
            return Vec::new();
        }
        let made = self.made.get(target.path).map_or(&[][..], |made| &made[..]);
        let mut items = Vec::with_capacity(entries.len());
        let mut old = old.map(|old| old.items().peekable());
        for entry in entries {
            let source = Identity::of(&entry.stamp);
            let before = old.as_mut().and_then(|old| {
                while old.next_if(|item| *item.name < *entry.name).is_some() {}
                old.next_if(|item| *item.name == *entry.name)
            });
            let before = before.filter(|_| match state {
                Some(State::Changed(change)) => !change.copied.contains(&entry.name),
                state => state.is_some(),
            });
            let end = made.partition_point(|made| made.name <= entry.name);
            let now = made[..end].last().filter(|made| made.name == entry.name);
            let item = match now {
                Some(made) => Some(Item {
                    name: &entry.name,
                    source: Identity::of(&made.source),
                    own: made.own,
                }),
                None => before,
            };
            let is_certain = |item: &Item<'_>| {
                item.source == source && target.device == Some(entry.stamp.device)
            };
            items.extend(item.filter(is_certain));
        }
        items
    }
}
