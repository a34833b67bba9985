//! Credentials reach the servers that want them, and nobody else.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::world::World;

const PASSWORD: &str = "hunter2-is-secret";

/// `git http-backend` behind a password, until the test ends.
fn http_server(root: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let root = root.clone();
            thread::spawn(move || answer(connection, &root));
        }
    });
    format!("127.0.0.1:{}", address.port())
}

fn answer(connection: TcpStream, root: &std::path::Path) -> Option<()> {
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let mut connection = connection;
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut kind, mut login, mut chunked, mut protocol, mut encoding) =
        (0, String::new(), String::new(), false, String::new(), String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "content-type" => kind = value.to_owned(),
            "content-encoding" => encoding = value.to_owned(),
            "authorization" => login = value.to_owned(),
            "transfer-encoding" => chunked = true,
            "git-protocol" => protocol = value.to_owned(),
            _ => {}
        }
    }
    assert!(!chunked);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    // `me:hunter2-is-secret`
    if login != "Basic bWU6aHVudGVyMi1pcy1zZWNyZXQ=" {
        let text = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return connection.write_all(text.as_bytes()).ok();
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", protocol)
        .env("HTTP_CONTENT_ENCODING", encoding)
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", kind)
        .env("CONTENT_LENGTH", length.to_string())
        .env("REMOTE_USER", "me")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = backend.stdin.take()?;
    thread::spawn(move || _ = stdin.write_all(&body));
    let output = backend.wait_with_output().ok()?.stdout;
    connection.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n").ok()?;
    connection.write_all(&output).ok()
}

/// A `git` in front of the real one that writes down its arguments and what it can see of its parents'.
fn recorded(world: &World) -> (PathBuf, PathBuf) {
    let (folder, record) = (world.path("bin"), world.path("record"));
    fs::create_dir(&folder).unwrap();
    let real = Command::new("sh").args(["-c", "command -v git"]).output().unwrap();
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >> {record}\nenv >> {record}\nexec {} \"$@\"\n",
        String::from_utf8(real.stdout).unwrap().trim(),
        record = record.display()
    );
    fs::write(folder.join("git"), script).unwrap();
    fs::set_permissions(folder.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    (folder, record)
}

#[test]
fn a_password_is_used_and_shown_nowhere() {
    let world = World::new();
    let repository = world.repository("r");
    let one = repository.commit("a", "one");
    repository.git(&["config", "http.receivepack", "true"]);
    let server = http_server(world.path(""));
    let (folder, record) = recorded(&world);
    let path = std::env::join_paths(
        std::iter::once(folder).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    )
    .unwrap();
    let run = |action: &str, directory: &str, request: &Value| {
        let mut command = world.command(World::program());
        command.args(["git", action]).arg(world.path(directory)).env("PATH", &path);
        crate::world::finish(command, request)
    };
    let in_fields = json!({ "uri": format!("http://{server}/r"), "branch": "main", "username": "me", "password": PASSWORD });
    let in_uri = json!({ "uri": format!("http://me:{PASSWORD}@{server}/r"), "branch": "main" });
    for (name, source) in [("fields", in_fields), ("uri", in_uri)] {
        let (check, artifacts) = (format!("check-{name}"), format!("artifacts-{name}"));
        for folder in [&check, &artifacts] {
            fs::create_dir(world.path(folder)).unwrap();
        }
        assert_eq!(
            run("check", &check, &json!({ "source": source })).json(),
            json!([{ "ref": one }])
        );
        let request = json!({ "source": source, "version": { "ref": one } });
        run("in", &format!("{artifacts}/repo"), &request).json();
        let request =
            json!({ "source": source, "params": { "repository": "repo", "branch": name } });
        let answer = run("out", &artifacts, &request);
        assert!(!answer.stderr.contains(PASSWORD));
        assert_eq!(answer.json()["version"]["branch"], name);
        let config = world.read(&format!("{artifacts}/repo/.git/config"));
        assert!(
            !config.contains(PASSWORD) && config.contains(&format!("http://{server}/r")),
            "{config}"
        );
        let mut wrong = source.clone();
        wrong["uri"] = json!(source["uri"].as_str().unwrap().replace("/r", "/none"));
        let answer = run("check", &check, &json!({ "source": wrong }));
        assert!(!answer.error().contains(PASSWORD), "{}", answer.stderr);
        answer.fails_with(&format!("`http://{server}/none`"));
    }
    assert!(!fs::read_to_string(record).unwrap().contains(PASSWORD));
    world.left_nothing();
}

#[test]
fn a_wrong_password_is_an_error_and_no_question() {
    let world = World::new();
    world.repository("r").commit("a", "one");
    let server = http_server(world.path(""));
    let uri = format!("http://{server}/r");
    let source = json!({ "uri": uri, "username": "me", "password": "something-else" });
    let answer = world.check(&source, &Value::Null);
    answer.fails_with("look at `username` and `password` in the source");
    assert!(!answer.stderr.contains("something-else"));
    world.check(&json!({ "uri": uri }), &Value::Null).fails_with("set `username` and `password`");
    world
        .check(&json!({ "uri": uri, "password": "something-else" }), &Value::Null)
        .fails_with("`source.password` needs `username`");
    world
        .check(
            &json!({ "uri": "/r", "username": "me", "password": "something-else" }),
            &Value::Null,
        )
        .fails_with("`source.username` is for addresses with `http://`");
}

/// A password is for the host of `uri` alone; a submodule elsewhere needs its own.
#[test]
fn submodules_elsewhere_have_credentials_of_their_own() {
    let world = World::new();
    let library = world.repository("library");
    library.commit("file", "content");
    let server = http_server(world.path(""));
    let repository = world.repository("r");
    repository.commit("a", "one");
    world.git("r", &["submodule", "--quiet", "add", &library.uri(), "lib"]);
    world.git(
        "r",
        &[
            "config",
            "--file",
            ".gitmodules",
            "submodule.lib.url",
            &format!("http://{server}/library"),
        ],
    );
    let one = repository.commit("a", "submodule");
    let mut source = json!({ "uri": repository.uri() });
    world.get(&source, &one, &json!({})).fails_with("cannot check out the submodule `lib`");
    fs::remove_dir_all(world.path("got")).unwrap();
    source["submodule_credentials"] =
        json!([{ "host": server, "username": "me", "password": PASSWORD }]);
    world.get(&source, &one, &json!({})).json();
    assert_eq!(world.read("got/lib/file"), "content\n");
}

/// sshd for the user who runs the tests.
struct SshServer {
    child: Child,
    port: u16,
}

impl Drop for SshServer {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn ssh_keygen(world: &World, name: &str, passphrase: &str) {
    let path = world.path(name);
    let done = world
        .command("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", passphrase, "-f"])
        .arg(path)
        .status();
    assert!(done.unwrap().success());
}

impl SshServer {
    fn start(world: &World) -> Self {
        ssh_keygen(world, "host", "");
        fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o700)).unwrap();
        let mut keys = String::new();
        for name in ["plain", "locked"] {
            ssh_keygen(world, name, if name == "locked" { "open sesame" } else { "" });
            keys.push_str(&world.read(&format!("{name}.pub")));
        }
        fs::write(world.path("authorized"), keys).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPidFile none\n",
            world.path("host").display(),
            world.path("authorized").display()
        );
        fs::write(world.path("sshd"), config).unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(world.path("sshd"))
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("the tests need sshd");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        for line in lines.by_ref() {
            if line.unwrap().contains("listening") {
                break;
            }
        }
        // sshd waits for nobody who reads what it says.
        thread::spawn(move || lines.for_each(drop));
        Self { child, port }
    }
}

#[test]
fn a_private_key_is_used_with_and_without_a_passphrase() {
    let world = World::new();
    let repository = world.repository("r");
    let one = repository.commit("a", "one");
    let server = SshServer::start(&world);
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let uri =
        |user: &str| format!("ssh://{user}127.0.0.1:{}{}", server.port, world.path("r").display());
    let with = |fields: Value| {
        let mut source = json!({ "uri": uri(&format!("{}@", user.trim())) });
        source.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        source
    };
    let (plain, locked) = (world.read("plain"), world.read("locked"));
    for source in [
        with(json!({ "private_key": plain })),
        with(json!({ "private_key": plain.trim_end() })),
        with(json!({ "private_key": locked, "private_key_passphrase": "open sesame" })),
        with(json!({ "private_key": plain, "forward_agent": true })),
        with(json!({ "uri": uri(""), "private_key": plain, "private_key_user": user.trim() })),
    ] {
        assert_eq!(world.refs(&source, &Value::Null), [&*one], "{source}");
    }
    for (source, expected) in [
        (
            with(json!({ "private_key": locked, "private_key_passphrase": "wrong words" })),
            "cannot read the refs",
        ),
        (with(json!({ "private_key": locked })), "Permission denied ("),
        (with(json!({})), "Host key verification failed"),
    ] {
        let answer = world.check(&source, &Value::Null);
        answer.fails_with(expected);
        assert!(!answer.stderr.contains("wrong words"));
    }
    world.left_nothing();
    let home: Vec<_> =
        fs::read_dir(world.path("home")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(home, [".gitconfig"]);
}

#[test]
fn a_signature_has_to_be_by_one_of_the_keys() {
    let world = World::new();
    let repository = world.repository("r");
    let unsigned = repository.commit("a", "one");
    let gnupg = world.path("gnupg");
    fs::create_dir(&gnupg).unwrap();
    fs::set_permissions(&gnupg, fs::Permissions::from_mode(0o700)).unwrap();
    let gpg = |args: &[&str]| {
        let mut command = world.command("gpg");
        let output = command
            .env("GNUPGHOME", &gnupg)
            .args(["--batch", "--quiet"])
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for name in ["ann@example.com", "bob@example.com"] {
        gpg(&["--passphrase", "", "--quick-generate-key", name, "ed25519", "sign"]);
    }
    let key = |name: &str| gpg(&["--armor", "--export", name]);
    let mut commit = world.command("git");
    commit.env("GNUPGHOME", &gnupg).current_dir(world.path("r"));
    commit.args([
        "commit",
        "--quiet",
        "--allow-empty",
        "--message",
        "signed",
        "--gpg-sign=ann@example.com",
    ]);
    assert!(commit.status().unwrap().success());
    let signed = repository.head();
    let run = |directory: &str, commit: &str, keys: Value| {
        let source = json!({ "uri": repository.uri(), "commit_verification_keys": keys });
        world.run(
            "git",
            "in",
            Some(directory),
            &json!({ "source": source, "version": { "ref": commit } }),
        )
    };
    run("one", &signed, json!([key("bob@example.com"), key("ann@example.com")])).json();
    run("two", &signed, json!([key("bob@example.com")])).fails_with("signed by none of the keys");
    run("three", &unsigned, json!([key("ann@example.com")]))
        .fails_with("is not signed by one of the keys");
    run("four", &signed, json!(["no key"]))
        .fails_with("cannot read a key of `commit_verification_keys`");
    assert!(
        !fs::read_dir(world.path("one/.git")).unwrap().any(|entry| entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("gnupg"))
    );
    let mut end = world.command("gpgconf");
    assert!(end.env("GNUPGHOME", &gnupg).args(["--kill", "all"]).status().unwrap().success());
}
