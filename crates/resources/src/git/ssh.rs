//! How ssh connects: a configuration in memory that comes before the user's own.

use std::fmt::Write;

use crate::error::ResourceError;
use crate::memory::MemoryFile;
use crate::program;

use super::source::{PrivateKey, Ssh, Tunnel};

/// The command is the same for each configuration. Its text is the shell's, the path is not.
pub const COMMAND: &str = "ssh -F \"$CI_SSH_CONFIG\"";

/// What ssh does without a configuration of the resource: as the user has set it up, but asking nobody.
pub const PLAIN_COMMAND: &str =
    "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4";

/// Prints what is in the file of the passphrase.
const ASKPASS: &[u8] = b"#!/bin/sh\nexec cat \"$CI_SSH_PASSPHRASE\"\n";

/// Files in memory, and the variables that name them.
pub struct SshFiles {
    pub variables: Vec<(&'static str, String)>,
    _files: Vec<MemoryFile>,
}

impl Ssh {
    /// Whether there is anything that the user's own configuration does not say.
    pub fn is_default(&self) -> bool {
        self.key.is_none() && self.user.is_none() && !self.forward_agent && self.tunnel.is_none()
    }

    pub fn files(&self) -> Result<SshFiles, ResourceError> {
        let (mut files, mut variables) = (Vec::new(), Vec::new());
        let mut config = String::from(
            "Host *\nConnectTimeout 30\nServerAliveInterval 15\nServerAliveCountMax 4\n",
        );
        let passphrase = self.key.as_ref().and_then(|key| key.passphrase.as_ref());
        match passphrase {
            None => config.push_str("BatchMode yes\n"),
            Some(passphrase) => {
                // The passphrase answers each question, so none but that for it may be asked.
                config.push_str(
                    "BatchMode no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nNumberOfPasswordPrompts 1\n",
                );
                let secret = MemoryFile::new(format!("{passphrase}\n").as_bytes())?;
                let program = MemoryFile::program(ASKPASS)?;
                variables.push(("CI_SSH_PASSPHRASE", secret.path().to_owned()));
                variables.push(("SSH_ASKPASS", program.path().to_owned()));
                variables.push(("SSH_ASKPASS_REQUIRE", "force".to_owned()));
                files.extend([secret, program]);
            }
        }
        if let Some(key) = &self.key {
            let key = MemoryFile::new(lines(key).as_bytes())?;
            // A host that is not known yet is trusted, as there is nobody to ask; one whose key has changed is not.
            // Nothing is added to the user's files.
            _ = writeln!(
                config,
                "IdentityFile {}\nIdentitiesOnly yes\nIdentityAgent {}\nStrictHostKeyChecking accept-new\n\
                 UserKnownHostsFile /dev/null ~/.ssh/known_hosts ~/.ssh/known_hosts2\nLogLevel ERROR",
                key.path(),
                // Forwarding needs the user's agent, and uses no identity of it here.
                if self.forward_agent { "SSH_AUTH_SOCK" } else { "none" },
            );
            files.push(key);
        }
        if let Some(user) = &self.user {
            _ = writeln!(config, "User {user}");
        }
        if self.forward_agent {
            config.push_str("ForwardAgent yes\n");
        }
        if let Some(tunnel) = &self.tunnel {
            config.push_str(&tunnel.line(&mut files)?);
        }
        config.push_str("Include ~/.ssh/config\nInclude /etc/ssh/ssh_config\n");
        let config = MemoryFile::new(config.as_bytes())?;
        variables.push(("CI_SSH_CONFIG", config.path().to_owned()));
        files.push(config);
        Ok(SshFiles { variables, _files: files })
    }
}

/// ssh wants a line break at the end, which YAML may have taken away.
fn lines(key: &PrivateKey) -> String {
    format!("{}\n", key.key.replace("\r\n", "\n").trim_end())
}

impl Tunnel {
    fn line(&self, files: &mut Vec<MemoryFile>) -> Result<String, ResourceError> {
        if program::find("proxytunnel").is_none() {
            return Err(ResourceError::failed(
                "`https_tunnel` needs the program `proxytunnel`, which is not installed: install it",
            ));
        }
        let login = match &self.login {
            None => String::new(),
            Some((user, password)) => {
                let file = MemoryFile::new(
                    format!("proxy_user = {user}\nproxy_passwd = {password}\n").as_bytes(),
                )?;
                let option = format!("-F {} ", file.path());
                files.push(file);
                option
            }
        };
        Ok(format!("ProxyCommand proxytunnel {login}-p {}:{} -d %h:%p\n", self.host, self.port))
    }
}
