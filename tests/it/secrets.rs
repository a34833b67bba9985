//! What the system shows of a run's processes to everybody, or to its tasks.

use std::os::unix::fs::PermissionsExt;

use crate::support::Ci;

/// A task that prints the command lines and the variables of its reaper, of the supervisor and of `ci`.
pub const LOOK: &str = r#"
    const script = `
        supervisor=$(cut -d ' ' -f 4 /proc/$PPID/stat)
        main=$(cut -d ' ' -f 4 /proc/$supervisor/stat)
        for pid in $PPID $supervisor $main; do
            echo "look at $(cat /proc/$pid/comm)"
            cat /proc/$pid/cmdline /proc/$pid/environ | tr '\\0' '\\n'
            echo
        done
        env`;
    await runtime.run({ name: "look", image: "busybox", command: { path: "sh", args: ["-c", script] } });
"#;

const DSN: &str = "native://?cache=s3://http://KEY-ID:HIDDEN-1@127.0.0.1:1/bucket?region=us-east-1&cache_policy=none";

fn look() -> Ci {
    Ci::pipeline(LOOK)
        .env("AWS_SECRET_ACCESS_KEY", "HIDDEN-2")
        .env("AWS_SESSION_TOKEN", "HIDDEN-3")
        .env("OTHER", "seen")
}

#[test]
fn credentials_are_in_no_process_while_tasks_run() {
    let joined = format!("--driver={DSN}");
    let table: [(&[&str], Option<&str>); 4] = [
        (&["--driver", DSN], None),
        (&[&joined], None),
        (&["--driver", DSN], Some(DSN)),
        (&[], Some(DSN)),
    ];
    for (args, variable) in table {
        let ci = look().args(args);
        let ci = match variable {
            Some(dsn) => ci.env("CI_DRIVER", dsn),
            None => ci,
        };
        let outcome = ci.run().exits(0).lacks("HIDDEN").lacks("KEY-ID");
        // It has looked at all of them, and what is no secret is there.
        let outcome = outcome.stdout_has("look at ci-supervisor").stdout_has("look at ci-reaper");
        outcome.stdout_has("pipeline.ts").stdout_has("OTHER=seen");
    }
}

#[test]
fn the_supervisor_has_none_of_the_variables() {
    let outcome = look().run().exits(0);
    let (_, of_supervisor) = outcome.stdout.split_once("look at ci-supervisor").unwrap();
    let (of_supervisor, _) = of_supervisor.split_once("look at ci\n").unwrap();
    assert!(!of_supervisor.contains("OTHER"), "{of_supervisor}");
}

#[test]
fn the_way_to_an_engine_has_none_of_the_secrets() {
    let ci = look().file("bin/ssh", "#!/bin/sh\nenv > ssh.env\nexit 255\n").env(
        "CI_DRIVER",
        "docker://?host=ssh://far&cache=s3://KEY-ID:HIDDEN-1@h/bucket?region=us-east-1",
    );
    let ssh = ci.dir().join("bin/ssh");
    std::fs::set_permissions(&ssh, PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", ssh.parent().unwrap().display());
    let ci = ci.env("PATH", path);
    assert_eq!(ci.command().output().unwrap().status.code(), Some(3));
    let seen = std::fs::read_to_string(ci.dir().join("ssh.env")).unwrap();
    assert!(seen.contains("OTHER=seen"), "{seen}");
    for secret in ["HIDDEN", "KEY-ID", "AWS_", "CI_DRIVER"] {
        assert!(!seen.contains(secret), "{seen}");
    }
}

#[test]
fn a_variable_that_is_passed_on_by_name_reaches_tasks() {
    look()
        .args(["--driver", "native://?env=AWS_SECRET_ACCESS_KEY"])
        .run()
        .exits(0)
        .stdout_has("AWS_SECRET_ACCESS_KEY=HIDDEN-2");
}

#[test]
fn values_of_variables_are_in_no_command_line() {
    for given in [&["--var", "token=UNSEEN-VALUE"][..], &["--var=token=UNSEEN-VALUE"][..]] {
        let script = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep [U]NSEEN-VALUE \
                      || echo none";
        let yaml = format!(
            "jobs:\n- name: one\n  plan:\n  - task: look\n    config:\n      params: {{ TOKEN: ((token)) \
             }}\n      run: {{ path: sh, args: [-c, {script:?}] }}\n"
        );
        Ci::new()
            .file("p.yml", yaml)
            .args(["run", "p.yml"])
            .args(given)
            .run()
            .exits(0)
            .stdout_has("[look] none");
    }
}
