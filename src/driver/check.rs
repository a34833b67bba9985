//! What no driver can run, whatever its engine.

use super::DriverError;
use crate::task::{Command, TaskSpec};

/// Refuses a command that no system call takes.
pub fn command(spec: &TaskSpec) -> Result<(), DriverError> {
    let Command { path, args, .. } = &spec.exec.command;
    let mut strings = [path].into_iter().chain(args);
    if strings.any(|text| text.contains('\0')) {
        return Err(nul_byte());
    }
    variables(&spec.exec.env)
}

/// Refuses variables that no environment can hold.
pub fn variables(env: &[(String, String)]) -> Result<(), DriverError> {
    if env.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
        return Err(nul_byte());
    }
    match env.iter().find(|(name, _)| name.is_empty() || name.contains('=')) {
        Some((name, _)) => {
            Err(DriverError::Refused(format!("`{name}` cannot be the name of a variable")))
        }
        None => Ok(()),
    }
}

fn nul_byte() -> DriverError {
    DriverError::Refused("a command, an argument or a variable contains a NUL byte".into())
}
