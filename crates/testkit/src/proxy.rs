//! A proxy in front of the S3 server that loses, delays and falsifies what it passes on.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The connection ends before the server sees the request.
    Refuse,
    /// The server does what it is asked to, and the connection ends before its answer.
    Lose,
    /// The answer ends in the middle of its body.
    Cut,
    /// The answer stops in the middle of its body, and the connection stays.
    Stall,
    /// The connection is reset before the server sees the request.
    Reset,
    /// Another answer: `503 Slow Down`.
    Overloaded,
    /// Another answer, of S3 or of anything else.
    Answer(Answer),
    /// An answer that refuses with this many bytes, in XML that never ends.
    Endless { status: u16, bytes: u64 },
    /// The server's clock is ahead of the client's by so many seconds, as its answer says.
    Skewed(i64),
    /// A bit in the middle of the answer's body is another one.
    Flip,
    /// No more than so much of the request's body is taken in a second.
    Slow { bytes_per_second: usize },
    /// The request waits until [`Proxy::release`].
    Hold,
}

/// What a server says that has not seen the request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// Whole lines, such as `Location: http://elsewhere/`.
    pub headers: &'static [&'static str],
    pub body: &'static str,
}

impl Answer {
    pub const fn new(status: u16, body: &'static str) -> Self {
        Self { status, headers: &[], body }
    }

    fn send(self, client: &mut impl Connection) -> std::io::Result<()> {
        let Self { status, headers, body } = self;
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let length = body.len();
        write!(
            client,
            "HTTP/1.1 {status} Status\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )?;
        client.end()
    }
}

type Choice = Box<dyn Fn(usize, &str) -> Option<Fault> + Send + Sync>;

/// Ends its connections when it is dropped.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    choice: Choice,
    /// The heads of all requests so far, beginning with a line such as `GET /bucket/key HTTP/1.1`.
    requests: Mutex<Vec<String>>,
    /// How many bytes of endless answers have left.
    sent: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

/// Of requests that wait.
#[derive(Default)]
struct State {
    held: bool,
    released: bool,
}

impl Proxy {
    /// `choice` is asked for each request, with its number from 0 and its head, which begins with its line.
    pub fn start(
        upstream: &str,
        choice: impl Fn(usize, &str) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        Self::listen(upstream, Box::new(choice), |client, shared| drop(shared.serve(client)))
    }

    /// Speaks TLS, with a certificate that `tls/ca.pem` has signed, and does nothing else.
    pub fn start_tls(upstream: &str) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = CertificateDer::from_pem_slice(include_bytes!("../tls/server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("../tls/server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        let config = Arc::new(config);
        Self::listen(upstream, Box::new(|_, _| None), move |client, shared| {
            let connection = ServerConnection::new(config.clone()).unwrap();
            drop(shared.serve(StreamOwned::new(connection, client)));
        })
    }

    fn listen(
        upstream: &str,
        choice: Choice,
        serve: impl Fn(TcpStream, &Shared) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // What a connection takes that nobody reads from is less than what the tests send.
        let buffer = nix::sys::socket::sockopt::RcvBuf;
        nix::sys::socket::setsockopt(&listener, buffer, &(256 << 10)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            choice,
            requests: Mutex::default(),
            sent: AtomicU64::new(0),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let (serving, serve) = (shared.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (shared, serve) = (serving.clone(), serve.clone());
                // A connection that fails is what this is about.
                std::thread::spawn(move || serve(client, &shared));
            }
        });
        Self { address, shared }
    }

    /// The lines of all requests so far, such as `GET /bucket/key HTTP/1.1`.
    pub fn requests(&self) -> Vec<String> {
        let line = |head: String| head.lines().next().unwrap_or_default().to_owned();
        self.heads().into_iter().map(line).collect()
    }

    /// The same with all of their headers.
    pub fn heads(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many bytes of endless answers a client has taken, or the system for it.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Waits for a request that is held.
    pub fn until_held(&self) {
        let mut state = self.shared.state.lock().unwrap();
        while !state.held {
            state = self.shared.changed.wait(state).unwrap();
        }
    }

    /// Lets all requests go on that are held. Nothing happens to later ones.
    pub fn release(&self) {
        self.shared.state.lock().unwrap().released = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.release();
    }
}

trait Connection: Read + Write {
    /// Says that nothing more will come.
    fn end(&mut self) -> std::io::Result<()>;

    /// Makes the end of the connection a reset.
    fn reset(&mut self) -> std::io::Result<()>;
}

impl Connection for TcpStream {
    fn end(&mut self) -> std::io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn reset(&mut self) -> std::io::Result<()> {
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        nix::sys::socket::setsockopt(self, nix::sys::socket::sockopt::Linger, &linger)?;
        Ok(())
    }
}

impl Connection for StreamOwned<ServerConnection, TcpStream> {
    fn end(&mut self) -> std::io::Result<()> {
        self.conn.send_close_notify();
        self.flush()?;
        self.sock.shutdown(Shutdown::Write)
    }

    fn reset(&mut self) -> std::io::Result<()> {
        self.sock.reset()
    }
}

impl Shared {
    /// One request, and the end of the connection.
    fn serve(&self, mut client: impl Connection) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if client.read(&mut byte)? == 0 {
                return Ok(());
            }
            head.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let number = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(text.clone());
            requests.len() - 1
        };
        let header = |name: &str| {
            text.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let released = self.state.lock().unwrap().released;
        let fault = (self.choice)(number, &text).filter(|_| !released);
        match fault {
            Some(Fault::Refuse) => return Ok(()),
            Some(Fault::Reset) => return client.reset(),
            _ => {}
        }
        if header("expect").is_some() {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = vec![0; header("content-length").map_or(0, |n| n.parse().unwrap())];
        match fault {
            Some(Fault::Slow { bytes_per_second }) => {
                for piece in body.chunks_mut(bytes_per_second.div_ceil(50)) {
                    client.read_exact(piece)?;
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            }
            _ => client.read_exact(&mut body)?,
        }
        match fault {
            Some(Fault::Hold) => {
                let mut state = self.state.lock().unwrap();
                state.held = true;
                self.changed.notify_all();
                while !state.released {
                    state = self.changed.wait(state).unwrap();
                }
            }
            Some(Fault::Overloaded) => {
                let answer =
                    "<Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>";
                return Answer::new(503, answer).send(&mut client);
            }
            Some(Fault::Answer(answer)) => return answer.send(&mut client),
            Some(Fault::Endless { status, bytes }) => {
                write!(
                    client,
                    "HTTP/1.1 {status} Status\r\nContent-Length: {bytes}\r\n\r\n<Error>"
                )?;
                let mut left = bytes;
                while left > 0 {
                    client.write_all(&[b' '; 1 << 16])?;
                    self.sent.fetch_add(1 << 16, Ordering::Relaxed);
                    left = left.saturating_sub(1 << 16);
                }
                return Ok(());
            }
            Some(Fault::Skewed(seconds)) => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                let now = now.unwrap().as_secs().cast_signed() + seconds;
                let date = aws_sdk_s3::primitives::DateTime::from_secs(now);
                let date = date.fmt(aws_sdk_s3::primitives::DateTimeFormat::HttpDate).unwrap();
                let answer =
                    "<Error><Code>RequestTimeTooSkewed</Code><Message>too far</Message></Error>";
                let length = answer.len();
                write!(
                    client,
                    "HTTP/1.1 403 Forbidden\r\nDate: {date}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}"
                )?;
                return client.end();
            }
            _ => {}
        }

        // A connection for each request, so that the answer ends where the connection does.
        let mut server = TcpStream::connect(&self.upstream)?;
        let kept = text.trim_end().lines().filter(|line| {
            let name = line.split(':').next().unwrap_or_default();
            !name.eq_ignore_ascii_case("connection") && !name.eq_ignore_ascii_case("expect")
        });
        let kept: Vec<&str> = kept.collect();
        server
            .write_all(format!("{}\r\nConnection: close\r\n\r\n", kept.join("\r\n")).as_bytes())?;
        server.write_all(&body)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        let start = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(0) + 4;
        let middle = start + answer.len().saturating_sub(start) / 2;
        match fault {
            Some(Fault::Lose) => return Ok(()),
            Some(Fault::Cut) => answer.truncate(middle),
            Some(Fault::Flip) if middle < answer.len() => answer[middle] ^= 1,
            Some(Fault::Stall) => {
                client.write_all(&answer[..middle])?;
                // Until the client gives up.
                let _ = client.read(&mut [0]);
                return Ok(());
            }
            _ => {}
        }
        client.write_all(&answer)?;
        client.end()
    }
}
