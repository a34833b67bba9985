//! Copies of the project that are kept from run to run.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cache_faults::SmallDisk;
use crate::support::Ci;

/// A project of two files whose pipeline runs this script in a copy of it.
fn project(script: &str) -> Ci {
    let source = format!(
        "export const pipeline = async () => {{
            const source = await runtime.source();
            const {{ stdout }} = await runtime.run({{ name: 't', mounts: {{ '.': source }}, script: {script:?} }});
            console.log(stdout);
        }};\n"
    );
    Ci::new()
        .file("pipeline.ts", source)
        .file("same.txt", "same\n")
        .file("changed.txt", "before\n")
        .file("sub/deep.txt", "deep\n")
        .args(["run", "pipeline.ts", "--output", "plain"])
}

/// Runs it, and returns what it has printed.
fn run(ci: &Ci) -> String {
    let output = ci.command().output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    stdout
}

/// The places of kept copies.
fn places(ci: &Ci) -> Vec<PathBuf> {
    let all = fs::read_dir(ci.state().join("ci/projects"));
    all.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

fn tree(ci: &Ci) -> PathBuf {
    let places = places(ci);
    assert_eq!(places.len(), 1, "{places:?}");
    places[0].join("tree")
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn the_next_run_copies_what_has_changed_alone() {
    let ci = project("cat changed.txt\nstat -c 'inode %i' same.txt");
    run(&ci);
    let same = inode(&tree(&ci).join("same.txt"));
    fs::write(ci.dir().join("changed.txt"), "after\n").unwrap();
    fs::remove_file(ci.dir().join("sub/deep.txt")).unwrap();
    fs::write(ci.dir().join("sub/new.txt"), "new\n").unwrap();
    let printed = run(&ci);
    assert!(printed.contains("after\n"), "{printed}");
    assert!(printed.contains(&format!("inode {same}\n")), "{same} in {printed}");
    assert!(!tree(&ci).join("sub/deep.txt").exists());
    assert_eq!(fs::read_to_string(tree(&ci).join("sub/new.txt")).unwrap(), "new\n");
}

#[test]
fn what_tasks_write_does_not_outlive_the_run() {
    let script = "ls\ncat same.txt\necho new-of-a-'task' > sub/made.txt\nmkdir -p node_modules/deep\n\
                  echo new-of-a-'task' > node_modules/deep/x\necho new-of-a-'task' > same.txt\nrm changed.txt\n\
                  ln -s /etc/passwd link\nchmod 700 sub";
    let ci = project(script);
    for _ in 0..2 {
        let printed = run(&ci);
        assert!(printed.contains("changed.txt\npipeline.ts\nsame.txt\nsub\nsame\n"), "{printed}");
        let grep = std::process::Command::new("grep")
            .args(["-r", "-l", "new-of-a-task"])
            .arg(ci.state())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&grep.stdout), "");
        assert_eq!(fs::read_to_string(tree(&ci).join("same.txt")).unwrap(), "same\n");
        assert!(!tree(&ci).join("node_modules").exists());
        assert!(!tree(&ci).join("link").exists());
    }
}

#[test]
fn a_copy_that_somebody_has_changed_is_put_right() {
    let ci = project("cat same.txt sub/deep.txt\nls");
    let expected = run(&ci);
    let tree = tree(&ci);
    let times = fs::metadata(tree.join("same.txt")).unwrap().modified().unwrap();
    fs::write(tree.join("same.txt"), "evil\n").unwrap();
    fs::File::options()
        .write(true)
        .open(tree.join("same.txt"))
        .unwrap()
        .set_times(fs::FileTimes::new().set_modified(times))
        .unwrap();
    fs::remove_dir_all(tree.join("sub")).unwrap();
    std::os::unix::fs::symlink("/etc", tree.join("sub")).unwrap();
    fs::write(tree.join("more.txt"), "").unwrap();
    assert_eq!(without_times(&run(&ci)), without_times(&expected));
    assert!(fs::metadata("/etc/passwd").is_ok());
}

/// Without lines that have a duration.
fn without_times(printed: &str) -> Vec<&str> {
    printed.lines().filter(|line| !line.contains('s') || !line.contains("ms")).collect()
}

#[test]
fn runs_at_the_same_time_have_copies_of_their_own() {
    let script = "cat changed.txt\necho own > own.txt\nif test -e first; then echo ready > \"$PIPE\"; cat \"$DONE\"; fi\nls";
    let ci = project(script);
    run(&ci);
    let source = fs::read_to_string(ci.dir().join("pipeline.ts")).unwrap();
    let (pipe, done) = (ci.dir().join("pipe"), ci.dir().join("done"));
    for path in [&pipe, &done] {
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    let env = format!("env: {{ PIPE: {pipe:?}, DONE: {done:?} }}, name: 't'");
    let ci = ci.file("pipeline.ts", source.replace("name: 't'", &env)).file("first", "");
    let mut first = ci.command();
    let mut first = first.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    assert_eq!(fs::read_to_string(&pipe).unwrap(), "ready\n");
    // The first one holds the kept copy.
    fs::remove_file(ci.dir().join("first")).unwrap();
    fs::write(ci.dir().join("changed.txt"), "meanwhile\n").unwrap();
    let printed = run(&ci);
    assert!(printed.contains("meanwhile\n"), "{printed}");
    fs::write(&done, "").unwrap();
    let mut printed = String::new();
    std::io::Read::read_to_string(&mut first.stdout.take().unwrap(), &mut printed).unwrap();
    assert!(first.wait().unwrap().success(), "{printed}");
    assert!(printed.contains("before\n"), "{printed}");
    assert!(!tree(&ci).join("own.txt").exists());
    assert_eq!(places(&ci).len(), 1);
}

#[test]
fn a_killed_run_leaves_no_half_copy() {
    let ci = project(
        "cat same.txt\necho made-by-a-task > made.txt\nif test -e first; then echo ready > \"$PIPE\"; sleep 1000; fi",
    );
    let source = fs::read_to_string(ci.dir().join("pipeline.ts")).unwrap();
    let pipe = ci.dir().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let env = format!("env: {{ PIPE: {pipe:?} }}, name: 't'");
    let ci = ci.file("pipeline.ts", source.replace("name: 't'", &env)).file("first", "");
    run_killed(&ci, &pipe, Signal::SIGKILL);
    run_killed(&ci, &pipe, Signal::SIGINT);
    fs::remove_file(ci.dir().join("first")).unwrap();
    let printed = run(&ci);
    assert!(printed.contains("same\n"), "{printed}");
    assert!(!tree(&ci).join("made.txt").exists());
    assert!(!tree(&ci).join("first").exists());
}

fn run_killed(ci: &Ci, pipe: &Path, signal: Signal) {
    let mut command = ci.command();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(fs::read_to_string(pipe).unwrap(), "ready\n");
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
    assert!(!child.wait().unwrap().success());
}

#[test]
fn prune_removes_copies_that_no_run_uses() {
    let ci = project("true");
    run(&ci);
    // One has another name, and one has no marker.
    let foreign = ["mine", "0123456789abcdef0123456789abcdef"]
        .map(|name| ci.state().join("ci/projects").join(name));
    for directory in &foreign {
        fs::create_dir_all(directory.join("tree")).unwrap();
        fs::write(directory.join("lock"), "").unwrap();
    }
    let pruned = |expected: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ci"));
        command.arg("prune").env_remove("CI_DRIVER").env("XDG_CACHE_HOME", ci.state());
        assert_eq!(String::from_utf8_lossy(&command.output().unwrap().stdout), expected);
    };
    pruned("removed 1 copy of a project\n");
    pruned("nothing was left behind\n");
    assert_eq!(places(&ci).len(), 2);
    assert!(foreign.iter().all(|directory| directory.join("tree").exists()));
}

#[test]
fn a_full_disk_fails_the_copy_and_leaves_nothing() {
    let disk = SmallDisk::new();
    let ci = project("ls").file("large", vec![1; 12 << 20]).env("XDG_CACHE_HOME", disk.path());
    let output = ci.command().output().unwrap();
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("No space left on device"), "{printed}");
    let mut left = Vec::new();
    let mut open = vec![disk.path().to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { left.push(path) }
        }
    }
    left.retain(|path| !path.ends_with("lock"));
    assert_eq!(left, <[PathBuf; 0]>::default());
    fs::remove_file(ci.dir().join("large")).unwrap();
    run(&ci);
}
