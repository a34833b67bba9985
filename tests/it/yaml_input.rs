//! What is given to `ci run` and `ci check`: variables, numbers, the standard input, other files.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::Ci;

/// A pipeline with a task that runs a script.
fn script(script: &str) -> String {
    let script = serde_json::Value::from(script);
    format!(
        "jobs:\n- name: a\n  plan:\n  - task: t\n    config: {{ run: {{ path: sh, args: [-c, {script}] }} }}\n"
    )
}

#[test]
fn arithmetic_of_a_shell_is_text() {
    let text = "n=2; i=3; echo $(( n )) $(( n-1 )) $(( ${i} + 1 )) $((n + 1)) $((n || 0))";
    Ci::new()
        .file("p.yml", script(text))
        .args(["run", "p.yml"])
        .run()
        .exits(0)
        .stdout_has("[t] 2 1 4 3 1\n");
    // bash takes quotes there.
    Ci::new()
        .file("p.yml", script("echo '$(( \"${i}\" + 1 ))'"))
        .args(["run", "p.yml"])
        .run()
        .exits(0)
        .stdout_has("[t] $(( \"${i}\" + 1 ))\n");
    // A local variable has no blanks either.
    Ci::new()
        .file("p.yml", script("echo '(( .:x )) ((.: x))' '(( n-- ))'"))
        .args(["run", "p.yml"])
        .run()
        .exits(0)
        .stdout_has("[t] (( .:x )) ((.: x)) (( n-- ))\n");
}

#[test]
fn names_of_variables_are_those_of_concourse() {
    let text = script(
        "echo ((a.b)) ((a.\"b.c\")) ((\"x.y\".c)) ((source:path.field)) ((größe)) ((1)) ((d || none))",
    );
    let vars = r#"
a: { b: one, b.c: two }
x.y: { c: three }
"source:path": { field: four }
größe: five
1: six
"#;
    Ci::new()
        .file("p.yml", text)
        .file("vars.yml", vars)
        .args(["run", "p.yml", "--vars-file", "vars.yml"])
        .run()
        .exits(0)
        .stdout_has("[t] one two three four five six none\n");
}

/// Numbers as they are written, also those that neither JSON nor JavaScript can hold.
const NUMBERS: [&str; 9] = [
    "0755",
    "1.10",
    "12345678901234567890",
    "9007199254740993",
    "3.10",
    "1e3",
    "0x1F",
    "-0",
    "0.1000000000000000055511151231257827",
];

/// Those that JSON can hold.
fn json_numbers() -> Vec<&'static str> {
    NUMBERS.into_iter().filter(|number| !["0755", "0x1F"].contains(number)).collect()
}

#[test]
fn numbers_keep_their_digits_everywhere() {
    let names: Vec<String> = (0..NUMBERS.len()).map(|n| format!("N{n}")).collect();
    let params: Vec<String> =
        names.iter().zip(NUMBERS).map(|(name, number)| format!("{name}: {number}")).collect();
    let echo = format!("echo ${}", names.join(" $"));
    let inline = format!(
        "jobs:\n- name: a\n  plan:\n  - task: t\n    config:\n      params: {{ {} }}\n      run: {{ path: sh, args: [-c, '{echo}'] }}\n",
        params.join(", ")
    );
    let expected = format!("[t] {}\n", NUMBERS.join(" "));
    Ci::new().file("p.yml", inline).args(["run", "p.yml"]).run().exits(0).stdout_has(&expected);

    // From a file with values.
    let values: Vec<String> =
        NUMBERS.iter().enumerate().map(|(n, number)| format!("v{n}: {number}\n")).collect();
    let references: Vec<String> = (0..NUMBERS.len()).map(|n| format!("((v{n}))")).collect();
    Ci::new()
        .file("p.yml", script(&format!("echo {}", references.join(" "))))
        .file("vars.yml", values.concat())
        .args(["run", "p.yml", "--vars-file", "vars.yml"])
        .run()
        .exits(0)
        .stdout_has(&expected);

    // From a task's file, and from files of variables in both formats.
    let json: Vec<String> = json_numbers()
        .iter()
        .enumerate()
        .map(|(n, number)| format!("\"v{n}\": {number}"))
        .collect();
    let locals = |name: &str, count: usize| -> String {
        (0..count).map(|n| format!("((.:{name}.v{n})) ")).collect()
    };
    let later = format!(
        r#"
jobs:
- name: a
  plan:
  - task: make
    config:
      outputs: [{{ name: o }}]
      run:
        path: sh
        args:
        - -c
        - |
          cat > o/task.yml <<'END'
          params: {{ {params}, WHOLE: {{ list: [{inside}] }} }}
          run: {{ path: sh, args: [-c, '{echo}; echo "$WHOLE"'] }}
          END
          echo '{{ {json} }}' > o/vars.json
          printf '%s' '{yaml}' > o/vars.yml
  - {{ task: t, file: o/task.yml }}
  - {{ load_var: json, file: o/vars.json }}
  - {{ load_var: yaml, file: o/vars.yml }}
  - task: json
    params: {{ WHOLE: ((.:json)) }}
    config: {{ run: {{ path: sh, args: [-c, 'echo {from_json}; echo "$WHOLE"'] }} }}
  - {{ task: yaml, config: {{ run: {{ path: sh, args: [-c, 'echo {from_yaml}'] }} }} }}
  - task: each
    across: [{{ var: n, values: [1.10, 12345678901234567890] }}]
    config: {{ run: {{ path: sh, args: [-c, 'echo "is $n"'] }} }}
"#,
        params = params.join(", "),
        inside = json_numbers().join(", "),
        json = json.join(", "),
        yaml = values.concat().replace('\n', "\n          "),
        from_json = locals("json", json_numbers().len()).trim(),
        from_yaml = locals("yaml", NUMBERS.len()).trim(),
    );
    let run = |ci: Ci| {
        ci.run()
            .exits(0)
            .stdout_has(&expected)
            .stdout_has(&format!("[t] {{\"list\":[{}]}}\n", json_numbers().join(",")))
            .stdout_has(&format!("[json] {}\n", json_numbers().join(" ")))
            .stdout_has(&format!("[json] {{{}}}\n", json.join(",").replace(": ", ":")))
            .stdout_has(&format!("[yaml] {}\n", NUMBERS.join(" ")))
            .stdout_has("[each-1.10] is 1.10\n")
            .stdout_has("[each-12345678901234567890] is 12345678901234567890\n");
    };
    run(Ci::new().file("p.yml", &later).args(["run", "p.yml"]));
    // And so in the script that does the same.
    let script = Ci::new().file("p.yml", &later).args(["transpile", "p.yml"]).run().exits(0).stdout;
    run(Ci::new().file("p.ts", script).args(["run", "p.ts"]));
}

#[test]
fn what_a_source_holds_keeps_its_digits() {
    let yaml = "
resources: [{ name: m, type: mock, source: { initial_version: 1.10 } }]
jobs:
- name: a
  plan:
  - get: m
  - { task: t, config: { inputs: [{ name: m }], run: { path: sh, args: [-c, 'cat m/version'] } }, assert: { stdout: '1.10' } }
";
    Ci::new().file("p.yml", yaml).args(["run", "p.yml"]).run().exits(0);
}

/// Runs with this on the standard input.
fn piped(ci: &Ci, input: &str) -> (Option<i32>, String, String) {
    let mut command = ci.command();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may have ended without reading all of it.
    _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_dash_is_the_standard_input() {
    let ci = Ci::new()
        .file("p.yml", script("echo ((word))"))
        .file("-", "word: from a file\n")
        .args(["run", "p.yml", "--vars-file", "-"]);
    let (code, stdout, stderr) = piped(&ci, "word: hello\n");
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("[t] hello\n"), "{stdout}");

    let (code, stdout, stderr) = piped(&Ci::new().args(["run", "-"]), &script("echo hi"));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("[t] hi\n"), "{stdout}");
    let (code, _, stderr) = piped(&Ci::new().args(["check", "-"]), "jobs: [{ nam: a }]");
    assert_eq!(code, Some(2));
    assert!(stderr.contains("standard input:1:"), "{stderr}");
    let (code, stdout, _) = piped(&Ci::new().args(["transpile", "-"]), &script("echo hi"));
    assert_eq!(code, Some(0));
    assert!(stdout.contains("runJobs("), "{stdout}");
    let both = Ci::new().args(["run", "-", "--vars-file", "-"]);
    let (code, _, stderr) = piped(&both, "");
    assert_eq!(code, Some(2));
    assert!(stderr.contains("named by more than one `-`"), "{stderr}");
}

#[test]
fn files_of_other_programs_are_told_as_what_they_are() {
    let cases = [
        (
            "on: [push]\njobs:\n  build:\n    runs-on: ubuntu-latest\n    steps: [{ run: make }]\n",
            "a GitHub Actions workflow",
        ),
        (
            "name: x\njobs:\n  call: { uses: ./.github/workflows/x.yml }\n",
            "a GitHub Actions workflow",
        ),
        ("name: x\nruns: { using: composite, steps: [] }\n", "a GitHub Action"),
        ("stages: [build]\nbuild:\n  stage: build\n  script: [make]\n", "a GitLab CI file"),
        ("build:\n  script: make\n", "a GitLab CI file"),
        ("include: [{ local: x.yml }]\n", "a GitLab CI file"),
        ("services:\n  web: { image: nginx, ports: ['80:80'] }\n", "a Docker Compose file"),
        (
            "version: '3'\nservices:\n  web: { build: . }\nvolumes: { data: {} }\n",
            "a Docker Compose file",
        ),
        (
            "version: 2.1\njobs:\n  build: { docker: [{ image: x }], steps: [checkout] }\nworkflows: {}\n",
            "a CircleCI config",
        ),
        (
            "trigger: [main]\npool: { vmImage: ubuntu }\nsteps: [{ script: make }]\n",
            "an Azure pipeline",
        ),
        ("image: node\npipelines: { default: [] }\n", "a Bitbucket pipeline"),
        ("language: rust\nscript: cargo test\n", "a Travis CI file"),
        ("kind: pipeline\ntype: docker\nsteps: []\n", "a Drone pipeline"),
        ("steps: [{ command: make }]\n", "a Buildkite pipeline"),
        ("apiVersion: v1\nkind: Pod\n", "a Kubernetes resource"),
        ("apiVersion: tekton.dev/v1\nkind: Pipeline\n", "a Tekton resource"),
        ("version: '3'\ntasks: { build: { cmds: [make] } }\n", "a Taskfile"),
        ("platform: linux\nrun: { path: make }\n", "the config of a task"),
    ];
    for (text, what) in cases {
        for command in ["run", "check"] {
            let outcome = Ci::new().file("x.yml", text).args([command, "x.yml"]).run().exits(2);
            outcome
                .stderr_has(&format!("`x.yml` is {what}\n"))
                .stderr_has("Concourse-style YAML")
                .lacks("unknown field");
        }
    }
    // Ours is ours, whatever it also has.
    for text in ["jobs: []\nservices: {}\n", "jobs: [{ name: a, plan: [] }]\non: push\n"] {
        Ci::new().file("x.yml", text).args(["check", "x.yml"]).run().exits(0);
    }
    let ci = Ci::new().file("Jenkinsfile", "pipeline {}");
    ci.args(["run", "Jenkinsfile"]).run().exits(2).stderr_has("is a pipeline for Jenkins");
}

#[test]
fn a_file_without_a_subcommand_is_a_run_that_was_meant() {
    for (args, meant) in [
        (&["pipeline.ts"][..], "ci run pipeline.ts"),
        (&["ci/p.yml", "--job", "a"], "ci run ci/p.yml --job a"),
        (&["--driver", "docker", "p.mjs"], "ci run --driver docker p.mjs"),
    ] {
        let expected = format!("did you mean `{meant}`?");
        Ci::new().args(args).run().exits(2).stderr_has(&expected);
    }
    Ci::new().args(["rnu", "p.ts"]).run().exits(2).stderr_has("unrecognized subcommand 'rnu'");
    Ci::new().args(["nonsense"]).run().exits(2).stderr_has("unrecognized subcommand");
    Ci::new().args(["run", "p.ts", "--nope"]).run().exits(2).stderr_has("unexpected argument");
    Ci::new().args(["--version"]).run().exits(0).stdout_has("ci ");
    Ci::new().args(["--help"]).run().exits(0).stdout_has("Usage");
}

#[test]
fn what_an_attempt_or_a_try_got_over_is_no_reason() {
    let yaml = r#"
jobs:
- name: a
  plan:
  - task: flaky
    attempts: 2
    config: { caches: [{ path: c }], run: { path: sh, args: [-c, "test -e c/x || { touch c/x; exit 7; }"] } }
    assert: { code: 0 }
  - try: { task: allowed, config: { run: { path: sh, args: [-c, "exit 8"] } } }
  - { task: broken, attempts: 2, config: { run: { path: sh, args: [-c, "exit 9"] } } }
"#;
    let outcome = Ci::new().file("p.yml", yaml).args(["run", "p.yml"]).run().exits(1);
    let expected = "error: the pipeline failed\n  `a` failed\n    `broken`: exit code 9\n";
    assert_eq!(outcome.stderr, expected);
    // Nor are attempts before the last one failures in the summary.
    outcome.stdout_has(": 5 tasks, 2 retried, 2 failed\n").stdout_has(", is tried again\n");
}

#[test]
fn no_problem_of_a_file_repeats_the_value_of_a_variable() {
    let names = "resources: [{ name: ((s)), type: mock }, { name: ((s)), type: ((s)) }]";
    let task = |config: &str| format!("plan: [{{ task: t, config: {{ {config} }} }}]");
    let cases = [
        names.to_owned()
            + "\njobs: [{ name: ((s)), plan: [{ get: x }] }, { name: ((s)), plan: [] }]",
        format!("jobs: [{{ name: a, {} }}]", task("platform: ((s)), run: { path: x }")),
        format!(
            "jobs: [{{ name: a, {} }}]",
            task("inputs: [{ name: a, path: ../((s)) }], run: { path: x }")
        ),
        format!(
            "jobs: [{{ name: a, {} }}]",
            task("outputs: [{ name: ((s)) }, { name: ((s)) }], run: { path: x }")
        ),
        format!("jobs: [{{ name: a, {} }}]", task("caches: [{ path: /((s)) }], run: { path: x }")),
        "jobs: [{ name: a, plan: [{ do: [], timeout: ((s)), attempts: ((s)) }] }]".to_owned(),
        "jobs: [{ name: a, plan: [{ get: ((s)) }] }]".to_owned(),
    ];
    for text in cases {
        let ci = Ci::new().file("p.yml", &text).args(["check", "p.yml", "--var", "s=hunter2"]);
        ci.run().lacks("hunter2");
    }
}

#[test]
fn an_address_with_a_secret_is_refused() {
    let run = |uri: &str| {
        let text = format!(
            "resources: [{{ name: r, type: git, source: {{ uri: '{uri}' }} }}]\njobs: [{{ name: j, plan: [{{ get: r }}] }}]\n"
        );
        let ci = Ci::new().file("p.yml", text).env("TOKEN", "hunter2-in-an-address");
        ci.args(["run", "p.yml", "--secret", "TOKEN"]).run()
    };
    let outcome = run("https://127.0.0.1/((TOKEN))/r").exits(2);
    outcome.lacks("hunter2").stderr_has("the `uri` of the resource `r` has the secret `TOKEN`");
    // A user and a password are handed over in memory.
    let outcome = run("https://u:((TOKEN))@127.0.0.1:9/r").exits(1);
    outcome.lacks("hunter2").stdout_has("cannot read the refs of `https://127.0.0.1:9/r`");
}
