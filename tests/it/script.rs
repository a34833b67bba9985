//! `script`: lines for a shell, which do what they would without `ci`.

use std::process::Command;

use crate::support::Ci;

/// Runs a script in a pipeline, and returns its code and what it wrote to the standard output.
fn run(script: &str) -> (i64, String, String) {
    let body = format!(
        "const {{ code, stdout, stderr }} = await runtime.run({{ name: 's', image: 'x', script: {script:?} }});
         console.log(JSON.stringify({{ code, stdout, stderr }}));"
    );
    let outcome = Ci::pipeline(&body).args(["--output", "json"]).run();
    let line = outcome.stdout.lines().find(|line| line.contains(r#""event":"console""#));
    let event: serde_json::Value = serde_json::from_str(line.expect(&outcome.stderr)).unwrap();
    let result: serde_json::Value = serde_json::from_str(event["text"].as_str().unwrap()).unwrap();
    let text = |key: &str| result[key].as_str().unwrap().to_owned();
    (result["code"].as_i64().unwrap(), text("stdout"), text("stderr"))
}

/// Whatever is noted on the way, code and output are those of `sh -e -c`.
#[test]
fn a_script_does_what_a_shell_does() {
    for script in [
        "echo one\necho two",
        "false",
        "echo one\nfalse\necho never",
        "set +e\nfalse\nexit",
        "set +e\nfalse\necho $?",
        "! true\nexit",
        "test -f /nowhere && echo x\nexit",
        "test -f /nowhere && echo x",
        "test -f /nowhere && echo x\n# the end",
        "if true; then\n  echo yes\nfi",
        "for i in 1 2; do\n  echo $i\ndone",
        "for i in 1 2; do echo $i; done\necho end",
        "f() {\n  echo in f\n}\nf",
        "f() { echo in f; }\nf",
        "cat <<END\na\nb\nEND\necho end",
        "echo 'a\nb'\necho \"c\nd\"",
        "echo \"$(echo \"a\nb\")\"",
        "echo \"${HOME:+\"a\nb\"}\"",
        "echo a \\\n  b",
        "echo a |\n  cat",
        "true &&\n  echo b",
        "echo a # it's a comment\necho b",
        "case x in\n  x) echo x ;;\nesac",
        "(\n  echo sub\n)",
        "(cd / && pwd)\npwd | grep -c .",
        "{\n  echo group\n}",
        "trap 'echo mine' EXIT\necho a",
        "x=1\necho $((x + 1))",
        "exec echo replaced\necho never",
        "sleep 0 &\nwait\necho waited",
        "set -- a b\necho $2",
        "echo 'quote '\\'' inside'\nfalse",
        "echo \"back\\\\slash\"\necho 'n\\n'",
        "printf 'no newline'",
        "\n\n",
        "# only a comment",
        "echo caf\u{e9}\nexit 7",
        "exit 3",
        "x=\"a b\"; echo \"$x\"\ny='c'; echo $y",
        "read line\necho \"<$line>\"",
    ] {
        let output = Command::new("sh")
            .args(["-e", "-c", script])
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let (code, stdout, _) = run(script);
        assert_eq!(Some(code), output.status.code().map(i64::from), "{script:?}");
        assert_eq!(stdout, String::from_utf8(output.stdout).unwrap(), "{script:?}");
    }
}

#[test]
fn the_line_that_failed_is_told() {
    for (script, expected) in [
        (
            "echo one\n\n  grep x /dev/null\necho never",
            "ci: line 3 of the script failed: grep x /dev/null, with exit code 1\n",
        ),
        (
            "echo 'it'\\''s'; exit 4",
            "ci: line 1 of the script failed: echo 'it'\\''s'; exit 4, with exit code 4\n",
        ),
        ("true", ""),
        // A status that another line sees is not touched.
        ("set +e\nfalse\nexit 5", ""),
    ] {
        let (_, _, stderr) = run(script);
        assert_eq!(stderr, expected, "{script:?}");
    }
}

/// An argument has 128 KiB at most, and notes take a part of that.
#[test]
fn a_long_script_runs() {
    let script = (0..3000).map(|i| format!("echo line {i}")).collect::<Vec<_>>().join("\n");
    let (code, stdout, _) = run(&script);
    assert_eq!((code, stdout.lines().count()), (0, 3000));
}
