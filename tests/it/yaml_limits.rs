//! What is too much for a YAML pipeline is told at once, with its place, and within little memory.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::process::{Output, Stdio};

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::support::Ci;

/// `ci check` of this text with at most 200 MiB of heap.
fn check(text: &str, more: &[&str]) -> Output {
    output(Ci::new().file("p.yml", text), more)
}

fn output(ci: Ci, more: &[&str]) -> Output {
    let ci = ci.args(["check", "p.yml"]).args(more);
    let mut command = ci.command();
    let limit = 200 * 1024 * 1024;
    // SAFETY: between `fork` and `exec` this only makes a system call.
    unsafe {
        command.pre_exec(move || Ok(setrlimit(Resource::RLIMIT_DATA, limit, limit)?));
    }
    command.output().unwrap()
}

#[track_caller]
fn refused(output: &Output, expected: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{expected}: {stderr}");
    assert!(stderr.contains(expected), "{expected}: {stderr}");
}

/// A job with one step.
fn job(step: &str) -> String {
    format!("jobs:\n- name: a\n  plan:\n  - {step}\n")
}

fn list(len: usize) -> String {
    format!("[{}]", vec!["1"; len].join(", "))
}

#[test]
fn combinations_are_counted_before_anything_is_built() {
    let task = "task: t, config: { run: { path: x } }";
    let variable = |name: usize, len: usize| format!("{{ var: v{name}, values: {} }}", list(len));
    let across = |count: usize, len: usize| {
        let all: Vec<String> = (0..count).map(|name| variable(name, len)).collect();
        format!("across: [{}]", all.join(", "))
    };
    for (count, len) in [(10, 10), (100, 10), (6, 10), (2, 1000)] {
        let text = job(&format!("{{ {}, {task} }}", across(count, len)));
        let output = check(&text, &[]);
        refused(&output, "the step would run too often");
        refused(&output, "p.yml:4:");
        refused(&output, "more than 100000");
    }
    let text = job(&format!("{{ {}, {task} }}", across(5, 10)));
    assert_eq!(check(&text, &[]).status.code(), Some(0), "as many as there may be");
    // Steps within steps multiply too.
    let inner = format!("{{ {}, {task} }}", across(3, 10));
    for around in
        ["do: [STEP]", "try: STEP", "in_parallel: [STEP]", "in_parallel: { steps: [STEP] }"]
    {
        let step = format!("{{ {}, {} }}", across(3, 10), around.replace("STEP", &inner));
        refused(&check(&job(&step), &[]), "the step would run too often: 1000000 combinations");
    }
    let copies = format!("{{ {}, {task}, parallelism: 2000 }}", across(2, 10));
    refused(&check(&job(&copies), &[]), "the step would run too often: 200000 copies");
}

#[test]
fn combinations_of_loaded_lists_are_counted_when_they_are_known() {
    let yaml = r#"
jobs:
- name: a
  plan:
  - task: make
    config: { outputs: [{ name: o }], run: { path: sh, args: [-c, "echo [$(seq -s, 1000)] > o/list.json"] } }
  - { load_var: list, file: o/list.json }
  - task: t
    across: [{ var: a, values: ((.:list)) }, { var: b, values: ((.:list)) }]
    config: { run: { path: "true" } }
  assert: { execution: [make] }
"#;
    let outcome = Ci::new().file("p.yml", yaml).args(["run", "p.yml"]).run().exits(0);
    outcome.stdout_has("the values up to `b` have more than 100000 combinations").lacks("[t-1");
}

/// As are those of steps within steps, and of copies.
#[test]
fn combinations_of_loaded_lists_multiply_within_steps() {
    let around = |inner: &str| {
        format!(
            r#"
jobs:
- name: a
  plan:
  - task: make
    config: {{ outputs: [{{ name: o }}], run: {{ path: sh, args: [-c, "echo [$(seq -s, 400)] > o/list.json"] }} }}
  - {{ load_var: list, file: o/list.json }}
  - across: [{{ var: a, values: ((.:list)), max_in_flight: all }}]
    fail_fast: true
    do:
    - task: t
      config: {{ run: {{ path: "true" }} }}
      {inner}
  assert: {{ execution: [make] }}
"#
        )
    };
    for (inner, words) in [
        (
            "across: [{ var: b, values: ((.:list)) }]",
            "the values up to `b` have more than 100000 combinations",
        ),
        ("parallelism: 251", "`t` has more than 100000 copies in all combinations"),
    ] {
        let ci = Ci::new().file("p.yml", around(inner)).args(["run", "p.yml"]);
        ci.run().exits(0).stdout_has(words).lacks("[t-1");
    }
}

#[test]
fn counts_have_limits() {
    let task = "task: t, config: { run: { path: x } }";
    let copies = |count: &str| check(&job(&format!("{{ {task}, parallelism: {count} }}")), &[]);
    assert_eq!(copies("10000").status.code(), Some(0));
    for count in ["10001", "100000000", "4294967296", "99999999999999999999"] {
        let output = copies(count);
        refused(&output, &format!("expected `parallelism` from 1 to 10000, got `{count}`"));
        refused(&output, "p.yml:4:");
    }
    for count in ["0", "-1", "1.5", "1e3", "many", "[]"] {
        refused(&copies(count), "expected a whole number from 1");
    }
    let text = job(&format!("{{ {task}, attempts: 99999999999 }}"));
    refused(&check(&text, &[]), "expected `attempts` from 1 to 4294967295");
    let text = job("in_parallel: { steps: [], limit: 99999999999 }");
    assert_eq!(check(&text, &[]).status.code(), Some(0));
    for field in ["build_log_retention: { builds: 99999999999999999999999 }", "serial: true"] {
        let text = format!("jobs:\n- name: a\n  {field}\n  plan: []\n");
        assert_eq!(check(&text, &[]).status.code(), Some(0), "{field}");
    }
    Ci::new()
        .file("p.yml", job("do: []"))
        .args(["run", "p.yml", "--max-in-flight", "99999999999"])
        .run()
        .exits(2)
        .stderr_has("4294967295");
}

#[test]
fn text_counts_as_often_as_an_alias_or_a_variable_repeats_it() {
    let long = "x".repeat(1024 * 1024);
    let mut aliases = format!("jobs: []\nlong: &long {long}\nall:\n");
    let start = "jobs:\n- name: a\n  plan: [{ task: t, config: { run: { path: x, args: [";
    let mut variables = start.to_owned();
    for _ in 0..1000 {
        aliases.push_str("- *long\n");
        variables.push_str("((long)), ");
    }
    variables.push_str("] } } }]\n");
    refused(&check(&aliases, &[]), "the document has more than 67108864 bytes");
    let ci = Ci::new().file("p.yml", variables).file("vars.yml", format!("long: {long}\n"));
    refused(
        &output(ci, &["--vars-file", "vars.yml"]),
        "with its variables the document has more than",
    );
    let nodes = format!("{start}{}] }} }} }}]\n", vec!["((list))"; 1000].join(", "));
    let ci = Ci::new().file("p.yml", nodes).file("vars.yml", format!("list: {}\n", list(1000)));
    refused(
        &output(ci, &["--vars-file", "vars.yml"]),
        "with its variables the document has more than",
    );
}

#[test]
fn a_hundred_megabytes_a_million_keys_and_a_million_aliases_are_refused() {
    refused(&check(&"# comment\n".repeat(10 * 1024 * 1024), &[]), "more than 16777216 bytes");
    let mut keys = String::new();
    (0..1_000_000).for_each(|n| _ = writeln!(keys, "k{n}: 1"));
    refused(&check(&keys, &[]), "the document has more than 500000 nodes");
    let aliases = format!("a: &a 1\nall: [{}]\n", vec!["*a"; 1_000_000].join(","));
    refused(&check(&aliases, &[]), "the document has more than 500000 nodes");
    // Lists that are aliases of each other are nested, too.
    let mut nested = "a0: &a0 [x]\n".to_owned();
    (1..5000).for_each(|n| _ = writeln!(nested, "a{n}: &a{n} [*a{}]", n - 1));
    refused(&check(&nested, &[]), "the document has more than 500000 nodes");
}

#[test]
fn two_hundred_thousand_variables_are_found() {
    let mut vars = String::new();
    (0..200_000).for_each(|n| _ = writeln!(vars, "v{n}: x"));
    let mut text =
        "jobs:\n- name: a\n  plan: [{ task: t, config: { run: { path: x, args: [".to_owned();
    (0..100_000).for_each(|n| _ = write!(text, "((v{})), ", n * 2));
    text.push_str("] } } }]\n");
    let ci = Ci::new().file("p.yml", text).file("vars.yml", vars);
    let output = ci.args(["check", "p.yml", "--vars-file", "vars.yml"]).run();
    output.exits(0);
}

#[test]
fn many_steps_beside_each_other_are_checked_in_little_time() {
    // A copy of all names for each of them would be four hundred million.
    let mut text = "jobs:\n- name: a\n  plan:\n  - in_parallel:\n".to_owned();
    for n in 0..20_000 {
        _ = writeln!(
            text,
            "    - {{ task: t, config: {{ outputs: [{{ name: o{n} }}], run: {{ path: x }} }} }}"
        );
    }
    assert_eq!(check(&text, &[]).status.code(), Some(0));
}

#[test]
fn devices_are_no_pipelines_and_pipes_are_read() {
    let ci = || Ci::new().file("p.yml", "jobs: [{ name: ((n)), plan: [] }]");
    for device in ["/dev/zero", "/dev/urandom", "/dev/full"] {
        refused(&output(ci(), &["--vars-file", device]), &format!("`{device}` is a device"));
        Ci::new().args(["check", device]).run().exits(2).stderr_has("is not a regular file");
    }
    refused(&output(ci(), &["--vars-file", "/"]), "`/` is a directory");

    let ci = ci().args(["check", "p.yml", "--vars-file", "pipe"]);
    let pipe = ci.dir().join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let child = ci.spawn();
    std::fs::write(&pipe, "n: a\n").unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    // One that never ends is not kept.
    let child = ci.spawn();
    let mut endless = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    while endless.write_all(&[b'#'; 65536]).is_ok() {}
    refused(&child.wait_with_output().unwrap(), "`pipe` has more than 16777216 bytes");
}

/// A pipe that nobody writes to.
fn silent() -> Ci {
    let ci = Ci::new().file("p.yml", "jobs: [{ name: a, plan: [] }]").args([
        "run",
        "p.yml",
        "--vars-file",
        "pipe",
    ]);
    mkfifo(&ci.dir().join("pipe"), Mode::S_IRWXU).unwrap();
    ci
}

#[test]
fn a_timeout_is_heard_while_a_file_is_read() {
    silent()
        .args(["--timeout", "100ms"])
        .run()
        .exits(124)
        .stderr_has("the run timed out after 100ms");
    let ci = Ci::new().args(["run", "-", "--timeout", "100ms"]);
    let mut child = ci.command().stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Nothing comes, and it is not closed either.
    let stdin = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(124));
    drop(stdin);
}

#[test]
fn signals_are_heard_while_a_file_is_read() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let ci = silent();
        let child = ci.spawn();
        let pid = Pid::from_raw(child.id().cast_signed());
        // The thread that waits for the pipe is there when the signals are listened to.
        let reads = || {
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
            tasks.flatten().any(|task| {
                let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
                name.trim() == "reader"
            })
        };
        while !reads() {
            std::thread::yield_now();
        }
        kill(pid, signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{stderr}");
        assert_eq!(stderr, "error: the run was interrupted\n");
    }
}

/// Steps that fail at once, without anything to wait for.
#[test]
fn a_timeout_is_heard_while_a_plan_is_busy_with_itself() {
    let yaml = "
jobs:
- name: a
  plan:
  - { task: make, config: { outputs: [{ name: o }], run: { path: sh, args: [-c, 'echo 1 > o/x.json'] } } }
  - { load_var: v, file: o/x.json }
  - { task: t, attempts: 4294967295, across: [{ var: x, values: [1] }], image: '((.:v.none))', config: { run: { path: x } } }
";
    let ci = Ci::new().file("p.yml", yaml).args(["run", "p.yml", "--timeout", "2s"]);
    let mut child = ci.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(124));
}
