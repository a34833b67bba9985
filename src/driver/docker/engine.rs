//! Which engine is used, and the way to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::clock::EngineClock;
use super::config::{DockerConfig, HOST, Host};
use super::failure::{printable, words};
use super::transport::{NoEngine, Transport};
use crate::driver::DriverError;
use crate::process::state::home;
use spec::masked;

/// How long an engine may take to answer for the first time.
const PATIENCE: Duration = Duration::from_millis(1800);

/// The same through ssh, which says by itself that nobody is there.
const SSH_PATIENCE: Duration = Duration::from_secs(15);

/// For what an engine takes its time for. Whoever waits for that long looks whether the engine is
/// [lost](super::shared::Shared::lost).
const LONG: Duration = Duration::from_hours(2);

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// An engine that has answered.
pub struct Engine {
    pub docker: Docker,
    pub transport: Transport,
    pub clock: EngineClock,
    /// Its address.
    pub host: String,
    /// Whether its init process can [report](super::init).
    pub has_reports: bool,
    /// Whether it runs on this machine, as far as its address tells.
    pub is_local: bool,
}

/// An address, why it is the one, and the keys for it.
#[derive(Debug, PartialEq)]
struct Candidate {
    host: Host,
    origin: String,
    tls: Tls,
}

/// How a connection is secured.
#[derive(Clone, Debug, PartialEq)]
enum Tls {
    None,
    /// With the keys in this directory: `ca.pem`, `cert.pem` and `key.pem`.
    Keys(PathBuf),
    /// With the authorities that the machine trusts.
    System,
}

/// Connects to the engine that the configuration, or else the machine, names.
pub async fn connect(config: &DockerConfig) -> Result<Engine, DriverError> {
    let candidate = find(config, &Machine::current())?;
    let unavailable = |reason: &dyn std::fmt::Display| DriverError::Unavailable {
        driver: "docker",
        reason: format!(
            "no engine answers at `{}` ({}), start it or name another with `host=`: {reason}",
            candidate.host, candidate.origin
        ),
    };
    let transport = open(&candidate).map_err(|error| unavailable(&error))?;
    let patience = match candidate.host {
        Host::Ssh(_) => SSH_PATIENCE,
        Host::Unix(_) | Host::Tcp(_) | Host::Https(_) => PATIENCE,
    };
    let no_engine = |what: &dyn std::fmt::Display| DriverError::Unavailable {
        driver: "docker",
        reason: format!(
            "what answers at `{}` ({}) is no Docker engine: {what}; name an engine with `host=`",
            candidate.host, candidate.origin
        ),
    };
    match tokio::time::timeout(patience, transport.probe()).await {
        Ok(Ok(found)) => {
            let docker = transport.client(config.patience.as_secs(), &found.version);
            Ok(Engine {
                docker: docker.map_err(|error| unavailable(&error))?,
                clock: transport.clock().clone(),
                transport,
                host: candidate.host.to_string(),
                has_reports: found.has_tini,
                is_local: matches!(candidate.host, Host::Unix(_)),
            })
        }
        Ok(Err(NoEngine::Other(what))) => Err(no_engine(&format!("it answers with {what}"))),
        Ok(Err(NoEngine::Failed(error))) => match error {
            Error::DockerResponseServerError { message, .. }
                if message.contains("HTTP request to an HTTPS server") =>
            {
                Err(unavailable(&SPEAKS_TLS))
            }
            Error::DockerResponseServerError { status_code: status @ 300..500, message } => {
                Err(no_engine(&match message.starts_with("it answers with") {
                    true => message,
                    false => {
                        format!("it answers with the status {status}: {}", printable(&message))
                    }
                }))
            }
            error if is_foreign(&error) => Err(no_engine(&match candidate.tls {
                Tls::None => {
                    "it does not speak HTTP; if it speaks TLS, set `DOCKER_TLS_VERIFY=1` and \
                              `DOCKER_CERT_PATH`"
                }
                Tls::Keys(_) | Tls::System => "it does not speak HTTP",
            })),
            error => {
                let reason = words(error);
                Err(match candidate.tls {
                    // What rustls says of bytes that are no record.
                    Tls::Keys(_) | Tls::System if reason.contains("InvalidContentType") => {
                        no_engine(&"it does not speak TLS")
                    }
                    _ => unavailable(&reason),
                })
            }
        },
        Err(_) => Err(DriverError::Unavailable {
            driver: "docker",
            reason: format!(
                "the engine at `{}` ({}) has not answered within {} s, try again when it has less to do, \
                 restart it, or name another with `host=`",
                candidate.host,
                candidate.origin,
                patience.as_secs_f32()
            ),
        }),
    }
}

/// What to do about an engine that speaks TLS, and is spoken to without.
const SPEAKS_TLS: &str = "it speaks TLS, set `DOCKER_TLS_VERIFY=1`, and `DOCKER_CERT_PATH` to the directory with `ca.pem`, \
     `cert.pem` and `key.pem`";

/// Whether what has answered is not HTTP.
fn is_foreign(error: &Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn open(candidate: &Candidate) -> std::io::Result<Transport> {
    Ok(match &candidate.host {
        Host::Unix(path) => Transport::unix(path.clone()),
        Host::Ssh(destination) => Transport::ssh(destination.clone()),
        Host::Tcp(address) | Host::Https(address) => match &candidate.tls {
            Tls::None => Transport::tcp(address),
            Tls::Keys(keys) => Transport::tls(address, Some(keys))?,
            Tls::System => Transport::tls(address, None)?,
        },
    })
}

/// The same client for what takes long if there is much of it.
pub fn patient(docker: &Docker) -> Docker {
    docker.clone().with_timeout(LONG)
}

/// What of this machine decides.
#[derive(Default)]
struct Machine {
    docker_host: Option<String>,
    docker_context: Option<String>,
    /// Whether docker's variables ask for TLS.
    docker_tls: bool,
    docker_cert_path: Option<PathBuf>,
    /// The directory of docker's own configuration.
    docker_config: PathBuf,
}

impl Machine {
    fn current() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let user = || match std::env::var_os("HOME") {
            Some(home) if !home.is_empty() => PathBuf::from(home),
            _ => home(nix::unistd::geteuid()),
        };
        Self {
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            // The second one asks the `docker` command not to verify, which is not done here.
            docker_tls: ["DOCKER_TLS_VERIFY", "DOCKER_TLS"].iter().any(|name| text(name).is_some()),
            docker_cert_path: text("DOCKER_CERT_PATH").map(Into::into),
            docker_config: text("DOCKER_CONFIG").map_or_else(|| user().join(".docker"), Into::into),
        }
    }

    /// How a connection to an address is secured that comes without keys of its own.
    fn tls(&self, host: &Host) -> Tls {
        let keys = || self.docker_cert_path.clone().unwrap_or_else(|| self.docker_config.clone());
        match host {
            Host::Unix(_) | Host::Ssh(_) => Tls::None,
            Host::Tcp(_) if self.docker_tls => Tls::Keys(keys()),
            Host::Tcp(_) => Tls::None,
            Host::Https(_) => {
                let is_named = self.docker_tls || self.docker_cert_path.is_some();
                if is_named || keys().join("ca.pem").exists() {
                    Tls::Keys(keys())
                } else {
                    Tls::System
                }
            }
        }
    }
}

/// The DSN's host, then `DOCKER_HOST`, then docker's context, then the local socket.
fn find(config: &DockerConfig, machine: &Machine) -> Result<Candidate, DriverError> {
    let secured = |host: Host, origin: &str| Candidate {
        tls: machine.tls(&host),
        host,
        origin: origin.to_owned(),
    };
    if let Some(host) = &config.host {
        return Ok(secured(host.clone(), "from `host=`"));
    }
    if let Some(text) = &machine.docker_host {
        let host = text.parse().map_err(|()| unusable("DOCKER_HOST", text))?;
        return Ok(secured(host, "from `DOCKER_HOST`"));
    }
    let name = machine.docker_context.clone().or_else(|| current_context(&machine.docker_config));
    match name.filter(|name| name != "default") {
        Some(name) => context(&name, &machine.docker_config),
        None => Ok(Candidate {
            host: Host::Unix(DEFAULT_SOCKET.into()),
            origin:
                "the default, since neither `host=` nor `DOCKER_HOST` nor a docker context is set"
                    .to_owned(),
            tls: Tls::None,
        }),
    }
}

fn unusable(what: &str, value: &str) -> DriverError {
    DriverError::Unavailable {
        driver: "docker",
        reason: format!("`{what}` is `{}`, expected {HOST}", masked(value)),
    }
}

fn current_context(docker_config: &Path) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Config {
        current_context: Option<String>,
    }
    let text = std::fs::read(docker_config.join("config.json")).ok()?;
    serde_json::from_slice::<Config>(&text).ok()?.current_context.filter(|name| !name.is_empty())
}

/// A context as the `docker` command keeps it: a directory that is named by a hash of its name.
fn context(name: &str, docker_config: &Path) -> Result<Candidate, DriverError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Meta {
        endpoints: Endpoints,
    }
    #[derive(Deserialize)]
    struct Endpoints {
        docker: Endpoint,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Endpoint {
        host: String,
    }
    let id = context_id(name);
    let meta = docker_config.join("contexts/meta").join(&id).join("meta.json");
    let unreadable = |error: &dyn std::fmt::Display| DriverError::Unavailable {
        driver: "docker",
        reason: format!(
            "the docker context `{name}` cannot be read from `{}`, choose another with `docker \
             context use` or set `host=`: {error}",
            meta.display()
        ),
    };
    let text = std::fs::read(&meta).map_err(|error| unreadable(&error))?;
    let meta: Meta = serde_json::from_slice(&text).map_err(|error| unreadable(&error))?;
    let host: Host = meta.endpoints.docker.host.parse().map_err(|()| {
        unusable(&format!("the host of docker context {name}"), &meta.endpoints.docker.host)
    })?;
    let keys = docker_config.join("contexts/tls").join(&id).join("docker");
    let tls = match host {
        Host::Tcp(_) | Host::Https(_) if keys.is_dir() => Tls::Keys(keys),
        Host::Https(_) => Tls::System,
        Host::Tcp(_) | Host::Unix(_) | Host::Ssh(_) => Tls::None,
    };
    Ok(Candidate { host, origin: format!("from the docker context `{name}`"), tls })
}

fn context_id(name: &str) -> String {
    Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(config: &DockerConfig, machine: &Machine) -> String {
        match find(config, machine) {
            Ok(Candidate { host, origin, tls }) => match tls {
                Tls::Keys(keys) => format!("{host} {origin}, {}", keys.display()),
                Tls::System => format!("{host} {origin}, the machine's authorities"),
                Tls::None => format!("{host} {origin}"),
            },
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_closest_setting_decides() {
        let docker_config = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = docker_config.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("config.json", r#"{"auths": {}, "currentContext": "far"}"#);
        let id = context_id("far");
        write(
            &format!("contexts/meta/{id}/meta.json"),
            r#"{"Name": "far", "Endpoints": {"docker": {"Host": "tcp://far:2376"}}}"#,
        );
        write(&format!("contexts/tls/{id}/docker/ca.pem"), "");

        let plain = DockerConfig::default();
        let mut machine =
            Machine { docker_config: docker_config.path().into(), ..Machine::default() };
        let keys = docker_config.path().join("contexts/tls").join(&id).join("docker");
        assert_eq!(
            found(&plain, &machine),
            format!("tcp://far:2376 from the docker context `far`, {}", keys.display())
        );
        write(
            &format!("contexts/meta/{id}/meta.json"),
            r#"{"Name": "far", "Endpoints": {"docker": {"Host": "https://far"}}}"#,
        );
        assert_eq!(
            found(&plain, &machine),
            format!("https://far:2376 from the docker context `far`, {}", keys.display())
        );
        std::fs::remove_dir_all(&keys).unwrap();
        assert_eq!(
            found(&plain, &machine),
            "https://far:2376 from the docker context `far`, the machine's authorities"
        );
        machine.docker_context = Some("default".into());
        assert!(found(&plain, &machine).starts_with("unix:///var/run/docker.sock the default"));
        machine.docker_context = Some("gone".into());
        assert!(found(&plain, &machine).contains("the docker context `gone` cannot be read"));
        machine.docker_host = Some("tcp://near".into());
        assert_eq!(found(&plain, &machine), "tcp://near:2375 from `DOCKER_HOST`");
        machine.docker_host = Some("https://near".into());
        assert_eq!(
            found(&plain, &machine),
            "https://near:2376 from `DOCKER_HOST`, the machine's authorities"
        );
        machine.docker_tls = true;
        machine.docker_cert_path = Some("/keys".into());
        for (address, shown) in [
            ("tcp://near", "tcp://near:2375"),
            ("http://near", "tcp://near:2375"),
            ("https://near", "https://near:2376"),
            ("https://near:443", "https://near:443"),
        ] {
            machine.docker_host = Some(address.into());
            let expected = format!("{shown} from `DOCKER_HOST`, /keys");
            assert_eq!(found(&plain, &machine), expected);
            let named = DockerConfig { host: address.parse().ok(), ..plain.clone() };
            assert_eq!(found(&named, &machine), format!("{shown} from `host=`, /keys"));
        }
        machine.docker_tls = false;
        let named = DockerConfig { host: "https://near".parse().ok(), ..plain.clone() };
        assert_eq!(found(&named, &machine), "https://near:2376 from `host=`, /keys");
        let named = DockerConfig { host: "unix:///own".parse().ok(), ..plain.clone() };
        assert_eq!(found(&named, &machine), "unix:///own from `host=`");
        machine.docker_host = Some("ssh://me:secret@near".into());
        assert_eq!(
            found(&plain, &machine),
            "the `docker` driver is unavailable: `DOCKER_HOST` is `ssh://***@near`, expected \
             `unix:///path`, `tcp://host` or `ssh://host`"
        );
        machine.docker_host = Some("near".into());
        assert_eq!(
            found(&plain, &machine),
            "the `docker` driver is unavailable: `DOCKER_HOST` is `near`, expected `unix:///path`, \
             `tcp://host` or `ssh://host`"
        );
    }
}
