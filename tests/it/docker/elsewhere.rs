//! Engines of other machines: the way to them, and volumes that no directory of this one has.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ci::driver::docker::{DockerConfig, DockerDriver};
use ci::driver::{Driver, RunIdentity};
use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::endings::{WAITS, signal, waiting};
use super::{Run, host, objects, variable};
use crate::driving::{PATIENCE, exit, mounted, sh, succeed, updates, volume};
use crate::support::Ci;

#[test]
fn an_engine_is_reached_by_tls_with_the_keys_of_docker() {
    let host = variable("CI_TEST_DOCKER_TLS_HOST");
    let run = || {
        Ci::pipeline("console.log(pipelineContext.driverName)")
            .args(["--output", "plain", "--driver", "docker"])
            .env("DOCKER_HOST", &host)
    };
    run()
        .env("DOCKER_TLS_VERIFY", "1")
        .env("DOCKER_CERT_PATH", variable("CI_TEST_DOCKER_TLS_KEYS"))
        .run()
        .exits(0)
        .stdout_has("docker");
    let nowhere = tempfile::tempdir().unwrap();
    run()
        .env("DOCKER_TLS_VERIFY", "1")
        .env("DOCKER_CERT_PATH", nowhere.path())
        .run()
        .exits(3)
        .stderr_has("no engine answers at");
    run()
        .run()
        .exits(3)
        .stderr_has("no engine answers at")
        .stderr_has("it speaks TLS, set `DOCKER_TLS_VERIFY=1`");
}

/// A volume's content goes through the engine as an archive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_are_read_and_written_as_archives() {
    let run = Run::with(DockerConfig::default()).await;
    let (from, to) = (volume(&run.driver, "from").await, volume(&run.driver, "to").await);
    let make = "mkdir -p v/a/b && echo x > v/a/b/file && ln -s a/b v/link && ln v/a/b/file v/hard
        chmod 0500 v/a && chown 1234:99 v/a/b/file
        printf y > \"v/$(printf '\\377')\"
        find v -mindepth 1 -exec touch -h -d 2001-02-03T04:05:06 {} +";
    succeed(&run.driver, &mounted(sh(make), &[(&from, "v")])).await;
    let look = "cd v; find . -mindepth 1 -printf '%p %y %m %U:%G %T@ %n %l\\n' | tr '\\377' '?' | sort; cat hard";
    let before = succeed(&run.driver, &mounted(sh(look), &[(&from, "v")])).await;
    assert!(before.contains("1234:99"), "{before}");

    let archive = run.driver.stream(&from.name).await.unwrap().read().await.unwrap();
    run.driver.stream(&to.name).await.unwrap().write(archive).await.unwrap();
    assert_eq!(succeed(&run.driver, &mounted(sh(look), &[(&to, "v")])).await, before);

    // Cut off, and with an error: nothing is better than a part.
    let empty = volume(&run.driver, "empty").await;
    for error in [None, Some(std::io::Error::other("lost"))] {
        let mut archive = run.driver.stream(&from.name).await.unwrap().read().await.unwrap();
        let (sender, part) = tokio::sync::mpsc::channel(2);
        sender.send(Ok(archive.recv().await.unwrap().unwrap().slice(..1536))).await.unwrap();
        if let Some(error) = error {
            sender.send(Err(error)).await.unwrap();
        }
        drop(sender);
        run.driver.stream(&empty.name).await.unwrap().write(part).await.unwrap_err();
        let read = mounted(sh("ls -A v"), &[(&empty, "v")]);
        assert_eq!(succeed(&run.driver, &read).await, "");
    }
    run.end().await;
}

/// A way to the engine that can be cut: what is connected stays so, and nothing comes through any more.
pub struct Way {
    pub host: String,
    pub cut: CancellationToken,
    /// Whether the engine is taken for one that has lost count of what is in its networks.
    miscounts: Arc<AtomicBool>,
    /// Ends the connections when it is dropped.
    open: CancellationToken,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.open.cancel();
    }
}

impl Way {
    /// By TCP.
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = Self::to(format!("tcp://{}", listener.local_addr().unwrap()));
        let pass = way.pass();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                pass(Box::new(near));
            }
        });
        way
    }

    /// By a socket of this machine, as `ssh -L` and virtual machines make one for an engine elsewhere.
    async fn forwarded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let way = Self::to(format!("unix://{}", socket.display()));
        let pass = way.pass();
        tokio::spawn(async move {
            // Until the runtime ends.
            let _directory = directory;
            while let Ok((near, _)) = listener.accept().await {
                pass(Box::new(near));
            }
        });
        way
    }

    fn to(host: String) -> Self {
        let (cut, miscounts, open) = Default::default();
        Self { host, cut, miscounts, open }
    }

    /// Connects somebody with the engine.
    fn pass(&self) -> impl Fn(Box<dyn Connection>) + Send + 'static {
        let (cut, open, miscounts) = (self.cut.clone(), self.open.clone(), self.miscounts.clone());
        move |mut near| {
            let (cut, open, miscounts) = (cut.clone(), open.clone(), miscounts.clone());
            tokio::spawn(async move {
                let host = host();
                let path = host.strip_prefix("unix://").unwrap();
                let mut far = UnixStream::connect(path).await.unwrap();
                tokio::select! {
                    biased;
                    () = cut.cancelled() => open.cancelled().await,
                    () = validate(&mut *near, &mut far, &miscounts) => {}
                }
            });
        }
    }

    fn config(&self, patience: Duration) -> DockerConfig {
        DockerConfig { host: self.host.parse().ok(), patience, ..DockerConfig::default() }
    }
}

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Passes on what both sides say until one of them ends. If the engine `keeps` networks, whoever removes
/// one gets the answer of an engine that has lost count instead.
async fn validate(near: &mut dyn Connection, far: &mut UnixStream, keeps: &AtomicBool) {
    let (mut from_near, mut to_near) = tokio::io::split(near);
    let (mut from_far, mut to_far) = far.split();
    let (mut request, mut answer) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let passed = tokio::select! {
            read = from_near.read(&mut request) => match read {
                Ok(1..) if request.starts_with(b"DELETE ")
                    && String::from_utf8_lossy(&request).lines().next().unwrap().contains("/networks/")
                    && keeps.load(Ordering::SeqCst) =>
                {
                    let message = r#"{"message":"network n id 1 has active endpoints"}"#;
                    let head = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json";
                    let length = message.len();
                    let text = format!("{head}\r\nContent-Length: {length}\r\n\r\n{message}");
                    to_near.write_all(text.as_bytes()).await
                }
                Ok(count @ 1..) => to_far.write_all(&request[..count]).await,
                _ => return,
            },
            read = from_far.read(&mut answer) => match read {
                Ok(count @ 1..) => to_near.write_all(&answer[..count]).await,
                _ => return,
            },
        };
        if passed.is_err() {
            return;
        }
    }
}

/// Engines lose count if containers come and go at the same time, and keep the network until they restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_the_engine_does_not_let_go_fails_no_run() {
    let way = Way::open().await;
    let config = way.config(DockerConfig::default().patience);
    let Run { driver, run, notices } = Run::with(config.clone()).await;
    succeed(&driver, &sh("true")).await;
    way.miscounts.store(true, Ordering::SeqCst);
    driver.close().await.unwrap();
    let text = format!(
        "the engine keeps `ci-{run}`, since it counts containers there although none is left; \
         restart the engine, then run `ci prune`"
    );
    assert_eq!(*notices.lock().unwrap(), [text.as_str()]);
    let config = DockerConfig { namespace: Some(run.clone()), ..config };
    let pruned = ci::driver::docker::prune(&config).await;
    assert_eq!(pruned.unwrap_err().to_string(), text);
    // The next run of the namespace has nothing to say of it.
    let identity = RunIdentity { run: format!("{run}-next"), pipeline: "pipeline".into() };
    let sink = notices.clone();
    let sink = Arc::new(move |notice| sink.lock().unwrap().push(notice));
    let next = DockerDriver::start(&config, &identity, sink).await.unwrap();
    next.close().await.unwrap();
    assert_eq!(notices.lock().unwrap().len(), 1);

    way.miscounts.store(false, Ordering::SeqCst);
    prune(&run).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_on_an_engine_that_is_out_of_reach_is_lost() {
    loses(Way::open().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_on_an_engine_that_is_out_of_reach_of_its_socket_is_lost() {
    loses(Way::forwarded().await).await;
}

async fn loses(way: Way) {
    let run = Run::with(way.config(Duration::from_secs(5))).await;
    let (sink, mut chunks) = updates(4);
    let task = sh("echo ready; exec sleep 1000");
    let cut = async {
        assert_eq!(chunks.recv().await.unwrap().1, b"ready\n");
        way.cut.cancel();
    };
    let (ended, ()) =
        tokio::join!(exit(run.driver.run(&task, sink, CancellationToken::new())), cut);
    assert_eq!(
        ended.unwrap_err().to_string(),
        "lost task `test`: the engine has not answered for 5s"
    );
    let error = run.driver.close().await.unwrap_err();
    assert!(error.to_string().contains("remove it with `ci prune`"), "{error}");
    assert_ne!(objects("ci.run", &run.run), Vec::<String>::new());

    let Run { driver, run, .. } = run;
    drop((driver, way));
    prune(&run).await;
}

/// Volumes are read when tasks have ended, which may take longer than a lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_counts_as_alive_until_its_end() {
    let patience = Duration::from_secs(4);
    let run = Run::with(DockerConfig { patience, ..DockerConfig::default() }).await;
    run.driver.end_tasks().await;
    let label = format!("--filter=label=ci.run={}", run.run);
    let mut events = tokio::process::Command::new("/usr/bin/docker")
        .args(["--host", &host(), "events", "--filter=event=rename", &label])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = tokio::io::BufReader::new(events.stdout.take().unwrap()).lines();
    let renewed = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(renewed.contains("rename"), "{renewed}");
    run.end().await;
}

/// Removes what a run has left behind, on a way that is not cut.
async fn prune(run: &str) {
    let config = DockerConfig {
        host: host().parse().ok(),
        namespace: Some(run.to_owned()),
        ..DockerConfig::default()
    };
    ci::driver::docker::prune(&config).await.unwrap();
    assert_eq!(objects("ci.run", run), Vec::<String>::new());
}

/// An archive with one file, which has these bytes.
pub fn archive(content: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "file", content).unwrap();
    archive.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_may_take_longer_than_an_answer() {
    let way = Way::open().await;
    let patience = Duration::from_secs(4);
    let run = Run::with(way.config(patience)).await;
    let slow = volume(&run.driver, "slow").await;
    let bytes = Bytes::from(archive(&[b'x'; 4096]));
    let (sender, chunks) = mpsc::channel(1);
    let feed = async {
        for part in bytes.chunks(2048) {
            // The time is what this is about.
            tokio::time::sleep(patience / 2).await;
            sender.send(Ok(bytes.slice_ref(part))).await.unwrap();
        }
        sender.send(Ok(Bytes::new())).await.unwrap();
    };
    let slow_content = run.driver.stream(&slow.name).await.unwrap();
    let (written, ()) = tokio::join!(slow_content.write(chunks), feed);
    written.unwrap();
    let read = mounted(sh("wc -c < v/file"), &[(&slow, "v")]);
    assert_eq!(succeed(&run.driver, &read).await, "4096\n");

    // An engine that takes nothing is another matter.
    let (sender, chunks) = mpsc::channel(1);
    let stuck = volume(&run.driver, "stuck").await;
    let feed = async {
        sender.send(Ok(bytes.slice(..2048))).await.unwrap();
        // It is taken when this goes.
        sender.send(Ok(bytes.slice(2048..))).await.unwrap();
        way.cut.cancel();
        _ = sender.send(Ok(Bytes::new())).await;
    };
    let stuck_content = run.driver.stream(&stuck.name).await.unwrap();
    let (written, ()) = tokio::join!(stuck_content.write(chunks), feed);
    // Whoever finds out first, the transfer or the lease.
    let error = written.unwrap_err().to_string();
    assert!(error.ends_with(": the engine has not answered for 4s"), "{error}");
    run.driver.close().await.unwrap_err();
    let Run { driver, run, .. } = run;
    // All that keeps the run alive.
    drop((driver, way, slow, slow_content, stuck, stuck_content));
    prune(&run).await;
}

/// An engine that has been stopped, or a network that is cut, says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_on_an_engine_that_says_nothing_ends_when_it_is_interrupted() {
    let way = Way::open().await;
    let namespace = format!("silent-{}", std::process::id());
    let driver = format!("docker://{namespace}?host={}&grace=200ms", way.host);
    let (cut, told) = (way.cut.clone(), driver.clone());
    let run = tokio::task::spawn_blocking(move || {
        let state = tempfile::tempdir().unwrap();
        let ci = Ci::pipeline(WAITS).args(["--driver", &told]);
        let mut child = waiting(&ci.env("XDG_CACHE_HOME", state.path()));
        cut.cancel();
        signal(&child, Signal::SIGINT);
        let code = child.wait().unwrap().code();
        Ci::new()
            .args(["prune", "--driver", &super::dsn(&namespace)])
            .env("XDG_CACHE_HOME", state.path())
            .run()
            .exits(0);
        assert_eq!(objects("ci.namespace", &namespace), Vec::<String>::new());
        code
    });
    // Only ends a hang: leases last for two minutes.
    let code = timeout(Duration::from_secs(100), run).await.unwrap().unwrap();
    assert_eq!(code, Some(130));
}
