//! Connections to an engine: by its socket, by TCP, with TLS, or through ssh.
//!
//! They are made here and not by bollard, which gives the streams of terminals to nobody undecoded, and
//! whose ssh client outlives the run.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, body_full};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, UPGRADE};
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

use super::destination::Destination;
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

type Answer = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Error>> + Send>>;

/// A way to send requests to an engine.
#[derive(Clone)]
pub struct Way {
    send: Arc<dyn Fn(BollardRequest) -> Answer + Send + Sync>,
    /// What the paths of requests are relative to.
    base: String,
}

/// Both ends of a terminal's stream.
pub type Terminal = (ReadHalf<TokioIo<Upgraded>>, WriteHalf<TokioIo<Upgraded>>);

impl Way {
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
    /// any.
    pub fn tls(address: &str, keys: &Path) -> io::Result<Self> {
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
            let answer = client.request(request);
            Box::pin(async move { Ok(answer.await?) }) as Answer
        };
        Self { send: Arc::new(send), base }
    }

    /// A client that waits so many seconds for an answer.
    pub fn client(&self, patience: u64) -> Result<Docker, Error> {
        let send = self.send.clone();
        let transport = move |request| send(request);
        Docker::connect_with_custom_transport(
            transport,
            Some(self.base.as_str()),
            patience,
            API_DEFAULT_VERSION,
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
            let status_code = answer.status().as_u16();
            let body = timeout(docker.timeout(), answer.into_body().collect()).await;
            let body = body.map_err(|_| Error::RequestTimeoutError)??.to_bytes();
            let message = match serde_json::from_slice::<Refusal>(&body) {
                Ok(refusal) => refusal.message,
                Err(_) => String::from_utf8_lossy(&body).into_owned(),
            };
            return Err(Error::DockerResponseServerError { status_code, message });
        }
        let stream = hyper::upgrade::on(answer).await.map_err(io::Error::other)?;
        Ok(tokio::io::split(TokioIo::new(stream)))
    }
}

/// What an engine says when it does not do something.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

fn http() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE));
    connector.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    connector
}

/// As the `docker` command has it: the engine's authority is in `ca.pem` and nowhere else, and who has no
/// certificate shows none.
fn tls_config(keys: &Path) -> io::Result<ClientConfig> {
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
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
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
