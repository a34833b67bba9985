//! Files of the project as a volume.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use source::{Imported, Progress, Project, Selection};
use tokio_util::sync::CancellationToken;
use transfer::VolumeAccess;

use super::kept::{self, Wanted};
use super::{FilesError, ProjectFiles};
use crate::driver::Volume;
use crate::event::RunEvent;
use crate::process::scratch::Scratch;

impl ProjectFiles {
    /// A new volume with files of the project, or of the input of this name, as they are now.
    pub async fn import(
        &self,
        input: Option<&str>,
        selection: Selection,
    ) -> Result<Volume, FilesError> {
        let project = self.directory(input)?.clone();
        let begun = Instant::now();
        let volume = self.volumes.create(None, None).await?;
        let imported = match &volume.access {
            VolumeAccess::Local(directory) => {
                let copied = self.fill(project, selection, directory.path.clone()).await;
                if copied.is_err() {
                    // Nobody gets the volume, which would hold a part of the project until the run ends.
                    let path = directory.path.clone();
                    _ = tokio::task::spawn_blocking(move || clear(&path)).await;
                }
                copied?
            }
            VolumeAccess::Stream(stream) => {
                let scratch = Scratch::new().map_err(|error| {
                    FilesError::io("make a directory in", &crate::process::state::directory())(
                        error,
                    )
                })?;
                let tree = scratch.content();
                std::fs::create_dir(&tree).map_err(FilesError::io("make", &tree))?;
                let imported = self.copy(project, selection, tree.clone()).await?;
                transfer::send_tree(&tree, &**stream, &self.budget, self.cancel())
                    .await
                    .map_err(FilesError::volume(&volume.name))?;
                scratch.remove().await;
                imported
            }
        };
        for notice in imported.notices {
            self.events.notice(notice);
        }
        self.events
            .send(RunEvent::SourceImported {
                volume: volume.name.to_string(),
                files: imported.files + imported.kept,
                bytes: imported.size,
                duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            })
            .await;
        Ok(volume)
    }

    /// The project, or an input by its name.
    fn directory(&self, input: Option<&str>) -> Result<&Project, FilesError> {
        let Some(name) = input else { return Ok(&self.directories.project) };
        self.directories.inputs.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.directories.inputs.keys().map(String::as_str).collect();
            let known = match known.is_empty() {
                true => "none is given".to_owned(),
                false => format!("given are `{}`", known.join("`, `")),
            };
            FilesError::Refused(format!(
                "there is no input `{name}` ({known}), name its directory with `--input {name}=DIR`"
            ))
        })
    }

    /// Fills the directory of a volume.
    async fn fill(
        &self,
        project: Project,
        selection: Selection,
        to: PathBuf,
    ) -> Result<Imported, FilesError> {
        let wanted = Wanted { project, selection, options: self.options.clone() };
        let filled = blocking(self.cancel(), move |progress| kept::fill(&wanted, &to, progress));
        let (imported, lent) = filled.await??;
        self.lent.lock().unwrap_or_else(PoisonError::into_inner).extend(lent);
        Ok(imported)
    }

    async fn copy(
        &self,
        project: Project,
        selection: Selection,
        to: PathBuf,
    ) -> Result<Imported, FilesError> {
        let options = self.options.clone();
        let imported = blocking(self.cancel(), move |progress| {
            source::import(&project, &selection, &options, &to, progress)
        });
        Ok(imported.await??)
    }
}

/// Removes what is in a directory, as far as that is possible.
fn clear(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        _ = files::remove::remove(&entry.path());
    }
}

/// Runs work on a thread that may block, and tells it when the run is to end.
pub async fn blocking<T: Send + 'static>(
    cancel: &CancellationToken,
    work: impl FnOnce(&Progress) -> T + Send + 'static,
) -> Result<T, FilesError> {
    let progress = Arc::new(Progress::default());
    let watched = progress.clone();
    let mut work = tokio::task::spawn_blocking(move || work(&watched));
    let done = tokio::select! {
        biased;
        done = &mut work => done,
        () = cancel.cancelled() => {
            progress.cancel();
            work.await
        }
    };
    // The panic has been told already, and ends the run.
    done.map_err(|_| FilesError::Cancelled)
}
