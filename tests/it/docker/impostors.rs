//! Addresses at which something else than an engine answers, or an engine that is not to be believed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use super::variable;
use crate::support::{Ci, Outcome};

/// A server that does the same with every connection. Returns its address.
fn serve(answer: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || answer(client));
        }
    });
    address
}

/// Answers a request with this, and ends the connection.
fn says(text: &str) -> String {
    let text = text.to_owned();
    serve(move |mut client| {
        _ = client.read(&mut [0; 4096]);
        _ = client.write_all(text.as_bytes());
        _ = client.shutdown(Shutdown::Write);
        _ = client.read(&mut [0; 4096]);
    })
}

fn run(host: &str) -> Ci {
    let driver = format!("docker://impostors?host={host}");
    Ci::pipeline(r#"console.log("runs")"#).args(["--driver", &driver])
}

fn refused(host: &str) -> Outcome {
    run(host).run().exits(3).lacks("runs").stderr_has(host)
}

#[test]
fn what_is_no_engine_is_told_as_what_it_is() {
    let page = "<!DOCTYPE html><html><body>Welcome</body></html>";
    let ok = |kind: &str, body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let status = |status: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    for (text, reason) in [
        (ok("text/html", page), "is no Docker engine: it answers with a web page"),
        (
            ok("application/json", r#"{"status": "ok"}"#),
            "is no Docker engine: it answers with another JSON document",
        ),
        (ok("text/plain", ""), "is no Docker engine: it answers with nothing"),
        (
            status("404 Not Found", page),
            "is no Docker engine: it answers with a web page and the status `404 Not Found`",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: https://login.example/\r\nContent-Length: 0\r\n\r\n"
                .into(),
            "is no Docker engine: it answers with a redirect to `https://login.example/",
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n".into(), "is no Docker engine: it does not speak HTTP"),
        (
            status("500 Internal Server Error", r#"{"message": "\u001b[2Jdisk is full"}"#),
            r"\u{1b}[2Jdisk is full",
        ),
    ] {
        let text = refused(&format!("tcp://{}", says(&text))).lacks("\x1b[2J").stderr_has(reason);
        assert!(!text.stderr.contains("HyperLegacyError"), "{}", text.stderr);
    }
}

#[test]
fn an_error_of_200_mb_is_read_as_far_as_it_says_something() {
    let host = serve(|mut client| {
        _ = client.read(&mut [0; 4096]);
        _ = client
            .write_all(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 200000000\r\n\r\n");
        let block = vec![b'x'; 1 << 20];
        for _ in 0..200 {
            if client.write_all(&block).is_err() {
                return;
            }
        }
        // Nobody reads that far.
        std::process::abort();
    });
    let outcome = refused(&format!("tcp://{host}")).stderr_has("xxxxx");
    assert!(outcome.stderr.len() < 10_000, "{}", outcome.stderr.len());
}

#[test]
fn an_answer_that_never_ends_is_not_waited_for() {
    for head in [
        "",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 9\r\n\r\n",
    ] {
        let host = serve(move |mut client| {
            _ = client.read(&mut [0; 4096]);
            _ = client.write_all(head.as_bytes());
            // Until the other side gives up.
            _ = client.read(&mut [0; 4096]);
        });
        refused(&format!("tcp://{host}")).stderr_has("has not answered within");
    }
}

/// Whoever asks for TLS does not get less.
#[test]
fn an_https_address_is_reached_with_tls_or_not_at_all() {
    let host = variable("CI_TEST_DOCKER_TLS_HOST");
    let address = host.strip_prefix("tcp://").unwrap();
    let keys = variable("CI_TEST_DOCKER_TLS_KEYS");
    run(&format!("https://{address}"))
        .env("DOCKER_CERT_PATH", &keys)
        .run()
        .exits(0)
        .stdout_has("runs");
    // Nobody has said that this authority is to be trusted.
    let empty = tempfile::tempdir().unwrap();
    run(&format!("https://{address}"))
        .env("DOCKER_CONFIG", empty.path())
        .run()
        .exits(3)
        .lacks("runs")
        .stderr_has("certificate");
    // A server without TLS hears no request.
    let (heard, hears) = std::sync::mpsc::channel();
    let plain = serve(move |mut client| {
        let mut bytes = [0; 4096];
        let count = client.read(&mut bytes).unwrap_or(0);
        _ = heard.send(bytes[..count].to_vec());
        _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
    });
    for variable in ["DOCKER_HOST", "host"] {
        let host = format!("https://{plain}");
        let ci = match variable {
            "host" => run(&host),
            _ => Ci::pipeline(r#"console.log("runs")"#)
                .args(["--driver", "docker"])
                .env(variable, &host),
        };
        let ci = ci.env("DOCKER_CONFIG", empty.path());
        ci.run().exits(3).lacks("runs").stderr_has("does not speak TLS");
        let bytes = hears.recv().unwrap();
        assert!(!bytes.starts_with(b"GET"), "{bytes:?}");
    }
}
