//! A proxy in front of the S3 server that loses, delays and falsifies what it passes on.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

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
    /// Another answer: `503 Slow Down`.
    Overloaded,
    /// A bit in the middle of the answer's body is another one.
    Flip,
    /// The request waits until [`Proxy::release`].
    Hold,
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
    /// The lines of all requests so far, such as `GET /bucket/key HTTP/1.1`.
    requests: Mutex<Vec<String>>,
    changed: Condvar,
    released: Mutex<bool>,
}

impl Proxy {
    /// `choice` is asked for each request, with its number from 0 and its line.
    pub fn start(
        upstream: &str,
        choice: impl Fn(usize, &str) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            choice: Box::new(choice),
            requests: Mutex::default(),
            changed: Condvar::new(),
            released: Mutex::new(false),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = serving.clone();
                // A connection that fails is what this is about.
                std::thread::spawn(move || drop(shared.serve(client)));
            }
        });
        Self { address, shared }
    }

    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Waits for a request whose line has this part.
    pub fn until(&self, part: &str) {
        let mut requests = self.shared.requests.lock().unwrap();
        while !requests.iter().any(|line| line.contains(part)) {
            requests = self.shared.changed.wait(requests).unwrap();
        }
    }

    /// Lets all requests go on that are held. Nothing happens to later ones.
    pub fn release(&self) {
        *self.shared.released.lock().unwrap() = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.release();
    }
}

impl Shared {
    /// One request, and the end of the connection.
    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if client.read(&mut byte)? == 0 {
                return Ok(());
            }
            head.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let line = text.lines().next().unwrap_or_default().to_owned();
        let number = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(line.clone());
            self.changed.notify_all();
            requests.len() - 1
        };
        let header = |name: &str| {
            text.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let released = *self.released.lock().unwrap();
        let fault = (self.choice)(number, &line).filter(|_| !released);
        if fault == Some(Fault::Refuse) {
            return Ok(());
        }
        if header("expect").is_some() {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = vec![0; header("content-length").map_or(0, |n| n.parse().unwrap())];
        client.read_exact(&mut body)?;
        match fault {
            Some(Fault::Hold) => {
                let mut released = self.released.lock().unwrap();
                while !*released {
                    released = self.changed.wait(released).unwrap();
                }
            }
            Some(Fault::Overloaded) => {
                let answer =
                    "<Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>";
                let length = answer.len();
                return write!(
                    client,
                    "HTTP/1.1 503 Slow Down\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}"
                );
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
        client.shutdown(Shutdown::Write)
    }
}
