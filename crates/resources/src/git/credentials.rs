//! User names and passwords for HTTP, by git's protocol for credential helpers (gitcredentials(7)).

use crate::error::ResourceError;
use crate::memory::MemoryFile;

use super::config::Variable;
use super::source::{Source, SubmoduleCredentials};

/// Variables that make git ask for credentials here.
pub struct Credentials {
    pub variables: Vec<Variable>,
    _files: Vec<MemoryFile>,
}

impl Credentials {
    pub fn of(source: &Source) -> Result<Self, ResourceError> {
        let mut all = Self { variables: Vec::new(), _files: Vec::new() };
        for credentials in &source.submodules {
            if let SubmoduleCredentials::Http { host, username, password } = credentials {
                for scheme in ["https", "http"] {
                    all.add(&format!("{scheme}://{host}"), username, password)?;
                }
            }
        }
        let Some(origin) = source.uri.origin() else { return Ok(all) };
        let username = source.username.as_ref().or(source.uri.username.as_ref());
        let password = source.password.as_ref().or(source.uri.password.as_ref());
        match (username, password) {
            (Some(username), Some(password)) => all.add(origin, username, password)?,
            (Some(username), None) => {
                all.variables
                    .push(Variable::new(format!("credential.{origin}.username"), username));
            }
            _ => {}
        }
        Ok(all)
    }

    /// For one host, and no other helper for it.
    fn add(&mut self, origin: &str, username: &str, password: &str) -> Result<(), ResourceError> {
        let file =
            MemoryFile::new(format!("username={username}\npassword={password}\n").as_bytes())?;
        // The path has nothing in it that a shell changes.
        let helper = format!("!f() {{ test \"$1\" = get && cat {}; }}; f", file.path());
        let name = format!("credential.{origin}.helper");
        self.variables.push(Variable::new(&*name, ""));
        self.variables.push(Variable::new(name, helper));
        self._files.push(file);
        Ok(())
    }
}
