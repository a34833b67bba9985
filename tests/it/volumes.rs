//! What becomes of volumes when a task does not end by itself, and when they are asked for twice.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache;
use crate::ending::files_in;
use crate::support::Ci;

/// A task that writes to a volume, and ends as the script does.
fn ending(script: &str, runs: &str) -> String {
    format!(
        r#"
        const v = await runtime.createVolume({{ name: "v" }});
        const box = await runtime.startSandbox({{ name: "box", image: "busybox", mounts: {{ v }} }});
        const command = {{ path: "sh", args: ["-c", "echo half > v/file; {script}"] }};
        const result = await {runs};
        console.log("ended with", result.code);
        "#
    )
}

const TASK: &str = r#"runtime.run({ name: "work", image: "busybox", command, mounts: { v } })"#;
const EXEC: &str = r#"box.exec({ name: "work", command })"#;

#[test]
fn what_a_signal_has_ended_is_not_persisted() {
    for runs in [TASK, EXEC] {
        for (script, code) in [("kill -KILL $$", 137), ("kill -TERM $$", 143)] {
            let dir = tempfile::tempdir().unwrap();
            let store = format!("file://{}", dir.path().display());
            let outcome = cache::run(&ending(script, runs), &store, &[]).exits(0);
            outcome
                .stdout_has(&format!("ended with {code}"))
                .stdout_has("task `work` was ended while it had the volume mounted")
                .lacks("uploaded");
        }
    }
}

/// A shell tells the end of its last command by a signal as a code, and may go on to return any other.
#[test]
fn what_a_signal_has_ended_below_a_shell_is_not_persisted() {
    for runs in [TASK, EXEC] {
        for script in [
            "sh -c 'kill -KILL \\$\\$'; exit \\$?",
            "sleep 1000 & kill \\$!; wait \\$!",
            "exit 137",
        ] {
            let dir = tempfile::tempdir().unwrap();
            let store = format!("file://{}", dir.path().display());
            cache::run(&ending(script, runs), &store, &[])
                .exits(0)
                .stdout_has("a process of task `work` was ended while it had the volume mounted")
                .lacks("uploaded");
        }
    }
}

/// A control group with little memory.
struct LittleMemory(PathBuf);

impl LittleMemory {
    /// `None` where this process may not make one.
    fn new() -> Option<Self> {
        let name = format!("ci-test-{}", std::process::id());
        [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
            .into_iter()
            .find_map(|(root, limit)| {
                let group = Path::new(root).join(&name);
                fs::create_dir(&group).ok()?;
                let group = Self(group);
                fs::write(group.0.join(limit), "512M").ok().map(|()| group)
            })
    }
}

impl Drop for LittleMemory {
    fn drop(&mut self) {
        _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_process_that_ran_out_of_memory_below_a_shell_spoils_its_volumes() {
    let Some(group) = LittleMemory::new() else { return };
    for runs in [TASK, EXEC] {
        let dir = tempfile::tempdir().unwrap();
        let script = "(echo 1000 > /proc/self/oom_score_adj; exec tail /dev/zero) || true";
        let driver = format!("native://?cache=file://{}", dir.path().display());
        let ci =
            Ci::pipeline(&ending(script, runs)).args(["--output", "plain", "--driver", &driver]);
        let command = ci.command();
        let mut inside = Command::new("sh");
        inside
            .args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#])
            .arg(&group.0)
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(ci.dir())
            .env("XDG_CACHE_HOME", ci.state());
        let output = inside.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("ended with 0"), "{output:?}");
        let reason = "a process of task `work` was ended while it had the volume mounted";
        assert!(text.contains(reason) && !text.contains("uploaded"), "{text}");
    }
}

#[test]
fn what_has_ended_by_itself_is_persisted_whatever_its_code() {
    for runs in [TASK, EXEC] {
        for code in [0, 1, 128, 193, 255] {
            let dir = tempfile::tempdir().unwrap();
            let store = format!("file://{}", dir.path().display());
            cache::run(&ending(&format!("exit {code}"), runs), &store, &[])
                .exits(0)
                .stdout_has(&format!("ended with {code}"))
                .stdout_has("uploaded");
        }
    }
}

/// A pipeline that ends while volumes are made and restored that it never uses.
#[test]
fn what_nobody_waits_for_ends_before_its_place_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let driver = format!("{}cache=file://{}", cache::driver(), dir.path().display());
    let pipeline = |body: &str| {
        let names = format!(r#"const names = ["a", "b", "c", "d"]; {body}"#);
        Ci::pipeline(&names).args(["--output", "plain", "--driver", &driver])
    };
    pipeline(
        r#"
        const args = ["-c", "cd v && seq 20000 | split -l 5 -a 4"];
        for (const name of names) {
            const mounts = { v: await runtime.createVolume({ name }) };
            assert.equal((await runtime.run({ name, image: "busybox", command: { path: "sh", args }, mounts })).code, 0);
        }
        "#,
    )
    .run()
    .exits(0);
    for _ in 0..3 {
        let ci = pipeline(
            r#"
            for (const name of names) await runtime.createVolume({ name });
            void runtime.createVolume({ name: "late" });
            void runtime.startSandbox({ name: "late", image: "busybox" }).catch(() => undefined);
            "#,
        );
        let output = ci.command().output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*text), (Some(0), ""));
        // Nor does a restore fail for want of its place.
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!text.contains("failed"), "{text}");
        assert_eq!(files_in(&ci.state()), 0);
    }
}

#[test]
fn another_size_for_a_volume_is_an_error() {
    Ci::pipeline(
        r#"
        const sizes = async (...sizes: (string | undefined)[]) => {
            const name = `v${sizes.join("-")}`;
            for (const size of sizes) {
                await runtime.createVolume(size === undefined ? { name } : { name, size });
            }
        };
        await sizes("1MiB", "1MiB", undefined);
        await sizes(undefined, undefined);
        for (const wrong of [["1MiB", "2MiB"], [undefined, "1MiB"]]) {
            await sizes(...wrong).then(() => { throw new Error("no error"); }, (error) => console.log(error.message));
        }
        "#,
    )
    .run()
    .exits(0)
    .stdout_has(
        "volume `v1MiB-2MiB` has been created with a size of 1048576 bytes and is now asked for with \
         a size of 2097152 bytes, use one size or another name",
    )
    .stdout_has("has been created without a size and is now asked for with a size of 1048576 bytes");
}
