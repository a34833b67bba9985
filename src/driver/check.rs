//! What no driver can run, whatever its engine.

use std::path::{Component, Path, PathBuf};

use mask::SecretValue;

use super::DriverError;
use crate::task::{Command, SecretFile, TaskSpec};

/// Refuses a command that no system call takes.
pub fn command(spec: &TaskSpec) -> Result<(), DriverError> {
    let Command { path, args, .. } = &spec.exec.command;
    let mut strings = [path].into_iter().chain(args);
    if strings.any(|text| text.contains('\0')) {
        return Err(nul_byte());
    }
    variables(&spec.exec.env, &spec.exec.secret_env)
}

/// Refuses variables that no environment can hold.
pub fn variables(
    env: &[(String, String)],
    secrets: &[(String, SecretValue)],
) -> Result<(), DriverError> {
    let mut values = env.iter().map(|(_, value)| value.as_bytes());
    let mut secret_values = secrets.iter().map(|(_, value)| value.expose());
    let names = || env.iter().map(|(name, _)| name).chain(secrets.iter().map(|(name, _)| name));
    let has_nul = |bytes: &[u8]| bytes.contains(&0);
    if names().any(|name| name.contains('\0')) || values.any(has_nul) || secret_values.any(has_nul)
    {
        return Err(nul_byte());
    }
    match names().find(|name| name.is_empty() || name.contains('=')) {
        Some(name) => {
            Err(DriverError::Refused(format!("`{name}` cannot be the name of a variable")))
        }
        None => Ok(()),
    }
}

/// The most that a task may have in files with secrets, in bytes.
const MOST_SECRETS: usize = 8 << 20;

/// The files with their paths in the shortest form. Refuses paths that lead out, and those that cannot both be
/// files.
pub fn secret_files(files: &[SecretFile]) -> Result<Vec<SecretFile>, DriverError> {
    let mut checked: Vec<SecretFile> = Vec::with_capacity(files.len());
    for SecretFile { path, value } in files {
        let refused = |reason: String| {
            Err(DriverError::Refused(format!("secret file `{}`: {reason}", path.display())))
        };
        let Some(path) = plain_path(path) else {
            return refused("name a file, without `..` and NUL bytes".to_owned());
        };
        let clash = checked
            .iter()
            .find(|other| other.path.starts_with(&path) || path.starts_with(&other.path));
        if let Some(other) = clash {
            return refused(format!("there is a secret at `{}`", other.path.display()));
        }
        checked.push(SecretFile { path, value: value.clone() });
    }
    if checked.iter().map(|file| file.value.expose().len()).sum::<usize>() > MOST_SECRETS {
        let text = "the files with secrets of a task have more than 8 MiB; put data into a volume";
        return Err(DriverError::Refused(text.to_owned()));
    }
    Ok(checked)
}

/// The path of a file without `.` in it.
fn plain_path(path: &Path) -> Option<PathBuf> {
    let text = path.to_str().filter(|text| !text.contains('\0') && !text.ends_with('/'))?;
    let mut plain = PathBuf::new();
    for part in Path::new(text).components() {
        match part {
            Component::RootDir => plain.push("/"),
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    // Everywhere a link to that, which an engine does not follow (hier(7)).
    if let Ok(below) = plain.strip_prefix("/var/run") {
        plain = Path::new("/run").join(below);
    }
    plain.file_name().is_some().then_some(plain)
}

fn nul_byte() -> DriverError {
    DriverError::Refused("a command, an argument or a variable contains a NUL byte".into())
}
