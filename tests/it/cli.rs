//! The command line, as a user who makes mistakes meets it.

use std::process::Stdio;

use crate::support::Ci;

const HELLO: &str = r#"await runtime.run({ name: "hello", image: "busybox", command: { path: "echo", args: ["hello"] } });"#;

#[test]
fn help_documents_the_exit_codes() {
    Ci::new().args(["run", "--help"]).run().exits(0).stdout_has("124  the run timed out");
}

#[test]
fn a_missing_file_is_named() {
    Ci::new()
        .args(["run", "nowhere.ts"])
        .run()
        .exits(2)
        .stderr_has("error: cannot read the pipeline `nowhere.ts`: No such file or directory");
}

#[test]
fn a_directory_is_no_pipeline() {
    Ci::new().args(["run", "."]).run().exits(2).stderr_has("`.` is a directory");
}

#[test]
fn other_files_are_no_pipelines() {
    let ci = Ci::new().file("notes.txt", "x");
    ci.args(["run", "notes.txt"]).run().exits(2).stderr_has(".ts, .mts, .js, .mjs, .yml or .yaml");
}

#[test]
fn an_unknown_driver_lists_the_known_ones() {
    Ci::pipeline("").args(["--driver", "dokcer"]).run().exits(2).stderr_has("native");
    Ci::pipeline("").args(["--driver", "k8s"]).run().exits(2).stderr_has("not built into");
    Ci::pipeline("").args(["--driver", "native://?enb=X"]).run().exits(2).stderr_has("`env`");
}

#[test]
fn the_driver_may_come_from_the_environment() {
    Ci::pipeline("").env("CI_DRIVER", "nope").run().exits(2).stderr_has("nope");
    Ci::pipeline("").env("CI_DRIVER", "").run().exits(0);
    Ci::pipeline("console.log(pipelineContext.driverName)")
        .env("CI_DRIVER", "nope")
        .args(["--driver", "native"])
        .run()
        .exits(0)
        .stdout_has("native");
}

#[test]
fn bad_values_say_what_is_expected() {
    Ci::pipeline("").args(["--timeout", "soon"]).run().exits(2).stderr_has("--timeout");
    Ci::pipeline("").args(["--js-heap", "1MiB"]).run().exits(2).stderr_has("at least 16.0 MiB");
}

#[test]
fn arguments_reach_the_pipeline() {
    Ci::pipeline("console.log(pipelineContext.args.join('|'));")
        .args(["--", "a b", "--flag"])
        .run()
        .exits(0)
        .stdout_has("a b|--flag");
}

#[test]
fn a_reader_that_has_seen_enough_changes_no_result() {
    let body = r#"
        for (let i = 0; i < 50; i++) {
            await runtime.run({ name: `t${i}`, image: "busybox", command: { path: "seq", args: ["1000"] } });
        }
        await runtime.run({ name: "last", image: "busybox", command: { path: "touch", args: [`${pipelineContext.args[0]}`] } });
    "#;
    let ci = Ci::pipeline(body);
    let proof = ci.dir().join("proof");
    let ci = ci.args(["--".as_ref(), proof.as_os_str()]);
    let mut child = ci.command().stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(proof.exists(), "the pipeline went on to its end");
}

#[test]
fn a_log_that_cannot_be_written_is_no_success() {
    let ci = Ci::pipeline(HELLO);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = ci.command().stdout(full).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("No space left on device"), "{stderr}");
}

#[test]
fn ten_thousand_tasks_are_summed_up() {
    Ci::pipeline(
        r#"
        let left = 10_000;
        const worker = async () => {
            while (left-- > 0) await runtime.run({ name: "one of many", image: "busybox", command: { path: "true" } });
        };
        await Promise.all(Array.from({ length: 8 }, worker));
        "#,
    )
    .run()
    .exits(0)
    .stdout_has("and 9950 more: 9950 succeeded")
    .stdout_has("10000 tasks");
}

#[test]
fn a_capital_m_is_no_unit_of_a_duration() {
    for args in [
        &["run", "pipeline.ts", "--timeout", "10M"][..],
        &["cache", "prune", "--older-than", "10M", "--store", "file:///nowhere"],
        &["cache", "uploads", "--older-than", "1h10M", "--store", "file:///nowhere"],
    ] {
        Ci::new()
            .file("pipeline.ts", "export const pipeline = async () => {};")
            .args(args)
            .run()
            .exits(2)
            .stderr_has("`M` is not a unit: write `m` for minutes");
    }
    Ci::pipeline(r#"await runtime.run({ name: "x", image: "busybox", command: { path: "true" }, timeout: "10M" });"#)
        .run()
        .exits(1)
        .stderr_has("`M` is not a unit: write `m` for minutes");
}

/// Each mistake is told with what to write instead, and nothing runs.
#[test]
fn mistakes_on_the_command_line_say_what_to_write() {
    let yaml = "jobs: [{ name: unit, plan: [{ task: t, config: { platform: linux, run: { path: 'true' } } }] }]";
    let table: [(&[&str], &str, &str); 6] = [
        (&["pipeline.ts", "--timeout", "5"], "", "a unit is missing: write `5s` for seconds"),
        (&["pipeline.ts", "--events", "-"], "", "`--output json`"),
        (&["pipeline.yml", "--", "fast"], "", "got `fast` after `--`"),
        (
            &["pipeline.ts"],
            "bogus",
            "expected a filter such as `debug` or `transfer=debug`, got `bogus`",
        ),
        (&["pipeline.ts"], "info,ci=loud", "invalid `CI_LOG`"),
        (&["pipeline.ts", "--driver", "native?cache=file:///x"], "", "as in `native://?key=value`"),
    ];
    for (args, log, expected) in table {
        let ci = Ci::new()
            .file("pipeline.ts", "export const pipeline = () => console.log('IT RAN');")
            .file("pipeline.yml", yaml)
            .args(["run"])
            .args(args)
            .env("CI_LOG", log);
        let outcome = ci.run().exits(2).stderr_has(expected).lacks("IT RAN");
        assert!(!outcome.dir().join("-").exists(), "{args:?}");
    }
}

#[test]
fn a_whole_command_line_in_place_of_a_program_is_told_where_arguments_go() {
    Ci::pipeline(
        r#"await runtime.run({ name: "ls", image: "busybox", command: { path: "ls -l" } });"#,
    )
    .run()
    .exits(1)
    .stderr_has(r#"; for arguments, write `path: "ls", args: [...]`"#);
}
