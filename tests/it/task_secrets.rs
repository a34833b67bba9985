//! Secrets reach tasks, on every driver, and nothing that is shown or left behind has them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Ci, Outcome};

/// One driver's tests of this.
#[macro_export]
macro_rules! task_secrets {
    ($dsn:expr) => {
        $crate::task_secrets! { $dsn,
            a_secret_is_a_variable_a_file_and_an_input
            a_file_is_in_memory_and_its_users_alone
            commands_of_a_sandbox_have_secrets
            what_a_task_writes_is_masked_however_it_is_cut
            nothing_that_is_left_has_a_secret
            a_place_that_cannot_have_a_secret_is_refused
            secrets_are_variables_of_yaml
        }
    };
    ($dsn:expr, $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::task_secrets::$name($dsn);
            }
        )*
    };
}

mod native {
    task_secrets! { "native" }
}

const TOKEN: &str = "hunter2-\"quoted\" $and&more";
const KEY: &str = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n-----END KEY-----\n";

/// A pipeline with two secrets.
fn pipeline(dsn: &str, body: &str) -> Ci {
    Ci::pipeline(body)
        .file("key.pem", KEY)
        .env("TOKEN", TOKEN)
        .args(["--driver", dsn, "--image", "debian:12", "--output", "plain"])
        .args(["--secret", "TOKEN", "--secret", "KEY=file:key.pem"])
}

/// What is printed has no part of a secret.
fn is_clean(outcome: Outcome) -> Outcome {
    outcome.lacks("hunter2").lacks("MIIEvQ").lacks("BKcwgg").lacks("aHVudGVyM")
}

fn sha256(text: &str) -> String {
    let mut child = Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

pub fn a_secret_is_a_variable_a_file_and_an_input(dsn: &str) {
    let script = r#"
        printf '%s' "$TOKEN" | sha256sum
        printf '%s' "$PEM" | sha256sum
        sha256sum /run/secrets/key.pem < /run/secrets/key.pem
        cat relative/token | sha256sum
        sha256sum
        env | grep -c ^PLAIN=x$"#;
    let body = format!(
        r#"
        const token = runtime.secret("TOKEN"), key = runtime.secret("KEY");
        const result = await runtime.run({{
            name: "use",
            script: {script:?},
            env: {{ TOKEN: token, PEM: key, PLAIN: "x" }},
            secrets: {{ "/var/run/secrets/key.pem": key, "relative/token": token }},
            stdin: key,
        }});
        assert.truthy(result.ok);
        // The result is the task's own output.
        const echo = await runtime.run({{ name: "echo", script: 'echo "$TOKEN"', env: {{ TOKEN: token }} }});
        assert.equal(echo.stdout.length, {});
        console.log("length", echo.stdout.length);
        "#,
        TOKEN.len() + 1
    );
    let outcome = is_clean(pipeline(dsn, &body).run().exits(0));
    let lines = [TOKEN, KEY.trim_end(), KEY, TOKEN, KEY].map(sha256);
    let shown: Vec<&str> =
        outcome.stdout.lines().filter(|line| line.starts_with("[use] ")).collect();
    assert_eq!(shown.len(), 6, "{}", outcome.transcript());
    for (line, hash) in shown.iter().zip(lines) {
        assert!(line.contains(&hash), "{hash}\n{}", outcome.transcript());
    }
    assert!(shown[5].ends_with("] 1"), "{}", outcome.transcript());
    outcome.stdout_has("[echo] ***").stdout_has("length");
}

pub fn a_file_is_in_memory_and_its_users_alone(dsn: &str) {
    let before = names("/run");
    let script = "stat -L -c '%a %U' /run/secrets/a/key; stat -L -f -c %T /run/secrets/a/key; \
                  cat /run/secrets/a/key | wc -c; echo x 2>/dev/null > /run/secrets/a/key || echo refused";
    let body = format!(
        r#"
        const secrets = {{ "/run/secrets/a/key": runtime.secret("KEY"), "/run/secrets/b": runtime.secret("TOKEN") }};
        const result = await runtime.run({{ name: "look", user: "nobody", script: {script:?}, secrets }});
        assert.equal(result.stdout, "400 nobody\ntmpfs\n{}\nrefused\n");
        const after = await runtime.run({{ name: "after", script: "ls /run/secrets/b || echo gone" }});
        assert.equal(after.stdout, "gone\n");
        "#,
        KEY.len()
    );
    is_clean(pipeline(dsn, &body).run().exits(0));
    // The machine's own directory is as it was.
    let new: Vec<_> = names("/run").difference(&before).cloned().collect();
    assert!(!new.iter().any(|name| name == "secrets"), "{new:?}");
}

fn names(directory: &str) -> BTreeSet<std::ffi::OsString> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

pub fn commands_of_a_sandbox_have_secrets(dsn: &str) {
    let body = r#"
        const key = runtime.secret("KEY"), token = runtime.secret("TOKEN");
        await using sandbox = await runtime.startSandbox({
            name: "box", env: { A: token, B: token }, secrets: { "/run/secrets/key": key, "near": key },
        });
        const script = 'cat /run/secrets/key near | wc -c; printf %s "$A" | wc -c; printf %s "$B"; printf %s "$C" | wc -c';
        for (const name of ["first", "second"]) {
            const result = await sandbox.exec({ name, script, env: { B: "plain\n", C: token } });
            assert.equal(result.stdout, `${2 * KEY}\n${TOKEN}\nplain\n${TOKEN}\n`);
        }
        const read = await sandbox.exec({ name: "read", command: ["wc", "-c"], stdin: key });
        assert.equal(read.stdout.trim(), `${KEY}`);
    "#;
    let numbers = format!("const KEY = {}, TOKEN = {};{body}", KEY.len(), TOKEN.len());
    is_clean(pipeline(dsn, &numbers).run().exits(0));
}

pub fn what_a_task_writes_is_masked_however_it_is_cut(dsn: &str) {
    // In pieces that arrive one by one, in two streams, in several forms, and at the very end.
    let script = r#"
        one() { printf '%s' "$1"; sleep 0.02; }
        one 'begin hun'; printf '%s' 'hunter2-' >&2; one 'ter2-"quoted" $a'; printf '%s\n' '"quoted" $and&more' >&2
        one 'nd&more end'; echo
        printf '%s' "$TOKEN" | base64 -w 0; echo
        printf 'user:%s' "$TOKEN" | base64 -w 16; echo
        printf '%s' "$TOKEN" | od -An -v -tx1 | tr -d ' \n'; echo
        sed -n 2p /run/secrets/key
        set -x; : "$TOKEN"; set +x
        printf 'last %s' "$TOKEN""#;
    let body = format!(
        r#"
        const env = {{ TOKEN: runtime.secret("TOKEN") }};
        const secrets = {{ "/run/secrets/key": runtime.secret("KEY") }};
        await runtime.run({{ name: "leak", script: {script:?}, env, secrets }});
        "#
    );
    let ci = pipeline(dsn, &body).args(["--events", "events.jsonl"]);
    let outcome = is_clean(ci.run().exits(0)).stdout_has("begin *** end").stdout_has("last ***");
    let events = std::fs::read_to_string(outcome.dir().join("events.jsonl")).unwrap();
    // The script itself has parts of the secret in it.
    let outputs = events.lines().filter(|line| line.contains(r#""event":"task_output""#));
    let events: String = outputs.collect();
    assert!(events.contains("***"), "{events}");
    for part in ["hunter2", "quoted", "MIIEvQ", "aHVudGVyM", "68756e746572", "dXNlcjpodW5"] {
        assert!(!events.contains(part), "{part} in {events}");
    }
}

pub fn nothing_that_is_left_has_a_secret(dsn: &str) {
    let body = r#"
        const env = { TOKEN: runtime.secret("TOKEN") }, secrets = { "/run/secrets/key": runtime.secret("KEY") };
        const kept = await runtime.createVolume({ name: "kept" });
        await runtime.run({ name: "work", script: "echo ok > kept/file; echo ready; sleep 1000", env, secrets,
            mounts: { kept } });
    "#;
    // Other tests, which the list of processes shows too, have other secrets.
    let value = "only-here: 8f\"3a $b";
    let ci = pipeline(dsn, body).args(["--events", "events.jsonl"]).env("TOKEN", value);
    let mut child = ci.spawn();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !lines.next().unwrap().unwrap().contains("ready") {}
    let shows = |when: &str| {
        for (what, text) in everything(dsn, ci.dir()) {
            for part in [value, "only-here", "MIIEvQIBADANBg"] {
                assert!(!text.contains(part), "{part} in {what} {when}");
            }
        }
    };
    shows("while the task runs");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    shows("after the run was killed");
    let pruned = Ci::new().args(["prune", "--driver", dsn]);
    assert!(pruned.command().env("XDG_CACHE_HOME", ci.state()).status().unwrap().success());
}

/// What the run's directory, the engine and the list of processes show, but for the secrets' own source.
fn everything(dsn: &str, directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                open.push(path);
            } else if path.file_name().unwrap() != "key.pem" && entry.file_type().unwrap().is_file()
            {
                let mut text = Vec::new();
                std::fs::File::open(&path).unwrap().read_to_end(&mut text).unwrap();
                found.push((
                    path.display().to_string(),
                    String::from_utf8_lossy(&text).into_owned(),
                ));
            }
        }
    }
    let mut ask = |command: &mut Command| {
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        found.push((format!("{command:?}"), text));
    };
    ask(Command::new("ps").args(["-e", "-ww", "-o", "args"]));
    if dsn.starts_with("docker") {
        let host = std::env::var("CI_TEST_DOCKER_HOST").unwrap();
        let list = "for id in $(docker ps -aq; docker volume ls -q; docker network ls -q); do docker inspect $id; done";
        ask(Command::new("sh").args(["-c", list]).env("DOCKER_HOST", &host));
        let root = "cat $(docker info -f '{{.DockerRootDir}}')/containers/*/*.json";
        ask(Command::new("sh").args(["-c", root]).env("DOCKER_HOST", &host));
    }
    found
}

pub fn a_place_that_cannot_have_a_secret_is_refused(dsn: &str) {
    let table = [
        ("kept/key", "`kept/key`: it would be in a volume"),
        ("../key", "`../key`: name a file, without `..`"),
        ("dir/", "`dir/`: name a file"),
    ];
    for (path, expected) in table {
        let body = format!(
            r#"
            const kept = await runtime.createVolume();
            const secrets = {{ {path:?}: runtime.secret("KEY") }};
            await runtime.run({{ name: "x", command: ["true"], secrets, mounts: {{ kept }} }});
            "#
        );
        is_clean(pipeline(dsn, &body).run().exits(1)).stderr_has(expected);
    }
    let twice = r#"
        const key = runtime.secret("KEY");
        await runtime.run({ name: "x", command: ["true"], secrets: { "/run/a": key, "/run/./a": key } });
    "#;
    is_clean(pipeline(dsn, twice).run().exits(1)).stderr_has("there is a secret at `/run/a`");
}

pub fn secrets_are_variables_of_yaml(dsn: &str) {
    let pipeline = |task: &str| {
        let text = format!(
            "jobs:\n- name: j\n  plan:\n  - task: t\n    config:\n      platform: linux\n      \
             image_resource: {{ type: registry-image, source: {{ repository: debian, tag: '12' }} }}\n      {task}\n"
        );
        Ci::new()
            .file("p.yml", text)
            .env("TOKEN", TOKEN)
            .args(["run", "p.yml", "--driver", dsn, "--output", "plain", "--secret", "TOKEN"])
    };
    let good = "params: { AUTH: \"Bearer ((TOKEN))\" }\n      run: { path: sh, args: [-c, 'echo \"$AUTH\"; printf %s \"$AUTH\" | wc -c'] }";
    let outcome = is_clean(pipeline(good).run().exits(0));
    outcome
        .stdout_has("[t] Bearer ***")
        .stdout_has(&format!("[t] {}", "Bearer ".len() + TOKEN.len()));
    let shown = "run: { path: sh, args: [-c, 'echo ((TOKEN))'] }";
    is_clean(pipeline(shown).run().exits(1))
        .stderr_has("every process list would show")
        .stderr_has("`params`");
}
/// Without mounts there is no place for a file.
#[test]
fn links_in_place_of_mounts_have_no_secret_files() {
    let body = r#"
        const secrets = { "/run/secrets/key": runtime.secret("KEY") };
        await runtime.run({ name: "x", command: ["true"], secrets });
    "#;
    let outcome = pipeline("native://?mounts=link", body).run().exits(1);
    is_clean(outcome).stderr_has("needs a mount namespace");
}

#[test]
fn places_of_this_machine_are_refused() {
    for (path, work, expected) in [
        ("/etc/key", "", "use a path below `/run`"),
        ("/run", "", "name a file below it"),
        ("key", "workDir: \"/tmp\",", "it would be in a directory of this machine"),
    ] {
        let body = format!(
            r#"
            const secrets = {{ {path:?}: runtime.secret("KEY") }};
            await runtime.run({{ name: "x", {work} command: ["true"], secrets }});
            "#
        );
        is_clean(pipeline("native", &body).run().exits(1)).stderr_has(expected);
    }
}

#[test]
fn the_pipeline_has_no_value() {
    let body = r#"
        const token = runtime.secret("TOKEN");
        console.log("shown:", token, JSON.stringify({ token }), Object.keys(token).length, typeof token);
        for (const use of [() => `${token}`, () => token + "", () => Number(token), () => token == "x", () => String(token),
            () => [token].join()]) {
            try {
                console.log("leak:", use());
            } catch (error) {
                console.log("thrown:", error.message);
            }
        }
        for (const [options, message] of [
            [{ command: ["echo", token] }, "command"],
            [{ command: ["true"], env: { A: { TOKEN: 1 } } }, "env.A: expected string"],
            [{ command: ["true"], secrets: { "/run/x": "text" } }, 'expected `runtime.secret("NAME")`'],
        ]) {
            try {
                await runtime.run({ name: "x", ...options });
                console.log("leak");
            } catch (error) {
                assert.containsString(error.message, message);
            }
        }
        try {
            runtime.secret("TOKE");
        } catch (error) {
            console.log(error.message);
        }
        runtime.secret("OTHER");
    "#;
    let outcome = is_clean(pipeline("native", body).run().exits(1));
    let outcome =
        outcome.lacks("leak").stdout_has(r#"shown: Secret(***) {"token":"***"} 0 object"#);
    let outcome = outcome.stdout_has("thrown: the secret `TOKEN` cannot become a part of a text");
    let outcome = outcome.stdout_has("there is no secret `TOKE`, did you mean `TOKEN`?");
    outcome.stderr_has("there is no secret `OTHER`, pass `--secret OTHER` to `ci run`");
}

/// What a pipeline prints as it comes from a task is masked as a whole.
#[test]
fn pieces_that_the_pipeline_prints_are_masked() {
    let body = r#"
        await runtime.run({
            name: "print",
            script: 'printf %s "$TOKEN"',
            env: { TOKEN: runtime.secret("TOKEN") },
            onOutput: (_, data) => { for (const letter of data) console.log(letter); },
        });
        console.log("the end");
    "#;
    let outcome = pipeline("native", body).run().exits(0).stdout_has("the end");
    let letters: String = outcome.stdout.lines().filter(|line| line.len() < 3).collect();
    assert!(
        !letters.contains("hunter2") && !letters.contains("quoted"),
        "{}",
        outcome.transcript()
    );
}

#[test]
fn errors_have_no_value() {
    let body = r#"
        const { stdout } = await runtime.run({
            name: "read", script: 'printf %s "$TOKEN"', env: { TOKEN: runtime.secret("TOKEN") },
        });
        console.error("told:", stdout);
        assert.equal(stdout, "something else");
    "#;
    for format in ["plain", "json"] {
        let ci = Ci::pipeline(body)
            .env("TOKEN", TOKEN)
            .args(["--secret", "TOKEN", "--output", format])
            .env("CI_LOG", "trace");
        is_clean(ci.run().exits(1)).stderr_has("***");
    }
}

/// Lines that are too short by themselves are masked as a whole, wherever a message puts something between them.
#[test]
fn lines_of_a_secret_are_masked_in_errors_and_differences() {
    for use_it in ["throw new Error(`got ${stdout}`);", r#"assert.equal(stdout + "\nz", "q");"#] {
        let body = format!(
            r#"
            const {{ stdout }} = await runtime.run({{ name: "r", script: 'printf %s "$A"', env: {{ A: runtime.secret("A") }} }});
            {use_it}
            "#
        );
        let ci = Ci::pipeline(&body).env("A", "1234567\n7654321\nabcdefg").args(["--secret", "A"]);
        let outcome = ci.args(["--events", "events.jsonl"]).run().exits(1);
        let outcome = outcome.stderr_has("***").lacks("1234567").lacks("7654321").lacks("abcdefg");
        let events = std::fs::read_to_string(outcome.dir().join("events.jsonl")).unwrap();
        for line in ["1234567", "7654321", "abcdefg"] {
            assert!(!events.contains(line), "{line} in {events}");
        }
    }
}

#[test]
fn a_name_that_drivers_keep_has_no_secret() {
    for call in [
        "runtime.createVolume({ name: stdout })",
        r#"runtime.run({ name: "x", command: ["true"], workDir: stdout })"#,
        r#"runtime.run({ name: "x", command: ["true"], mounts: { [stdout]: await runtime.createVolume() } })"#,
    ] {
        let body = format!(
            r#"
            const {{ stdout }} = await runtime.run({{
                name: "r", script: 'printf name-%s "$A"', env: {{ A: runtime.secret("A") }},
            }});
            await {call};
            "#
        );
        let ci = Ci::pipeline(&body).env("A", "hunter2value").args(["--secret", "A"]);
        is_clean(ci.run().exits(1)).stderr_has("has the value of the secret `A`");
    }
}

#[test]
fn a_secret_has_to_be_there() {
    let table: [(&[&str], &str); 10] = [
        (&["--secret", "TOKEN=hunter2-value"], "a value on the command line would show"),
        (&["--secret=TOKEN=hunter2-value"], "write `--secret TOKEN`"),
        (&["--secret", "MISSING"], "the variable `MISSING` is not set"),
        (
            &["--secret", "ghp_hunter2hunter2hunter2"],
            "secret `ghp…`: the variable `ghp…` is not set",
        ),
        (&["--secret", "EMPTY"], "the variable `EMPTY` is empty"),
        (&["--secret", "A=file:missing"], "cannot read `missing`: no such file"),
        (&["--secret", "A=file:."], "it is a directory or a device"),
        (&["--secret", "TOKEN", "--secret", "TOKEN=env:EMPTY2"], "`TOKEN` is given twice"),
        (&["--secrets-file", "broken.env"], "`broken.env`: line 2 is not of the form `NAME=value`"),
        (&["--secrets-file", "none.env"], "`none.env`: cannot read it"),
    ];
    for (args, expected) in table {
        let ci = Ci::pipeline("console.log('started')")
            .file("broken.env", "A=1\nhunter2-value\n")
            .env("TOKEN", TOKEN)
            .env("EMPTY", "")
            .env("EMPTY2", "x")
            .args(args);
        is_clean(ci.run().exits(2)).lacks("started").stderr_has(expected);
    }
}

#[test]
fn a_file_of_secrets_is_read_and_options_win() {
    let body = r#"
        const env = { A: runtime.secret("A"), B: runtime.secret("B") };
        const { stdout } = await runtime.run({ name: "read", script: "echo $A$B | wc -c", env });
        console.log(stdout.trim());
    "#;
    let ci = Ci::pipeline(body)
        .file("one.env", "A=from-the-file\nB='of the file'\n")
        .file("two.env", "B=\"of the second file\"\n")
        .env("A", "from the option")
        .args(["--secrets-file", "one.env", "--secrets-file", "two.env", "--secret", "A"]);
    let length = "from the option".len() + "of the second file".len() + 1;
    ci.run().exits(0).stdout_has(&format!("{length}\n"));
}

#[test]
fn a_secret_that_is_too_short_is_told() {
    let body = r#"
        await runtime.run({ name: "x", script: "echo $PIN", env: { PIN: runtime.secret("PIN") } });
    "#;
    let outcome = Ci::pipeline(body).env("PIN", "1234").args(["--secret", "PIN"]).run().exits(0);
    outcome.stdout_has("[x] 1234").stdout_has("the secret `PIN` has less than 6 bytes");
}
