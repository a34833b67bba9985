//! What no driver can run, whatever its engine.

use super::DriverError;
use crate::task::TaskSpec;

/// Refuses a command that no system call takes.
pub fn command(spec: &TaskSpec) -> Result<(), DriverError> {
    let strings = [&spec.command.path].into_iter().chain(&spec.command.args);
    let variables = spec.env.iter().flat_map(|(name, value)| [name, value]);
    if strings.chain(variables).any(|text| text.contains('\0')) {
        return Err(DriverError::Refused(
            "a command, an argument or a variable contains a NUL byte".into(),
        ));
    }
    match spec.env.iter().find(|(name, _)| name.is_empty() || name.contains('=')) {
        Some((name, _)) => {
            Err(DriverError::Refused(format!("`{name}` cannot be the name of a variable")))
        }
        None => Ok(()),
    }
}
