//! Why a command of a container was not executed, by the file that its name means there.
//!
//! The init process gives the kernel's reason alone, of which one stands for many, and a command can write
//! the same text. The file tells which of them it is, and whether the text can be true.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{
    ContainerArchiveInfoOptions, DownloadFromContainerOptions, InspectContainerOptions,
};
use futures_util::StreamExt;
use nix::errno::Errno;

use super::failure::is_missing;
use crate::driver::DriverError;
use crate::task::TaskSpec;
use supervise::start_error::{MAX_STRING, START, StartError, text};

/// Where the C library of the init process looks without `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Bits of Go's `FileMode`, in which the engine gives modes.
const DIRECTORY: u32 = 1 << 31;
const LINK: u32 = 1 << 27;
const SPECIAL: u32 = 1 << 26 | 1 << 25 | 1 << 24;

/// The numbers of processors in programs (elf(5)), and what images call these.
const MACHINES: [(u16, &str); 8] = [
    (3, "386"),
    (22, "s390x"),
    (40, "arm"),
    (62, "amd64"),
    (183, "arm64"),
    (21, "ppc64le"),
    (243, "riscv64"),
    (258, "loong64"),
];

/// How much the kernel takes of arguments and variables together with a stack of 8 MiB, in bytes.
const MAX_STRINGS: usize = 2 << 20;

/// A command in a container.
pub struct Subject<'a> {
    pub docker: &'a Docker,
    pub container: &'a str,
    pub spec: &'a TaskSpec,
    /// Where the command starts, as an absolute path.
    pub directory: &'a str,
}

/// Whether a command was executed.
#[derive(Debug, PartialEq, Eq)]
pub enum Diagnosis {
    /// It was, or could have been.
    Executed,
    /// It was not, for this reason.
    NotExecuted(String),
}

/// Refuses what no kernel takes: the engine would only say so in the command's output, and some lose the
/// whole container.
pub fn check_length(spec: &TaskSpec) -> Result<(), DriverError> {
    let (longest, all) = lengths(spec);
    match longest > MAX_STRING || all > MAX_STRINGS {
        true => Err(DriverError::CannotStart {
            command: spec.exec.command.path.clone(),
            reason: format!("it {}", StartError::TooLong { longest }),
        }),
        false => Ok(()),
    }
}

/// The length of the longest argument or variable, and what all of them take, in bytes.
fn lengths(spec: &TaskSpec) -> (usize, usize) {
    let words =
        [&spec.exec.command.path].into_iter().chain(&spec.exec.command.args).map(String::len);
    let variables = spec.exec.variables().map(|(name, value)| name.len() + 1 + value.len());
    let (mut longest, mut all) = (0, 0);
    for length in words.chain(variables) {
        longest = longest.max(length + 1);
        all += length + 1 + size_of::<u64>();
    }
    (longest, all)
}

impl Subject<'_> {
    /// Of a command about which the init process has given a reason, or the command itself in its stead.
    pub async fn of_reason(&self, reason: &str) -> Diagnosis {
        let Some(error) = errno(reason) else {
            return Diagnosis::NotExecuted(reason.to_owned());
        };
        if error == Errno::E2BIG {
            // The image has variables, too, but not that many.
            let (longest, all) = lengths(self.spec);
            return match all < MAX_STRINGS / 16 {
                true => Diagnosis::Executed,
                false => Diagnosis::NotExecuted(format!("it {}", StartError::TooLong { longest })),
            };
        }
        match self.look(error).await {
            Ok(found) => found,
            // Without the file the reason has to do.
            Err(_) => Diagnosis::NotExecuted(self.unexplained(reason)),
        }
    }

    /// Of a command that a shell may have read instead, since the kernel does not execute it: this is what
    /// the C library of the init process does then.
    pub async fn of_shell(&self, said: &[u8]) -> Diagnosis {
        let name = self.spec.exec.command.path.rsplit('/').next().unwrap_or_default();
        let line = said.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        // Shells begin with the path of the file.
        let about_file =
            line.split(": ").next().is_some_and(|path| path.rsplit('/').next() == Some(name));
        if !about_file {
            return Diagnosis::Executed;
        }
        self.foreign()
            .await
            .unwrap_or(None)
            .map_or(Diagnosis::Executed, |why| Diagnosis::NotExecuted(self.told(&why)))
    }

    async fn look(&self, error: Errno) -> Result<Diagnosis, Error> {
        let mut best: Option<(PathBuf, StartError)> = None;
        let mut is_fine = false;
        for candidate in self.candidates().await? {
            let found = match self.file(&candidate, error).await? {
                Found::Nothing => continue,
                Found::Loop => Some(StartError::LinkLoop),
                Found::Dangling => Some(StartError::DanglingLink),
                Found::Directory => Some(StartError::Directory),
                Found::Special => Some(StartError::NotAProgram),
                Found::File { mode, .. } if mode & 0o111 == 0 => Some(StartError::NotExecutable),
                Found::File { path, mode } => self.why(&path, mode, error).await?,
            };
            match found {
                Some(why) => best = best.or(Some((candidate, why))),
                None => is_fine = true,
            }
            // As execvp(3) does: a file that may not be executed is no reason to stop looking.
            if error != Errno::EACCES {
                break;
            }
        }
        Ok(match best {
            Some((file, why)) => {
                let text = match self.spec.exec.command.path.contains('/') {
                    true => self.told(&why),
                    false => format!("`{}` {why}", file.display()),
                };
                Diagnosis::NotExecuted(text)
            }
            None if is_fine => Diagnosis::Executed,
            None => Diagnosis::NotExecuted(self.unexplained(&text(error))),
        })
    }

    fn told(&self, why: &StartError) -> String {
        format!("it {why}")
    }

    fn unexplained(&self, reason: &str) -> String {
        format!("{reason} in the image `{}`", self.spec.container.image)
    }

    /// Why a regular file is not executed. `None` if it is.
    async fn why(&self, path: &Path, mode: u32, error: Errno) -> Result<Option<StartError>, Error> {
        match error {
            Errno::ENOENT | Errno::ENOEXEC | Errno::ELOOP => {
                let start = self.start(path).await?;
                let why = StartError::of_content(&start, error);
                let needed = match &why {
                    Some(StartError::MissingInterpreter { interpreter }) => Some(interpreter),
                    Some(StartError::MissingLoader { loader: Some(loader) }) => Some(loader),
                    // A program without a loader needs nothing.
                    Some(StartError::MissingLoader { loader: None }) => return Ok(None),
                    _ => None,
                };
                if let Some(needed) = needed
                    && matches!(self.file(Path::new(needed), error).await?, Found::File { mode, .. } if mode & 0o111 != 0)
                {
                    return Ok(None);
                }
                Ok(why)
            }
            Errno::EACCES if mode & 0o111 == 0o111 => {
                let start = self.start(path).await?;
                let interpreter = match StartError::of_content(&start, Errno::ENOENT) {
                    Some(StartError::MissingInterpreter { interpreter }) => interpreter,
                    _ => return self.out_of_reach(path).await,
                };
                let reason = match self.file(Path::new(&interpreter), error).await? {
                    Found::Directory => StartError::Directory,
                    Found::Special => StartError::NotAProgram,
                    Found::File { mode, .. } if mode & 0o111 == 0 => StartError::NotExecutable,
                    _ => return self.out_of_reach(path).await,
                };
                Ok(Some(StartError::UnusableInterpreter { interpreter, reason: Box::new(reason) }))
            }
            Errno::EACCES => Ok(Some(StartError::NotExecutableByUser)),
            other => Ok(Some(StartError::Other(text(other)))),
        }
    }

    /// Whether a directory on the way to a file keeps the command's user out, who is not root.
    async fn out_of_reach(&self, path: &Path) -> Result<Option<StartError>, Error> {
        let user = match &self.spec.exec.command.user {
            Some(user) => user.clone(),
            None => {
                let options = None::<InspectContainerOptions>;
                let found = self.docker.inspect_container(self.container, options).await?;
                found.config.and_then(|config| config.user).unwrap_or_default()
            }
        };
        if matches!(user.split(':').next(), None | Some("" | "0" | "root")) {
            return Ok(None);
        }
        for directory in path.ancestors().skip(1) {
            let path = directory.to_string_lossy().into_owned();
            let options = Some(ContainerArchiveInfoOptions { path });
            let found = self.docker.get_container_archive_info(self.container, options).await?;
            if found.file_mode & 0o001 == 0 {
                return Ok(Some(StartError::OutOfReach));
            }
        }
        Ok(None)
    }

    /// Why neither the kernel nor a shell can make anything of the command's file.
    async fn foreign(&self) -> Result<Option<StartError>, Error> {
        for candidate in self.candidates().await? {
            let Found::File { path, .. } = self.file(&candidate, Errno::ENOEXEC).await? else {
                continue;
            };
            let start = self.start(&path).await?;
            let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let is_text = !start.starts_with(b"\x7FELF") && !line.contains(&0);
            if is_text {
                return Ok(None);
            }
            let Some(number) = machine(&start) else {
                return Ok(StartError::of_content(&start, Errno::ENOEXEC));
            };
            let image = self.docker.inspect_image(&self.spec.container.image).await?.architecture;
            let image = image.unwrap_or_default();
            let name = MACHINES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
            // Some processors run the programs of older ones.
            let runs = match (name, image.as_str()) {
                (Some(name), image) if name == image => true,
                (Some("386"), "amd64") | (Some("arm"), "arm64") => true,
                _ => false,
            };
            if runs {
                // It is for this processor, so it may be cut off, or has run.
                let is_whole = start.len() >= 64;
                return Ok((!is_whole).then_some(StartError::UnknownFormat));
            }
            let machine = match name {
                Some(name) => format!("the processor `{name}`"),
                None => format!("another processor (ELF machine {number})"),
            };
            return Ok(Some(StartError::OtherMachine { machine }));
        }
        Ok(None)
    }

    /// What may be the command's file, in the order of looking.
    async fn candidates(&self) -> Result<Vec<PathBuf>, Error> {
        let command = &self.spec.exec.command.path;
        if command.contains('/') {
            return Ok(vec![Path::new(self.directory).join(command)]);
        }
        let own = self.spec.exec.env.iter().rfind(|(name, _)| name == "PATH");
        let path = match own {
            Some((_, value)) => value.clone(),
            None => {
                let options = None::<InspectContainerOptions>;
                let found = self.docker.inspect_container(self.container, options).await?;
                let env = found.config.and_then(|config| config.env).unwrap_or_default();
                let path = env.iter().rev().find_map(|pair| pair.strip_prefix("PATH="));
                path.unwrap_or(DEFAULT_PATH).to_owned()
            }
        };
        Ok(path
            .split(':')
            .map(|entry| Path::new(self.directory).join(entry).join(command))
            .collect())
    }

    /// What is at a path of the container, all links followed.
    async fn file(&self, path: &Path, error: Errno) -> Result<Found, Error> {
        let mut path = normal(path);
        // As many as the kernel follows.
        for step in 0..40 {
            let options = ContainerArchiveInfoOptions { path: path.to_string_lossy().into_owned() };
            let found = self.docker.get_container_archive_info(self.container, Some(options)).await;
            let found = match found {
                Ok(found) => found,
                Err(error) if is_missing(&error) && step == 0 => return Ok(Found::Nothing),
                Err(error) if is_missing(&error) => return Ok(Found::Dangling),
                // An engine gives up on a loop with an error that says no more, and so it does on a path
                // below a file.
                Err(_) if error == Errno::ELOOP => return Ok(Found::Loop),
                Err(_) => return Ok(Found::Nothing),
            };
            let mode = found.file_mode;
            if mode & LINK != 0 {
                let target =
                    normal(&path.parent().unwrap_or(Path::new("/")).join(found.link_target));
                if target == path {
                    return Ok(Found::Loop);
                }
                path = target;
                continue;
            }
            return Ok(match mode {
                mode if mode & DIRECTORY != 0 => Found::Directory,
                mode if mode & SPECIAL != 0 => Found::Special,
                mode => Found::File { path, mode },
            });
        }
        Ok(Found::Loop)
    }

    /// The beginning of a regular file.
    async fn start(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let options = DownloadFromContainerOptions { path: path.to_string_lossy().into_owned() };
        let mut chunks = self.docker.download_from_container(self.container, Some(options));
        let mut archive = Vec::new();
        // Its header, and blocks with a long name before that.
        while archive.len() < START + 8192
            && let Some(chunk) = chunks.next().await
        {
            archive.extend_from_slice(&chunk?);
        }
        let mut start = Vec::new();
        if let Some(Ok(entry)) = tar::Archive::new(&archive[..]).entries()?.next() {
            // What is cut off is not needed.
            _ = entry.take(START as u64).read_to_end(&mut start);
        }
        Ok(start)
    }
}

/// What is at a path.
enum Found {
    Nothing,
    Dangling,
    Loop,
    Directory,
    Special,
    File {
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => _ = normal.pop(),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    normal
}

/// The processor that a program is for.
fn machine(start: &[u8]) -> Option<u16> {
    let header = start.strip_prefix(b"\x7FELF")?;
    let number = [*header.get(14)?, *header.get(15)?];
    Some(if header.get(1)? == &1 { u16::from_le_bytes(number) } else { u16::from_be_bytes(number) })
}

/// The number of an error by the C library's words for it.
fn errno(reason: &str) -> Option<Errno> {
    const KNOWN: [Errno; 9] = [
        Errno::ENOENT,
        Errno::EACCES,
        Errno::ELOOP,
        Errno::ENOEXEC,
        Errno::E2BIG,
        Errno::ETXTBSY,
        Errno::ENOTDIR,
        Errno::ENAMETOOLONG,
        Errno::EISDIR,
    ];
    // The C library of the init process has names of its own for some.
    match reason {
        "too many levels of symbolic links" => return Some(Errno::ELOOP),
        "file name too long" => return Some(Errno::ENAMETOOLONG),
        _ => {}
    }
    KNOWN.into_iter().find(|error| text(*error) == reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_system_have_numbers() {
        for (reason, error) in [
            ("no such file or directory", Errno::ENOENT),
            ("permission denied", Errno::EACCES),
            ("too many levels of symbolic links", Errno::ELOOP),
            ("exec format error", Errno::ENOEXEC),
            ("argument list too long", Errno::E2BIG),
            ("text file busy", Errno::ETXTBSY),
            ("not a directory", Errno::ENOTDIR),
        ] {
            assert_eq!(errno(reason), Some(error), "{reason}");
        }
        assert_eq!(errno("something else"), None);
    }
}
