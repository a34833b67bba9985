//! Connections to an engine: by its socket, by TCP, with TLS, or through ssh.
//!
//! They are made here and not by bollard, which gives the streams of terminals to nobody undecoded, and
//! whose ssh client outlives the run.
//!
//! bollard also encodes credentials in another alphabet than engines read. Each ssh connection is one `ssh`,
//! as the `docker` command has it, in a process group of its own, which ends with its connection. ssh and TCP
//! send keepalives, since an engine may answer on a new connection while an old one hangs.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, ClientVersion, Docker, body_full};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, LOCATION, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tower_service::Service;

use super::clock::EngineClock;
use super::destination::Destination;
use super::failure::printable;
use super::ssh;

/// What an engine is called that needs no name.
const HERE: &str = "http://localhost";

/// How bollard sends a registry's credentials.
const CREDENTIALS: &str = "x-registry-auth";

/// How many connections through ssh wait for the next request. Others are made anew for each request, which
/// costs little, and are never found to have been closed.
const IDLE: usize = 4;

/// How many connections through ssh are made at the same time, and for how long each counts as such at most.
/// Servers turn some away when ten have not said yet who they are (`MaxStartups` of `sshd_config`).
const GREETINGS: usize = 5;
const GREETING: Duration = Duration::from_secs(3);

/// When to look whether a way that nothing comes from still leads anywhere.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 4;

/// How much of an answer is read that is no result, in bytes, and for how long.
const LONGEST: usize = 64 << 10;
const READING: Duration = Duration::from_secs(10);

type Answer = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Error>> + Send>>;

/// A way to send requests to an engine.
#[derive(Clone)]
pub struct Transport {
    send: Arc<dyn Fn(BollardRequest) -> Answer + Send + Sync>,
    /// What the paths of requests are relative to.
    base: String,
    clock: EngineClock,
}

/// Both ends of a terminal's stream.
pub type Terminal = (ReadHalf<TokioIo<Upgraded>>, WriteHalf<TokioIo<Upgraded>>);

impl Transport {
    pub fn unix(path: PathBuf) -> Self {
        let connect = move || {
            let path = path.clone();
            Box::pin(async move { UnixStream::connect(path).await.map(TokioIo::new) })
        };
        Self::new(Connector(connect), 0, HERE.to_owned())
    }

    /// To a host and port.
    pub fn tcp(address: &str) -> Self {
        Self::new(http(), 0, format!("http://{address}"))
    }

    /// To a host and port, with the keys in a directory: `ca.pem`, and `cert.pem` and `key.pem` if there are
    /// any. Without a directory, the authorities that this machine trusts count.
    pub fn tls(address: &str, keys: Option<&Path>) -> io::Result<Self> {
        let mut connector = http();
        connector.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(keys)?)
            .https_only()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Self::new(connector, 0, format!("https://{address}")))
    }

    pub fn ssh(to: Destination) -> Self {
        let (is_first, greetings) = (AtomicBool::new(true), Arc::new(Semaphore::new(GREETINGS)));
        let state = Arc::new((to, is_first));
        let connect = move || {
            let (state, greetings) = (state.clone(), greetings.clone());
            Box::pin(async move {
                let turn = greetings.acquire_owned().await.map_err(io::Error::other)?;
                let (heard, first) = oneshot::channel();
                let (to, is_first) = &*state;
                let stream = ssh::connect(to, is_first.swap(false, Ordering::Relaxed), heard)?;
                tokio::spawn(async move {
                    _ = timeout(GREETING, first).await;
                    drop(turn);
                });
                Ok(TokioIo::new(stream))
            })
        };
        Self::new(Connector(connect), IDLE, HERE.to_owned())
    }

    fn new(
        connector: impl Connect + Clone + Send + Sync + 'static,
        idle: usize,
        base: String,
    ) -> Self {
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(idle).build(connector);
        let clock = EngineClock::default();
        let heard = clock.clone();
        let send = move |mut request: BollardRequest| {
            // Engines expect the alphabet for addresses, of which bollard writes the other one. What they cannot
            // read they take for nothing (`DecodeAuthConfig` of moby).
            if let Some(value) = request.headers_mut().get_mut(CREDENTIALS)
                && let Ok(text) = value.to_str()
                && let Ok(safe) = text.replace('+', "-").replace('/', "_").parse()
            {
                *value = safe;
                value.set_sensitive(true);
            }
            let (answer, clock) = (client.request(request), heard.clone());
            Box::pin(async move {
                let answer = answer.await?;
                clock.hear(answer.headers());
                match answer.status() {
                    StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS => Ok(answer),
                    status if status.is_success() => Ok(answer),
                    _ => Err(refusal(answer).await),
                }
            }) as Answer
        };
        Self { send: Arc::new(send), base, clock }
    }

    /// The clock that all answers tell.
    pub fn clock(&self) -> &EngineClock {
        &self.clock
    }

    /// Asks whether an engine is there, and what it is.
    pub async fn probe(&self) -> Result<Found, NoEngine> {
        let request = Request::get(format!("{}/version", self.base)).body(body_full(Bytes::new()));
        let answer = (self.send)(request.map_err(Error::from)?).await?;
        let body = beginning(answer.into_body()).await?;
        let Ok(found) = serde_json::from_slice::<Version>(&body) else {
            return Err(NoEngine::Other(kind_of(&body)));
        };
        let mut numbers = found.api_version.split('.').map(str::parse);
        let (Some(Ok(major_version)), Some(Ok(minor_version)), None) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return Err(NoEngine::Other("another JSON document"));
        };
        let version = ClientVersion { major_version, minor_version };
        let is_tini = |part: &Component| {
            // Without a version, the engine does not know what it has.
            part.name == "docker-init"
                && part.version.starts_with(|first: char| first.is_ascii_digit())
        };
        Ok(Found { version, has_tini: found.components.iter().any(is_tini) })
    }

    /// A client that waits so many seconds for the beginning of an answer, and speaks the newest version
    /// that both sides know.
    pub fn client(&self, patience: u64, engine: &ClientVersion) -> Result<Docker, Error> {
        let send = self.send.clone();
        let transport = move |request| send(request);
        let own = API_DEFAULT_VERSION;
        let is_older = |a: &ClientVersion, b: &ClientVersion| {
            (a.major_version, a.minor_version) < (b.major_version, b.minor_version)
        };
        let version = if is_older(engine, own) { engine } else { own };
        Docker::connect_with_custom_transport(
            transport,
            Some(self.base.as_str()),
            patience,
            version,
        )
    }

    /// Connects to the terminal of a container. It has no frames, as the streams of other containers do, which
    /// bollard takes some output for.
    pub async fn attach(&self, docker: &Docker, id: &str) -> Result<Terminal, Error> {
        let (base, version) = (&self.base, docker.client_version());
        let what = "stream=1&stdin=1&stdout=1&stderr=1";
        let request = Request::post(format!("{base}/v{version}/containers/{id}/attach?{what}"))
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "tcp")
            .body(body_full(Bytes::new()))?;
        let answer = timeout(docker.timeout(), (self.send)(request)).await;
        let answer = answer.map_err(|_| Error::RequestTimeoutError)??;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(io::Error::other("the engine does not pass on a terminal").into());
        }
        let stream = hyper::upgrade::on(answer).await.map_err(io::Error::other)?;
        Ok(tokio::io::split(TokioIo::new(stream)))
    }
}

/// Why an address leads to no engine.
pub enum NoEngine {
    /// Something answers, and this is what it answers with.
    Other(&'static str),
    Failed(Error),
}

impl From<Error> for NoEngine {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// An engine.
pub struct Found {
    /// Of its API.
    pub version: ClientVersion,
    /// Whether its init process is tini.
    pub has_tini: bool,
}

/// What an engine says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    api_version: String,
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    name: String,
    #[serde(default)]
    version: String,
}

/// What an engine says when it does not do something.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// What kind of document somebody has answered with who is no engine.
fn kind_of(body: &[u8]) -> &'static str {
    match body.trim_ascii_start().first() {
        None => "nothing",
        Some(b'<') => "a web page",
        Some(b'{' | b'[') => "another JSON document",
        Some(_) => "something else",
    }
}

/// The error that an answer tells of. Not more of it is read than an engine would say.
async fn refusal(answer: Response<Incoming>) -> Error {
    let status = answer.status();
    let location = answer.headers().get(LOCATION);
    let location = location.map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
    let body = match beginning(answer.into_body()).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    let text = String::from_utf8_lossy(&body);
    let message = match (serde_json::from_slice::<Refusal>(&body), location) {
        (Ok(refusal), _) => refusal.message,
        (Err(_), Some(to)) if status.is_redirection() => {
            format!("it answers with a redirect to `{}`", printable(&to))
        }
        // Such as the page of a proxy.
        (Err(_), _) if kind_of(&body) != "something else" => {
            format!("it answers with {} and the status `{status}`", kind_of(&body))
        }
        (Err(_), _) => printable(&text),
    };
    Error::DockerResponseServerError { status_code: status.as_u16(), message }
}

/// As much of a body as an engine would say, in the time that it would take.
async fn beginning(mut body: Incoming) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = async {
        while let Some(frame) = body.frame().await.transpose()? {
            let Some(data) = frame.data_ref() else { continue };
            bytes.extend_from_slice(&data[..data.len().min(LONGEST - bytes.len())]);
            if bytes.len() == LONGEST {
                break;
            }
        }
        Ok::<_, Error>(())
    };
    match timeout(READING, read).await {
        Ok(read) => read?,
        // What has come says more than that the rest has not.
        Err(_) if !bytes.is_empty() => {}
        Err(_) => return Err(Error::RequestTimeoutError),
    }
    Ok(bytes)
}

fn http() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE));
    connector.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    connector
}

/// As the `docker` command has it: the engine's authority is in `ca.pem` and nowhere else, and who has no
/// certificate shows none. Without a directory, this machine's authorities count.
fn tls_config(keys: Option<&Path>) -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let Some(keys) = keys else {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        if roots.add_parsable_certificates(found.certs).0 == 0 {
            return Err(io::Error::other(
                "this machine trusts no authority, set `DOCKER_CERT_PATH` to the directory with `ca.pem`",
            ));
        }
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    };
    let at = |name: &str| keys.join(name);
    let wrong = |name: &str, reason: String| {
        io::Error::other(format!("cannot use `{}`: {reason}", at(name).display()))
    };
    let certificates = |name: &str| {
        let found = CertificateDer::pem_file_iter(at(name)).and_then(Iterator::collect);
        found.map_err(|error| wrong(name, error.to_string()))
    };
    let authorities: Vec<CertificateDer> = certificates("ca.pem")?;
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(authorities).0 == 0 {
        return Err(wrong("ca.pem", "it has no certificate of an authority".to_owned()));
    }
    let config = builder.with_root_certificates(roots);
    if !at("cert.pem").exists() && !at("key.pem").exists() {
        return Ok(config.with_no_client_auth());
    }
    let key = PrivateKeyDer::from_pem_file(at("key.pem"));
    let key = key.map_err(|error| wrong("key.pem", error.to_string()))?;
    let config = config.with_client_auth_cert(certificates("cert.pem")?, key);
    config.map_err(|error| wrong("cert.pem", error.to_string()))
}

/// A function that connects, whatever the address.
#[derive(Clone)]
struct Connector<F>(F);

impl<F, R, S> Service<Uri> for Connector<F>
where
    F: Fn() -> R,
    R: Future<Output = io::Result<S>>,
{
    type Response = S;
    type Error = io::Error;
    type Future = R;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> R {
        (self.0)()
    }
}
