//! Takes out of a tree what its comparison says.

use std::path::Path;

use super::compare::State;
use super::format::Index;
use super::plan::Targets;
use super::remove::Remover;
use super::stop::Stop;
use crate::destination::KEPT;

/// Removes what does not belong into a tree and what is copied anew. What is below a directory that is made anew
/// becomes new too. Returns for each directory whether an entry of it was removed or is to be made.
pub fn clear(
    remover: &mut Remover<'_>,
    targets: &Targets<'_>,
    states: &mut [State],
    index: &Index<'_>,
) -> Result<Vec<bool>, Stop> {
    let mut touched = vec![false; states.len()];
    let mode = |at: usize| {
        let target = &targets.all[at];
        match index.directories.get(target.path) {
            Some(root) if target.path.as_os_str().is_empty() => root.own.mode,
            _ => target.sources[0].stamp.mode & KEPT,
        }
    };
    for (at, target) in targets.all.iter().enumerate() {
        let above = targets.above(target.path);
        if above.is_some_and(|above| matches!(states[above], State::New)) {
            states[at] = State::New;
            continue;
        }
        match &states[at] {
            State::Same { .. } => {}
            State::New => {
                let above = above.ok_or_else(|| Stop::unusable("its directory is not known"))?;
                take_out(remover, targets.all[above].path, mode(above), target.path)?;
                touched[above] = true;
            }
            State::Changed(change) if change.removed.is_empty() && change.copied.is_empty() => {}
            State::Changed(change) => {
                let directory = remover.open(target.path, mode(at))?;
                for (name, is_directory) in &change.removed {
                    remover.remove(&directory, target.path, name, *is_directory)?;
                }
                touched[at] = true;
            }
        }
    }
    // A directory that is as it was made is not read, so what was made in it but is gone from the project is
    // known from the index alone.
    for path in index.directories.keys().filter(|path| !targets.by_path.contains_key(**path)) {
        let Some(above) = targets.above(path) else { continue };
        if !matches!(states[above], State::New) {
            take_out(remover, targets.all[above].path, mode(above), path)?;
            touched[above] = true;
        }
    }
    Ok(touched)
}

/// Removes a directory, or what has taken its place.
fn take_out(remover: &mut Remover<'_>, above: &Path, mode: u32, path: &Path) -> Result<(), Stop> {
    let directory = remover.open(above, mode)?;
    remover.remove(&directory, above, path.file_name().unwrap_or_default(), true).map(drop)
}
