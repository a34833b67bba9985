//! Results of a pipeline, out of volumes and to where the user looks.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Component, Path, PathBuf};

use archive::OutsideLinks;
use files::trust;
use rustix::fs::{Access, FileType, access, fstat};
use rustix::io::Errno;
use source::{Options, Project, Selection};
use transfer::{LocalDirectory, TransferError, VolumeAccess};

use super::import::blocking;
use super::publish::{Place, Published, Staged, check_place, publish};
use super::read::{beside, open_below};
use super::{FilesError, ProjectFiles};
use crate::event::RunEvent;
use crate::process::scratch::Scratch;
use crate::process::state;
use crate::volume::VolumeName;

/// Where the state directory says which outputs are ours: not in the user's directories.
const OUTPUTS: &str = "outputs";

/// What becomes an artifact, and what it is called.
#[derive(Clone, Debug)]
pub struct ArtifactRequest {
    /// One name, below the directory for artifacts.
    pub name: String,
    pub volume: VolumeName,
    /// A file or a directory of the volume.
    pub path: PathBuf,
    /// Whether the name is that of an `--output`, which says where it goes.
    pub is_output: bool,
}

impl ProjectFiles {
    /// Copies a file or a directory of a volume to the directory for artifacts. It appears there as a whole,
    /// in the place of an older artifact of the name. Returns its path.
    pub async fn publish(&self, request: ArtifactRequest) -> Result<PathBuf, FilesError> {
        let ArtifactRequest { name, volume, path, is_output } = request;
        let place = self.place(&name, is_output)?;
        let found = self.volumes.content(&volume).await?;
        let (root, fetched) = match &found.access {
            VolumeAccess::Local(directory) => (directory.path.clone(), None),
            VolumeAccess::Stream(_) => {
                let fetched = self.fetched(&found).await?;
                (fetched.content(), Some(fetched))
            }
        };
        let called = match is_output {
            true => format!("output `{}`", place.called),
            false => format!("`{}` of volume `{volume}`", path.display()),
        };
        let staged = self.staged(&root, &path, &called, &volume, &place.directory).await;
        if let Some(fetched) = fetched {
            fetched.remove().await;
        }
        let staged = staged?;
        let published = tokio::task::spawn_blocking(move || publish(&place, &staged));
        let Published { path, files, bytes } =
            published.await.map_err(|_| FilesError::Cancelled)??;
        let shown = path.display().to_string();
        self.events.send(RunEvent::ArtifactPublished { name, path: shown, files, bytes }).await;
        Ok(path)
    }

    /// Where an artifact belongs.
    fn place(&self, name: &str, is_output: bool) -> Result<Place, FilesError> {
        if !is_output {
            check_name(name)?;
            let directory = self.directories.artifacts.clone();
            make_directory(&directory)
                .map_err(FilesError::io("make a directory in", &directory))?;
            let records = directory.clone();
            let (name, called) = (name.to_owned(), name.to_owned());
            return Ok(Place { directory, name, records, called });
        }
        let wanted = self.directories.outputs.get(name).ok_or_else(|| {
            FilesError::Refused(format!("there is no `--output` with the name `{name}`"))
        })?;
        let (parent, _) = parts(wanted)?;
        std::fs::create_dir_all(parent).map_err(FilesError::io("make", parent))?;
        output_place(name, wanted)
    }

    /// A copy of what is at a path below a directory, beside its later place.
    async fn staged(
        &self,
        root: &Path,
        path: &Path,
        called: &str,
        volume: &VolumeName,
        near: &Path,
    ) -> Result<Staged, FilesError> {
        let refused = |reason: String| FilesError::Refused(format!("{called}: {reason}"));
        let opened = open_below(root, path).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => {
                refused(format!("there is nothing{}", beside(root, path)))
            }
            Errno::XDEV => refused("it leads out of the volume".to_owned()),
            errno => refused(io::Error::from(errno).to_string()),
        })?;
        let kind = fstat(&opened).map_err(|errno| refused(io::Error::from(errno).to_string()))?;
        let kind = FileType::from_raw_mode(kind.st_mode);
        if !matches!(kind, FileType::Directory | FileType::RegularFile) {
            return Err(refused("it is neither a file nor a directory".to_owned()));
        }
        let scratch = Scratch::near(near).map_err(FilesError::io("make a directory in", near))?;
        let content = scratch.content();
        if kind == FileType::Directory {
            // By descriptor, so that no link that appears meanwhile leads elsewhere.
            let path = PathBuf::from(format!("/proc/self/fd/{}/.", opened.as_raw_fd()));
            let from = VolumeAccess::Local(LocalDirectory { staging: path.clone(), path });
            let refuse = OutsideLinks::Refuse;
            transfer::fetch_tree(&from, &content, refuse, &self.budget, self.stop.last())
                .await
                .map_err(|error| match error {
                    // No setting of a cache has a say here.
                    TransferError::Refused(reason) => {
                        let reason = reason.split("; allow that with").next().unwrap_or_default();
                        refused(reason.to_owned())
                    }
                    error => FilesError::volume(volume)(error),
                })?;
            return Ok(Staged { scratch, path: content });
        }
        let name = path.file_name().map(PathBuf::from).unwrap_or_default();
        std::fs::create_dir(&content).map_err(FilesError::io("make", &content))?;
        let (project, to) = (Project::at(root)?, content.clone());
        let selection = Selection {
            path: Some(path.to_owned()),
            ignored: true,
            git: false,
            ..Selection::default()
        };
        let options = Options { left_out: Vec::new(), global_ignore: None };
        let copied = blocking(self.stop.last(), move |progress| {
            source::import(&project, &selection, &options, &to, progress)
        });
        copied.await??;
        // A link to a file has the file's own name in the copy.
        let only = std::fs::read_dir(&content).and_then(|mut entries| match entries.next() {
            Some(entry) => Ok(entry?.path()),
            None => Ok(content.join(name)),
        });
        let path = only.map_err(FilesError::io("read", &content))?;
        Ok(Staged { scratch, path })
    }
}

/// Refuses a place for an `--output` that could not be taken at the end of a run: one where something is that no
/// run has made, or where nothing can be made.
pub fn check_output(name: &str, wanted: &Path) -> Result<(), FilesError> {
    let (parent, _) = parts(wanted)?;
    if parent.is_dir() {
        check_place(&output_place(name, wanted)?)?;
    }
    let there = wanted.ancestors().skip(1).find(|path| path.exists()).unwrap_or(parent);
    let usable = match there.is_dir() {
        true => access(there, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from),
        false => Err(io::ErrorKind::NotADirectory.into()),
    };
    usable.map_err(FilesError::io("make a directory in", there))
}

/// The directory that an output is in, and its name there.
fn parts(wanted: &Path) -> Result<(&Path, &OsStr), FilesError> {
    wanted
        .parent()
        .zip(wanted.file_name())
        .ok_or_else(|| FilesError::Refused(format!("`{}` cannot be replaced", wanted.display())))
}

/// Where an output belongs whose parent directory is there.
fn output_place(name: &str, wanted: &Path) -> Result<Place, FilesError> {
    let (parent, file) = parts(wanted)?;
    // Links on the way are the user's own.
    let directory = parent.canonicalize().map_err(FilesError::io("find", parent))?;
    let records = state::directory().join(OUTPUTS).join(path_hash(&directory));
    trust::make(&records).map_err(FilesError::io("make", &records))?;
    let (name, called) = (file.to_string_lossy().into_owned(), name.to_owned());
    Ok(Place { directory, name, records, called })
}

/// A name for what belongs to a path.
fn path_hash(path: &Path) -> String {
    blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex()[..32].to_owned()
}

/// Makes the directory for artifacts if it is missing, so that git does not see what is in it. A link in its
/// place, which may have come with the project, leads elsewhere.
fn make_directory(artifacts: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(artifacts) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => {
            return Err(io::Error::other(
                "it is no directory, name the directory for artifacts with `--artifacts`",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    std::fs::create_dir_all(artifacts)?;
    std::fs::write(artifacts.join(".gitignore"), "*\n")
}

/// An artifact's name is one name in a directory, and none that a program hides.
fn check_name(name: &str) -> Result<(), FilesError> {
    let is_one = matches!(
        Path::new(name).components().collect::<Vec<_>>().as_slice(),
        [Component::Normal(part)] if part.to_str() == Some(name)
    );
    let is_plain = !name.starts_with('.') && !name.chars().any(char::is_control);
    if is_one && is_plain && name.len() <= 200 {
        return Ok(());
    }
    Err(FilesError::Refused(format!(
        "artifact `{}`: expected a name without `/` and control characters that does not begin with `.`, of \
         at most 200 bytes",
        name.escape_debug()
    )))
}
