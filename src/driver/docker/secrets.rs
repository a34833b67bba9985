//! The way of secrets into a container.
//!
//! None of them is in the container's configuration, which the engine keeps on its disk and shows. They are sent
//! on the standard input of a [program](LAUNCHER) of ours that the container starts with, which puts them in
//! place and becomes the command. So this works for engines elsewhere and for images with nothing in them.
//!
//! Files are in the container's memory (tmpfs); a symbolic link stands at the path that the pipeline names.

use std::path::Path;

use bollard::body_full;
use bollard::errors::Error;
use bollard::query_parameters::UploadToContainerOptions;
use bytes::Bytes;
use mask::SecretValue;
use tar::{Builder, EntryType, Header};

use super::init::INIT;
use super::plan::{ContainerPlan, SECRETS};
use super::shared::Shared;
use crate::driver::DriverError;
use crate::task::{ExecSpec, SecretFile};

/// Compiled by the build script; its format is described there.
const LAUNCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/launcher"));

/// Where it is in a container.
const PATH: &str = "/ci/launch";

/// The engine's name of the processor that the launcher is for.
const ARCHITECTURE: &str = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };

/// The words that start the launcher, which becomes the container's init process for these.
pub fn words(command: Vec<String>) -> Vec<String> {
    std::iter::once(PATH.to_owned()).chain(command).collect()
}

/// The words of a command that the init process runs without a report.
pub fn unreported(command: Vec<String>) -> Vec<String> {
    with_switches("-s", command)
}

/// The same for what keeps a sandbox, with a mark that no command in it has.
pub fn keeper(command: Vec<String>) -> Vec<String> {
    with_switches("-sw", command)
}

fn with_switches(switches: &str, command: Vec<String>) -> Vec<String> {
    [INIT, switches, "--"].into_iter().map(str::to_owned).chain(command).collect()
}

/// What the launcher reads, and after it the command.
pub fn input(exec: &ExecSpec, files: &[SecretFile]) -> Vec<u8> {
    let mut input = header(&exec.secret_env, files, exec.stdin.is_some());
    input.extend_from_slice(exec.stdin.as_deref().unwrap_or_default());
    input
}

/// The same for what keeps a sandbox, which goes on reading.
pub fn input_of_keeper(files: &[SecretFile]) -> Vec<u8> {
    header(&[], files, true)
}

fn header(env: &[(String, SecretValue)], files: &[SecretFile], keeps_input: bool) -> Vec<u8> {
    let variables =
        env.iter().map(|(name, value)| [name.as_bytes(), b"=", value.expose(), b"\0"].concat());
    let mut block = vec![u8::from(keeps_input)];
    list(&mut block, variables.collect::<Vec<_>>().iter().map(Vec::as_slice));
    list(&mut block, files.iter().map(|file| file.value.expose()));
    let mut input = number(block.len()).to_vec();
    input.append(&mut block);
    input
}

fn list<'a>(block: &mut Vec<u8>, parts: impl ExactSizeIterator<Item = &'a [u8]>) {
    block.extend(number(parts.len()));
    for part in parts {
        block.extend(number(part.len()));
        block.extend_from_slice(part);
    }
}

/// What a task has is bounded far below that.
fn number(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

/// Puts the launcher into a container that has not started, and the links to its files.
pub async fn prepare(shared: &Shared, id: &str, plan: &ContainerPlan) -> Result<(), Error> {
    let options = UploadToContainerOptions { path: "/".into(), ..Default::default() };
    let body = body_full(Bytes::from(archive(plan)?));
    shared.docker.upload_to_container(id, Some(options), body).await
}

fn archive(plan: &ContainerPlan) -> std::io::Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    let header = |kind, mode, size| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_uid(0);
        header.set_gid(0);
        header
    };
    let below_root = |path: &str| Path::new(path.trim_start_matches('/')).to_owned();
    let mut launcher = header(EntryType::Regular, 0o555, LAUNCHER.len() as u64);
    archive.append_data(&mut launcher, below_root(PATH), LAUNCHER)?;
    for (index, path) in plan.secret_paths().enumerate() {
        let mut link = header(EntryType::Symlink, 0o777, 0);
        archive.append_link(&mut link, below_root(path), format!("{SECRETS}/{index}"))?;
    }
    archive.into_inner()
}

/// Refuses secrets on an engine whose containers cannot run the launcher.
pub async fn check_engine(shared: &Shared) -> Result<(), DriverError> {
    let found = shared.architecture.get_or_try_init(|| async {
        let version = shared.docker.version().await;
        let failed = |error| super::failure::failed("cannot ask the engine for its version", error);
        Ok::<_, DriverError>(version.map_err(failed)?.arch.unwrap_or_default())
    });
    let found = found.await?;
    if found.is_empty() || found == ARCHITECTURE {
        return Ok(());
    }
    Err(DriverError::Refused(format!(
        "the engine runs on `{found}`, and this `ci` can hand secrets over on `{ARCHITECTURE}` alone; use the `ci` \
         for that processor, or hand the secret over in `stdin`"
    )))
}
