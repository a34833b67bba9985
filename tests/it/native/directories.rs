//! Working directories, and what is mounted in them.

use super::*;
use crate::support::Ci;

#[tokio::test]
async fn concurrent_runs_share_no_directory_and_later_ones_get_the_same() {
    let first = Run::start(MountMode::Auto).await;
    let (second, _) = start(first.root.path(), MountMode::Auto).await;
    let directory = |number| format!("{}/tasks/test\n", first.slot(number).display());
    assert_eq!(succeed(&first.driver, &sh("pwd")).await, directory(0));
    assert_eq!(succeed(&second, &sh("pwd")).await, directory(1));
    first.driver.close().await.unwrap();
    let (third, _) = start(first.root.path(), MountMode::Auto).await;
    assert_eq!(succeed(&third, &sh("pwd")).await, directory(0));
    second.close().await.unwrap();
    third.close().await.unwrap();
    first.end().await;
}

#[tokio::test]
async fn a_second_task_of_a_name_gets_a_directory_of_its_own() {
    let run = Run::start(MountMode::Auto).await;
    let shared = volume(&run.driver, "shared").await;
    succeed(&run.driver, &mounted(sh("mkfifo v/a"), &[(&shared, "v")])).await;
    let (first, second) = (sh("touch mine; ls; echo > v/a"), sh("ls; cat v/a"));
    let mounts = [(&shared, "v")];
    let (first, second) = (mounted(first, &mounts), mounted(second, &mounts));
    let (a, b) = tokio::join!(succeed(&run.driver, &first), succeed(&run.driver, &second));
    assert_eq!((a.as_str(), b.as_str()), ("mine\nv\n", "v\n\n"));
    run.end().await;
}

#[tokio::test]
async fn whatever_a_task_leaves_in_its_directory_is_removed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "stays").unwrap();
    let run = Run::start(MountMode::Auto).await;
    let scripts = [
        // As the Go module cache does it.
        "mkdir -p a/b/c; touch a/b/c/f; chmod -R a-w a",
        "mkdir -p a/b; touch a/b/f; chmod 0 a",
        "chmod 0 .",
        "ln -s $OUTSIDE link; ln -s $OUTSIDE/file link2; ln -s . loop",
        "i=0; while [ $i -lt 300 ]; do mkdir d; touch f; cd d; i=$((i+1)); done",
        "cd ..; rmdir test; ln -s $OUTSIDE test",
        "cd ..; rmdir test; touch test",
        "mkfifo fifo; touch \"$(printf 'a\\nb')\"; touch $TMPDIR/x; mkdir -m 0 $TMPDIR/y",
    ];
    for script in scripts {
        let mut spec = sh(script);
        spec.exec.env = vec![("OUTSIDE".into(), outside.path().to_str().unwrap().into())];
        succeed(&run.driver, &spec).await;
        let look = sh("ls -A . $TMPDIR | wc -l; pwd");
        let text = succeed(&run.driver, &look).await;
        assert!(text.starts_with("3\n") && text.ends_with("/tasks/test\n"), "{script}: {text}");
    }
    assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "stays");
    run.end().await;
}

#[tokio::test]
async fn what_a_task_left_mounted_is_unmounted_and_not_emptied() {
    if !is_root() {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "stays").unwrap();
    let run = Run::start(MountMode::Auto).await;
    let mut spec = sh("mkdir -p a/b; mount --bind $OUTSIDE a/b; test -f a/b/file");
    spec.exec.env = vec![("OUTSIDE".into(), outside.path().to_str().unwrap().into())];
    succeed(&run.driver, &spec).await;
    run.end().await;
    assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "stays");
}

#[tokio::test]
async fn mount_points_in_a_directory_of_the_machine_go_again() {
    for mode in [MountMode::Bind, MountMode::Link] {
        let run = Run::start(mode).await;
        let project = tempfile::tempdir().unwrap();
        fs::write(project.path().join("main.c"), "").unwrap();
        fs::create_dir(project.path().join("there")).unwrap();
        let cache = volume(&run.driver, "cache").await;
        let work = |script: &str, path: &str| {
            let work_dir = Some(project.path().to_str().unwrap().into());
            mounted(edit(sh(script), |spec| spec.exec.work_dir = work_dir), &[(&cache, path)])
        };
        succeed(&run.driver, &work("test -f main.c; echo x > .cache/build/file", ".cache/build"))
            .await;
        succeed(&run.driver, &work("cat .cache/build/file && touch made", ".cache/build")).await;
        // Two at the same time.
        succeed(&run.driver, &work("mkfifo c/fifo", "c")).await;
        let (write, read) = (work("echo y > c/fifo", "c"), work("cat c/fifo", "c"));
        let (_, text) = tokio::join!(succeed(&run.driver, &write), succeed(&run.driver, &read));
        assert_eq!(text, "y\n");
        if mode == MountMode::Bind {
            succeed(&run.driver, &work("cat there/file", "there")).await;
        } else {
            let error = finish(&run.driver, &work("true", "there")).await.unwrap_err().to_string();
            assert!(error.contains("choose a path that is free"), "{error}");
        }
        run.end().await;
        let mut left: Vec<_> =
            files(project.path()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        left.sort();
        assert_eq!(left, ["made", "main.c", "there"], "{mode:?}");
    }
}

#[tokio::test]
async fn a_mount_path_through_a_link_is_refused() {
    let run = Run::start(MountMode::Auto).await;
    let (project, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(outside.path(), project.path().join("link")).unwrap();
    fs::write(project.path().join("file"), "").unwrap();
    let cache = volume(&run.driver, "cache").await;
    for path in ["link", "link/below", "file", "file/below"] {
        let work_dir = Some(project.path().to_str().unwrap().into());
        let spec =
            mounted(edit(sh("echo ran"), |spec| spec.exec.work_dir = work_dir), &[(&cache, path)]);
        let error = finish(&run.driver, &spec).await.unwrap_err().to_string();
        assert!(error.contains("is a link or a file"), "{error}");
    }
    // A link that another task put into a volume is no way out either.
    let target = outside.path().to_str().unwrap();
    let spec = mounted(task("link", "ln", &["-s", target, "v/out"]), &[(&cache, "v")]);
    succeed(&run.driver, &spec).await;
    let other = volume(&run.driver, "other").await;
    let spec = mounted(sh("true"), &[(&cache, "v"), (&other, "v/out/x")]);
    let error = finish(&run.driver, &spec).await.unwrap_err().to_string();
    assert!(error.contains("is a link or a file"), "{error}");
    assert_eq!(files(outside.path()), Vec::<PathBuf>::new());
    run.end().await;
}

#[tokio::test]
async fn a_link_cannot_hold_another_mount() {
    let run = Run::start(MountMode::Link).await;
    let cache = volume(&run.driver, "cache").await;
    let spec = mounted(sh("true"), &[(&cache, "a"), (&cache, "a/b")]);
    let error = finish(&run.driver, &spec).await.unwrap_err().to_string();
    assert!(error.starts_with("mount path `a/b`: it is below the mount at `a`"), "{error}");
    run.end().await;
}

#[tokio::test]
async fn an_absolute_mount_path_is_refused_with_what_to_do() {
    let run = Run::start(MountMode::Auto).await;
    let cache = volume(&run.driver, "cache").await;
    let error = finish(&run.driver, &mounted(sh("true"), &[(&cache, "/data")])).await.unwrap_err();
    assert!(error.to_string().contains("use a path relative to the task's directory"), "{error}");
    run.end().await;
}

#[tokio::test]
async fn a_working_directory_of_the_machine_must_exist() {
    let run = Run::start(MountMode::Auto).await;
    for path in ["/no/such/directory", "/etc/passwd"] {
        let spec = edit(sh("true"), |spec| spec.exec.work_dir = Some(path.into()));
        let error = finish(&run.driver, &spec).await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("working directory `{path}`: ")), "{error}");
    }
    run.end().await;
}

#[tokio::test]
async fn a_sandbox_has_a_directory_until_it_is_closed() {
    let run = Run::start(MountMode::Auto).await;
    let spec = sh("true").sandbox();
    let sandbox = run.driver.open_sandbox(&spec).await.unwrap();
    let directory = run.slot(0).join("tasks/test");
    assert_eq!(Path::new(sandbox.id()), directory);
    assert!(directory.is_dir());
    fs::write(directory.join("file"), "").unwrap();
    sandbox.close().await;
    assert!(!directory.exists());
    run.end().await;
}

#[test]
fn what_a_user_keeps_below_dir_is_left_alone() {
    let ci = Ci::pipeline("");
    let driver = format!("native://?dir={}", ci.dir().join("app").display());
    let ci = ci.args(["--driver", &driver]);
    // Parts of the user's project have the names that runs use, and one even has a lock.
    let user =
        ["app/native/android/app/src/lock", "app/native/default/site/0/lock", "app/native/x"];
    for file in user {
        let path = ci.dir().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "the user's").unwrap();
    }
    fs::write(ci.dir().join("app/native/android/app/src/main.kt"), "the user's").unwrap();
    let output = ci.command().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let prune = Command::new(supervisor()).args(["prune", "--driver", &driver]).output().unwrap();
    assert!(prune.status.success(), "{prune:?}");
    for file in user.iter().chain(&["app/native/android/app/src/main.kt"]) {
        assert_eq!(fs::read_to_string(ci.dir().join(file)).unwrap(), "the user's");
    }
}

/// Another user has put a link in the way, to what only this user may remove.
#[test]
fn a_run_keeps_out_of_directories_that_other_users_can_change() {
    if !is_root() {
        return;
    }
    const EVE: u32 = 65534;
    let ci = Ci::pipeline(r#"console.log("started");"#);
    fs::set_permissions(ci.dir(), PermissionsExt::from_mode(0o755)).unwrap();
    let at = |name: &str| ci.dir().join(name);
    let make = |name: &str, owner: u32, mode: u32| {
        fs::create_dir_all(at(name)).unwrap();
        chown(at(name), Some(owner), None).unwrap();
        fs::set_permissions(at(name), PermissionsExt::from_mode(mode)).unwrap();
    };
    // What looks like the leftovers of a run.
    let marker = "This directory belongs to a run of `ci`, which removes all of it.\n";
    for name in ["victim/default/site/0", "victim/default/other/0"] {
        fs::create_dir_all(at(name)).unwrap();
        fs::write(at(name).join("lock"), marker).unwrap();
        fs::write(at(name).join("thesis.docx"), "precious").unwrap();
    }
    make("of-eve", EVE, 0o755);
    make("of-all", 0, 0o777);
    make("sticky", 0, 0o1777);
    for (dir, reason) in [
        ("of-eve", "belongs to another user"),
        ("of-all", "other users can write to"),
        ("sticky", "is a link of another user"),
    ] {
        let link = at(dir).join("native");
        std::os::unix::fs::symlink(at("victim"), &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(EVE), None).unwrap();
        let driver = format!("native://?dir={}", at(dir).display());
        for args in [&["run", "pipeline.ts"][..], &["prune"]] {
            let output = Command::new(supervisor())
                .args(args)
                .args(["--driver", &driver])
                .current_dir(ci.dir())
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{dir}: {output:?}");
            assert!(text.contains(reason) && text.contains(dir), "{text}");
            assert!(!String::from_utf8_lossy(&output.stdout).contains("started"));
        }
        assert_eq!(fs::read_dir(at(dir)).unwrap().count(), 1);
    }
    for name in ["victim/default/site/0", "victim/default/other/0"] {
        assert_eq!(fs::read_to_string(at(name).join("thesis.docx")).unwrap(), "precious");
    }
}

#[tokio::test]
async fn what_a_task_puts_in_the_place_of_a_link_stays() {
    let run = Run::start(MountMode::Link).await;
    let project = tempfile::tempdir().unwrap();
    let cache = volume(&run.driver, "cache").await;
    let work_dir = Some(project.path().to_str().unwrap().into());
    let spec = edit(sh("rm link; ln -s /etc/passwd link"), |spec| spec.exec.work_dir = work_dir);
    succeed(&run.driver, &mounted(spec, &[(&cache, "link")])).await;
    run.end().await;
    assert_eq!(fs::read_link(project.path().join("link")).unwrap(), Path::new("/etc/passwd"));
}

#[tokio::test]
async fn a_volume_takes_the_place_of_no_directory_of_the_machine() {
    let run = Run::start(MountMode::Auto).await;
    let source = volume(&run.driver, "source").await;
    for work_dir in ["/", "/usr"] {
        let spec = edit(mounted(sh("true"), &[(&source, ".")]), |spec| {
            spec.exec.work_dir = Some(work_dir.to_owned());
        });
        let error = finish(&run.driver, &spec).await.unwrap_err().to_string();
        assert!(error.contains("mount path `.`: a volume cannot take the place of"), "{error}");
    }
    run.end().await;
}

/// What a run has made in a directory of the user's goes with the run, however that ends.
#[test]
fn a_killed_run_leaves_nothing_in_the_users_tree() {
    for dsn in ["native", "native://?mounts=link"] {
        let body = r#"
            const volume = await runtime.createVolume();
            const [workDir] = pipelineContext.args;
            const script = "echo x > deep/er/v/file; echo mine > mine; echo ready; sleep 1000";
            // This one ends by itself when nobody reads any more.
            const other = "echo ready; while echo more; do :; done";
            await Promise.all([
                runtime.run({ name: "one", workDir, mounts: { "deep/er/v": volume }, script }),
                runtime.run({ name: "two", workDir, mounts: { "deep/w": volume }, script: other }),
            ]);
        "#;
        let tree = tempfile::tempdir().unwrap();
        let ci = Ci::pipeline(body).args(["--driver", dsn, "--output", "plain", "--"]);
        let ci = ci.args([tree.path()]);
        let mut child = ci.spawn();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut ready = lines.map(Result::unwrap).filter(|line| line.ends_with("] ready"));
        assert!(ready.next().is_some() && ready.next().is_some());
        assert!(tree.path().join("deep/er/v").exists() && tree.path().join("deep/w").exists());
        child.kill().unwrap();
        child.wait().unwrap();
        let names = || -> Vec<_> {
            let entries = fs::read_dir(tree.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect()
        };
        // The reapers of the tasks do it, which nobody waits for.
        let killed = Instant::now();
        while names() != ["mine"] && killed.elapsed() < Duration::from_secs(30) {
            std::thread::yield_now();
        }
        assert_eq!(names(), ["mine"], "{dsn}");
    }
}
