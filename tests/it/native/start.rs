//! Why a command cannot start.

use super::*;

#[tokio::test]
async fn each_reason_is_told() {
    let run = Run::start(MountMode::Auto).await;
    let slot = run.slot(0);
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str, mode: u32| {
        let path = files.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    symlink("/no/such", files.path().join("dangling")).unwrap();
    let dangling = files.path().join("dangling").to_str().unwrap().to_owned();
    let text = file("text", "x", 0o644);
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let by_itself = path("by-itself");
    file("by-itself", &format!("#!{by_itself}\n"), 0o755);
    let looping = path("looping");
    symlink(&looping, &looping).unwrap();
    let fifo = path("fifo");
    nix::unistd::mkfifo(&*fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // The beginning of a program for some processor, big-endian.
    let program = |name: &str, machine: u16| {
        let mut header = b"\x7FELF\x02\x02\x01".to_vec();
        header.resize(16, 0);
        header.extend([0, 2]);
        header.extend(machine.to_be_bytes());
        header.resize(64, 0);
        fs::write(path(name), header).unwrap();
        fs::set_permissions(path(name), PermissionsExt::from_mode(0o755)).unwrap();
        path(name)
    };
    let busy = file("busy", "#!/bin/sh\n", 0o755);
    let _writer = fs::File::options().write(true).open(&busy).unwrap();
    let table = [
        ("/no/such".to_owned(), "there is no such file".to_owned()),
        (
            "./tool".into(),
            format!(
                "there is no such file in the working directory `{}/tasks/test`",
                slot.display()
            ),
        ),
        (
            "no-such".into(),
            "there is no such command in the task's PATH `/a:/b`; install it or give its path"
                .into(),
        ),
        (String::new(), "the command is empty, and there is no image that has one of its own".into()),
        ("/usr".into(), "is a directory".into()),
        (text.clone(), "is not executable, make it so with `chmod +x`".into()),
        (dangling, "is a link to a file that does not exist".into()),
        (
            file("script", "#!/no/interpreter -x\n", 0o755),
            "needs the interpreter `/no/interpreter`, which is missing".into(),
        ),
        (
            file("data", "data", 0o755),
            "is neither a program for this machine nor a script that starts with `#!` and its \
             interpreter"
                .into(),
        ),
        (
            file("windows", "#!/bin/sh\r\necho x\r\n", 0o755),
            "has a carriage return at the end of its first line, so the kernel looks for an \
             interpreter `/bin/sh\\r`; give the file Unix line endings, as with \
             `sed -i 's/\\r$//' FILE`"
                .into(),
        ),
        (
            file("mark", "\u{FEFF}#!/bin/sh\n", 0o755),
            "starts with a byte order mark, and `#!` has to come first; save it as UTF-8 without one"
                .into(),
        ),
        (
            file("late", "\n#!/bin/sh\n", 0o755),
            "has something before `#!`, which has to be the first two characters of the file".into(),
        ),
        (file("empty", "", 0o755), "is empty".into()),
        (file("nothing", "#!\n", 0o755), "names no interpreter after `#!`".into()),
        (
            file("relative", "#!sh\n", 0o755),
            "names the interpreter `sh` without its path, write `#!/usr/bin/env sh`".into(),
        ),
        (
            file("long", &format!("#!/{}\n", "x".repeat(300)), 0o755),
            "has a first line of more than the 256 bytes that the kernel reads, shorten the path of \
             the interpreter"
                .into(),
        ),
        (
            file("by-text", &format!("#!{text}\n"), 0o755),
            format!(
                "needs the interpreter `{text}`, which is not executable, make it so with `chmod +x`"
            ),
        ),
        (
            file("by-directory", "#!/usr\n", 0o755),
            "needs the interpreter `/usr`, which is a directory".into(),
        ),
        (
            by_itself.clone(),
            format!(
                "needs the interpreter `{by_itself}`, which is a script that needs one itself, too \
                 many times over"
            ),
        ),
        (
            looping,
            "is a symbolic link that leads back to itself, or a chain of too many".into(),
        ),
        (
            program("foreign", 247),
            "is a program for another processor (ELF machine 247), which does not run on this machine"
                .into(),
        ),
        (
            program("s390", 22),
            "is a program for the processor `s390x`, which does not run on this machine".into(),
        ),
        (file("windows.exe", "MZ\u{0}", 0o755), "is a program for Windows, which does not run on this machine".into()),
        (fifo, "is not a program".into()),
        (
            busy,
            "is open for writing in another process, which has to close it before it can be executed"
                .into(),
        ),
    ];
    for (path, reason) in table {
        let mut spec = task("test", &path, &[]);
        spec.exec.env = vec![("PATH".into(), "/a:/b".into())];
        let error = finish(&run.driver, &spec).await.unwrap_err().to_string();
        assert_eq!(error, format!("cannot start `{path}`: {reason}"));
    }
    let long = task("test", "true", &[&"x".repeat(1 << 20)]);
    let error = finish(&run.driver, &long).await.unwrap_err().to_string();
    let expected = "got an argument or a variable of 1048576 bytes, and the kernel takes 131071";
    assert!(error.contains(expected), "{error}");
    run.end().await;
}

#[tokio::test]
async fn what_a_user_may_not_execute_is_told() {
    if !is_root() {
        return;
    }
    let run = Run::start(MountMode::Auto).await;
    let files = tempfile::tempdir().unwrap();
    let script = |name: &str, mode: u32| {
        let path = files.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    fs::set_permissions(files.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let (own, hidden) = (script("own", 0o744), script("closed/hidden", 0o755));
    fs::set_permissions(files.path().join("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    let table = [
        (own, "is not executable for the user of the task"),
        (hidden, "is out of reach: a directory on its path does not let the user of the task in"),
    ];
    for (path, reason) in table {
        let mut spec = task("test", &path, &[]);
        spec.exec.command.user = Some("nobody".into());
        let error = finish(&run.driver, &spec).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot start `{path}`: {reason}")), "{error}");
    }
    run.end().await;
}

#[tokio::test]
async fn a_mount_without_programs_is_told() {
    if !is_root() {
        return;
    }
    let run = Run::start(MountMode::Auto).await;
    let place = tempfile::tempdir().unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "noexec", "none"])
        .arg(place.path())
        .status()
        .unwrap();
    assert!(mount.success());
    let path = place.path().join("tool").to_str().unwrap().to_owned();
    fs::write(&path, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let error = finish(&run.driver, &task("test", &path, &[])).await.unwrap_err().to_string();
    assert!(Command::new("umount").arg(place.path()).status().unwrap().success());
    assert!(error.contains("is on a file system that is mounted with `noexec`"), "{error}");
    run.end().await;
}
